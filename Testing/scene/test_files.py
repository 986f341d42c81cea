"""Segmentations through files: the child's result, a bundle of the scene, damaged and foreign files."""

import numpy as np
import pytest
import slicer
from slicer_bed.application import Application
from slicer_bed.phantoms import (
    GRIDS,
    add_segmentation,
    add_transform,
    add_volume,
    labels_array,
    node_names,
    turn_and_shift,
)
from slicer_bed.vtk_errors import vtk_errors

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.inference.output import write_segmentation
from VoxelAdvSegLib.scene.grids import world_geometry
from VoxelAdvSegLib.scene.labels import export_segmentation
from VoxelAdvSegLib.scene.organ_volumes import organ_volumes, volumes_table
from VoxelAdvSegLib.scene.predictions import MadeBy, read_prediction
from VoxelAdvSegLib.scene.segmentations import add_prediction, input_volume, load_segmentation, made_by
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask, segment_names
from VoxelAdvSegLib.scene.status import Status, status_of
from VoxelAdvSegLib.scene.volumes import export_volume

LABELS = labels_array()
CLASSES = np.array([0, 1, 2, 0, 0, 3], np.uint8)[LABELS]
ORGANS = (
    Organ("Leber ÄÖ 肝", 3, (221, 130, 101), terminology_of("liver")),
    Organ("spleen", 7, (157, 108, 162)),
    Organ("lesion", 200, (10, 20, 30)),
    Organ("pancreas", 9, (1, 2, 3)),
)
MODEL = MadeBy("abdomen", "sha256:0123", "2026-11-25T10:42:00")


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("grid", GRIDS)
def test_from_the_scene_to_the_child_and_back(scene, tmp_path, grid, moved):
    """The scan as exported, a result as the library writes it on the scan's grid, and the result on the volume."""
    volume = add_volume(scene, matrix=GRIDS[grid])
    if moved:
        add_transform(scene, volume, turn_and_shift())
    geometry = export_volume(volume, tmp_path / "image.nrrd")
    write_segmentation(CLASSES, geometry, ORGANS, tmp_path / "segmentation.seg.nrrd")
    prediction = read_prediction(tmp_path / "segmentation.seg.nrrd", frozenset({"spleen"}))
    node = add_prediction(scene, volume, prediction, MODEL)
    assert list(segment_names(node).values()) == [organ.name for organ in ORGANS]
    for index, segment_id in enumerate(segment_ids(node)):
        assert np.array_equal(segment_mask(node, segment_id, volume), index + 1 == CLASSES)
    segments = [node.GetSegmentation().GetSegment(segment_id) for segment_id in segment_ids(node)]
    assert segments[0].GetTerminology() == terminology_of("liver")
    assert [round(255 * part) for part in segments[0].GetColor()] == [221, 130, 101]
    assert [status_of(segment) for segment in segments].count(Status.FLAGGED) == 1


def test_a_bundle_keeps_the_prediction_with_all_that_is_known_of_it(application, scene, tmp_path):
    volume = add_volume(scene, matrix=GRIDS["oblique"], name="scan 肺")
    add_transform(scene, volume, turn_and_shift())
    write_segmentation(CLASSES, world_geometry(volume), ORGANS, tmp_path / "a.seg.nrrd")
    node = add_prediction(scene, volume, read_prediction(tmp_path / "a.seg.nrrd", frozenset({"spleen"})), MODEL)
    volumes_table(scene, node, organ_volumes(node, volume))
    name = node.GetName()
    assert scene.WriteToMRB(str(tmp_path / "Bündel.mrb"), None, slicer.vtkMRMLMessageCollection())
    application.close()
    other = Application(tmp_path / "another")
    assert other.scene.ReadFromMRB(str(tmp_path / "Bündel.mrb"), False, slicer.vtkMRMLMessageCollection())
    again = other.scene.GetFirstNodeByName(name)
    assert made_by(again) == MODEL and input_volume(again).GetName() == "scan 肺"
    for index, segment_id in enumerate(segment_ids(again)):
        assert np.array_equal(segment_mask(again, segment_id, input_volume(again)), index + 1 == CLASSES)
    segments = [again.GetSegmentation().GetSegment(segment_id) for segment_id in segment_ids(again)]
    assert [segment.GetName() for segment in segments] == [organ.name for organ in ORGANS]
    assert segments[0].GetTerminology() == terminology_of("liver")
    assert [status_of(segment) for segment in segments] == [
        Status.IN_PROGRESS, Status.FLAGGED, Status.IN_PROGRESS, Status.IN_PROGRESS,
    ]  # fmt: skip
    sizes = organ_volumes(again, input_volume(again))
    tables = other.scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    volumes_table(other.scene, again, sizes)
    assert other.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == tables == 1
    other.close()


def test_a_damaged_draft_is_refused_and_leaves_nothing(scene, tmp_path):
    volume = add_volume(scene)
    path = tmp_path / "draft.seg.nrrd"
    export_segmentation(add_segmentation(scene, volume), volume, path)
    path.write_bytes(path.read_bytes()[:-100])
    before = node_names(scene)
    with vtk_errors(fail=False), pytest.raises(InputError):
        load_segmentation(scene, path, volume, "draft")
    assert node_names(scene) == before
    with pytest.raises(InputError):
        read_prediction(path)


def test_a_label_map_without_segments_is_no_prediction(scene, tmp_path):
    volume = add_volume(scene, LABELS)
    export_volume(volume, tmp_path / "labels.nrrd")
    with pytest.raises(InputError, match="no segments"):
        read_prediction(tmp_path / "labels.nrrd")


def test_a_bent_volume_takes_no_segmentation(scene, tmp_path):
    volume = add_volume(scene)
    path = tmp_path / "a.seg.nrrd"
    export_segmentation(add_segmentation(scene, volume), volume, path)
    prediction = read_prediction(path)
    scene.RemoveNode(volume)
    before = node_names(scene)
    with pytest.raises(InputError, match="no longer in the scene"):
        load_segmentation(scene, path, volume, "again")
    with pytest.raises(InputError, match="no longer in the scene"):
        add_prediction(scene, volume, prediction, MODEL)
    assert node_names(scene) == before


def test_two_segments_of_one_name_stay_two(scene, tmp_path):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume, names={"a": "Niere", "b": "Niere", "c": "Niere"})
    export_segmentation(theirs, volume, tmp_path / "a.seg.nrrd")
    again = load_segmentation(scene, tmp_path / "a.seg.nrrd", volume, "again")
    assert segment_names(again) == {"a": "Niere", "b": "Niere", "c": "Niere"}
    assert np.array_equal(segment_mask(again, "b", volume), LABELS == 2)
    node = add_prediction(scene, volume, read_prediction(tmp_path / "a.seg.nrrd"), MODEL)
    assert list(segment_names(node).values()) == ["Niere"] * 3 and len(set(segment_ids(node))) == 3


def test_more_segments_than_a_byte_counts(scene, tmp_path):
    """300 organs of one voxel each: label values need two bytes."""
    volume = add_volume(scene)
    array = np.zeros(LABELS.shape, np.uint16)
    array.ravel()[100:400] = np.arange(1, 301)
    organs = tuple(Organ(f"part {n}", n, (n % 256, 0, 0)) for n in range(1, 301))
    write_segmentation(array, world_geometry(volume), organs, tmp_path / "many.seg.nrrd")
    node = add_prediction(scene, volume, read_prediction(tmp_path / "many.seg.nrrd"), MODEL)
    last = segment_ids(node)[-1]
    assert segment_names(node)[last] == "part 300"
    assert np.flatnonzero(segment_mask(node, last, volume)).tolist() == [399]


def test_undo_of_the_scene_takes_a_prediction_away_and_redo_brings_it_back(scene, tmp_path):
    scene.SetUndoOn()
    volume = add_volume(scene)
    write_segmentation(CLASSES, world_geometry(volume), ORGANS, tmp_path / "a.seg.nrrd")
    before = node_names(scene)
    add_prediction(scene, volume, read_prediction(tmp_path / "a.seg.nrrd"), MODEL)
    scene.Undo()
    assert [name for name in node_names(scene) if name not in before and "Display" not in name] == []
    scene.Redo()
    again = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert np.array_equal(segment_mask(again, segment_ids(again)[0], volume), CLASSES == 1)
