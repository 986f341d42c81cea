"""How scans and labels come in: folders, files, manifests, the scene; pairs, repetitions, and what is wrong."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.project.conftest import (
    BOTH,
    GRID,
    LIVER,
    SPLEEN,
    write_layers,
    write_map,
    write_scan,
    write_segments,
)
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.segments import list_segments
from VoxelAdvSegLib.data.volume import read_header
from VoxelAdvSegLib.errors import InputError, ProjectError
from VoxelAdvSegLib.project.scans import find_scans
from VoxelAdvSegLib.project.segmentation import match_segments


def by_name(project):
    return {case.name: case for case in project.cases}


def masks_of(project, file):
    return match_segments(file, project.organs, GRID).masks


def segment_names(file):
    return [name for name, _ in list_segments(read_header(file))]


def test_a_folder_gives_its_scans_with_the_labels_beside_them(tmp_path, project):
    scans = tmp_path / "Patienten"
    write_scan(scans / "a.nii.gz", 1)
    write_segments(scans / "a.seg.nrrd", BOTH)
    write_scan(scans / "sub" / "b.nrrd", 2)
    write_map(scans / "sub" / "b_label.nrrd", LIVER * 1 + SPLEEN * 2)
    write_scan(scans / "c.mha", 3)
    write_scan(scans / ".hidden" / "d.nrrd", 4)
    (scans / "notes.txt").write_text("x")
    added = project.add_folder(scans)
    assert {name: (case.role, case.state) for name, case in by_name(project).items()} == {
        "a": ("labeled", "completed"),
        "c": ("unlabeled", "not started"),
        "b": ("labeled", "completed"),
    }
    assert added.labeled == 2
    assert added.text == "3 scans added, 2 of them with a label."
    assert [organ.name for organ in project.organs] == ["liver", "spleen", "label 1", "label 2"]


def test_the_folders_of_the_decathlon_are_paired_and_their_names_are_used(tmp_path, project):
    for name, seed in (("x_001", 1), ("x_002", 2)):
        write_scan(tmp_path / "d" / "imagesTr" / f"{name}.nii.gz", seed)
        write_map(tmp_path / "d" / "labelsTr" / f"{name}.nii.gz", LIVER * 3 + SPLEEN * 1)
    write_scan(tmp_path / "d" / "imagesTs" / "x_003.nii.gz", 3)
    content = {"labels": {"0": "background", "3": "liver", "1": "spleen"}, "numTraining": 2}
    (tmp_path / "d" / "dataset.json").write_text(json.dumps(content))
    assert project.add_folder(tmp_path / "d").labeled == 2
    assert [organ.name for organ in project.organs] == ["spleen", "liver"]
    file = project.label_file(by_name(project)["x_001"].id)
    matched = masks_of(project, file)
    assert np.array_equal(matched["liver"], LIVER)
    assert np.array_equal(matched["spleen"], SPLEEN)
    assert project.case(by_name(project)["x_003"].id).role == "unlabeled"


def test_nnunet_names_are_paired(tmp_path):
    write_scan(tmp_path / "imagesTr" / "liver_0001_0000.nii.gz")
    write_map(tmp_path / "labelsTr" / "liver_0001.nii.gz", LIVER)
    (scan,) = find_scans(tmp_path).scans
    assert scan.label == tmp_path / "labelsTr" / "liver_0001.nii.gz"


def test_the_same_value_may_mean_another_organ_in_another_data_set(tmp_path, project):
    """Values are read once, with the names of their own set; afterwards names alone count."""
    for folder, values in (("first", {"liver": 1, "spleen": 2}), ("second", {"liver": 2, "spleen": 1})):
        place = tmp_path / folder
        write_scan(place / "imagesTr" / "s.nrrd", seed=values["liver"])
        write_map(place / "labelsTr" / "s.nrrd", LIVER * values["liver"] + SPLEEN * values["spleen"])
        content = {
            "labels": {"background": 0, **values},
            "training": [{"image": "imagesTr/s.nrrd", "label": "labelsTr/s.nrrd"}],
        }
        (place / "dataset.json").write_text(json.dumps(content))
        project.add_manifest(place / "dataset.json")
    assert len(project.organs) == 2
    for case in project.cases:
        masks = masks_of(project, project.label_file(case.id))
        assert np.array_equal(masks["liver"], LIVER)
        assert np.array_equal(masks["spleen"], SPLEEN)
    manifest = read_manifest(project.write_manifest(), anywhere=True)
    assert len(manifest.training) == 2


def test_a_manifest_comes_with_its_splits(tmp_path, project):
    place = tmp_path / "set"
    for seed, name in enumerate("abcde"):
        write_scan(place / f"{name}.nrrd", seed)
        write_map(place / f"{name}_l.nrrd", LIVER)
    pair = {name: {"image": f"{name}.nrrd", "label": f"{name}_l.nrrd"} for name in "abcde"}
    content = {
        "labels": {"0": "background", "1": "liver"},
        "modality": {"0": "CT"},
        "training": [pair["a"], pair["b"]],
        "unlabeled": ["c.nrrd"],
        "validation": [pair["d"]],
        "test": [pair["e"]],
    }
    (place / "set.json").write_text(json.dumps(content))
    project.add_manifest(place / "set.json")
    assert {name: case.role for name, case in by_name(project).items()} == {
        "a": "labeled", "b": "labeled", "c": "unlabeled", "d": "validation", "e": "excluded",
    }  # fmt: skip
    assert project.case(by_name(project)["c"].id).label is None
    assert project.settings["modality"] == "CT"
    assert project.validation["cases"] == [by_name(project)["d"].id]
    with pytest.raises(ProjectError, match="drawn before"):
        project.draw_validation()


def test_the_same_scan_is_recognized_in_another_format_and_said(tmp_path, project):
    scan = write_scan(tmp_path / "a" / "scan.nii.gz")
    (case_id,) = project.add_files([scan]).added
    flipped = sitk.Flip(sitk.ReadImage(str(scan)), [True, False, False])  # the same voxels, stored the other way
    sitk.WriteImage(flipped, str(tmp_path / "copy.mha"))
    added = project.add_files([tmp_path / "copy.mha", write_scan(tmp_path / "other.nrrd", seed=1)])
    assert added.known == [("copy", case_id)]
    assert len(added.added) == 1
    assert f"copy (= {case_id})" in added.text
    exported = project.add_exported(
        "from the scene",
        lambda path: sitk.WriteImage(sitk.ReadImage(str(scan)), str(path)),
    )
    assert exported.known == [("from the scene", case_id)]
    assert len(project.cases) == 2
    assert not (project.path / "cases" / "case-0003").exists()


def test_unusable_scans_and_labels_are_told_and_the_others_come_in(tmp_path, project):
    scans = tmp_path / "scans"
    write_scan(scans / "good.nrrd", 1)
    (scans / "cut.nii.gz").write_bytes(write_scan(tmp_path / "whole.nii.gz", 2).read_bytes()[:100])
    write_scan(scans / "wrong.nrrd", 3)
    other = type(GRID)(GRID.shape_zyx, (1.0, 1.5, 2.5), GRID.origin_lps_mm)
    write_segments(scans / "wrong.seg.nrrd", BOTH, grid=other)
    write_segments(scans / "nobody's.seg.nrrd", BOTH)
    added = project.add_folder(scans)
    assert [name for name, _ in added.problems] == ["cut", "wrong"]
    assert all(isinstance(error, InputError) for _, error in added.problems)
    wrong = by_name(project)["wrong"]
    assert (wrong.role, wrong.state, wrong.label) == ("unlabeled", "not started", None)
    assert "grid" in wrong.reason
    assert set(by_name(project)) == {"good", "wrong"}
    assert "nobody's.seg.nrrd" in added.notes[0]


def test_an_image_in_the_place_of_a_label_is_told(tmp_path, project):
    scan = write_scan(tmp_path / "imagesTr" / "a.nrrd", 1)
    write_scan(tmp_path / "labelsTr" / "a.nrrd", 2)
    added = project.add_folder(tmp_path)
    assert [(name, error.what) for name, error in added.problems] == [("a", "this is no label map")]
    assert project.cases[0].image == scan


@pytest.mark.parametrize("folder", ["none", "empty", "file"])
def test_a_folder_without_scans_is_told(tmp_path, project, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"no such folder|no scans"):
        project.add_folder(tmp_path / folder)


def test_the_project_does_not_find_itself(tmp_path, project):
    write_scan(tmp_path / "a.nrrd", 1)
    project.add_exported("b", lambda path: write_scan(path, 2))
    assert len(project.add_folder(tmp_path).added) == 1


def test_real_dicom_series_are_found(project, shared_data):
    added = project.add_folder(shared_data / "dicom" / "mr_hippocampus_crop")
    assert len(added.added) == 3
    assert all(case.image.is_dir() for case in project.cases)
    found = find_scans(shared_data / "dicom" / "ct_liver_seg")
    assert [scan.name for scan in found.scans] == ["ct"]
    assert sorted(path.name for path in found.alone) == ["liver.dcm", "partial_overlaps.dcm"]


def test_a_dicom_segmentation_becomes_a_label(project, shared_data):
    place = shared_data / "dicom" / "ct_liver_seg"
    added = project.add_files([(place / "ct", place / "seg" / "liver.dcm")])
    assert added.problems == []
    (case,) = project.cases
    assert case.role == "labeled"
    assert segment_names(project.label_file(case.id)) == [organ.name for organ in project.organs] == ["Liver"]


def test_unfinished_segmentations_are_drafts_until_the_person_says_so(tmp_path, project):
    """Slicer marks them so, and predictions are: they must not become labels by lying beside a scan."""
    scan = write_scan(tmp_path / "a.nrrd")
    write_segments(tmp_path / "a.seg.nrrd", BOTH, status="inprogress")
    added = project.add_folder(tmp_path)
    (case,) = project.cases
    assert added.unfinished == [case.id]
    assert (case.role, case.state, case.label) == ("unlabeled", "in progress", None)
    assert project.can_train(unlabeled=False) == "There is no labeled case yet: accept at least one segmentation."
    (version,) = project.accept_unfinished([case.id])
    assert version.decision == "imported"
    assert (project.case(case.id).role, project.case(case.id).state) == ("labeled", "completed")
    assert project.draft(case.id) is None
    assert scan.exists()


def test_flagged_segmentations_come_in_flagged(tmp_path, project):
    write_scan(tmp_path / "a.nrrd")
    write_segments(tmp_path / "a.seg.nrrd", BOTH, status="flagged")
    project.add_folder(tmp_path)
    (case,) = project.cases
    assert (case.state, case.has_usable_label) == ("flagged", False)


def test_overlapping_segments_are_named_with_their_voxels_and_kept(tmp_path, project):
    shifted = np.roll(LIVER, 1, axis=2)
    common = int((LIVER & shifted).sum())
    write_scan(tmp_path / "a.nrrd")
    write_layers(tmp_path / "a.seg.nrrd", {"liver": LIVER, "tumor": shifted})
    added = project.add_folder(tmp_path)
    assert added.notes == [f"a: liver and tumor overlap in {common} voxels."]
    (case,) = project.cases
    (version,) = project.versions(case.id)
    assert version.overlaps == {"liver and tumor": common}
    masks = masks_of(project, version.file)
    assert np.array_equal(masks["liver"], LIVER)
    assert np.array_equal(masks["tumor"], shifted)


def test_a_scan_of_the_scene_is_written_into_its_case(project):
    added = project.add_exported(
        "MRHead", lambda path: write_scan(path), lambda path: write_segments(path, {"liver": LIVER})
    )
    (case_id,) = added.added
    case = project.case(case_id)
    assert (case.name, case.role) == ("MRHead", "labeled")
    assert case.image == project.case_folder(case_id) / "image.nrrd"
    assert project.case_of_image(case.image) == case
    assert not [path for path in case.image.parent.iterdir() if path.name.startswith(".")]


class CrashError(Exception):
    """What a scene's writer might raise."""


def test_a_failed_export_leaves_no_case(project):
    def crash(path):
        path.write_bytes(b"NRRD0004 half")
        raise CrashError

    for write, error in (
        (crash, CrashError),
        (lambda path: path.write_bytes(b"NRRD0004 half"), InputError),
        (lambda path: None, InputError),
    ):
        with pytest.raises(error):
            project.add_exported("x", write)
        assert project.cases == ()
        assert list((project.path / "cases").iterdir()) == []
    assert project.add_exported("x", lambda path: write_scan(path)).added == ["case-0001"]


def test_a_label_that_cannot_be_exported_leaves_the_case_unlabeled(project):
    added = project.add_exported("x", write_scan, lambda path: path.write_bytes(b"no nrrd"))
    (case_id,) = added.added
    assert project.case(case_id).role == "unlabeled"
    assert [name for name, _ in added.problems] == ["x"]


def test_ids_are_never_used_again(tmp_path, project):
    (case_id,) = project.add_files([write_scan(tmp_path / "a.nrrd", 1)]).added
    project.remove_case(case_id)
    (project.path / "cases" / "case-0002").mkdir(parents=True)  # left by a killed program
    assert project.add_files([write_scan(tmp_path / "b.nrrd", 2)]).added == ["case-0003"]
    assert project.add_files([tmp_path / "a.nrrd"]).added == ["case-0004"]


def test_a_case_with_work_in_it_is_not_removed(tmp_path, project, filled):
    labeled, unlabeled = filled(1, 1)
    project.save_draft(unlabeled, lambda path: path.write_bytes(b"x"))
    for case_id in (labeled, unlabeled):
        with pytest.raises(ProjectError, match="a person's work"):
            project.remove_case(case_id)
    project.discard_draft(unlabeled)
    image = project.case(unlabeled).image
    project.remove_case(unlabeled)
    assert image.exists()


def test_a_case_goes_with_its_work_where_that_was_agreed_to(tmp_path, project, filled):
    labeled, other = filled(2)
    project.findings()
    image, label = project.case(labeled).image, tmp_path / "scans" / "scan 0.seg.nrrd"
    folder = project.case_folder(labeled)
    project.remove_case(labeled, with_work=True)
    assert [case.id for case in project.cases] == [other] and not folder.exists()
    assert image.exists() and label.exists()  # the person's own files
    assert labeled not in project.findings() and labeled not in (project.path / "findings.json").read_text()


def test_a_label_from_a_file_of_any_format(tmp_path, project, filled):
    (case_id,) = filled(0, 1)
    version = project.add_label(case_id, write_map(tmp_path / "l.nii.gz", LIVER * 1))
    assert version.decision == "imported"
    assert project.case(case_id).role == "labeled"
    assert [organ.name for organ in project.organs] == ["label 1"]
    with pytest.raises(InputError, match="no such label"):
        project.add_label(case_id, tmp_path / "none.nrrd")


def test_a_moved_scan_is_found_again_and_no_other_is_taken_for_it(tmp_path, project, filled):
    case_id, other = filled(0, 2)
    image = project.case(case_id).image
    moved = image.rename(tmp_path / "moved.nrrd")
    with pytest.raises(InputError, match="not the scan of scan 0"):
        project.relocate_case(case_id, project.case(other).image)
    assert project.case(case_id).image == image
    assert project.relocate_case(case_id, moved).image == moved


def test_scans_that_moved_together_are_found_together(tmp_path, project, filled):
    ids = filled(0, 4)
    (tmp_path / "disk" / "2026").mkdir(parents=True)
    new = (tmp_path / "scans").rename(tmp_path / "disk" / "2026" / "scans")
    write_scan(new / "scan 2.nrrd", seed=99)  # another scan has taken its name
    (new / "scan 3.nrrd").unlink()
    before, told = project.case(ids[0]).image, []
    project.relocate_case(ids[0], new / "scan 0.nrrd")
    assert project.follow_move(before, new / "scan 0.nrrd", lambda *one: told.append(one)) == [ids[1]]
    assert [project.case(i).image.exists() for i in ids] == [True, True, False, False]
    assert told == [(0, 3, "scan 1"), (1, 3, "scan 2"), (2, 3, "scan 3")]
    assert project.follow_move(before, tmp_path / "renamed.nrrd") == []  # only the name changed: nothing to follow


def test_progress_is_told_by_name(tmp_path, project):
    seen = []
    scans = [write_scan(tmp_path / f"{name}.nrrd", seed) for seed, name in enumerate("ab")]
    project.add_files(scans, lambda *told: seen.append(told))
    assert seen == [(0, 2, "a"), (1, 2, "b")]
