"""Islands of an organ."""

import numpy as np

from VoxelAdvSegLib.data.components import keep_largest, one_part_classes


def test_islands_of_an_organ_become_background():
    label = np.full((6, 9, 12), -1)
    label[1:3, 1:3, 1:3] = 1
    label[5, 8, 11] = 1  # an island
    label[4, 4, 4] = 2  # alone, and so the largest of its organ
    expected = label.copy()
    expected[5, 8, 11] = 0
    before = label.copy()
    assert np.array_equal(keep_largest(label, 2), expected)
    assert np.array_equal(label, before)


def test_corners_connect_only_where_asked():
    label = np.zeros((4, 4, 4), np.uint8)
    label[0:2, 0, 0] = 1
    label[2, 1, 1] = 1  # touches by a corner
    assert np.array_equal(keep_largest(label, 1, connectivity=3), label)
    assert keep_largest(label, 1, connectivity=1).sum() == 2


def test_an_organ_is_one_part_when_every_label_shows_it_as_one():
    whole, apart, speck = (np.zeros((8, 8, 8), np.uint8) for _ in range(3))
    whole[1:4, 1:4, 1:4] = 1
    whole[5, 5, 5] = 2
    apart[1:4, 1:4, 1:4] = 1
    apart[6:8, 6:8, 6:8] = 1
    speck[0:6, 0:6, 0:6] = 1
    speck[7, 7, 7] = 1  # 1 voxel of 217
    assert one_part_classes([whole, speck], 3) == [1, 2]  # 3 is nowhere
    assert one_part_classes([whole, apart], 3) == [2]
    assert one_part_classes([], 3) == []
