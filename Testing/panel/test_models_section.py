"""The section Models with the real workbench and model folders as the library writes them."""

import pytest
import slicer
import slicer.util

from Testing.project.conftest import id_of, write_prediction, write_scan
from Testing.project.test_models import add_run, real_model  # noqa: F401
from VoxelAdvSegLib.panel.models_section import ModelsSection
from VoxelAdvSegLib.scene.segmentations import made_by
from VoxelAdvSegLib.scene.segments import segment_mask, segment_names

SECTION = ModelsSection
NAME, DICE, LABELS, MADE = range(4)
COLORS = ("Red", "Yellow")
OLDER, NEWER = "20261125-101500", "20261125-111500"


@pytest.fixture
def project(section, workbench, make_project, real_model):  # noqa: F811
    """Two models; the newer one is damaged."""
    project = make_project(["known"], ["Aorta"])
    add_run(project, real_model, OLDER)
    add_run(project, real_model, NEWER)
    (project.path / "runs" / NEWER / "model" / "model.json").write_text("{", encoding="utf-8")
    workbench.notify("models")
    return project


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


@pytest.fixture
def compare(section, workbench, ui, bed, segmented, tmp_path):
    """compare(two model folders): a click on the button, and the volume, when both are through."""

    def go(older, newer):
        ui.volumeSelector.setMRMLScene(slicer.mrmlScene)
        workbench.create_project(tmp_path / "two")
        add_run(workbench.project, older, OLDER)
        add_run(workbench.project, newer, NEWER)
        workbench.notify("models")
        volume_node = slicer.util.loadVolume(str(write_scan(tmp_path / "scans" / "CT.nrrd", 7)))
        slicer.util.setSliceViewerLayers(background=None)
        ui.volumeSelector.setCurrentNode(volume_node)
        select(section, bed, OLDER, NEWER)
        assert ui.compareButton.enabled, ui.compareButton.toolTip
        ui.compareButton.click()
        assert not ui.compareButton.enabled and "running" in ui.compareButton.toolTip
        segmented()
        assert ui.compareButton.enabled
        return volume_node

    return go


def test_two_models_are_shown_side_by_side(compare, ui, model_folder, other_model_folder):
    volume_node = compare(model_folder, other_model_folder)
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    by_view = {node.GetDisplayNode().GetViewNodeIDs(): node for node in nodes}
    red, yellow = (by_view[f"vtkMRMLSliceNode{color}",] for color in ("Red", "Yellow"))
    assert len(nodes) == 2 and len({slicer.util.getNode(f"vtkMRMLSliceNode{c}").GetOrientation() for c in COLORS}) == 1
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    shown = {node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    assert shown == {volume_node.GetID()}
    text = ui.compareLabel.text
    assert f"Red view: {made_by(red).model}; yellow view: {made_by(yellow).model}" in text
    assert {made_by(red).model, made_by(yellow).model} == {f"training {run}" for run in (OLDER, NEWER)}
    for organ in ("liver", "spleen"):
        one, other = (segment_mask(node, organ_id(node, organ), volume_node) for node in (red, yellow))
        assert f"{organ} {2 * (one & other).sum() / (one.sum() + other.sum()):.2f}" in text
    assert "1.00" not in text  # they are two


@pytest.mark.parametrize("which", [0, 1])
def test_a_model_that_fails_is_not_compared_with_the_other_ones_result(
    compare, ui, model_folder, real_model, which  # noqa: F811
):  # fmt: skip
    models = [model_folder, real_model]  # the second has too small a patch for its network
    compare(models[which], models[1 - which])
    assert "not compared" in ui.compareLabel.text and "larger patch" in ui.compareLabel.text
    assert "Dice" not in ui.compareLabel.text


def organ_id(node, name):
    return next(segment_id for segment_id, known in segment_names(node).items() if known == name)


def test_a_model_that_is_needed_is_deleted_after_a_second_question_only(section, project, workbench, ui, bed, tmp_path):
    project.record_prediction(
        id_of(project, "Aorta"), write_prediction(tmp_path / "left"), model=f"runs/{OLDER}", score=0.5
    )
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
