"""The section Segment with the real workbench: what is missing, a queue with a broken scan, and the map's checkbox."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import slicer
import slicer.util

from Testing.jobs.conftest import FAKE_WORKER, JOB_EVENT
from Testing.jobs.test_segment import DONE_FACTS, case_event
from Testing.project.conftest import id_of, write_prediction
from Testing.project.test_models import add_run
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.protocol import CONTROL
from VoxelAdvSegLib.panel.case_rows import quality_cell
from VoxelAdvSegLib.panel.segment_section import SegmentSection, _quality, _warning

SECTION = SegmentSection
SURFACE = "Closed surface"  # Slicer's name of the representation


@pytest.fixture
def project(make_project):
    """One labeled and two unlabeled scans, no model."""
    return make_project(["known"], ["Aorta", "Bern"])


def test_what_is_missing_is_said_one_after_the_other(section, workbench, ui, project, model_folder, bed):
    ui.volumeSelector.setMRMLScene(slicer.mrmlScene)
    ui.volumeSelector.setCurrentNode(None)
    assert not ui.segmentButton.enabled and "no model" in ui.segmentReasonLabel.text
    assert not ui.modelBox.enabled and not ui.segmentAllButton.enabled
    add_run(project, model_folder)
    workbench.notify("models")
    assert not ui.segmentButton.enabled and "Choose a volume" in ui.segmentReasonLabel.text
    assert ui.segmentAllButton.enabled
    workbench.close_project()
    assert "project" in ui.segmentReasonLabel.text and not ui.segmentAllButton.enabled


def test_a_new_model_is_chosen_unless_a_person_chose_an_older_one(section, workbench, ui, project, model_folder):
    first = add_run(project, model_folder, "20261125-101500")
    workbench.notify("models")
    assert section.model() == first
    second = add_run(project, model_folder, "20261125-111500")
    workbench.notify("models")
    assert section.model() == second and ui.modelBox.count == 2
    ui.modelBox.currentIndex = 1
    add_run(project, model_folder, "20261125-121500")
    workbench.notify("models")
    assert section.model() == first and ui.modelBox.count == 3


def test_one_broken_scan_is_named_and_the_others_are_done(section, workbench, ui, project, model_folder, segmented):
    model_id = add_run(project, model_folder)
    workbench.notify("models")
    broken, good = id_of(project, "Aorta"), id_of(project, "Bern")
    project.case(broken).image.write_bytes(b"no scan")
    phases = set()
    workbench.observe(lambda what: phases.add(ui.segmentPhaseLabel.text) if what == "segmenting" else None)
    ui.segmentAllButton.click()
    assert ui.segmentRunningBox.isVisibleTo(ui.segmentSection) and not ui.segmentButton.enabled
    segmented()
    assert project.case(good).state == "predicted" and project.case(broken).state == "not started"
    assert "Aorta" in ui.segmentReasonLabel.text and "Choose a volume" in ui.segmentReasonLabel.text
    assert any(phase.startswith("Scan 1 of 2") for phase in phases), phases
    assert not ui.segmentRunningBox.isVisibleTo(ui.segmentSection)
    assert workbench.to_segment(model_id) == [broken]  # a prediction of this model is not made twice
    assert ui.segmentAllButton.enabled


def test_a_scan_at_work_is_skipped_and_the_next_one_done(
    section, workbench, ui, project, model_folder, tmp_path, bed, segmented
):
    workbench._interpreter = Interpreter(Path(sys.executable), dict(os.environ), (str(FAKE_WORKER),))
    add_run(project, model_folder)
    workbench.notify("models")
    first, second = id_of(project, "Aorta"), id_of(project, "Bern")
    folder = workbench.new_folder()
    write_prediction(folder / second)
    script = [
        JOB_EVENT | {"kind": "segment"}, case_event(first, "started"), CONTROL,
        case_event(first, "skipped"), case_event(second, "started"), case_event(second, "done", **DONE_FACTS),
        {"type": "end", "reason": "finished", "done": 1, "skipped": 1, "failed": 0},
    ]  # fmt: skip
    steps = [["wait for", step] if step == CONTROL else ["event", step] for step in script]
    (folder / "script.json").write_text(json.dumps(steps), encoding="utf-8")
    workbench.new_folder = lambda: folder
    ui.segmentAllButton.click()
    assert not ui.skipCaseButton.enabled  # nothing is at work yet

    def told(text):
        workbench.turn()
        return text in ui.segmentPhaseLabel.text and not workbench.behind

    bed.wait_for(lambda: told("Aorta"), 60, "the first scan")
    assert ui.skipCaseButton.isVisibleTo(ui.segmentSection) and ui.skipCaseButton.enabled
    ui.skipCaseButton.click()
    assert json.loads((folder / CONTROL).read_text(encoding="utf-8")) == {"skip": [first]}
    segmented()
    assert [project.case(i).state for i in (first, second)] == ["not started", "predicted"]
    assert workbench.segmenting.cases[first].state == "skipped" and ui.segmentAllButton.enabled


@pytest.mark.parametrize("wanted", [True, False])
def test_surfaces_are_made_where_they_were_asked_for(section, workbench, ui, project, model_folder, wanted, segmented):
    ui.volumeSelector.setMRMLScene(slicer.mrmlScene)
    add_run(project, model_folder)
    workbench.notify("models")
    volume_node = slicer.util.loadVolume(str(project.case(id_of(project, "Aorta")).image))
    ui.volumeSelector.setCurrentNode(volume_node)
    ui.surfaceCheckBox.checked = wanted
    ui.segmentButton.click()
    segmented()
    node = workbench.result.segmentation_node
    assert node.GetSegmentation().ContainsRepresentation(SURFACE) is wanted
    filled = [organ.segment_id for organ in workbench.result.volumes if organ.voxels]
    assert filled
    if wanted:
        assert all(node.GetClosedSurfaceInternalRepresentation(i).GetNumberOfPolys() > 0 for i in filled)
        assert node.GetDisplayNode().GetVisibility3D()


def test_the_map_stays_over_the_slices_from_case_to_case(section, workbench, ui, project, tmp_path):
    for name in ("Aorta", "Bern"):
        folder = write_prediction(tmp_path / "left" / name)
        project.record_prediction(id_of(project, name), folder, model="runs/none", score=0.5)
    assert not ui.mapCheckBox.enabled
    workbench.next_case(id_of(project, "Aorta"))
    assert ui.mapCheckBox.enabled and not workbench.map_is_shown
    ui.mapCheckBox.checked = True
    first = workbench.review.map_node.node
    assert workbench.map_is_shown and first.GetID() in foregrounds()
    workbench.save_draft()
    assert ui.mapCheckBox.checked and workbench.map_is_shown
    workbench.accept()
    assert not ui.mapCheckBox.checked and not ui.mapCheckBox.enabled and first.GetID() not in foregrounds()
    workbench.next_case()
    ui.mapCheckBox.checked = True
    assert workbench.map_is_shown and first.GetID() not in foregrounds()
    assert workbench.review.map_node.node.GetID() in foregrounds()
    section.scene_closing()
    assert not ui.mapCheckBox.checked and not any(foregrounds())


def foregrounds():
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {node.GetForegroundVolumeID() for node in nodes}


SAID = {
    "predicted_dice": {"liver": {"value": 0.8312, "low": 0.7, "high": 0.9}},
    "predicted_dice_mean": {"value": 0.8312, "low": 0.7, "high": 0.9}, "novelty": 0.4, "unlike_training": False,
    "warning": "", "need": 0.17, "why": "liver has an unsure boundary.",
}  # fmt: skip
FOREIGN = {**SAID, "novelty": 1.7, "unlike_training": True, "warning": "This scan is unlike anything in training."}
REFUSED = {**SAID, "predicted_dice": None, "predicted_dice_mean": None, "warning": "That takes at least 8."}


class _Result:
    def __init__(self, assessment):
        self.assessment = assessment


@pytest.mark.parametrize(
    ("assessment", "text", "tip", "icon", "warning"),
    [
        (SAID, "0.83 (0.70-0.90)", "unsure boundary", "", ""),
        (FOREIGN, "0.83 (0.70-0.90)", "unsure boundary", "warning", "unlike anything in training"),
        (REFUSED, "-", "at least 8", "", "at least 8"),
        (None, "-", "has not learned", "", ""),
    ],
)
def test_the_probable_dice_stands_beside_the_organ_or_why_there_is_none(assessment, text, tip, icon, warning):
    cell = _quality(_Result(assessment), "liver")
    assert cell.text == text and tip in cell.tip and cell.icon == icon
    assert warning in _warning(_Result(assessment)) and bool(warning) == bool(_warning(_Result(assessment)))


def test_an_organ_of_which_nothing_is_said_says_why():
    lost = {**SAID, "predicted_dice": {**SAID["predicted_dice"], "spleen": None}}
    cell = _quality(_Result(lost), "spleen")
    assert cell.text == "-" and "not found" in cell.tip


def test_the_case_table_shows_the_probable_dice_or_the_certainty(project):
    case = project.case(id_of(project, "Aorta"))
    assert quality_cell(case).text == "" and quality_cell(case).order == (-1,)
    sure = replace(case, score=0.62, reason="pale")
    assert quality_cell(sure).text == "0.62" and quality_cell(sure).tip == "pale"
    known = replace(sure, predicted=(0.81, 0.7, 0.9))
    assert quality_cell(known).text == "0.81 (0.70-0.90)" and quality_cell(known).order == (810,)
    assert quality_cell(replace(known, unlike=True)).icon == "warning"


def test_the_trainings_own_map_is_asked_for_by_its_box(section, workbench, ui, project, model_folder, segmented):
    add_run(project, model_folder)
    workbench.notify("models")
    ui.volumeSelector.setMRMLScene(slicer.mrmlScene)
    ui.volumeSelector.setCurrentNode(slicer.util.loadVolume(str(project.case(id_of(project, "Aorta")).image)))
    for wanted in (False, True):
        ui.trainingMapCheckBox.checked = wanted
        ui.segmentButton.click()
        assert workbench.segmenting.order.request.training_map is wanted
        segmented()
