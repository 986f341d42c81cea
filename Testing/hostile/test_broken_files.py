"""Whatever is wrong with a file, each command ends in a message or a correct result, soon and in little memory."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.hostile.corpus import SHAPE, Variant, by_chance, by_hand, label, labels, scan, sound
from Testing.soak_record import record
from Testing.training.conftest import TINY
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.readers import Limits
from VoxelAdvSegLib.data.reading import read_geometry, reading_apart
from VoxelAdvSegLib.errors import InputError

SETTINGS = [f"--set={key}={value}" for key, value in {**TINY, "adv_gate": "off"}.items()]
MEMORY = 1 << 30
SECONDS = 30.0  # for one command on one file, on a busy machine; a hang is none
PROMISE = "Broken and hostile files end in a clear message or a correct result"


@pytest.fixture(scope="module", autouse=True)
def readers() -> Iterator[None]:
    """Children with little memory, kept for all the files."""
    with reading_apart(Limits(memory_bytes=MEMORY, seconds=SECONDS / 2)):
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    data = dataset(folder, [], "good")
    assert main(["train", "--data", str(data), "--run", str(folder / "run"), "--steps", "1", *SETTINGS]) == 0
    return folder / "run" / "model"


def dataset(folder: Path, unlabeled: Iterable[Path], first: str, labels: Iterable[Path] = ()) -> Path:
    """A manifest of one good labeled case and one unlabeled, and of the given files."""
    folder.mkdir(exist_ok=True)
    sound(folder / f"{first}.nrrd", scan() + np.int16(7))  # no scan may stand in two lists
    sound(folder / f"{first} too.nrrd", scan() + np.int16(3))
    sound(folder / f"{first} label.nrrd", label())
    training = [{"name": f"l{n}", "image": f"{first}.nrrd", "label": _inside(folder, p)} for n, p in enumerate(labels)]
    content = {
        "labels": {"0": "background", "1": "ball"},
        "training": training or [{"image": f"{first}.nrrd", "label": f"{first} label.nrrd"}],
        "unlabeled": [
            *({"name": f"u{n}", "image": _inside(folder, p)} for n, p in enumerate(unlabeled)), f"{first} too.nrrd",
        ],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"


def _inside(folder: Path, path: Path) -> str:
    return os.path.relpath(path, folder)


class Trial:
    """Commands, what they ended with, and how long they took."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.capfd = capfd
        self.codes: Counter[str] = Counter()
        self.slowest = 0.0

    def run(self, name: str, *words: object, allowed: tuple[int, ...] = (0, 2), files: int = 0) -> tuple[int, str]:
        """Exit code and what was said; fails at a traceback, a code that is none, and when it takes too long."""
        self.capfd.readouterr()
        begin = time.monotonic()
        code = main([str(word) for word in words])
        taken = time.monotonic() - begin
        said = "".join(self.capfd.readouterr())
        assert code in allowed, f"{name}: {code} {said}"
        assert "Traceback" not in said, f"{name}: {said}"
        assert taken < SECONDS + files, f"{name}: {taken:.1f} s"
        if code == 2:
            assert said.count("Error: ") == 1 and "expected" in said and "found" in said and "  do  " in said, said
        self.codes[f"{words[0]} {'refused' if code else 'done'}"] += 1
        self.slowest = max(self.slowest, taken)
        return code, said


def made(variants: Iterable[Variant], folder: Path) -> list[tuple[Variant, Path]]:
    """Each variant in a folder of its own. Above it lies what some of them try to reach."""
    folder.mkdir()
    (folder / "secret.raw").write_bytes(scan().tobytes())
    done = []
    for number, variant in enumerate(variants):
        own = folder / str(number)
        own.mkdir()
        done.append((variant, variant.make(own)))
    return done


def check_segment(trial: Trial, variant: Variant, path: Path, model: Path, output: Path) -> None:
    words = ("segment", "--model", model, "--input", path, "--output", output, "--device", "cpu")
    code, said = trial.run(variant.name, *words)
    assert code == 0 or not variant.whole, f"{variant.name}: {said}"
    files = sorted(output.iterdir()) if output.is_dir() else []
    assert not [file.name for file in files if file.name.startswith(".")], variant.name
    written = [file for file in files if file.name.endswith(".seg.nrrd")]
    assert len(written) == (code == 0), variant.name
    for file in written:
        found = sitk.ReadImage(file)
        assert found.GetSize()[::-1] == read_geometry(path).shape_zyx, variant.name
        if variant.whole and path.is_file():
            assert found.GetSize()[::-1] == SHAPE


def check_train(trial: Trial, variant: Variant, path: Path, folder: Path) -> None:
    data = dataset(path.parent, [path], "\u00fcber")
    code, said = trial.run(variant.name, "train", "--data", data, "--run", folder, "--steps", "1", *SETTINGS)
    assert code == 0 or not variant.whole, f"{variant.name}: {said}"
    assert folder.exists() == (code == 0), f"{variant.name}: {said}"


def check_together(trial: Trial, done: list[tuple[Variant, Path]], folder: Path) -> None:
    """All of them in one manifest: the doctor tells of each and stumbles over none."""
    data = dataset(folder, [path for _, path in done], "good")
    _, said = trial.run("all", "doctor", "--data", data, "--cases", allowed=(1,), files=len(done))
    table = said.partition("what was found")[2]
    for number, (variant, path) in enumerate(done):
        try:
            read_geometry(path)
        except InputError:
            assert f" u{number} " in table, f"{variant.name} is not told of: {said}"


def chosen(variants: Iterable[Variant], count: int, seed: int) -> list[Variant]:
    """So many of them; the same at every run. Bombs take seconds to make, and are left to the long form."""
    small = [variant for variant in variants if "bomb" not in variant.name and "2^31" not in variant.name]
    order = np.random.default_rng(seed).permutation(len(small))[:count]
    return [small[index] for index in sorted(order)]


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and names that Windows does not allow")


def test_sixty_broken_files(tmp_path: Path, model: Path, capfd: pytest.CaptureFixture[str]):
    variants = [*chosen(by_hand(), 45, seed=1), *by_chance(1, 15)]
    trial = Trial(capfd)
    done = made(variants, tmp_path / "data")
    check_together(trial, done, tmp_path / "data")
    for number, (variant, path) in enumerate(done):
        check_segment(trial, variant, path, model, tmp_path / f"o{number}")
        if number % 10 == 0:
            check_train(trial, variant, path, tmp_path / f"r{number}")
    assert trial.codes["segment refused"] > 30 and trial.codes["segment done"] > 5


def test_broken_labels(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    trial = Trial(capfd)
    done = made(list(labels(1, 4)), tmp_path / "data")
    data = dataset(tmp_path / "data", [], "good", labels=[path for _, path in done])
    _, said = trial.run("labels", "doctor", "--data", data, allowed=(1,))
    for number, (variant, _) in enumerate(done):
        if variant.name in ("label negative", "label NaN", "segments: grey values", "segments: layer 256"):
            assert f" l{number} " in said, variant.name


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_every_broken_file(tmp_path: Path, model: Path, capfd: pytest.CaptureFixture[str]):
    """Each by itself through doctor, train and segment; labels through doctor, train and evaluate."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trial = Trial(capfd)
    done = made([*by_hand(), *by_chance(2, 180)], tmp_path / "data")
    assert len(done) >= 500
    check_together(trial, done, tmp_path / "data")
    for number, (variant, path) in enumerate(done):
        data = dataset(path.parent, [path], "good")
        trial.run(variant.name, "doctor", "--data", data, allowed=(0, 1))
        check_segment(trial, variant, path, model, tmp_path / f"o{number}")
        check_train(trial, variant, path, tmp_path / f"r{number}")
    tags = made(labels(2, 30), tmp_path / "labels")
    for number, (variant, path) in enumerate(tags):
        data = dataset(path.parent, [], "good", labels=[path])
        trial.run(variant.name, "doctor", "--data", data, allowed=(0, 1))
        trial.run(variant.name, "train", "--data", data, "--run", tmp_path / f"l{number}", "--steps", "1", *SETTINGS)
        path.rename(path.with_name(path.name.replace("label", "l0")))
        dataset(path.parent, [], "good", labels=[path.parent / "good label.nrrd"])
        report = tmp_path / f"e{number}.json"
        trial.run(
            variant.name,
            "evaluate",
            "--data",
            data,
            "--split",
            "training",
            "--predictions",
            path.parent,
            "--output",
            report,
        )
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - own) / 1e6
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    assert child < (MEMORY + (1 << 30)) / 1e9 and grown < 1
    record(
        PROMISE,
        f"{len(done)} scans and {len(tags)} labels, each through three commands ({dict(trial.codes)}); "
        f"at most {trial.slowest:.1f} s; the command grew by {grown:.2f} GB, a reader took at most {child:.2f} GB",
    )
