"""Organs with strange names, from the manifest to the files: told apart by name to the end, or refused at once."""
# ruff: noqa: E501 - tables of names

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.hostile.corpus import scan, sound, sound_series
from Testing.training.conftest import TINY
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.geometry import to_image
from VoxelAdvSegLib.data.labels import read_label
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.reading import reading_apart
from VoxelAdvSegLib.data.segments import list_segments
from VoxelAdvSegLib.data.volume import read_geometry, read_header
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.inference.output import write_segmentation

STRANGE = [
    "a/b|c~d^e", "../../x", "CON", "nul.txt", "\u0645\u0634\u0631\u0648\u0639", "\u809d\u81d3", "left:right;", "%s{0}$HOME",
    "x" * 10_000, "back\\slash", 'quote " and \'', "<b>&amp;", "\U0001fac0", "1", "Segment_1", "Segment0_Name:=x", "#no comment",
]  # fmt: skip
REFUSED = {
    "empty": {"": 1}, "blank": {"  ": 1}, "only signs": {"_-": 1}, "30,000 characters": {"x" * 30_000: 1},
    "a line break": {"a\nSegment9_Name:=b": 1}, "zero": {"a\0b": 1}, "turned writing": {"\u202eabc": 1}, "half a letter": {"\ud800": 1},
    "background": {"Background": 1}, "twice up to case": {"Liver": 1, "LIVER": 2}, "twice up to signs": {"left_kidney": 1, "left kidney ": 2},
    "one value twice": {"a": 1, "b": 1}, "a value beyond a byte": {"a": 256}, "a negative value": {"a": -1},
    "a hidden joiner": {"liv\u200ber": 1},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def readers():
    with reading_apart():
        yield


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_cannot_be_are_refused_at_once(tmp_path: Path, capfd, name: str):
    content = {"labels": {"background": 0, **REFUSED[name]}, "training": []}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    for command in (["doctor"], ["train", "--run", str(tmp_path / "run")]):
        assert main([*command, "--data", str(tmp_path / "dataset.json")]) == 2
        said = capfd.readouterr().err
        assert said.startswith("InputError: 'labels' does not name the organs") and len(said) < 1000, said


@pytest.mark.parametrize("code", ["a|Name:b", "a\nSegment9_Name:=b", "x" * 10_000])
def test_codes_cannot_add_to_a_header(tmp_path: Path, code: str):
    content = {"labels": {"0": "background", "1": "liver"}, "terminology": {"liver": code}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="terminology"):
        read_manifest(tmp_path / "dataset.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of all the strange names."""
    folder = tmp_path_factory.mktemp("names")
    label = (np.arange(16 * 18 * 20) % (len(STRANGE) + 1)).reshape(16, 18, 20).astype(np.uint8)
    for number, name in enumerate(("a", "b", "c")):
        sound(folder / f"{name}.nrrd", scan() + np.int16(number))
    sound(folder / "label.nrrd", label)
    entry = {"label": "label.nrrd"}
    content = {
        "labels": {"background": 0, **{name: value for value, name in enumerate(STRANGE, 1)}},
        "training": [{"image": "a.nrrd", **entry}, {"image": "b.nrrd", **entry}], "unlabeled": ["c.nrrd"],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content))
    settings = [f"--set={key}={value}" for key, value in TINY.items()]
    words = ["train", "--data", str(folder / "dataset.json"), "--run", str(folder / "run"), "--steps", "1"]
    assert main([*words, *settings]) == 0
    return folder


def test_a_model_and_its_segmentations_have_the_names(trained: Path, tmp_path: Path):
    about = json.loads((trained / "run" / "model" / "model.json").read_text(encoding="utf-8"))
    assert [organ["name"] for organ in about["organs"]] == STRANGE
    words = ["segment", "--model", str(trained / "run"), "--input", str(trained / "a.nrrd"), "--output"]
    assert main([*words, str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.seg.nrrd", "segmentation.json"]
    segments = list_segments(read_header(tmp_path / "out" / "a.seg.nrrd"))
    assert [name for name, _ in segments] == STRANGE


@pytest.mark.parametrize("ending", ["seg.nrrd", "dcm"])
def test_segments_come_back_by_name(trained: Path, tmp_path: Path, ending: str):
    organs = read_manifest(trained / "dataset.json").organs
    if ending == "dcm":
        organs = tuple(organ for organ in organs if len(organ.name) <= 64 and "\\" not in organ.name)
        assert len(organs) == len(STRANGE) - 2
    series = sound_series(tmp_path)
    geometry = read_geometry(series)
    array = (np.arange(6 * 18 * 20) % (len(organs) + 1)).reshape(geometry.shape_zyx).astype(np.uint8)
    sitk.WriteImage(to_image(array, geometry), tmp_path / "image.nrrd")
    write_segmentation(array, geometry, organs, tmp_path / f"out.{ending}", source=series)
    turned = tuple(reversed(organs))
    found = read_label(tmp_path / f"out.{ending}", turned, geometry)
    assert np.array_equal(np.where(found, len(organs) + 1 - found.astype(int), 0), array)


@pytest.mark.parametrize("name", ["x" * 65, "back\\slash"])
def test_names_that_dicom_cannot_hold_are_told(tmp_path: Path, name: str):
    series = sound_series(tmp_path)
    geometry = read_geometry(series)
    array = np.ones(geometry.shape_zyx, np.uint8)
    with pytest.raises(InputError, match="DICOM cannot hold"):
        write_segmentation(array, geometry, organs_of({name: 1}), tmp_path / "out.dcm", source=series)
    assert not list(tmp_path.glob("*out*"))
