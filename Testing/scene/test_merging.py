"""A prediction into segments of the user: what each mode keeps, and that undo gives all back."""

import numpy as np
import pytest
from slicer_bed.phantoms import GRIDS, add_segmentation, add_transform, add_volume, labels_array, turn_and_shift

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.scene.grids import world_geometry
from VoxelAdvSegLib.scene.merging import Mode, Snapshot, merge_into, write_mask
from VoxelAdvSegLib.scene.nodes import remove_node
from VoxelAdvSegLib.scene.predictions import Prediction
from VoxelAdvSegLib.scene.segments import segment_mask
from VoxelAdvSegLib.scene.status import Status, set_status, status_of

LABELS = labels_array()


@pytest.fixture
def volume(scene):
    return add_volume(scene, matrix=GRIDS["oblique"])


@pytest.fixture
def theirs(scene, volume):
    """a and b as drawn one after the other, c over parts of b."""
    return add_segmentation(scene, volume)


def shifted(volume, uncertain=()):
    """A prediction of one organ that covers parts of a and of b and some of neither."""
    array = np.zeros_like(LABELS)
    array[6:13, 6:15, 6:15] = 3
    return Prediction(array, world_geometry(volume), (Organ("new", 3, (1, 2, 3)),), frozenset(uncertain))


def masks(node, volume):
    return {segment_id: segment_mask(node, segment_id, volume) for segment_id in "abc"}


def status(node, segment_id):
    return status_of(node.GetSegmentation().GetSegment(segment_id))


def test_overwrite_takes_voxels_from_unfinished_segments(volume, theirs):
    predicted = shifted(volume)
    merge = merge_into(theirs, volume, predicted, {"new": "c"}, Mode.OVERWRITE)
    found = masks(theirs, volume)
    assert np.array_equal(found["c"], predicted.array == 3)
    assert np.array_equal(found["a"], (LABELS == 1) & (predicted.array != 3))
    assert np.array_equal(found["b"], (LABELS == 2) & (predicted.array != 3))
    assert merge.voxels == {"Lesion": 7 * 9 * 9} and merge.protected == ()


@pytest.mark.parametrize("mode", Mode)
def test_a_completed_segment_keeps_every_voxel_in_every_mode(volume, theirs, mode):
    set_status(theirs.GetSegmentation().GetSegment("a"), Status.COMPLETED)
    merge = merge_into(theirs, volume, shifted(volume), {"new": "c"}, mode)
    assert np.array_equal(segment_mask(theirs, "a", volume), LABELS == 1)
    assert merge.protected == ("Liver",)
    if mode is not Mode.OVERLAP:
        assert not np.any(segment_mask(theirs, "c", volume) & (LABELS == 1))


def test_a_completed_target_is_not_written(volume, theirs):
    set_status(theirs.GetSegmentation().GetSegment("c"), Status.COMPLETED)
    merge = merge_into(theirs, volume, shifted(volume), {"new": "c"})
    assert np.array_equal(segment_mask(theirs, "c", volume), LABELS == 5)
    assert merge.voxels == {} and status(theirs, "c") is Status.COMPLETED


def test_keep_goes_only_where_nothing_is(volume, theirs):
    predicted = shifted(volume)
    merge_into(theirs, volume, predicted, {"new": "c"}, Mode.KEEP)
    found = masks(theirs, volume)
    assert np.array_equal(found["a"], LABELS == 1) and np.array_equal(found["b"], LABELS == 2)
    assert np.array_equal(found["c"], (predicted.array == 3) & (LABELS != 1) & (LABELS != 2))


def test_overlap_lets_both_have_it(volume, theirs):
    predicted = shifted(volume)
    merge_into(theirs, volume, predicted, {"new": "c"}, Mode.OVERLAP)
    found = masks(theirs, volume)
    assert np.array_equal(found["a"], LABELS == 1) and np.array_equal(found["b"], LABELS == 2)
    assert np.array_equal(found["c"], predicted.array == 3)


def test_status_follows_and_name_and_colour_stay(volume, theirs):
    segment = theirs.GetSegmentation().GetSegment("c")
    before = segment.GetName(), segment.GetColor()
    merge_into(theirs, volume, shifted(volume, ["new"]), {"new": "c"})
    assert status(theirs, "c") is Status.FLAGGED
    merge_into(theirs, volume, shifted(volume), {"new": "c"})
    assert status(theirs, "c") is Status.IN_PROGRESS and status(theirs, "a") is Status.NOT_STARTED
    assert (segment.GetName(), segment.GetColor()) == before


@pytest.mark.parametrize("mode", Mode)
def test_undo_gives_everything_back(volume, theirs, mode):
    before = masks(theirs, volume)
    merge = merge_into(theirs, volume, shifted(volume, ["new"]), {"new": "c"}, mode)
    assert merge.undo.restore()
    after = masks(theirs, volume)
    assert all(np.array_equal(before[segment_id], after[segment_id]) for segment_id in "abc")
    assert status(theirs, "c") is Status.NOT_STARTED


def test_undo_after_the_node_was_deleted_does_nothing(volume, theirs):
    snapshot = Snapshot(theirs)
    remove_node(theirs)
    assert snapshot.restore() is False


def test_it_is_written_where_the_volume_was_moved_to(scene, theirs, volume):
    """The volume moves, the user's segmentation does not: the prediction belongs to the volume's place."""
    add_transform(scene, volume, turn_and_shift(0, (0.0, 0.0, 5.0)))
    predicted = shifted(volume)
    merge_into(theirs, volume, predicted, {"new": "c"}, Mode.OVERLAP)
    found = segment_mask(theirs, "c", volume)
    assert found.sum() == pytest.approx((predicted.array == 3).sum(), rel=0.1)
    assert np.mean(found[predicted.array == 3]) > 0.9


def test_wrong_targets_are_refused_before_anything_changes(volume, theirs):
    before = masks(theirs, volume)
    for targets, words in (({"new": "gone"}, "any more"), ({"absent": "a"}, "any more")):
        with pytest.raises(InputError, match=words):
            merge_into(theirs, volume, shifted(volume), targets)
    after = masks(theirs, volume)
    assert all(np.array_equal(before[segment_id], after[segment_id]) for segment_id in "abc")


def test_a_mask_replaces_one_segment_alone(volume, theirs):
    write_mask(theirs, "a", volume, LABELS == 2)
    found = masks(theirs, volume)
    assert np.array_equal(found["a"], LABELS == 2) and np.array_equal(found["b"], LABELS == 2)
