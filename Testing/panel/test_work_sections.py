"""Segment, Review, Models and Installation, by their buttons, on one model that a real training made."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import slicer

from Testing.panel.person import typed
from VoxelAdvSegLib.data.phantoms import write_phantoms
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.panel.samples import load_sample
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.scene.editing import Correction
from VoxelAdvSegLib.scene.segments import segment_ids

REPOSITORY = Path(__file__).resolve().parents[2]
SHORT = {"patch": "32,32,32", "filters": 4, "disc_voxels_per_class": 32, "feature_voxels_per_class": 32}
COUNTS = {"training": (2, 0), "unlabeled": (2, 0), "validation": (1, 0)}


def this_python() -> Interpreter:
    return Interpreter(Path(sys.executable), {**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project folder with one model, made once; each test works on a copy."""
    from panel_bed.bed import Bed

    folder = tmp_path_factory.mktemp("trained")
    bed = Bed(folder / "slicer")
    workbench = Workbench(slicer.mrmlScene, this_python())
    workbench.threads = 1
    workbench.create_project(folder / "project")
    workbench.add_manifest(write_phantoms(folder / "scans", counts=COUNTS, voxel_factor=3.0))
    workbench.train(steps=4, settings=SHORT, wait=True)
    assert workbench.default_model() is not None, workbench.training.log_tail()
    workbench.clean_up()
    bed.close()
    return folder / "project"


@pytest.fixture
def panel(bed, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "project")
    bed.load_module(REPOSITORY / "VoxelAdvSeg" / "VoxelAdvSeg.py")
    widget = bed.open_module("VoxelAdvSeg")
    workbench = widget.logic.workbench
    workbench._interpreter, workbench.threads = this_python(), 1
    workbench.open_project(tmp_path / "project")
    return widget


def test_one_click_segments_a_volume_and_shows_the_map(bed, panel):
    ui, workbench = panel.ui, panel.logic.workbench
    assert not ui.segmentButton.enabled and ui.segmentReasonLabel.text
    volume_node = load_sample(slicer.mrmlScene)
    ui.volumeSelector.setCurrentNode(volume_node)
    bed.process(0.05)
    assert ui.segmentButton.enabled, ui.segmentReasonLabel.text
    assert not ui.mapCheckBox.enabled
    ui.segmentButton.click()
    assert not ui.segmentButton.enabled and ui.segmentRunningBox.visible
    bed.wait_for(lambda: not workbench.is_segmenting and not workbench.behind, 120, "the segmentation")
    assert ui.resultTable.rowCount == len(workbench.project.organs)
    assert ui.mapCheckBox.enabled and not ui.segmentRunningBox.visible and ui.segmentButton.enabled
    foregrounds = [node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
    ui.mapCheckBox.checked = True
    shown = [node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
    assert shown != foregrounds and len(set(shown)) == 1
    ui.mapCheckBox.checked = False
    put_back = [node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
    assert put_back == foregrounds


def test_cancel_leaves_everything_ready(bed, panel):
    ui, workbench = panel.ui, panel.logic.workbench
    ui.segmentAllButton.click()
    assert workbench.is_segmenting and not ui.segmentAllButton.enabled
    ui.segmentCancelButton.click()
    bed.wait_for(lambda: not workbench.is_segmenting and not workbench.behind, 60, "the end")
    assert ui.segmentAllButton.enabled and not ui.segmentRunningBox.visible


def test_review_by_its_buttons(bed, panel):
    ui, workbench = panel.ui, panel.logic.workbench
    assert not ui.nextCaseButton.enabled and not ui.acceptButton.enabled
    ui.segmentAllButton.click()
    bed.wait_for(lambda: not workbench.is_segmenting and not workbench.behind, 120, "the queue")
    assert ui.queueTable.rowCount == 2 and ui.nextCaseButton.enabled
    ui.nextCaseButton.click()
    first = workbench.review
    editor = bed.inside(panel.sections[3].editor.widget)
    assert editor.holds_views and ui.acceptButton.enabled
    correction = Correction(slicer.mrmlScene, first.segmentation_node, first.volume_node)
    correction.draw_ball(segment_ids(first.segmentation_node)[0], (0.0, 0.0, 0.0), 20.0)
    correction.close()
    ui.nextCaseButton.click()  # what was drawn is kept, and another case is open
    assert workbench.project.draft(first.case.id) is not None
    assert workbench.review.case.id != first.case.id
    bed.answers.expect("QDialog", typed("look again"), "Flag")
    ui.flagButton.click()
    assert workbench.review is None and not ui.acceptButton.enabled
    ui.nextCaseButton.click()  # the half-done one comes first
    assert workbench.review.case.id == first.case.id and workbench.review.is_changed
    ui.acceptCorrectedButton.click()
    assert workbench.project.case(first.case.id).state == "completed"
    assert ui.queueTable.rowCount == 0 and "Nothing" in ui.reviewSummaryLabel.text
    bed.leave_module("VoxelAdvSeg")  # the bed fails when the editor still holds the views


def test_models_are_exported_imported_and_deleted(bed, panel, tmp_path):
    ui, workbench = panel.ui, panel.logic.workbench
    assert ui.modelTable.rowCount == 1 and not ui.exportModelButton.enabled
    ui.modelTable.selectRow(0)
    bed.process(0.05)
    ui.cardButton.click()
    assert "research" in ui.cardText.plainText.lower()
    bed.answers.expect("QFileDialog.getSaveFileName", str(tmp_path / "model.zip"))
    ui.exportModelButton.click()
    assert (tmp_path / "model.zip").stat().st_size > 10_000
    bed.answers.expect("QFileDialog.getOpenFileName", str(tmp_path / "model.zip"))
    bed.answers.expect("message", "Ok", "in the project already")
    ui.importModelButton.click()
    assert len(workbench.models()) == 1
    bed.answers.expect("message", "Ok", "Delete the model")
    bed.answers.expect("message", "Ok", "the only model of the project")
    ui.deleteModelButton.click()
    assert workbench.models() == () and not ui.deleteModelButton.enabled
    bed.answers.expect("QFileDialog.getOpenFileName", str(tmp_path / "model.zip"))
    ui.importModelButton.click()
    assert ui.modelTable.rowCount == 1 and [model.origin for model in workbench.models()] == ["imported"]


def test_installation_is_checked_and_stored_files_are_cleaned(bed, panel):
    ui, workbench = panel.ui, panel.logic.workbench
    ui.checkInstallationButton.click()
    assert not ui.checkInstallationButton.enabled
    bed.wait_for(lambda: workbench.installation.verdict is not None and not workbench.behind, 60, "the verdict")
    bed.wait_for(lambda: ui.checkInstallationButton.enabled, 10, "the button")
    assert "torch" in ui.reportText.plainText and "ready" in ui.installationLabel.text.lower()
    ui.refreshStorageButton.click()
    assert ui.storageTable.rowCount > 3
    panel.sections[5].table.select(["checkpoints"])
    bed.process(0.05)
    assert ui.cleanButton.enabled
    bed.answers.expect("message", "Ok", "Remove")
    ui.cleanButton.click()
    assert not list(workbench.project.path.glob("runs/*/checkpoints/*"))
    assert workbench.default_model() is not None  # the model itself stays
    assert not workbench.installation.folder.exists()  # nothing of the check is left behind


def test_labels_are_never_offered_for_removal(bed, panel):
    ui = panel.ui
    ui.refreshStorageButton.click()
    panel.sections[5].table.select(["labels"])
    bed.process(0.05)
    assert not ui.cleanButton.enabled


def test_a_project_that_is_open_may_be_opened_again(panel):
    workbench = panel.logic.workbench
    project = workbench.project
    assert workbench.open_project(project.path) is project
    assert panel.logic.openProject(str(project.path)) is project


def test_a_training_that_still_runs_is_not_resumed(bed, panel):
    """The state is looked at once: a run that is alive elsewhere must not hold the window."""
    workbench = panel.logic.workbench
    job = workbench.train(steps=100_000, settings=SHORT)
    try:
        bed.wait_for(lambda: job.heartbeat_age is not None, 60, "a sign of life")
        workbench.training = None  # as in another Slicer
        workbench.interrupted = lambda: max(workbench.project.runs(), key=lambda run: run.id)
        with pytest.raises(RunError, match="still runs"):
            workbench.resume()
    finally:
        job.cancel(grace_seconds=0)
        bed.wait_for(lambda: job.poll() is not None and job.state.is_over, 30, "the end")


def test_a_training_from_the_console_sets_validation_aside_as_the_button_does(bed, panel, tmp_path):
    workbench = panel.logic.workbench
    workbench.create_project(tmp_path / "four")
    scans = write_phantoms(tmp_path / "scans", counts={"training": (4, 0), "unlabeled": (1, 0)}, voxel_factor=3.0)
    workbench.add_manifest(scans)
    assert workbench.sets_aside
    job = panel.logic.train(steps=100_000, settings=SHORT)
    job.cancel(grace_seconds=0)
    bed.wait_for(lambda: job.poll() is not None and job.state.is_over, 30, "the end")
    assert [case.role for case in workbench.project.cases].count("validation") == 1 and not workbench.sets_aside
