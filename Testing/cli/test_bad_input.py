"""Each kind of bad input: one message that names the file and the remedy, exit code 2, nothing left behind."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.cli.main import main

SETTINGS = [f"--set={key}={value}" for key, value in TINY.items()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, name in enumerate("abcdef"):
        write_scan(tmp_path / "data", name, seed, labeled=name in "abf")
    write_manifest(tmp_path / "data")
    return tmp_path / "data"


def image(data: Path) -> Path:
    return data / "images" / "a.nii.gz"


def label(data: Path) -> Path:
    return data / "labels" / "a.nii.gz"


def change(path: Path, by: Callable[[np.ndarray], np.ndarray], **header: tuple) -> None:
    source = sitk.ReadImage(path)
    made = sitk.GetImageFromArray(by(sitk.GetArrayFromImage(source)))
    if made.GetDimension() == 3:
        made.CopyInformation(source) if made.GetSize() == source.GetSize() else None
    for name, value in header.items():
        getattr(made, f"Set{name}")(value)
    sitk.WriteImage(made, path)


def rewrite(data: Path, edit: Callable[[dict], object]) -> None:
    path = data / "dataset.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def set_value(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[3, 3, 3] = value
    return array


def truncate(path: Path) -> None:
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[: len(whole) // 2]))


def copy_labeled(data: Path) -> None:
    change(data / "images" / "a.nii.gz", lambda a: a)
    (data / "images" / "c.nii.gz").write_bytes((data / "images" / "a.nii.gz").read_bytes())


# name: what goes wrong, and words the message must have
CASES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "unreadable image": (lambda d: image(d).write_bytes(b"not an image"), ("a.nii.gz",)),
    "truncated image": (lambda d: truncate(image(d)), ("a.nii.gz",)),
    "truncated unlabeled image": (lambda d: truncate(d / "images" / "d.nii.gz"), ("d.nii.gz",)),
    "unknown label value": (lambda d: change(label(d), lambda a: set_value(a, 9)), ("a.nii.gz", "9")),
    "label with no organ": (lambda d: change(label(d), lambda a: a * 0), ("a.nii.gz",)),
    "label of another size": (lambda d: change(label(d), lambda a: a[:-1]), ("a.nii.gz",)),
    "label of another spacing": (
        lambda d: change(label(d), lambda a: a, Spacing=(2.0, 1.0, 1.0)),
        ("a.nii.gz", "2"),
    ),
    "not a number": (lambda d: change(image(d), lambda a: set_value(a, np.nan)), ("a.nii.gz",)),
    "infinite": (lambda d: change(image(d), lambda a: set_value(a, np.inf)), ("a.nii.gz",)),
    "constant": (lambda d: change(image(d), lambda a: a * 0 + 5), ("a.nii.gz",)),
    "two dimensions": (lambda d: change(image(d), lambda a: a[0]), ("a.nii.gz",)),
    "four dimensions": (
        lambda d: sitk.WriteImage(sitk.Image([8, 8, 8, 3], sitk.sitkFloat32), image(d)),
        ("a.nii.gz",),
    ),
    "no labeled scan": (lambda d: rewrite(d, lambda c: c.update(training=[])), ("dataset.json", "training")),
    "no unlabeled scan": (
        lambda d: rewrite(d, lambda c: c.update(unlabeled=[])),
        ("dataset.json", "unlabeled"),
    ),
    "labeled and unlabeled": (
        lambda d: rewrite(d, lambda c: c["unlabeled"].append("images/a.nii.gz")),
        ("a.nii.gz",),
    ),
    "labeled and unlabeled by content": (copy_labeled, ("a", "c")),
    "wrong path": (lambda d: rewrite(d, lambda c: c["unlabeled"].append("images/zz.nii.gz")), ("zz.nii.gz",)),
    "wrong key": (lambda d: rewrite(d, lambda c: c.update(unlabelled=[])), ("dataset.json", "unlabelled")),
    "path that leaves": (
        lambda d: rewrite(d, lambda c: c["unlabeled"].append("../x.nii.gz")),
        ("../x.nii.gz",),
    ),
    "not JSON": (lambda d: (d / "dataset.json").write_text("{"), ("dataset.json",)),
    "no manifest": (lambda d: (d / "dataset.json").unlink(), ("dataset.json",)),
}


@pytest.mark.parametrize("name", CASES)
def test_train_refuses(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str):
    spoil, words = CASES[name]
    spoil(data)
    run = tmp_path / "run"
    assert main(["train", "--data", str(data / "dataset.json"), "--run", str(run), "--steps", "2", *SETTINGS]) == 2
    message = capfd.readouterr().err
    assert message.startswith("InputError: ") and "Traceback" not in message
    assert "expected" in message and "found" in message and "  do  " in message
    for word in words:
        assert word in message
    assert not run.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "filers=8"], ["--set", "filters"], ["--set", "filters=many"], ["--set", "patch=40,32,32"],
        ["--preset", "fast"], ["--method", "magic"], ["--device", "cuda:7"], ["--device", "moon"], ["--steps", "0"],
        ["--minutes", "0"], ["--set", "patch=16,16,16"],
    ],
)  # fmt: skip
def test_train_refuses_a_setting(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str]):
    run = tmp_path / "run"
    assert main(["train", "--data", str(data / "dataset.json"), "--run", str(run), *SETTINGS, *words]) == 2
    message = capfd.readouterr().err
    assert message.startswith("ConfigError: ") and "Traceback" not in message
    assert not run.exists()


def test_segment_refuses(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    scan = str(image(data))
    out = str(tmp_path / "out")
    assert main(["segment", "--model", str(data), "--input", scan, "--output", out]) == 2
    assert "BundleError" in capfd.readouterr().err
    assert main(["segment", "--model", str(data), "--input", scan + "x", "--output", out]) == 2
    assert "InputError" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
