"""Models: listed without loading, exported as one file, and imported with every doubt."""

import json
import shutil
import stat
import struct
import zipfile

import numpy as np
import pytest
import torch

from Testing.project.conftest import BOTH, write_prediction, write_segments
from VoxelAdvSegLib.bundle import Bundle, make_network, read_bundle, write_bundle
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.errors import BundleError, ProjectError
from VoxelAdvSegLib.model_folder import LARGEST_TEXT, check_safetensors, sealed

RUN = "20261125-101500"


@pytest.fixture(scope="session")
def real_model(tmp_path_factory):
    """A model folder as the library writes it, of a tiny untrained network."""
    config = resolve("auto", {"filters": 4, "norm": "instance", "patch": "16,16,16"})
    organs = organs_of({"liver": 1, "spleen": 2})
    torch.manual_seed(0)
    weights = {"student": make_network(config, 3).state_dict()}
    provenance = {
        "labeled_scans": 4, "unlabeled_scans": 30, "validation_scans": 2, "date": "2026-11-25",
        "validation_dice": {"liver": 0.9, "spleen": None, "mean": 0.9},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("real") / "model"
    bundle = Bundle(organs, Recipe(), config, "student", weights, provenance)
    write_bundle(folder, bundle, "# Segmentation model\n\nFor research; not a medical device.\n")
    return folder


def add_run(project, model, run=RUN):
    shutil.copytree(model, project.path / "runs" / run / "model")
    return f"runs/{run}"


@pytest.fixture
def trained(project, real_model):
    return add_run(project, real_model)


def test_a_model_is_listed_with_what_it_is(project, trained):
    (model,) = project.models()
    assert (model.id, model.name, model.origin) == (trained, f"training {RUN}", "trained here")
    assert [organ.name for organ in model.organs] == ["liver", "spleen"]
    assert model.dice == {"liver": 0.9, "spleen": None, "mean": 0.9}
    assert model.provenance["labeled_scans"] == 4
    assert model.date == "2026-11-25"
    assert "not a medical device" in model.card
    assert model.problem == ""
    assert project.model(trained) == model
    assert project.run(RUN).has_model


def test_a_canceled_training_has_no_model_also_when_it_had_time_to_write_one(project, trained):
    assert [model.id for model in project.models()] == [trained]
    (project.path / trained / "CANCELLED").touch()
    assert project.models() == () and not project.run(RUN).has_model


def test_a_model_has_the_name_that_a_person_gives_it(project, trained):
    project.rename_model(trained, " Leber 3 ")
    project.close()
    with type(project).open(project.path) as opened:
        assert opened.model(trained).name == "Leber 3"
        for name in ("", "a\nb", "x" * 100):
            with pytest.raises(ProjectError, match="cannot be called so"):
                opened.rename_model(trained, name)
        with pytest.raises(ProjectError, match="no such model"):
            opened.rename_model("models/none", "x")


def test_export_and_import_give_back_the_same_model(tmp_path, project, trained, real_model):
    file = project.export_model(trained, tmp_path / "Leber höhle.model")
    assert file.name == "Leber höhle.model.zip"
    project.delete_run(RUN, even_if_needed=True)
    model = project.import_model(file)
    assert (model.origin, model.name, model.problem) == ("imported", "Leber höhle.model", "")
    for name in ("model.json", "README.md", "student.safetensors"):
        assert (model.path / name).read_bytes() == (real_model / name).read_bytes()
    read = read_bundle(model.path)  # the library takes it
    original = read_bundle(real_model)
    for key, tensor in original.weights["student"].items():
        assert torch.equal(read.weights["student"][key], tensor)


def test_the_same_model_makes_the_same_file(tmp_path, project, trained):
    first = project.export_model(trained, tmp_path / "a.zip").read_bytes()
    assert project.export_model(trained, tmp_path / "b.zip").read_bytes() == first


def test_a_model_folder_is_imported_too_and_never_twice(tmp_path, project, real_model):
    model = project.import_model(real_model, "con")
    assert model.path.name == "model-con"
    with pytest.raises(ProjectError, match="in the project already"):
        project.import_model(real_model, "other")
    assert len(project.models()) == 1
    assert [path.name for path in (project.path / "models").iterdir()] == ["model-con"]


@pytest.mark.parametrize("name", ["../../evil", "a/b", ".hidden", "Leber: 3?", "NUL", "x" * 300, "名前", "..."])
def test_names_stay_within_the_folder(project, real_model, name):
    model = project.import_model(real_model, name)
    assert model.path.parent == project.path / "models"
    assert model.path.is_dir()
    assert not model.path.name.startswith(".")


def members(model):
    return {path.name: path.read_bytes() for path in sorted(model.iterdir())}


def write_zip(file, contents, compression=zipfile.ZIP_STORED, change=lambda entry: None):
    with zipfile.ZipFile(file, "w", compression) as packed:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = compression
            change(entry)
            packed.writestr(entry, content)
    return file


def refused(project, file, message):
    before = {path for path in project.path.rglob("*") if path.name not in ("models",)}
    with pytest.raises(BundleError, match=message) as caught:
        project.import_model(file)
    assert caught.value.do
    assert {path for path in project.path.rglob("*") if path.name not in ("models",)} == before
    assert project.models() == ()


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt", "/etc/evil", "sub/student.safetensors", "..\\evil.safetensors", "C:\\evil", "model.pt",
        "data.pkl", "student.safetensors.exe", "README.MD", "con.txt", "a\x00b", "folder/",
    ],
)  # fmt: skip
def test_files_that_are_no_part_of_a_model_are_refused(tmp_path, project, real_model, name):
    contents = {**members(real_model), name: b"x"}
    refused(project, write_zip(tmp_path / "m.zip", contents), "no model that was exported here")
    assert not list(tmp_path.rglob("evil*"))


def test_a_pickle_is_never_loaded(tmp_path, project, real_model):
    """One that would write a file when it is loaded, in every place where a careless reader would load it."""
    planted = tmp_path / "planted"
    code = b"cos\nsystem\n(S'touch " + str(planted).encode() + b"'\ntR."
    for name in ("student.safetensors", "model.json", "weights.pt"):
        contents = {**members(real_model), name: code}
        with pytest.raises(BundleError):
            project.import_model(write_zip(tmp_path / "m.zip", contents))
    assert not planted.exists()


def test_links_encryption_and_strange_packing_are_refused(tmp_path, project, real_model):
    def make_link(entry):
        if entry.filename == "README.md":
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    refused(project, write_zip(tmp_path / "l.zip", members(real_model), change=make_link), "exported here")
    file = write_zip(tmp_path / "e.zip", members(real_model))
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as packed:
        directory = packed.start_dir
    content[directory + 8] |= 1  # the mark of encryption, in the directory
    file.write_bytes(content)
    refused(project, file, "exported here")


def test_a_bomb_is_refused_before_it_goes_off(tmp_path, project, real_model):
    contents = {**members(real_model), "student.safetensors": b"\0" * 50_000_000}
    refused(project, write_zip(tmp_path / "b.zip", contents, zipfile.ZIP_DEFLATED), "exported here")
    many = {**members(real_model), **{f"n{i}.safetensors": b"" for i in range(50)}}
    refused(project, write_zip(tmp_path / "m.zip", many), "exported here")
    large = {**members(real_model), "README.md": np.random.default_rng(0).bytes(LARGEST_TEXT + 1)}
    refused(project, write_zip(tmp_path / "t.zip", large), "exported here")


def test_a_member_that_is_longer_than_it_claims_is_refused(tmp_path, project, real_model):
    """Its directory says fewer bytes than are packed."""
    file = write_zip(tmp_path / "m.zip", members(real_model), zipfile.ZIP_DEFLATED)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as packed:
        size = packed.getinfo("student.safetensors").file_size
    wanted = struct.pack("<I", size)
    content = content.replace(wanted, struct.pack("<I", size - 100))
    file.write_bytes(content)
    refused(project, file, "damaged")


def test_twice_the_same_name_is_refused(tmp_path, project, real_model):
    file = write_zip(tmp_path / "m.zip", members(real_model))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as packed:
        packed.writestr("model.json", b"{}")
    refused(project, file, "exported here")


def test_altered_weights_are_refused_by_checksum(tmp_path, project, real_model):
    contents = members(real_model)
    weights = bytearray(contents["student.safetensors"])
    weights[-1] ^= 1
    refused(project, write_zip(tmp_path / "m.zip", {**contents, "student.safetensors": bytes(weights)}), "damaged")


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("sha256"),
        lambda about: about.update(sha256={}),
        lambda about: about.update(sha256={"../student.safetensors": "0"}),
        lambda about: about["sha256"].update({"teacher.safetensors": "0" * 64}),
        lambda about: about.update(sha256=dict.fromkeys(["other.safetensors"], "0" * 64)),
        lambda about: about.update(organs="liver"),
        lambda about: about.update(provenance=None),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, project, real_model, change):
    contents = members(real_model)
    about = json.loads(contents["model.json"])
    change(about)
    contents["model.json"] = json.dumps(sealed(about)).encode()
    refused(project, write_zip(tmp_path / "m.zip", contents), "damaged")


def test_a_newer_format_is_refused_with_both_versions(tmp_path, project, real_model):
    contents = members(real_model)
    about = {**json.loads(contents["model.json"]), "format": 3, "version": "7.5"}
    contents["model.json"] = json.dumps(about).encode()
    file = write_zip(tmp_path / "m.zip", contents)
    with pytest.raises(BundleError, match="another version") as caught:
        project.import_model(file)
    assert "7.5" in caught.value.found
    assert "format 2" in caught.value.expected
    assert project.models() == ()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_zip_is_told(tmp_path, project, content):
    (tmp_path / "m.zip").write_bytes(content)
    refused(project, tmp_path / "m.zip", "no model file")
    refused(project, tmp_path / "none.zip", "no model file")


def test_a_zip_cut_anywhere_is_refused(tmp_path, project, real_model):
    whole = write_zip(tmp_path / "m.zip", members(real_model)).read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        (tmp_path / "c.zip").write_bytes(whole[: int(share * len(whole))])
        refused(project, tmp_path / "c.zip", "no model file|damaged")


def test_bits_that_flip_are_noticed(tmp_path, project, real_model):
    """40 places in the file, one bit each: refused in words, or of no importance to the model."""
    whole = write_zip(tmp_path / "m.zip", members(real_model)).read_bytes()
    for place in np.random.default_rng(1).integers(0, len(whole), 40):
        content = bytearray(whole)
        content[place] ^= 1 << int(place % 8)
        (tmp_path / "f.zip").write_bytes(content)
        try:
            model = project.import_model(tmp_path / "f.zip", "f")
        except BundleError:
            continue
        assert (model.path / "student.safetensors").read_bytes() == (real_model / "student.safetensors").read_bytes()
        project.delete_model(model.id, even_if_needed=True)


def header(table, tensors=b"", length=None):
    text = json.dumps(table).encode() if isinstance(table, dict) else table
    return struct.pack("<Q", len(text) if length is None else length) + text + tensors


ONE = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        header(ONE, b"\0" * 8, length=2**62),
        header(ONE, b"\0" * 7),
        header(ONE, b"\0" * 9),
        header({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}}, b"\0" * 8),
        header({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, b"\0" * 8),
        header({"a": {"dtype": "PYOBJ", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, b"\0" * 16),
        header({**ONE, "b": ONE["a"]}, b"\0" * 8),
        header(b"[1]"),
        header(b"[" * 100_000),
        header(b"not json"),
    ],
)
def test_weights_files_that_cannot_be_are_refused_by_their_header(tmp_path, content):
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        check_safetensors(file)


def test_weights_files_that_can_be_pass(tmp_path, real_model):
    check_safetensors(real_model / "student.safetensors")
    file = tmp_path / "x.safetensors"
    file.write_bytes(header({**ONE, "__metadata__": {"a": "b"}}, b"\0" * 8))
    check_safetensors(file)


def test_a_damaged_model_is_listed_with_its_problem(project, trained):
    (project.path / trained / "model" / "model.json").write_text("{")
    (model,) = project.models()
    assert "damaged" in model.problem
    assert model.organs == ()


def test_a_model_that_is_needed_is_not_deleted_unasked(tmp_path, project, filled, real_model, trained):
    predicted, corrected = filled(0, 2)
    project.add_organ("liver")
    for case_id in (predicted, corrected):
        project.record_prediction(case_id, write_prediction(tmp_path / "job"), model=trained, score=0.5)
    project.accept(corrected, write_segments(tmp_path / "c.seg.nrrd", BOTH), decision="corrected")
    heir = project.path / "runs" / "20261126-000000"
    heir.mkdir()
    (heir / "config.json").write_text(json.dumps({"init": str(project.model(trained).path)}))
    with pytest.raises(ProjectError, match="still needed") as caught:
        project.delete_model(trained)
    found = caught.value.found
    for reason in ("only model", "1 predictions that wait", "1 labels were made", "went on from it: 20261126-000000"):
        assert reason in found
    with pytest.raises(ProjectError, match="still needed"):
        project.delete_run(RUN)
    project.delete_model(trained, even_if_needed=True)
    assert project.models() == ()
    assert (project.path / trained).is_dir()  # the diary of the training stays
    assert project.versions(corrected)[0].model == trained


def test_a_model_that_nothing_needs_goes_at_once(tmp_path, project, trained, real_model):
    other = tmp_path / "other"
    shutil.copytree(real_model, other)
    about = json.loads((other / "model.json").read_text())
    renamed = {name.replace("student", "teacher"): checksum for name, checksum in about["sha256"].items()}
    (other / "student.safetensors").rename(other / "teacher.safetensors")
    (other / "model.json").write_text(json.dumps(sealed({**about, "sha256": renamed})))
    imported = project.import_model(other, "other")
    project.delete_model(imported.id)
    assert [model.id for model in project.models()] == [trained]
    assert list((project.path / "models").iterdir()) == []


def test_export_refuses_a_damaged_model_and_keeps_the_older_file(tmp_path, project, trained):
    file = project.export_model(trained, tmp_path / "m.zip")
    before = file.read_bytes()
    (project.path / trained / "model" / "student.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match="damaged"):
        project.export_model(trained, file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*m.zip*")] == ["m.zip"]


def test_an_exported_file_is_a_plain_zip_that_anyone_can_look_into(tmp_path, project, trained):
    file = project.export_model(trained, tmp_path / "m.zip")
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == ["model.json", "README.md", "student.safetensors"]
