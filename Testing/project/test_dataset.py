"""What a training reads of a project: accepted labels by pseudonym, and nothing that nobody accepted."""

import json

import pytest

from Testing.project.conftest import BOTH, LIVER, write_prediction, write_scan, write_segments
from VoxelAdvSegLib.data.manifest import check_roles, read_manifest
from VoxelAdvSegLib.errors import InputError, ProjectError


def read(project):
    return read_manifest(project.write_manifest(), anywhere=True)


def names(cases):
    return [case.name for case in cases]


def test_roles_become_splits(filled, project):
    ids = filled(4, 3)
    project.set_role(ids[1], "validation")
    project.set_role(ids[2], "unlabeled")
    project.set_role(ids[3], "excluded")
    project.set_role(ids[6], "excluded")
    manifest = read(project)
    check_roles(manifest)
    assert names(manifest.training) == [ids[0]]
    assert names(manifest.validation) == [ids[1]]
    assert names(manifest.unlabeled) == [ids[2], ids[4], ids[5]]
    assert manifest.test == ()
    assert manifest.training[0].image == project.case(ids[0]).image
    assert [organ.name for organ in manifest.organs] == ["liver", "spleen"]


def test_what_nobody_accepted_is_no_label(tmp_path, filled, project):
    labeled, flagged, validation, draft, predicted = filled(3, 2)
    project.flag(flagged, "wrong side")
    project.set_role(validation, "validation")
    project.flag(validation, "blurred")
    project.save_draft(draft, lambda path: write_segments(path, BOTH))
    project.record_prediction(predicted, write_prediction(tmp_path / "job"), model="m")
    manifest = read(project)
    assert names(manifest.training) == [labeled]
    assert names(manifest.unlabeled) == [flagged, draft, predicted]
    assert manifest.validation == ()  # a flagged validation case helps neither side


def test_a_case_being_corrected_counts_with_its_accepted_label(filled, project):
    case_id, _ = filled(2)
    project.save_draft(case_id, lambda path: write_segments(path, {"liver": LIVER}))
    assert read(project).training[0].label == project.label_file(case_id)


def test_the_manifest_names_nobody(tmp_path, project):
    scan = write_scan(tmp_path / "scan.nrrd")
    (case_id,) = project.add_files([(scan, write_segments(tmp_path / "l.seg.nrrd", BOTH))]).added
    project.rename_case(case_id, "Müller, Jörg *1950")
    text = project.write_manifest().read_text(encoding="utf-8")
    assert "Jörg" not in text
    assert json.loads(text)["training"][0]["name"] == case_id


def test_scans_elsewhere_need_the_flag(filled, project):
    filled(1)
    path = project.write_manifest()
    with pytest.raises(InputError, match="leaves the folder of the manifest"):
        read_manifest(path)


def test_the_newest_version_counts(tmp_path, filled, project):
    (case_id,) = filled(1)
    version = project.accept(case_id, write_segments(tmp_path / "l.seg.nrrd", {"liver": LIVER}), decision="corrected")
    assert read(project).training[0].label == version.file


def test_without_organs_or_labels_nothing_is_written(filled, project):
    with pytest.raises(ProjectError, match="nothing to train from yet"):
        project.write_manifest()
    project.add_organ("liver")
    filled(0, 1)
    with pytest.raises(ProjectError, match="nothing to train from yet") as caught:
        project.write_manifest()
    assert caught.value.found == "no labeled case"
    assert not (project.path / "dataset.json").exists()


def test_why_a_training_cannot_start_is_said(tmp_path, filled, project):
    assert project.can_train() == "The project has no organs yet."
    project.add_organ("liver")
    assert project.can_train() == "There is no labeled case yet: accept at least one segmentation."
    filled(1)
    assert project.can_train() == "There is no unlabeled case: add scans without labels."
    assert project.can_train(unlabeled=False) == ""
    other = write_scan(tmp_path / "other.nrrd", 5)
    (unlabeled,) = project.add_files([other]).added
    assert project.can_train() == ""
    other.rename(tmp_path / "moved.nrrd")
    assert project.can_train().startswith("The scan of other is no longer at its place: put it back, find it again")
    project.set_role(unlabeled, "excluded")
    assert project.can_train(unlabeled=False) == ""


def test_an_error_in_a_case_keeps_a_training_from_starting(filled, project):
    first, _, other = filled(2, 1)
    project.label_file(first).write_bytes(b"NRRD0004\n")
    project.findings()
    assert project.can_train() == "scan 0 cannot be used: see the case table, repair or exclude."
    project.set_role(first, "excluded")
    assert project.can_train() == ""
    assert other


def test_derived_labels_are_made_anew_when_organs_change_and_old_ones_go(filled, project):
    (case_id,) = filled(1)
    folder = project.case_folder(case_id)
    project.rename_organ("liver", "Leber")
    first = read(project).training[0].label
    assert first.parent == folder
    project.rename_organ("spleen", "Milz")
    second = read(project).training[0].label
    assert first != second
    assert list(folder.glob("training-*")) == [second]
