"""Reading the list of cases: both spellings, roles, paths, and everything that can be wrong."""

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from VoxelAdvSegLib.data.manifest import (
    LabeledCase,
    UnlabeledCase,
    case_name,
    check_roles,
    read_manifest,
)
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.errors import InputError

LABELS = {"0": "background", "1": "liver", "2": "left kidney"}


@pytest.fixture
def write(tmp_path):
    """Writes a manifest of the given keys beside six empty files, and gives its path."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for name in "abc":
            (tmp_path / folder / f"{name}.nii.gz").touch()

    def write(**content):
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps({"labels": LABELS, **content}), encoding="utf-8")
        return path

    return write


def entry(name):
    return {"image": f"./images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}


def test_roles_and_paths(write, tmp_path):
    manifest = read_manifest(
        write(
            training=[entry("a")],
            unlabeled=["images/b.nii.gz", {"image": "images/c.nii.gz"}],
            validation=[],
            test=["images/a.nii.gz", entry("b")],
        )
    )
    images, labels = tmp_path / "images", tmp_path / "labels"
    assert manifest.training == (LabeledCase("a", images / "a.nii.gz", labels / "a.nii.gz"),)
    assert manifest.unlabeled == (
        UnlabeledCase("b", images / "b.nii.gz"),
        UnlabeledCase("c", images / "c.nii.gz"),
    )
    assert manifest.validation == ()
    assert [type(case) for case in manifest.test] == [UnlabeledCase, LabeledCase]


def test_organs_are_in_order_of_value_whatever_the_spelling(write):
    decathlon = read_manifest(write(labels={"10": "spleen", "0": "background", "2": "liver"}))
    nnunet = read_manifest(write(labels={"background": 0, "spleen": 10, "liver": 2}))
    assert [(organ.name, organ.value) for organ in decathlon.organs] == [("liver", 2), ("spleen", 10)]
    assert nnunet.organs == decathlon.organs


@pytest.mark.parametrize(
    ("modality", "expected"), [({"0": "MRI"}, "MR"), ({"0": "CT"}, "CT"), ({"0": "US"}, ""), ("ct", "CT")]
)
def test_modality_is_spelled_as_in_dicom(write, modality, expected):
    assert read_manifest(write(modality=modality)).modality == expected
    assert read_manifest(write(channel_names=modality)).modality == expected


def test_mirror_axes_and_terminology(write):
    manifest = read_manifest(write(mirror_axes=["x", "z"], terminology={"liver": "a~b^c"}))
    assert manifest.mirror_axes == ("x", "z")
    given, known = (organ.terminology for organ in manifest.organs)
    assert given == "a~b^c"
    assert known == terminology_of(manifest.organs[1].name)


def test_the_label_of_an_unlabeled_entry_is_never_kept(write, tmp_path):
    # a FIFO hangs whoever opens it, a path outside or to nothing is refused for other entries
    os.mkfifo(tmp_path / "labels" / "fifo.nii.gz")
    labels = ("labels/fifo.nii.gz", "../elsewhere.nii.gz", "labels/nothing.nii.gz")
    entries = [{"image": f"images/{name}.nii.gz", "label": label} for name, label in zip("abc", labels, strict=True)]
    manifest = read_manifest(write(unlabeled=entries))
    assert [case.name for case in manifest.unlabeled] == ["a", "b", "c"]
    assert [field.name for field in fields(UnlabeledCase)] == ["name", "image"]
    assert all("labels" not in str(value) for case in manifest.unlabeled for value in vars(case).values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trainig": []}, "unknown key 'trainig'"),
        ({"labels": {}}, "'labels' does not name"),
        ({"labels": {"0": "background"}}, "'labels' does not name"),
        ({"labels": {"1": "liver", "2": "Liver"}}, "'labels' does not name"),
        ({"labels": {"1": "liver", "01": "spleen"}}, "'labels' does not name"),
        ({"labels": {"1": "liver", "256": "spleen"}}, "'labels' does not name"),
        ({"labels": {"liver": [1, 2]}}, "'labels' does not name"),
        ({"labels": ["liver"]}, "'labels' does not name"),
        ({"training": {"image": "images/a.nii.gz"}}, "'training' is not a list"),
        ({"training": [["images/a.nii.gz"]]}, "names no image"),
        ({"training": ["images/a.nii.gz"]}, "a in 'training' has no label"),
        ({"validation": [{"image": "images/a.nii.gz"}]}, "a in 'validation' has no label"),
        ({"test": [{"image": "images/a.nii.gz", "label": None}]}, "a in 'test' has no label"),
        ({"unlabeled": ["images/d.nii.gz"]}, "d: the file does not exist"),
        ({"training": [{**entry("a"), "label": "labels/d.nii.gz"}]}, "a: the file does not exist"),
        ({"unlabeled": ["../a.nii.gz"]}, "leaves the folder"),
        ({"unlabeled": ["images/../../a.nii.gz"]}, "leaves the folder"),
        ({"unlabeled": ["/etc/hosts"]}, "leaves the folder"),
        ({"unlabeled": [""]}, "leaves the folder"),
        ({"training": [{**entry("a"), "label": "../a.nii.gz"}]}, "leaves the folder"),
        ({"unlabeled": ["images/a.nii.gz", "labels/a.nii.gz"]}, "two cases of 'unlabeled' are called a"),
        ({"mirror_axes": "xy"}, "'mirror_axes' is not"),
        ({"mirror_axes": [1]}, "'mirror_axes' is not"),
        ({"terminology": ["liver"]}, "'terminology' is not"),
    ],
)
def test_a_mistake_is_refused_with_what_to_do(write, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(write(**content))
    error = caught.value
    assert error.file
    assert error.expected
    assert error.found
    assert error.do


@pytest.mark.parametrize("text", ["", "{", "[]", '{"labels": 1e999', "\x00", "[" * 100_000])
def test_a_file_that_is_no_manifest_is_refused(tmp_path, text):
    path = tmp_path / "dataset.json"
    path.write_text(text)
    for problems in (None, []):
        with pytest.raises(InputError, match="the manifest is not") as caught:
            read_manifest(path, problems)
        assert caught.value.file == str(path)


def test_a_manifest_that_is_not_there_is_refused(tmp_path):
    for path, found in ((tmp_path / "none.json", "nothing"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match="no such manifest") as caught:
            read_manifest(path)
        assert caught.value.found == found


def test_bytes_that_are_not_utf8_are_refused_and_a_byte_order_mark_is_not(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_bytes(json.dumps({"labels": {"1": "höhle"}}, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(InputError, match="not readable JSON"):
        read_manifest(path)
    path.write_text(json.dumps({"labels": {"1": "höhle"}}, ensure_ascii=False), encoding="utf-8-sig")
    assert read_manifest(path).organs[0].name == "höhle"


def test_all_problems_are_collected_at_once(write):
    problems = []
    manifest = read_manifest(
        write(
            trainig=[],
            training=[entry("a"), "images/b.nii.gz", {**entry("b"), "label": "labels/nothing.nii.gz"}],
            unlabeled=["images/nothing.nii.gz", "../c.nii.gz", 7, "images/c.nii.gz"],
            validation={},
            mirror_axes="x",
        ),
        problems,
    )
    assert [(problem.split, problem.case) for problem in problems] == [
        ("", ""),
        ("", ""),
        ("training", "b"),
        ("training", "b"),
        ("unlabeled", "nothing"),
        ("unlabeled", "c"),
        ("unlabeled", ""),
        ("validation", ""),
    ]
    assert [case.name for case in manifest.training] == ["a", "b"]
    # what is only missing stays, so that roles and names can still be compared
    assert [case.name for case in manifest.unlabeled] == ["nothing", "c"]


def test_a_case_in_two_roles_is_refused(write, tmp_path):
    check_roles(read_manifest(write(training=[entry("a")], unlabeled=["images/b.nii.gz"])))
    with pytest.raises(InputError, match="a stands in 'training' and in 'unlabeled'"):
        check_roles(read_manifest(write(training=[entry("a")], unlabeled=["images/a.nii.gz"])))
    with pytest.raises(InputError, match="b stands twice in 'unlabeled'"):
        check_roles(read_manifest(write(unlabeled=["images/b.nii.gz", "images/./b.nii.gz"])))
    (tmp_path / "images" / "link.nii.gz").symlink_to("a.nii.gz")
    with pytest.raises(InputError, match="link stands in 'training' and in 'test'"):
        check_roles(read_manifest(write(training=[entry("a")], test=["images/link.nii.gz"])))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a/hn_001.nii.gz", "hn_001"), ("hn.001.seg.nrrd", "hn.001"), ("x.NRRD", "x"), ("x.mha", "x"),
        ("series.1", "series.1"), ("ct.dcm", "ct"),
    ],
)  # fmt: skip
def test_case_name_is_the_file_name_without_ending(tmp_path, file, name):
    assert case_name(tmp_path / file) == name


def test_the_shared_manifests_are_read(shared_data):
    manifest = read_manifest(shared_data / "headneck" / "dataset_5.json")
    check_roles(manifest)
    assert [len(manifest.split(name)) for name in ("training", "unlabeled", "validation", "test")] == [
        5, 20, 4, 0,
    ]  # fmt: skip
    assert manifest.organs[2].name == "right parotid"
    assert manifest.modality == "CT"


def test_a_mistyped_key_is_guessed(write):
    with pytest.raises(InputError, match="unknown key 'validaton'") as caught:
        read_manifest(write(validaton=[]))
    assert caught.value.do == "write 'validation', or remove the key"


def test_a_manifest_may_be_named_by_a_path_that_goes_up(write, tmp_path, monkeypatch):
    """As in --data ../data/dataset.json: that the way to the manifest goes up says nothing of its entries."""
    path = write(unlabeled=["images/a.nii.gz"])
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    manifest = read_manifest(Path("..") / path.name)
    assert manifest.unlabeled[0].image.resolve() == (tmp_path / "images" / "a.nii.gz").resolve()
    write(unlabeled=["../a.nii.gz"])
    with pytest.raises(InputError, match="leaves the folder"):
        read_manifest(Path("..") / path.name)


def test_a_manifest_of_ones_own_may_name_files_anywhere(write, tmp_path):
    elsewhere = tmp_path.parent / f"{tmp_path.name} elsewhere"
    elsewhere.mkdir()
    for name in ("scan.nii.gz", "label.seg.nrrd"):
        (elsewhere / name).touch()
    path = write(
        training=[{"image": str(elsewhere / "scan.nii.gz"), "label": f"../{elsewhere.name}/label.seg.nrrd"}],
        unlabeled=["images/a.nii.gz"],
    )
    with pytest.raises(InputError, match="leaves the folder"):
        read_manifest(path)
    manifest = read_manifest(path, anywhere=True)
    assert manifest.training == (LabeledCase("scan", elsewhere / "scan.nii.gz", elsewhere / "label.seg.nrrd"),)
    assert manifest.unlabeled[0].image == tmp_path / "images" / "a.nii.gz"
    with pytest.raises(InputError, match="leaves the folder"):
        read_manifest(write(unlabeled=[""]), anywhere=True)
    with pytest.raises(InputError, match="does not exist"):
        read_manifest(write(unlabeled=[str(elsewhere / "none.nii.gz")]), anywhere=True)


def test_an_entry_may_name_its_case(write):
    manifest = read_manifest(
        write(
            training=[{"name": "case-0001", **entry("a")}],
            unlabeled=[{"name": "case-0002", "image": "images/b.nii.gz"}, "images/c.nii.gz"],
        )
    )
    assert [case.name for split in ("training", "unlabeled") for case in manifest.split(split)] == [
        "case-0001", "case-0002", "c",
    ]  # fmt: skip


def test_two_files_of_one_name_may_have_names_of_their_own(write):
    pair = ["images/a.nii.gz", "labels/a.nii.gz"]
    with pytest.raises(InputError, match="two cases of 'unlabeled' are called a"):
        read_manifest(write(unlabeled=pair))
    named = [{"name": f"case {number}", "image": image} for number, image in enumerate(pair)]
    assert [case.name for case in read_manifest(write(unlabeled=named)).unlabeled] == ["case 0", "case 1"]


@pytest.mark.parametrize("name", ["", " ", "a/b", "..\\x", "C:x", 7, None, ["a"]])
def test_a_strange_name_of_a_case_is_refused(write, name):
    problems = []
    read_manifest(write(unlabeled=[{"name": name, "image": "images/a.nii.gz"}]), problems)
    (problem,) = problems
    assert "strange name" in problem.error.what
