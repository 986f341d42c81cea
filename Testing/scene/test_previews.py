"""The training's preview: three nodes, refreshed in place however often."""

import numpy as np
import pytest
from slicer_bed.phantoms import GRIDS, labels_array, node_names, scan_array

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.scene.grids import array_from_image, geometry_from_matrix, ijk_to_ras
from VoxelAdvSegLib.scene.hierarchy import parent_name
from VoxelAdvSegLib.scene.nodes import remove_node
from VoxelAdvSegLib.scene.previews import LivePreview
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask, segment_names
from VoxelAdvSegLib.scene.volumes import volume_choices

ORGANS = (Organ("Liver", 10, (221, 130, 101)), Organ("Spleen", 20, (157, 108, 162)))
LABEL = np.where(labels_array() == 5, 0, labels_array()).astype(np.uint8)
IMAGE = scan_array().astype(np.float16)
GRID = geometry_from_matrix(GRIDS["oblique"], IMAGE.shape)


def test_scan_prediction_and_map_lie_on_one_grid(scene):
    preview = LivePreview(scene)
    preview.update(IMAGE, LABEL, ORGANS, GRID, np.full(IMAGE.shape, 0.3, np.float32))
    for node in (preview.image_node, preview.map_node):
        assert np.allclose(ijk_to_ras(node), GRIDS["oblique"]) and parent_name(node) == "VoxelAdvSeg"
        assert not node.GetSaveWithScene()
    assert np.array_equal(array_from_image(preview.image_node.GetImageData()), IMAGE.astype(np.float32))
    segmentation = preview.segmentation_node
    assert list(segment_names(segmentation).values()) == ["Liver", "Spleen"]
    for index, segment_id in enumerate(segment_ids(segmentation)):
        assert np.array_equal(segment_mask(segmentation, segment_id, preview.image_node), index + 1 == LABEL)
    assert volume_choices(scene) == []


def test_a_hundred_updates_make_no_more_nodes(scene):
    preview = LivePreview(scene)
    preview.update(IMAGE, LABEL, ORGANS, GRID, np.full(IMAGE.shape, 0.3, np.float32))
    nodes, ids = node_names(scene), segment_ids(preview.segmentation_node)
    preview.segmentation_node.GetDisplayNode().SetSegmentVisibility(ids[0], False)
    for step in range(100):
        preview.update(IMAGE, np.roll(LABEL, step, 2), ORGANS, GRID, np.full(IMAGE.shape, step / 100, np.float32))
    assert node_names(scene) == nodes and segment_ids(preview.segmentation_node) == ids
    assert not preview.segmentation_node.GetDisplayNode().GetSegmentVisibility(ids[0])
    assert np.array_equal(
        segment_mask(preview.segmentation_node, ids[1], preview.image_node), np.roll(LABEL, 99, 2) == 2
    )
    assert array_from_image(preview.map_node.GetImageData()).max() == pytest.approx(0.99)


def test_another_scan_of_another_size_may_follow(scene):
    preview = LivePreview(scene)
    preview.update(IMAGE, LABEL, ORGANS, GRID)
    small = np.s_[2:12, 3:17, 4:20]
    preview.update(IMAGE[small], LABEL[small], ORGANS)
    for index, segment_id in enumerate(segment_ids(preview.segmentation_node)):
        mask = segment_mask(preview.segmentation_node, segment_id, preview.image_node)
        assert np.array_equal(mask, LABEL[small] == index + 1)
    assert preview.map_node is None


def test_parts_of_different_size_are_refused(scene):
    with pytest.raises(InputError, match="differ in size"):
        LivePreview(scene).update(IMAGE, LABEL[1:], ORGANS)


def test_a_deleted_part_stays_away_and_the_others_go_on(scene):
    preview = LivePreview(scene)
    looks = np.full(IMAGE.shape, 0.3, np.float32)
    preview.update(IMAGE, LABEL, ORGANS, GRID, looks)
    remove_node(preview.image_node)
    preview.update(IMAGE, LABEL, ORGANS, GRID, looks + 0.1)
    assert preview.image_node is None
    assert array_from_image(preview.map_node.GetImageData()).max() == pytest.approx(0.4)
    remove_node(preview.segmentation_node)
    preview.update(IMAGE, LABEL, ORGANS, GRID, looks)
    assert preview.segmentation_node is None


def test_remove_leaves_what_was_before_but_folder_and_colours(scene):
    preview = LivePreview(scene)
    before = node_names(scene)
    preview.update(IMAGE, LABEL, ORGANS, GRID, np.zeros(IMAGE.shape, np.float32))
    preview.remove()
    preview.remove()
    left = node_names(scene)
    for name in before:
        left.remove(name)
    assert left == ["Looks like labeled scans"]


def test_updates_after_the_scene_was_closed_touch_nothing(scene):
    preview = LivePreview(scene)
    preview.update(IMAGE, LABEL, ORGANS, GRID)
    scene.Clear(0)
    before = node_names(scene)
    preview.update(IMAGE, LABEL, ORGANS, GRID)
    assert node_names(scene) == before and preview.image_node is None
