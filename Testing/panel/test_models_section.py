"""The section Models with the real workbench and model folders as the library writes them."""

import pytest
import slicer

from Testing.project.conftest import BOTH, write_prediction, write_scan, write_segments
from Testing.project.test_models import add_run, real_model  # noqa: F401
from VoxelAdvSegLib.panel.models_section import ModelsSection
from VoxelAdvSegLib.panel.workbench import Workbench

NAME, DICE, LABELS, MADE = range(4)
OLDER, NEWER = "20261125-101500", "20261125-111500"


@pytest.fixture
def workbench(bed):
    made = Workbench(slicer.mrmlScene)
    yield made
    made.clean_up()


@pytest.fixture
def section(ui, workbench):
    made = ModelsSection(ui, workbench)
    yield made
    made.clean_up()


@pytest.fixture
def project(section, workbench, tmp_path, real_model):  # noqa: F811
    """Two models; the newer one is damaged."""
    workbench.create_project(tmp_path / "project")
    image = write_scan(tmp_path / "scans" / "known.nrrd")
    label = write_segments(tmp_path / "scans" / "known.seg.nrrd", BOTH)
    workbench.add_files([(image, label), write_scan(tmp_path / "scans" / "Aorta.nrrd", 1)])
    add_run(workbench.project, real_model, OLDER)
    add_run(workbench.project, real_model, NEWER)
    (workbench.project.path / "runs" / NEWER / "model" / "model.json").write_text("{", encoding="utf-8")
    workbench.notify("models")
    return workbench.project


def select(section, bed, *runs):
    section.table.select([f"runs/{run}" for run in runs])
    bed.process()


def test_the_list_has_figures_and_says_what_is_damaged(project, ui, bed):
    assert ui.modelTable.rowCount == 2
    newer, older = ([ui.modelTable.item(row, column).text() for column in range(4)] for row in range(2))
    assert older[DICE] == "0.900" and older[LABELS] == "4" and older[MADE] == "2026-11-25"
    assert newer[DICE] == "-"
    assert not ui.modelTable.item(0, NAME).icon().isNull() and ui.modelTable.item(1, NAME).icon().isNull()
    assert ui.modelTable.item(0, NAME).toolTip() == project.model(f"runs/{NEWER}").problem


def test_the_card_follows_the_selection(section, project, ui, bed):
    for name in ("cardButton", "exportModelButton", "deleteModelButton", "compareButton"):
        assert not getattr(ui, name).enabled
    select(section, bed, OLDER)
    ui.cardButton.click()
    assert not ui.cardGroup.collapsed and "not a medical device" in ui.cardText.plainText
    select(section, bed, NEWER)
    assert ui.cardText.plainText == project.model(f"runs/{NEWER}").problem
    select(section, bed, OLDER, NEWER)
    assert ui.cardText.plainText == "" and not ui.cardButton.enabled


def test_two_models_are_compared_on_a_volume(section, project, ui, bed):
    select(section, bed, OLDER)
    assert "two models" in ui.compareButton.toolTip
    select(section, bed, OLDER, NEWER)
    assert not ui.compareButton.enabled and "Choose a volume" in ui.compareButton.toolTip


def test_a_model_that_is_needed_is_deleted_after_a_second_question_only(section, project, workbench, ui, bed, tmp_path):
    case = next(case for case in project.cases if case.name == "Aorta")
    project.record_prediction(case.id, write_prediction(tmp_path / "left"), model=f"runs/{OLDER}", score=0.5)
    select(section, bed, OLDER)
    bed.answers.expect("message", "Cancel", "Delete the model")
    ui.deleteModelButton.click()
    bed.answers.expect("message", "Ok", "Delete the model")
    bed.answers.expect("message", "Cancel", "1 predictions that wait")
    ui.deleteModelButton.click()
    assert len(project.models()) == 2
    bed.answers.expect("message", "Ok", "Delete the model")
    bed.answers.expect("message", "Ok", "anyway")
    ui.deleteModelButton.click()
    assert [model.id for model in project.models()] == [f"runs/{NEWER}"] and ui.modelTable.rowCount == 1
    assert not ui.deleteModelButton.enabled


def test_export_and_import_carry_a_model_to_another_project(section, project, workbench, ui, bed, tmp_path):
    select(section, bed, OLDER)
    bed.answers.expect("QFileDialog.getSaveFileName", None)
    ui.exportModelButton.click()
    bed.answers.expect("QFileDialog.getSaveFileName", str(tmp_path / "liver.zip"))
    ui.exportModelButton.click()
    workbench.create_project(tmp_path / "other")
    assert ui.modelTable.rowCount == 0
    bed.answers.expect("QFileDialog.getOpenFileName", str(tmp_path / "liver.zip"))
    ui.importModelButton.click()
    (model,) = workbench.models()
    assert (model.name, model.origin, model.problem) == ("liver", "imported", "")
    assert ui.modelTable.item(0, NAME).text() == "liver"


def test_a_file_that_is_no_model_is_refused_in_words(section, project, workbench, ui, bed, tmp_path):
    (tmp_path / "photo.zip").write_bytes(b"no model")
    bed.answers.expect("QFileDialog.getOpenFileName", str(tmp_path / "photo.zip"))
    bed.answers.expect("message", "Ok", "photo.zip")
    ui.importModelButton.click()
    assert len(workbench.models()) == 2 and ui.importModelButton.enabled
    workbench.close_project()
    assert not ui.importModelButton.enabled and ui.modelTable.rowCount == 0
