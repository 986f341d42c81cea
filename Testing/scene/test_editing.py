"""Corrections through the Segment Editor's engine, and the notice of them."""

import numpy as np
import pytest
from slicer_bed.phantoms import (
    GRIDS,
    add_segmentation,
    add_transform,
    add_volume,
    labels_array,
    node_names,
    turn_and_shift,
)

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.scene.editing import Correction, ball_mask, shared_editor_node
from VoxelAdvSegLib.scene.grids import ijk_to_ras, node_to_world, world_geometry
from VoxelAdvSegLib.scene.journal import ChangeWatch
from VoxelAdvSegLib.scene.merging import write_mask
from VoxelAdvSegLib.scene.nodes import remove_node
from VoxelAdvSegLib.scene.predictions import MadeBy, Prediction
from VoxelAdvSegLib.scene.segmentations import add_prediction
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask
from VoxelAdvSegLib.scene.status import Status, set_status
from VoxelAdvSegLib.scene.watch import SceneWatch

LABELS = labels_array()


def place(volume, kji):
    k, j, i = kji
    return (node_to_world(volume) @ ijk_to_ras(volume) @ (i, j, k, 1))[:3]


def test_a_ball_has_its_radius_in_mm(scene):
    """Radius 2.6 mm around a voxel: one slice of 2.5 mm to each side, two rows of 0.9, three columns of 0.7."""
    volume = add_volume(scene, matrix=GRIDS["oblique"])
    ball = ball_mask(volume, place(volume, (8, 11, 15)), 2.6)
    k, j, i = (np.flatnonzero(ball.any(axis=axes)).tolist() for axes in ((1, 2), (0, 2), (0, 1)))
    assert (k, j, i) == ([7, 8, 9], [9, 10, 11, 12, 13], [12, 13, 14, 15, 16, 17, 18])


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("grid", ["axial", "oblique", "left-handed"])
def test_draw_erase_undo_redo(scene, grid, moved):
    volume = add_volume(scene, matrix=GRIDS[grid])
    if moved:
        add_transform(scene, volume, turn_and_shift())
    theirs = add_segmentation(scene, volume)
    correction = Correction(scene, theirs, volume)
    center = place(volume, (6, 10, 11))  # at the border of a
    ball = ball_mask(volume, center, 4.0)
    assert correction.draw_ball("a", center, 4.0) == ball.sum() > 50
    assert np.array_equal(segment_mask(theirs, "a", volume), (LABELS == 1) | ball)
    correction.erase_ball("a", center, 4.0)
    assert np.array_equal(segment_mask(theirs, "a", volume), (LABELS == 1) & ~ball)
    assert correction.undo()
    assert np.array_equal(segment_mask(theirs, "a", volume), (LABELS == 1) | ball)
    assert correction.undo()
    assert np.array_equal(segment_mask(theirs, "a", volume), LABELS == 1)
    assert not correction.undo()
    assert correction.redo()
    assert np.array_equal(segment_mask(theirs, "a", volume), (LABELS == 1) | ball)
    correction.close()


def test_a_click_outside_the_image_changes_nothing(scene):
    volume = add_volume(scene, matrix=GRIDS["oblique"])
    theirs = add_segmentation(scene, volume)
    correction = Correction(scene, theirs, volume)
    assert correction.draw_ball("a", (5000.0, -4000.0, 3000.0), 4.0) == 0
    assert correction.erase_ball("a", (float("inf"), 0.0, 0.0), 4.0) == 0
    assert np.array_equal(segment_mask(theirs, "a", volume), LABELS == 1)
    center = place(volume, (0, 0, 0))  # half of the ball is outside
    drawn = correction.draw_ball("a", center, 3.0)
    assert 0 < drawn < LABELS.size and segment_mask(theirs, "a", volume).shape == LABELS.shape
    assert segment_mask(theirs, "a", volume).sum() == (LABELS == 1).sum() + drawn
    correction.close()


def test_a_segment_is_set_and_neighbours_are_overwritten_as_in_the_editor(scene):
    volume = add_volume(scene)
    organs = (Organ("a", 1, (1, 2, 3)), Organ("b", 2, (4, 5, 6)))
    prediction = Prediction(LABELS, world_geometry(volume), organs)
    node = add_prediction(scene, volume, prediction, MadeBy("model", "", "2026-11-25"))
    first, second = segment_ids(node)
    correction = Correction(scene, node, volume)
    wanted = np.zeros(LABELS.shape, bool)
    wanted[8:12, 6:12, 6:12] = True
    correction.set_mask(first, wanted)
    assert np.array_equal(segment_mask(node, first, volume), wanted)
    assert np.array_equal(segment_mask(node, second, volume), (LABELS == 2) & ~wanted)
    with pytest.raises(KeyError):
        correction.set_mask("gone", wanted)
    correction.close()


def test_a_correction_leaves_no_node(scene):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    shared = shared_editor_node(scene)
    assert shared_editor_node(scene) is shared
    before = node_names(scene)
    correction = Correction(scene, theirs, volume)
    correction.draw_ball("a", (0, 0, 0), 3)
    assert shared.GetSegmentationNode() is None
    correction.close()
    assert node_names(scene) == before


class Calls:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def test_every_kind_of_change_is_noticed(scene):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    calls = Calls()
    watch = ChangeWatch(theirs, calls)
    assert not watch.unsaved
    correction = Correction(scene, theirs, volume)
    segmentation = theirs.GetSegmentation()
    steps = [
        lambda: correction.draw_ball("a", place(volume, (6, 10, 11)), 4.0),
        lambda: correction.erase_ball("a", place(volume, (6, 10, 11)), 4.0),
        correction.undo,
        lambda: write_mask(theirs, "b", volume, LABELS == 1),
        lambda: segmentation.GetSegment("a").SetName("renamed"),
        lambda: set_status(segmentation.GetSegment("a"), Status.COMPLETED),
        lambda: segmentation.AddEmptySegment("new"),
        lambda: segmentation.RemoveSegment("new"),
    ]
    for step in steps:
        before = calls.count
        step()
        assert calls.count > before and watch.unsaved
        watch.mark_saved()
        assert not watch.unsaved
    watch.close()
    watch.close()
    before = calls.count
    correction.draw_ball("b", place(volume, (6, 10, 11)), 4.0)
    assert calls.count == before
    correction.close()


def test_a_change_while_a_draft_is_written_is_not_lost(scene):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    watch = ChangeWatch(theirs, Calls())
    write_mask(theirs, "a", volume, LABELS == 2)
    counted = watch.changes
    write_mask(theirs, "a", volume, LABELS == 1)  # while the file of the first change is being written
    watch.mark_saved(counted)
    assert watch.unsaved
    watch.close()


def test_looking_changes_nothing(scene):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    calls = Calls()
    watch = ChangeWatch(theirs, calls)
    segment_mask(theirs, "a", volume)
    theirs.CreateClosedSurfaceRepresentation()
    theirs.GetDisplayNode().SetOpacity(0.3)
    volume.SetName("other")
    assert calls.count == 0
    watch.close()


def test_another_segmentation_in_the_node_is_followed(scene):
    volume = add_volume(scene)
    theirs, source = add_segmentation(scene, volume), add_segmentation(scene, volume)
    calls = Calls()
    watch = ChangeWatch(theirs, calls)
    theirs.SetAndObserveSegmentation(source.GetSegmentation())
    before = calls.count
    assert before > 0
    write_mask(theirs, "a", volume, LABELS == 2)
    assert calls.count > before
    watch.close()


def test_a_deleted_node_is_known_as_gone(scene):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    watch = ChangeWatch(theirs, Calls())
    remove_node(theirs)
    assert watch.segmentation_node is None
    watch.close()


def test_the_scenes_life_is_told(application, scene):
    told = []
    watch = SceneWatch(
        scene,
        closing=lambda: told.append(("closing", volume.GetScene() is not None)),
        closed=lambda: told.append(("closed", volume.GetScene() is not None)),
        removed=lambda node: told.append(node.GetName()),
    )
    volume = add_volume(scene, name="scan")
    other = add_volume(scene, name="other")
    scene.RemoveNode(other)
    assert told == ["other"]
    scene.Clear(0)
    assert ("closing", True) in told and told[-1] == ("closed", False) and "scan" in told
    watch.close()
    watch.close()
    told.clear()
    scene.RemoveNode(add_volume(scene))
    assert told == []
