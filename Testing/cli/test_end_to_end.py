"""The commands as a person calls them, from two labeled scans to a segmentation in the scan's own grid."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.labels import read_label
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.volume import read_volume

SETTINGS = [f"--set={key}={value}" for key, value in TINY.items()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with data/dataset.json and a run trained for 60 steps."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, name in enumerate("abcdefg"):
        write_scan(folder / "data", name, seed, labeled=name in "abfg")
    test = [{"image": "images/g.nii.gz", "label": "labels/g.nii.gz"}]
    manifest = write_manifest(folder / "data", test=test)
    words = ["--data", str(manifest), "--run", str(folder / "run"), "--steps", "60", *SETTINGS]
    assert main(["train", *words]) == 0
    return folder


def test_train_segment_evaluate(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    scan = trained / "data" / "images" / "g.nii.gz"
    assert main(["segment", "--model", str(trained / "run"), "--input", str(scan), "--output", str(tmp_path)]) == 0
    assert "ball" in capsys.readouterr().out
    report = tmp_path / "report.json"
    words = ["--data", str(trained / "data" / "dataset.json"), "--split", "test", "--output", str(report)]
    assert main(["evaluate", *words, "--predictions", str(tmp_path)]) == 0
    by_files = json.loads(report.read_text())
    assert main(["evaluate", *words, "--model", str(trained / "run")]) == 0
    by_model = json.loads(report.read_text())
    assert by_files["mean"]["dice"] == pytest.approx(by_model["mean"]["dice"])
    assert by_model["organs"]["ball"]["dice"] > 0.8


@pytest.mark.parametrize("ending", ["seg.nrrd", "nii.gz", "nrrd"])
def test_any_orientation_comes_back_on_its_own_grid(trained: Path, tmp_path: Path, ending: str):
    """The same scan stored along other axes, turned in space and smaller than a patch."""
    straight = sitk.ReadImage(trained / "data" / "images" / "g.nii.gz")
    turned = sitk.PermuteAxes(straight, [2, 0, 1])
    turned = sitk.Flip(turned, [True, False, True])
    angle = np.deg2rad(10)
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned.SetDirection((tilt @ np.reshape(turned.GetDirection(), (3, 3))).ravel())
    turned.SetOrigin((-7.5, 30.25, 4.0))
    file = tmp_path / "turned.nrrd"
    sitk.WriteImage(turned, file)
    words = [
        "--model",
        str(trained / "run" / "model"),
        "--input",
        str(file),
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(["segment", *words, "--format", ending, "--discriminator-map"]) == 0
    volume = read_volume(file)
    organs = read_manifest(trained / "data" / "dataset.json").organs
    found = read_label(tmp_path / "out" / f"turned.{ending}", organs, volume.geometry)
    assert found.shape == volume.array.shape
    truth = sitk.PermuteAxes(sitk.ReadImage(trained / "data" / "labels" / "g.nii.gz"), [2, 0, 1])
    truth = sitk.GetArrayFromImage(sitk.Flip(truth, [True, False, True]))
    ball = 2 * np.sum((found == 1) & (truth == 1)) / (np.sum(found == 1) + np.sum(truth == 1))
    assert ball > 0.8
    looks = sitk.ReadImage(tmp_path / "out" / "turned_looks_labeled.nii.gz")
    values = sitk.GetArrayFromImage(looks)
    assert values.dtype == np.float32 and 0 <= values.min() < values.max() <= 1
    assert values.shape == volume.array.shape
    entry = json.loads((tmp_path / "out" / "segmentation.json").read_text())[0]
    assert entry["volume_ml"]["ball"] == pytest.approx(np.sum(found == 1) / 1000)
    assert set(entry["looks_labeled"]) == {"ball", "pebble", "all organs"}


def test_the_discriminator_map_needs_a_discriminator(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    manifest = str(trained / "data" / "dataset.json")
    run = str(tmp_path / "run")
    assert main(["train", "--data", manifest, "--run", run, "--steps", "1", "--method", "supervised", *SETTINGS]) == 0
    scan = str(trained / "data" / "images" / "g.nii.gz")
    words = [
        "segment",
        "--model",
        run,
        "--input",
        scan,
        "--output",
        str(tmp_path / "out"),
        "--discriminator-map",
    ]
    assert main(words) == 2
    assert "no discriminator" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))
