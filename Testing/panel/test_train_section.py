"""The section Train with the real workbench; the child is one that plays a script, and once the real one."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import slicer
import slicer.util

from Testing.jobs.conftest import END_EVENT, FAKE_WORKER, JOB_EVENT, START_EVENT, step_event
from Testing.project.conftest import BOTH, write_scan, write_segments
from Testing.training.conftest import write_manifest
from Testing.training.conftest import write_scan as write_training_scan
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.process import is_alive, kill_tree
from VoxelAdvSegLib.jobs.protocol import TrainRequest
from VoxelAdvSegLib.jobs.pulse import read_pulse
from VoxelAdvSegLib.panel.train_section import TrainSection
from VoxelAdvSegLib.panel.workbench import Workbench

SECTION = TrainSection
PATIENCE = 60.0  # seconds until a test gives up; none waits that long when all is well
VALIDATION = {
    "type": "validation", "step": 40, "final": False, "dice": {"ball": 0.8, "pebble": 0.6}, "mean": 0.7, "best": True,
}  # fmt: skip
MODEL_GONE = {"type": "error", "text": "CUDA out of memory.", "kind": "OutOfMemoryError"}


@pytest.fixture
def children():
    """Folders of children that must not outlive the test."""
    folders = []
    yield folders
    for folder in folders:
        pulse, until = read_pulse(folder), time.monotonic() + 20
        while pulse is None and (folder / "job.json").exists() and time.monotonic() < until:
            time.sleep(0.02)  # a test that ended before its child has said who it is
            pulse = read_pulse(folder)
        if pulse is not None and is_alive(pulse.process):
            kill_tree([pulse.process.pid])


@pytest.fixture
def workbench(bed, tmp_path, children):
    fake = Interpreter(Path(sys.executable), dict(os.environ), (str(FAKE_WORKER),))
    made = Workbench(slicer.mrmlScene, fake)
    made.create_project(tmp_path / "project")
    scans = [write_scan(tmp_path / f"scan {number}.nrrd", seed=number) for number in range(3)]
    made.add_files([(scans[0], write_segments(tmp_path / "label.seg.nrrd", BOTH)), *scans[1:]])
    yield made
    made.clean_up()


@pytest.fixture
def play(workbench, monkeypatch, children):
    """play(steps...): what the next child does."""

    def prepare(*script):
        new_run = type(workbench.project).new_run

        def with_script(project):
            folder = new_run(project)
            (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
            children.append(folder)
            return folder

        monkeypatch.setattr(type(workbench.project), "new_run", with_script)

    return prepare


def pump(workbench, until):
    end = time.monotonic() + PATIENCE
    while not until() or workbench.behind:
        assert time.monotonic() < end, f"in vain: {workbench.training.state}, {workbench.training.log_tail()}"
        workbench.turn()
        time.sleep(0.01)


def pump_to_end(workbench):
    pump(workbench, lambda: workbench.training.state.is_over)
    workbench.turn()
    workbench.turn()


def at_work(*events):
    """A script of a training that tells these events and then goes on until it is asked to stop."""
    return [["event", JOB_EVENT], ["event", START_EVENT], *[["event", e] for e in events], ["wait for", "STOP"]]


def order_of(workbench):
    request = workbench.training.order.request
    assert isinstance(request, TrainRequest)
    return request


# before


def test_the_button_is_grey_with_its_reason(section, workbench, ui):
    assert ui.trainButton.enabled and ui.trainReasonLabel.text == ""
    for case in workbench.project.cases:
        if case.role == "unlabeled":
            workbench.project.set_role(case.id, "excluded")
    workbench.notify("cases")
    assert not ui.trainButton.enabled and "no unlabeled case" in ui.trainReasonLabel.text
    ui.methodBox.currentIndex = ui.methodBox.findText("supervised")
    assert ui.trainButton.enabled and ui.trainButton.text == "&Train without unlabeled scans"
    workbench.close_project()
    assert not ui.trainButton.enabled and "project" in ui.trainReasonLabel.text


def test_custom_minutes_are_shown_for_custom_only(section, ui):
    assert not ui.customMinutesBox.visible and section.form.minutes == 15
    for index, minutes in enumerate((15, 60, 240, 600)):
        ui.budgetBox.currentIndex = index
        assert section.form.minutes == minutes and section.form.arguments()["minutes"] == minutes
    ui.budgetBox.currentIndex = 4
    ui.customMinutesBox.value = 42
    assert section.form.minutes == 42


def test_what_is_left_alone_is_not_passed(section, ui):
    wanted = {
        "minutes": 15.0, "steps": None, "start_from": None, "preset": "auto", "method": "voxel_adversarial",
        "settings": {}, "seed": None, "device": "auto",
    }  # fmt: skip
    assert section.form.arguments() == wanted


def test_advanced_values_are_passed_by_name(section, ui):
    ui.alphaBox.value, ui.betaBox.value, ui.gammaBox.value, ui.thresholdBox.value = 0.0, 0.2, 0.003, 0.9
    ui.levelsBox.text, ui.patchBox.text, ui.batchBox.value = "1, 2", "64,64,32", 3
    ui.stepsBox.value, ui.seedBox.value = 500, 7
    ui.deviceBox.currentIndex = 1
    passed = section.form.arguments()
    assert passed["settings"] == {
        "adv_weight": 0.0, "feature_weight": 0.2, "consistency_weight": 0.003, "pseudo_threshold": 0.9,
        "feature_levels": [1, 2], "patch": [64, 64, 32], "batch_labeled": 3, "batch_unlabeled": 3,
    }  # fmt: skip
    assert (passed["steps"], passed["seed"], passed["device"]) == (500, 7, "cpu")


@pytest.mark.parametrize("box, text", [("patchBox", "64,64"), ("patchBox", "60,64,64"), ("levelsBox", "one")])
def test_advanced_values_that_cannot_be_start_nothing(section, workbench, ui, bed, box, text):
    getattr(ui, box).text = text
    bed.answers.expect("message", "Ok", "What to do")
    ui.trainButton.click()
    assert workbench.training is None and workbench.project.runs() == ()


def test_the_device_and_the_budget_are_told(section, workbench, ui, monkeypatch):
    assert "Installation" in ui.deviceVerdictLabel.text
    monkeypatch.setattr(workbench, "device_text", lambda device: f"{device} is ready.")
    monkeypatch.setattr(workbench, "budget_text", lambda device, minutes: f"About {minutes:.0f} min.")
    ui.budgetBox.currentIndex = 1
    assert ui.deviceVerdictLabel.text == "auto is ready. About 60 min."
    ui.stepsBox.value = 100
    assert ui.deviceVerdictLabel.text == "auto is ready."


def test_the_first_training_sets_scans_aside_once_and_says_so(section, workbench, ui, play, tmp_path):
    assert "aside" not in ui.trainReasonLabel.text  # one labeled scan: too few
    more = [write_scan(tmp_path / f"more {number}.nrrd", seed=10 + number) for number in range(3)]
    label = tmp_path / "label.seg.nrrd"
    workbench.add_files([(image, label) for image in more])
    assert "one labeled scan in five aside" in ui.trainReasonLabel.text
    play(*at_work(step_event(1)))
    ui.trainButton.click()
    drawn = [case.id for case in workbench.project.cases if case.role == "validation"]
    assert len(drawn) == 1 and list(workbench.project.validation["cases"]) == drawn
    manifest = json.loads((workbench.project.path / "dataset.json").read_text(encoding="utf-8"))
    assert len(manifest["training"]) == 3 and len(manifest["validation"]) == 1
    assert "aside" not in ui.trainReasonLabel.text


# while it runs


def test_a_training_from_start_to_end(section, workbench, ui, play):
    steps = [step_event(step) for step in range(1, 41)]
    play(*at_work(*steps, VALIDATION), ["event", {**END_EVENT, "reason": "stopped"}])
    assert not ui.runningBox.visible and not ui.curvesBox.visible
    ui.stepsBox.value = 100
    ui.trainButton.click()
    assert (order_of(workbench).steps, order_of(workbench).minutes, order_of(workbench).settings) == (100, None, {})
    assert not ui.trainButton.enabled and section.running is workbench.training
    pump(workbench, lambda: workbench.training.view.dice and workbench.training.step == 40)
    assert "step 40 of 100" in ui.phaseLabel.text and "alive" in ui.heartbeatLabel.text
    assert ui.timeLeftLabel.text.startswith("Time left: ") and ui.trainProgressBar.value == 400
    assert ui.discriminatorLabel.text == workbench.training.view.reading().text != ""
    log = ui.trainLog.plainText
    assert "A sentence." in log and "Step 40: mean Dice 0.700" in log
    ui.stopButton.click()
    assert not ui.stopButton.enabled and ui.cancelButton.enabled
    pump_to_end(workbench)
    assert workbench.training.state is JobState.FINISHED
    assert ui.trainLog.plainText.startswith(log)  # added to, never written anew
    section.tick()
    assert ui.trainButton.enabled and not section.clock.active
    assert (
        "ended before it had a model" in ui.trainReasonLabel.text or "best model was kept" in ui.trainReasonLabel.text
    )


def test_curves_are_drawn_and_chosen(section, workbench, ui, play):
    play(*at_work(*[step_event(step) for step in range(1, 21)], VALIDATION))
    ui.trainButton.click()
    pump(workbench, lambda: workbench.training.step == 20 and workbench.training.view.dice)
    shown_charts = []
    for index, kind in enumerate(("losses", "dice", "discriminator")):
        ui.curvesChoiceBox.currentIndex = index
        chart_node = workbench.chart(kind)
        assert section.plot.view_node.GetPlotChartNodeID() == chart_node.GetID()
        shown_charts.append(chart_node.GetID())
    assert len(set(shown_charts)) == 3 and ui.showChartButton.enabled
    ui.curvesChoiceBox.currentIndex = 0
    ui.stopButton.click()
    pump_to_end(workbench)
    assert section.clock.active  # a last look, after the last points were drawn
    section.tick()
    names = [workbench.chart("losses").GetNthPlotSeriesNode(i).GetName() for i in range(3)]
    assert len(set(names)) == 3 and not section.clock.active


def test_the_chosen_curves_are_shown_in_the_plot_view_of_the_window(section, workbench, ui, play):
    view_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotViewNode")  # as a layout with a plot has it
    view_node.SetLayoutName("PlotView1")
    selection_node = slicer.app.applicationLogic().GetSelectionNode()
    play(*at_work(*[step_event(step) for step in range(1, 21)], VALIDATION))
    ui.trainButton.click()
    pump(workbench, lambda: workbench.training.step == 20 and workbench.training.view.dice)
    own = section.plot.view_node.GetPlotChartNodeID()
    for index, kind in ((1, "dice"), (0, "losses")):
        ui.curvesChoiceBox.currentIndex = index
        ui.showChartButton.click()
        assert selection_node.GetActivePlotChartID() == workbench.chart(kind).GetID()
    assert section.plot.view_node.GetPlotChartNodeID() == own  # the panel's own plot stays
    ui.stopButton.click()
    pump_to_end(workbench)


def test_no_chart_no_button(section, workbench, ui, play):
    play(*at_work(step_event(1)))
    ui.trainButton.click()
    slicer.mrmlScene.RemoveNode(workbench.chart("losses"))
    section.refresh("progress")
    assert not ui.showChartButton.enabled and not ui.plotContainer.visible


def test_cancel_asks_first(section, workbench, ui, bed, play):
    play(["event", JOB_EVENT], ["event", START_EVENT], ["event", step_event(1)], ["hang"])
    ui.trainButton.click()
    pump(workbench, lambda: workbench.training.step == 1)
    bed.answers.expect("message", "Cancel", "No model")
    ui.cancelButton.click()
    assert workbench.training.state is JobState.RUNNING and ui.cancelButton.enabled
    bed.answers.expect("message", "Ok", "No model")
    ui.cancelButton.click()
    assert not ui.cancelButton.enabled and not ui.stopButton.enabled and "canceled" in ui.phaseLabel.text
    pump_to_end(workbench)
    assert workbench.training.state is JobState.CANCELLED and "canceled" in ui.trainReasonLabel.text
    assert ui.trainButton.enabled


def test_a_failure_has_its_cause_and_the_next_step(section, workbench, ui, play):
    play(["event", JOB_EVENT], ["event", START_EVENT], ["print", "the last words"], ["event", MODEL_GONE], ["exit", 2])
    ui.trainButton.click()
    pump_to_end(workbench)
    assert workbench.training.state is JobState.FAILED
    assert "too little free memory" in ui.trainReasonLabel.text and "smaller patch" in ui.trainReasonLabel.text
    assert "the last words" in ui.trainLog.plainText and ui.trainButton.enabled and ui.resumeButton.enabled


def test_an_interrupted_training_is_offered_again(section, workbench, ui, play, tmp_path):
    play(["event", JOB_EVENT], ["event", START_EVENT], ["event", step_event(3)], ["exit", 9])
    ui.trainButton.click()
    pump_to_end(workbench)
    folder = workbench.training.folder
    path = workbench.project.path
    workbench.close_project()
    workbench.open_project(path)
    assert workbench.training is None and folder.name in ui.trainReasonLabel.text and ui.resumeButton.enabled
    (folder / "script.json").write_text(json.dumps(at_work(step_event(4))), encoding="utf-8")
    ui.resumeButton.click()
    assert workbench.training.folder == folder and not ui.trainButton.enabled
    pump(workbench, lambda: workbench.training.step == 4)
    assert "step 4" in ui.phaseLabel.text


def test_a_running_training_is_found_again(section, workbench, ui, play):
    play(*at_work(step_event(5)))
    ui.trainButton.click()
    pump(workbench, lambda: workbench.training.step == 5)
    path = workbench.project.path
    workbench.close_project()
    assert section.running is None and not ui.curvesBox.visible and ui.trainLog.plainText == ""
    workbench.open_project(path)
    pump(workbench, lambda: workbench.training.step == 5)
    assert "step 5 of 100" in ui.phaseLabel.text and not ui.trainButton.enabled


def test_closing_the_scene_takes_the_plot_not_the_training(section, workbench, ui, play):
    play(*at_work(step_event(1), step_event(2)))
    ui.trainButton.click()
    pump(workbench, lambda: workbench.training.step == 2)
    section.scene_closing()
    slicer.mrmlScene.Clear(0)
    section.scene_closed()
    assert section.running is not None
    pump(workbench, lambda: section.plot.view_node is not None)
    assert section.plot.view_node.GetPlotChartNodeID() == workbench.chart("losses").GetID()


def test_the_preview_can_be_left_out(section, workbench, ui):
    assert workbench.show_preview
    ui.previewCheckBox.click()
    assert not workbench.show_preview


def test_a_section_that_was_cleaned_up_hears_nothing(section, workbench, ui):
    section.clean_up()
    workbench.close_project()
    assert ui.trainButton.enabled and not section.clock.active


# the real child


@pytest.mark.slow
def test_a_real_training_from_the_form(bed, ui, tmp_path):
    for seed, name in enumerate("abcdef"):
        write_training_scan(tmp_path, name, seed, labeled=name in "abf")
    workbench = Workbench(slicer.mrmlScene, Interpreter(Path(sys.executable), dict(os.environ)))
    workbench.create_project(tmp_path / "project")
    workbench.add_manifest(write_manifest(tmp_path))
    section = TrainSection(ui, workbench)
    try:
        ui.patchBox.text, ui.batchBox.value, ui.stepsBox.value = "32,16,16", 1, 3
        ui.deviceBox.currentIndex = 1
        ui.trainButton.click()
        pump_to_end(workbench)
        assert workbench.training.state is JobState.FINISHED, workbench.training.failure
        assert workbench.training.step == 3 and workbench.training.model is not None
        assert "mean Dice on the validation scans" in ui.trainReasonLabel.text
        assert ui.startFromBox.count == 2  # scratch, and the new model
        ui.startFromBox.currentIndex = 1
        assert section.form.start_from == workbench.default_model()
    finally:
        section.clean_up()
        workbench.clean_up()
