"""The section Review with the real workbench: queue, keys, decisions, and what the next training is asked for."""

import pytest
import slicer
import slicer.util
from PySide6 import QtCore, QtGui, QtTest

from Testing.panel.person import canceled, typed
from Testing.project.conftest import id_of, write_prediction
from VoxelAdvSegLib.panel.review_section import SHORTCUTS, ReviewSection
from VoxelAdvSegLib.panel.train_form import TrainForm
from VoxelAdvSegLib.scene.editing import Correction
from VoxelAdvSegLib.scene.segments import segment_ids

SCORES = {"Aorta": 0.8, "Bern": 0.2, "Chur": None}


@pytest.fixture
def section(ui, workbench):
    ui.reviewSection.collapsed = False
    made = ReviewSection(ui, workbench)
    made.enter()
    yield made
    made.exit()
    made.clean_up()


@pytest.fixture
def project(section, workbench, make_project, tmp_path):
    """Two labeled scans, and three with predictions that wait."""
    project = make_project(["known 0", "known 1"], SCORES)
    for name, score in SCORES.items():
        left = write_prediction(tmp_path / "left" / name)
        reason = f"{name}: the liver does not look like labeled scans"
        project.record_prediction(id_of(project, name), left, model="runs/none", score=score, reason=reason)
    workbench.notify("cases")
    return project


def draw(workbench):
    review = workbench.review
    correction = Correction(slicer.mrmlScene, review.segmentation_node, review.volume_node)
    correction.draw_ball(segment_ids(review.segmentation_node)[0], (-1.0, -8.5, 9.0), 4.0)  # the middle of the scan
    correction.close()


def press(bed, window, keys):
    """A key as the window system gives it to a window: Qt looks among the shortcuts first."""
    combination = QtGui.QKeySequence(keys)[0]
    QtTest.QTest.keyClick(bed.inside(window), QtCore.Qt.Key(combination.key()), combination.keyboardModifiers())
    QtTest.QTest.keyRelease(bed.inside(window), QtCore.Qt.Key.Key_Shift)  # else Qt takes it for held down


def names(table):
    return [table.item(row, 0).text() for row in range(table.rowCount)]


def test_the_least_certain_case_is_first_and_its_line_says_why(project, workbench, ui, bed):
    assert names(ui.queueTable) == ["Bern", "Aorta", "Chur"]
    assert "does not look like" in ui.queueTable.item(0, 0).toolTip()
    ui.nextCaseButton.click()
    assert workbench.review.case.name == "Bern" and "does not look like" in ui.currentCaseLabel.text
    assert ui.editorContainer.isVisibleTo(ui.reviewSection)
    ui.queueTable.selectRow(1)
    bed.emit(ui.queueTable, "cellDoubleClicked(int,int)", 1, 0)
    assert workbench.review.case.name == "Aorta"


def test_keys_work_while_the_panel_is_entered_only(section, project, workbench, ui, bed):
    window = slicer.util.mainWindow()
    window.show()
    window.activateWindow()
    bed.process(0.05)
    press(bed, window, SHORTCUTS["acceptButton"])  # nothing is open: the button is gray, and so is its key
    assert not any(case.state == "completed" for case in project.cases if case.role == "unlabeled")
    press(bed, window, SHORTCUTS["nextCaseButton"])
    assert workbench.review.case.name == "Bern"
    press(bed, window, SHORTCUTS["acceptButton"])
    assert workbench.review is None
    assert project.versions(id_of(project, "Bern"))[-1].decision == "accepted"
    section.exit()
    press(bed, window, SHORTCUTS["nextCaseButton"])
    assert workbench.review is None and section.shortcuts == []
    section.enter()
    press(bed, window, SHORTCUTS["nextCaseButton"])
    assert workbench.review.case.name == "Aorta"


# Of Slicer's window (Ctrl+Shift+Z: redo on some systems) and of its Markups toolbar; Ctrl+Shift+U begins a code of
# Unicode on Linux.
TAKEN = {f"Ctrl+Shift+{key}" for key in ("A", "T", "U", "Z", "Space")}


def test_keys_are_none_of_slicers_type_nothing_and_are_told_once(section, ui):
    control_shift = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
    for name, keys in SHORTCUTS.items():
        combination = QtGui.QKeySequence(keys)[0]
        assert combination.keyboardModifiers() == control_shift  # with Alt it would be AltGr
        assert chr(combination.key()).isalpha() and keys not in TAKEN
        tip = getattr(ui, name).toolTip
        assert tip.count("Ctrl+") == 1 and f"({keys})" in tip
    assert len(set(SHORTCUTS.values())) == len(SHORTCUTS)


def test_decisions_end_the_case_and_only_a_changed_one_is_a_correction(project, workbench, ui, bed):
    ui.nextCaseButton.click()
    draw(workbench)
    ui.acceptCorrectedButton.click()
    version = project.versions(id_of(project, "Bern"))[-1]
    assert version.decision == "corrected" and version.mean_dice < 1.0
    ui.nextCaseButton.click()
    bed.answers.expect("QDialog", typed("is there a cyst?"), "Flag Aorta")
    ui.flagButton.click()
    assert project.case(id_of(project, "Aorta")).state == "flagged"
    assert names(ui.queueTable) == ["Chur"]
    for name in ("acceptButton", "acceptCorrectedButton", "flagButton", "skipButton"):
        assert not getattr(ui, name).enabled
    assert not ui.editorContainer.isVisibleTo(ui.reviewSection)


def test_a_flag_keeps_its_reason_for_the_next_reader(project, workbench, ui, bed):
    ui.nextCaseButton.click()
    bed.answers.expect("QDialog", canceled, "Flag Bern")  # the case stays open
    ui.flagButton.click()
    assert workbench.review.case.name == "Bern" and project.case(id_of(project, "Bern")).state == "predicted"
    bed.answers.expect("QDialog", typed("  is this a cyst? "), "Flag Bern")
    ui.flagButton.click()
    bern = project.case(id_of(project, "Bern"))
    assert (bern.state, bern.reason) == ("flagged", "is this a cyst?") and workbench.review is None
    workbench.show_case(bern.id)
    assert "is this a cyst?" in ui.currentCaseLabel.text
    draw(workbench)
    workbench.save_draft()  # someone took it up again: it is back in the queue
    assert names(ui.queueTable)[0] == "Bern" and ui.queueTable.item(0, 0).toolTip() == "is this a cyst?"


def test_a_flag_without_a_reason_keeps_what_made_the_case_doubtful(project, workbench, ui, bed):
    ui.nextCaseButton.click()
    bed.answers.expect("QDialog", typed(""), "Flag Bern")
    ui.flagButton.click()
    reason = project.case(id_of(project, "Bern")).reason
    assert reason == "Flagged in review. Bern: the liver does not look like labeled scans"


def test_skipped_cases_come_back_when_nothing_else_waits(project, workbench, ui):
    for name in ("Bern", "Aorta", "Chur"):
        ui.nextCaseButton.click()
        assert workbench.review.case.name == name
        ui.skipButton.click()
    assert ui.queueTable.rowCount == 0 and "put back for later" in ui.reviewSummaryLabel.text
    assert ui.nextCaseButton.enabled
    ui.nextCaseButton.click()
    assert workbench.review.case.name == "Bern" and names(ui.queueTable) == ["Bern", "Aorta", "Chur"]


def test_next_case_keeps_what_was_drawn_and_goes_on(project, workbench, ui):
    ui.nextCaseButton.click()
    draw(workbench)
    assert workbench.draft_text()
    ui.nextCaseButton.click()
    assert workbench.review.case.name != "Bern"
    assert project.draft(id_of(project, "Bern")) is not None
    assert names(ui.queueTable)[0] == "Bern"  # half-done ones come first


def test_segments_that_were_deleted_cannot_be_accepted(project, workbench, ui, bed):
    ui.nextCaseButton.click()
    slicer.mrmlScene.RemoveNode(workbench.review.segmentation_node)
    bed.answers.expect("message", "Ok", "no longer in the scene")
    ui.acceptButton.click()
    assert project.case(id_of(project, "Bern")).state == "predicted" and ui.skipButton.enabled


def test_a_closing_scene_takes_the_editor_along(section, project, workbench, ui, bed):
    ui.nextCaseButton.click()
    draw(workbench)
    section.scene_closing()
    slicer.mrmlScene.Clear(0)
    section.scene_closed()
    assert workbench.review is None and not bed.inside(section.editor.widget).holds_views
    assert not ui.acceptButton.enabled
    assert project.draft(id_of(project, "Bern")) is not None
    ui.nextCaseButton.click()
    assert workbench.review.is_changed and bed.inside(section.editor.widget).holds_views


def test_retrain_takes_time_and_device_of_the_form(section, project, workbench, ui, bed, monkeypatch):
    form = TrainForm(ui, workbench)
    form.fill_devices()
    assert not ui.retrainButton.enabled  # there is no model yet
    monkeypatch.setattr(workbench, "default_model", lambda: "runs/one")
    asked = []
    monkeypatch.setattr(workbench, "retrain", lambda *given, **named: asked.append((given, named)))
    workbench.notify("models")
    assert ui.retrainButton.enabled, ui.retrainButton.toolTip
    ui.budgetBox.currentIndex, ui.deviceBox.currentIndex = 1, 1
    ui.retrainButton.click()
    assert asked == [((False,), {"minutes": 60.0, "device": "cpu"})]
    ui.retrainContinueRadio.checked = True
    ui.nextCaseButton.click()
    draw(workbench)
    bed.answers.expect("message", "Cancel", "not accepted yet")
    ui.retrainButton.click()
    assert len(asked) == 1
    bed.answers.expect("message", "Ok", "not accepted yet")
    ui.retrainButton.click()
    assert asked[1][0] == (True,)
