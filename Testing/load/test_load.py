"""Many cases, many steps, a very large scan: within 8 GB of memory, and no leak."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.load.measure import run_watched
from Testing.soak_record import record
from Testing.training.conftest import TINY, write_manifest, write_scan

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
LIMIT_MB = 8000
GROWTH_MB = 25  # the allocator's own ups and downs stay below; one leaked patch of 16 x 16 x 16 per step is 300 MB
PROMISE = "Large data sets, long trainings and very large scans stay within 8 GB of memory."
FLAT = "Memory and open files do not grow with the length of a training."
CLI = [sys.executable, "-m", "VoxelAdvSegLib"]
VERY_LARGE = (1000, 512, 512)  # z, y, x


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 13 organs that works on voxels of 1 mm, in windows of 64 x 64 x 64."""
    folder = tmp_path_factory.mktemp("model")
    for seed, name in enumerate("ab"):
        write_scan(folder / "data", name, seed, labeled=True)
    labels = {"0": "background", **{str(value): f"organ {value}" for value in range(1, 14)}}
    data = write_manifest(folder / "data", labels=labels, unlabeled=[], validation=[])
    words = {"patch": "64,64,64", "filters": 4, "overlap": 0, "spacing_mm": "1,1,1"}
    command = [
        *CLI,
        "train",
        "--data",
        str(data),
        "--run",
        str(folder / "run"),
        "--method",
        "supervised",
        "--steps",
        "1",
    ]
    used = run_watched([*command, *(f"--set={key}={value}" for key, value in words.items())])
    assert used.code == 0, used.output
    return folder / "run"


def write_large_scan(path: Path, shape_zyx: tuple[int, int, int]) -> None:
    """CT-like numbers of two bytes a voxel, of 1 mm; made slice by slice of one random plane."""
    rng = np.random.default_rng(0)
    plane = rng.normal(0, 100, shape_zyx[1:]).astype(np.int16)
    array = np.empty(shape_zyx, np.int16)
    for z in range(shape_zyx[0]):
        array[z] = np.roll(plane, z, axis=z % 2)
    sitk.WriteImage(sitk.GetImageFromArray(array), path)


@pytest.mark.parametrize(
    "shape", [(80, 96, 96), pytest.param(VERY_LARGE, marks=[pytest.mark.soak, pytest.mark.timeout(2400)])]
)
def test_a_scan_is_segmented(model: Path, tmp_path: Path, shape: tuple[int, int, int]):
    write_large_scan(tmp_path / "scan.nii", shape)
    used = run_watched(
        [*CLI, "segment", "--model", str(model), "--input", str(tmp_path / "scan.nii"), "--output", str(tmp_path)]
    )
    assert used.code == 0, used.output
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / "scan.seg.nrrd"))
    reader.ReadImageInformation()
    assert reader.GetSize()[:3] == shape[::-1]
    assert used.peak_mb < LIMIT_MB
    size = "x".join(map(str, shape[::-1]))
    record(PROMISE, f"segmenting {size} voxels into 14 classes: {used.peak_mb / 1000:.1f} GB")


def write_many(folder: Path, labeled: int, unlabeled: int, size: int) -> Path:
    """Manifest of cubes of noise with a bright organ, all different; the last two labeled ones are for validation."""
    rng = np.random.default_rng(0)
    (folder / "scans").mkdir(parents=True)
    names = [f"case_{number:04d}" for number in range(labeled + unlabeled)]
    label = np.zeros((size, size, size), np.uint8)
    label[size // 4 : size // 2, size // 4 : -size // 4, size // 4 : -size // 4] = 1
    for number, name in enumerate(names):
        image = (rng.normal(0, 20, label.shape) + 100 * label).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(image), folder / "scans" / f"{name}.nii.gz")
        if number < labeled:
            sitk.WriteImage(sitk.GetImageFromArray(label), folder / "scans" / f"{name}_label.nii.gz")
    pairs = [{"image": f"scans/{n}.nii.gz", "label": f"scans/{n}_label.nii.gz"} for n in names[:labeled]]
    content = {
        "labels": {"0": "background", "1": "organ"}, "training": pairs[:-2], "validation": pairs[-2:],
        "unlabeled": [f"scans/{name}.nii.gz" for name in names[labeled:]],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"


PROJECT = """
import sys
from pathlib import Path
from VoxelAdvSegLib.project.project import Project
scans = sorted(path for path in Path(sys.argv[1]).glob("*.nii.gz") if "label" not in path.name)
with Project.create(sys.argv[2], "Many") as project:
    project.add_files(scans)
with Project.open(sys.argv[2]) as project:
    project.rename_case(project.cases[-1].id, "renamed")
    print(len(project.cases), len(project.findings()))
"""


@pytest.mark.parametrize("cases", [40, pytest.param(2000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_many_cases_are_looked_through(tmp_path: Path, cases: int):
    data = write_many(tmp_path, cases // 10, cases - cases // 10, 16)
    doctor = run_watched([*CLI, "doctor", "--data", str(data), "--cases"])
    assert doctor.code == 0 and doctor.output.count("case_") >= cases, doctor.output[-2000:]
    project = run_watched([sys.executable, "-c", PROJECT, str(tmp_path / "scans"), str(tmp_path / "project")])
    assert project.code == 0 and project.output.split()[0] == str(cases), project.output[-2000:]
    assert max(doctor.peak_mb, project.peak_mb) < LIMIT_MB
    record(PROMISE, f"doctor with {cases} cases: {doctor.peak_mb:.0f} MB, {doctor.files} open files")
    record(PROMISE, f"a project of {cases} cases: {project.peak_mb:.0f} MB, {project.files} open files")


@pytest.mark.parametrize("cases", [20, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_many_volumes_are_trained_on(tmp_path: Path, cases: int):
    data = write_many(tmp_path, cases // 5, cases - cases // 5, 32)
    settings = {**TINY, "patch": "32,32,32", "bn_recalibrate": 0}
    command = [*CLI, "train", "--data", str(data), "--run", str(tmp_path / "run"), "--steps", "10"]
    used = run_watched([*command, *(f"--set={key}={value}" for key, value in settings.items())])
    assert used.code == 0, used.output[-2000:]
    assert used.peak_mb < LIMIT_MB
    record(PROMISE, f"training on {cases} volumes of 32x32x32: {used.peak_mb:.0f} MB, {used.files} open files")


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        ("supervised tiny", 400),
        pytest.param("supervised tiny", 20_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
        pytest.param("voxel_adversarial", 400, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
def test_a_long_training_does_not_grow(tmp_path: Path, method: str, steps: int):
    for seed, name in enumerate("abcdef"):
        write_scan(tmp_path / "data", name, seed, labeled=name in "abf")
    data = write_manifest(tmp_path / "data")
    command = [
        sys.executable,
        "-m",
        "Testing.load.long_training",
        str(data),
        str(tmp_path / "run"),
        str(steps),
        *method.split(),
    ]
    used = run_watched(command)
    assert used.code == 0, used.output[-2000:]
    looks = [tuple(map(float, line.split()[1:])) for line in used.output.splitlines() if line.startswith("LOOK")]
    assert len(looks) == 20
    # The first validation and preview load libraries; from the fourth look on all has been there once.
    settled = [memory for _, memory, _ in looks[3:]]
    growth = max(settled[-5:]) - min(settled[:5])
    assert growth < GROWTH_MB
    assert {files for _, _, files in looks[3:]} == {looks[3][2]}
    record(
        FLAT,
        f"{steps} steps of {method.split()[0]}: {growth:+.1f} MB, {looks[-1][2]:.0f} open files from beginning to end",
    )
