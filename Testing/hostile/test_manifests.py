"""Lists of cases as nobody writes them: each ends in one message."""
# ruff: noqa: E501 - tables of texts

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from Testing.hostile.corpus import label, scan, sound
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data import manifest as manifests
from VoxelAdvSegLib.data.reading import reading_apart

PATHS = {
    "of 300 letters": "x" * 300 + ".nii.gz",
    "of 10,000 letters": "x/" * 5000,
    "with a zero": "a\0b.nii.gz",
    "half a letter": "\ud800.nii.gz",
    "above": "../a.nii.gz",
    "roundabout": "x/../../a.nii.gz",
    "absolute": "/etc/passwd",
    "of Windows": "C:\\a.nii.gz",
    "a share": "//server/share/a.nii.gz",
    "the folder": ".",
    "empty": "",
    "a link in a circle": "circle/a.nii.gz",
    "a device": "device",
    "a pipe": "pipe",
    "an address": "http://127.0.0.1/a.nii.gz",
    "a folder in a file": "good.nrrd/a.nii.gz",
    "a home": "~root/a.nii.gz",
    "of no text": 5,
    "a list": ["a.nii.gz"],
    "nothing": None,
}


@pytest.fixture(scope="module", autouse=True)
def readers():
    with reading_apart():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sound(tmp_path / "good.nrrd", scan())
    sound(tmp_path / "label.nrrd", label())
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "device").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("place", ["image", "label"])
@pytest.mark.parametrize("name", PATHS)
def test_paths_that_lead_nowhere_or_away(folder: Path, capfd, name: str, place: str):
    entry = {"image": "good.nrrd", "label": "label.nrrd", place: PATHS[name]}
    content = {"labels": {"1": "ball"}, "training": [entry], "unlabeled": ["good.nrrd"]}
    (folder / "dataset.json").write_text(json.dumps(content))
    for words, code in ((["doctor"], 1), (["train", "--run", str(folder / "run"), "--steps", "1"], 2)):
        assert main([*words, "--data", str(folder / "dataset.json")]) == code
        said = "".join(capfd.readouterr())
        assert "Traceback" not in said and len(said) < 40_000
    assert not (folder / "run").exists()


@pytest.mark.parametrize("text", [
    "", "[]", "5", "null", "{", '"x"', "\ufeff", "[" * 100_000, '{"labels": ' + "9" * 10_000 + "}", '{"labels": {"1": 1e999}}',
    '{"labels": {"1": "a"}, "training": {"a": 1}}', '{"labels": {"1": "a"}, "training": [null, 5, [], {}, ""]}',
    '{"labels": {"1": "a"}, "mirror_axes": 5}', '{"labels": {"1": "a"}, "terminology": [1]}', '{"labels": {"1": "a"}, "modality": [[]]}',
    '{"labels": {"1": "a"}, "labels": {"1": NaN}}', '{"labels": {"1": "a"}, "training": [{"image": "good.nrrd", "label": "label.nrrd", "name": "a\\nb/"}]}',
])  # fmt: skip
def test_texts_that_are_no_list_of_cases(folder: Path, capfd, text: str):
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    for words in (["doctor"], ["train", "--run", str(folder / "run"), "--steps", "1"]):
        assert main([*words, "--data", str(folder / "dataset.json")]) in (1, 2)
        assert "Traceback" not in "".join(capfd.readouterr())


def test_a_list_that_is_too_large_is_not_read(folder: Path, capfd, monkeypatch):
    (folder / "dataset.json").write_text(json.dumps({"labels": {"1": "a"}, "description": "x" * 2000}))
    monkeypatch.setattr(manifests, "LARGEST_MANIFEST", 1000)
    assert main(["doctor", "--data", str(folder / "dataset.json")]) == 2
    assert "more than any list of cases" in capfd.readouterr().err
