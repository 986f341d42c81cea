"""Did the unlabeled scans help? Asked by the button, with real trainings of a few steps."""

import json

import pytest
from panel_bed.screenshots import assert_texts_fit

from VoxelAdvSegLib.data.phantoms import write_phantoms
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.panel.train_section import TrainSection
from VoxelAdvSegLib.training.again import TWIN, is_whole

SECTION = TrainSection
SHORT = {"patch": "32,32,32", "filters": 4, "disc_voxels_per_class": 32, "feature_voxels_per_class": 32,
         "validate_every": 1000, "preview_every": 1000}  # fmt: skip


@pytest.fixture
def project(form, workbench, tmp_path):
    """Three labeled, one unlabeled and one validation case; the form is on the screen."""
    form.show()
    workbench.create_project(tmp_path / "project")
    workbench.add_manifest(
        write_phantoms(tmp_path / "scans", counts={"training": (4, 0), "unlabeled": (1, 0)}, voxel_factor=3.0)
    )
    return workbench.project


def test_the_question_appears_when_it_can_be_asked(ui, section, workbench, project):
    assert not ui.verdictBox.visible and workbench.can_find_out() and workbench.verdict() == ""
    with pytest.raises(RunError, match="cannot be found out"):
        workbench.find_out()
    workbench.train(steps=2, settings=SHORT, method="supervised", wait=True)
    assert not ui.verdictBox.visible, "a training without unlabeled scans has nothing to find out"
    workbench.train(steps=2, settings=SHORT, wait=True)
    assert ui.verdictBox.visible and ui.verdictButton.enabled and not ui.verdictProgressBar.visible
    for case in project.cases:
        if case.role == "validation":
            project.set_role(case.id, "excluded", leave_validation=True)
    workbench.notify("cases")
    assert not ui.verdictButton.enabled and "no validation cases" in ui.verdictLabel.text


def test_the_answer_comes_by_the_button_and_stays(bed, ui, section, workbench, project):
    job = workbench.train(steps=2, settings=SHORT, wait=True)
    ui.verdictButton.click()
    assert workbench.finds_out and ui.verdictProgressBar.visible and ui.verdictButton.text == "St&op"
    assert not ui.trainButton.enabled and "being found out" in ui.trainReasonLabel.text

    def over():
        workbench.turn()
        return not workbench.finds_out and not workbench.behind

    bed.wait_for(over, 90, "the verdict")
    told = json.loads((job.folder / "verdict.json").read_text())
    assert ui.verdictLabel.text == workbench.verdict() == told["sentence"]
    assert told["answer"] == "cannot tell" and told["overall"]["cases"] == 1
    assert ui.trainButton.enabled and ui.verdictButton.text == "Find &out" and not ui.verdictProgressBar.visible
    assert_texts_fit(ui.trainSection)
    # Another Slicer reads it; and it is no training of its own, nor a model.
    assert [run.id for run in project.runs()] == [job.folder.name]
    assert [model.id for model in project.models()] == [f"runs/{job.folder.name}"]
    workbench.close_project()
    workbench.open_project(project.path)
    bed.wait_for(over, 30, "the child that may still be on its way out")
    assert ui.verdictLabel.text == told["sentence"]


def test_a_stopped_one_is_gone_on_with(bed, ui, section, workbench, project):
    job = workbench.train(steps=60, settings=SHORT, wait=True)
    ui.verdictButton.click()

    def turned(condition):
        def check():
            workbench.turn()
            return condition()

        return check

    bed.wait_for(turned(lambda: workbench.verdict_job.progress), 60, "the first step")
    ui.verdictButton.click()
    assert not ui.verdictButton.enabled and "Stopping" in ui.verdictLabel.text
    bed.wait_for(turned(lambda: not workbench.finds_out), 60, "the stop")
    assert not (job.folder / "verdict.json").exists() and not is_whole(job.folder / TWIN)
    workbench.find_out(wait=True)
    assert workbench.verdict()


def test_changed_cases_and_a_training_cut_short_are_not_compared(bed, ui, section, workbench, project):
    workbench.train(steps=2, settings=SHORT, wait=True)
    labeled = next(case for case in project.cases if case.role == "labeled")
    project.set_role(labeled.id, "excluded")
    workbench.find_out(wait=True)
    workbench.notify("training")
    assert "cases have changed since" in ui.verdictLabel.text and workbench.verdict() == ""
    job = workbench.train(steps=100_000, settings=SHORT)

    def begun():
        workbench.turn()
        return job.step

    bed.wait_for(begun, 60, "the first step")
    workbench.stop_training()
    workbench.wait_until(lambda: job.state.is_over)
    workbench.notify("training")
    assert job.model is not None and workbench.compared_run() is None and not ui.verdictBox.visible


def test_one_that_fails_says_why(bed, ui, section, workbench, project):
    job = workbench.train(steps=2, settings=SHORT, wait=True)
    (job.folder / "config.json").write_text("{")
    workbench.find_out(wait=True)
    workbench.notify("training")
    assert "could not be found out" in ui.verdictLabel.text and "not readable" in ui.verdictLabel.text
    assert ui.verdictButton.enabled
