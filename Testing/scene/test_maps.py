"""The discriminator's map in the scene: values, colours, means, and the views as they were before."""

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

from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.inference.output import write_map
from VoxelAdvSegLib.scene.grids import array_from_image, ijk_to_ras, own_geometry, world_geometry
from VoxelAdvSegLib.scene.hierarchy import parent_name, place_in_folder
from VoxelAdvSegLib.scene.maps import (
    TITLE,
    MapOverlay,
    add_map,
    map_colors,
    mean_per_segment,
    read_map,
    set_threshold,
    show_legend,
)
from VoxelAdvSegLib.scene.nodes import remove_node
from VoxelAdvSegLib.scene.views import SliceLayers, center_on_segment, point_in_segment, show_background
from VoxelAdvSegLib.scene.volumes import volume_choices

LABELS = labels_array()
MAP = np.where(LABELS == 1, 0.9, np.where(LABELS == 2, 0.2, 0.5)).astype(np.float32)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_map_lies_on_its_scan(scene, tmp_path, grid):
    volume = add_volume(scene, matrix=GRIDS[grid])
    add_transform(scene, volume, turn_and_shift())
    write_map(MAP, world_geometry(volume), tmp_path / "looks_labeled.nii.gz")
    node = add_map(scene, volume, *read_map(tmp_path / "looks_labeled.nii.gz"))
    assert np.allclose(array_from_image(node.GetImageData()), MAP)
    assert np.array_equal(ijk_to_ras(node), ijk_to_ras(volume))
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()


def test_its_name_says_what_it_is_and_not_confidence(scene):
    volume = add_volume(scene, name="肺 scan")
    place_in_folder(volume, "study")
    node = add_map(scene, volume, MAP, world_geometry(volume))
    assert node.GetName() == "肺 scan looks like labeled scans" and parent_name(node) == "study"
    assert "confidence" not in (node.GetName() + TITLE + map_colors(scene).GetName()).lower()
    assert [choice.node for choice in volume_choices(scene)] == [volume]


def test_window_colours_and_threshold(scene):
    volume = add_volume(scene)
    node = add_map(scene, volume, MAP, world_geometry(volume))
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((0, 1))
    assert not display.GetAutoWindowLevel() and not display.GetApplyThreshold()
    colors = display.GetColorNode()
    low, middle, high = (np.array(colors.GetLookupTable().GetTableValue(entry)[:3]) for entry in (0, 128, 255))
    assert low[0] > 0.7 > low[2] and high[2] > 0.6 > high[0] and np.ptp(middle) < 0.05
    assert [colors.GetLookupTable().GetTableValue(entry)[3] for entry in (0, 128, 255)] == [1, 0, 1]
    set_threshold(node, 0.0, 0.4)
    assert display.GetApplyThreshold() and display.GetUpperThreshold() == pytest.approx(0.4)
    set_threshold(node, 0.0, 1.0)
    assert not display.GetApplyThreshold()
    assert add_map(scene, volume, MAP, world_geometry(volume)).GetDisplayNode().GetColorNode() is colors


def test_values_that_are_no_numbers_say_cannot_tell(scene):
    volume = add_volume(scene)
    array = MAP.copy()
    array[0, 0, :4] = (np.nan, np.inf, -np.inf, 7)
    node = add_map(scene, volume, array, world_geometry(volume))
    assert array_from_image(node.GetImageData())[0, 0, :4].tolist() == [0.5, 1, 0, 1]


def test_a_map_of_another_grid_is_refused_and_leaves_nothing(scene):
    volume, other = add_volume(scene), add_volume(scene, matrix=GRIDS["oblique"])
    before = node_names(scene)
    with pytest.raises(InputError, match="does not fit"):
        add_map(scene, volume, MAP, own_geometry(other))
    with pytest.raises(InputError, match="does not fit"):
        add_map(scene, volume, MAP[1:], own_geometry(volume))
    assert node_names(scene) == before


def test_means_per_organ(scene):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume, {"a": LABELS == 1, "b": (LABELS == 1) | (LABELS == 2), "c": None})
    node = add_map(scene, volume, MAP, world_geometry(volume))
    one, two = (LABELS == 1).sum(), (LABELS == 2).sum()
    means = mean_per_segment(node, theirs)
    assert means["Liver"] == pytest.approx(0.9) and means["Lesion"] is None
    assert means["Milz 脾"] == pytest.approx((0.9 * one + 0.2 * two) / (one + two))
    remove_node(theirs)
    with pytest.raises(InputError, match="no longer"):
        mean_per_segment(node, theirs)


def add_views(scene, *names):
    nodes = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name) for name in names]
    for node, name in zip(nodes, names, strict=True):
        node.SetLayoutName(name)
    return nodes


def state(node):
    return (
        node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity(),
        node.GetLabelVolumeID(), node.GetLabelOpacity(),
    )  # fmt: skip


def test_the_views_are_exactly_as_before(scene):
    volume, other = add_volume(scene), add_volume(scene, name="other")
    red, green = add_views(scene, "Red", "Green")
    red.SetBackgroundVolumeID(volume.GetID())
    red.SetForegroundVolumeID(other.GetID())
    red.SetForegroundOpacity(0.25)
    before = state(red), state(green)
    overlay = MapOverlay(scene, add_map(scene, volume, MAP, world_geometry(volume)))
    assert red.GetForegroundVolumeID() == green.GetForegroundVolumeID() == overlay.map_node.GetID()
    assert red.GetBackgroundVolumeID() == volume.GetID() and red.GetForegroundOpacity() == pytest.approx(0.5)
    overlay.set_opacity(0.7)
    assert red.GetForegroundOpacity() == pytest.approx(0.7)
    overlay.hide()
    assert (state(red), state(green)) == before
    red.SetForegroundOpacity(0.9)
    overlay.hide()
    assert red.GetForegroundOpacity() == pytest.approx(0.9)


def test_segments_are_outlines_while_the_map_shows(scene):
    volume = add_volume(scene)
    filled, outlined = add_segmentation(scene, volume), add_segmentation(scene, volume, name="gone")
    map_node = add_map(scene, volume, MAP, world_geometry(volume))
    overlay = MapOverlay(scene, map_node, outlined=[filled, outlined])
    display = filled.GetDisplayNode()
    assert not display.GetVisibility2DFill() and display.GetVisibility2DOutline()
    remove_node(outlined)
    overlay.hide()
    assert display.GetVisibility2DFill()


def test_what_a_person_chose_meanwhile_stays(scene):
    volume, other = add_volume(scene), add_volume(scene, name="other")
    red, green = add_views(scene, "Red", "Green")
    overlay = MapOverlay(scene, add_map(scene, volume, MAP, world_geometry(volume)))
    red.SetForegroundVolumeID(other.GetID())
    (late,) = add_views(scene, "Late")
    late.SetForegroundVolumeID(overlay.map_node.GetID())
    overlay.hide()
    assert red.GetForegroundVolumeID() == other.GetID()
    assert green.GetForegroundVolumeID() is None and late.GetForegroundVolumeID() is None


def test_deleted_nodes_do_not_come_back(scene):
    volume, other = add_volume(scene), add_volume(scene, name="other")
    (red,) = add_views(scene, "Red")
    red.SetForegroundVolumeID(other.GetID())
    overlay = MapOverlay(scene, add_map(scene, volume, MAP, world_geometry(volume)))
    remove_node(other)
    overlay.hide()
    assert red.GetForegroundVolumeID() is None
    overlay = MapOverlay(scene, overlay.map_node)
    remove_node(overlay.map_node)
    overlay.set_opacity(0.1)
    overlay.hide()


def test_all_layers_can_be_put_back(scene):
    volume, other = add_volume(scene), add_volume(scene, name="other")
    (red,) = add_views(scene, "Red")
    red.SetBackgroundVolumeID(volume.GetID())
    before, layers = state(red), SliceLayers(scene)
    show_background(scene, other)
    assert red.GetBackgroundVolumeID() == other.GetID()
    layers.restore()
    assert state(red) == before


def test_a_legend_says_the_words(scene):
    volume = add_volume(scene)
    node = add_map(scene, volume, MAP, world_geometry(volume))
    show_legend(node, False)
    logic = slicer.vtkSlicerColorLogic
    assert logic.GetColorLegendDisplayNode(node) is None
    show_legend(node, True)
    assert logic.GetColorLegendDisplayNode(node).GetTitleText().split() == TITLE.split()
    show_legend(node, False)
    assert not logic.GetColorLegendDisplayNode(node).GetVisibility()


def test_the_middle_of_a_ring_is_on_the_ring(scene):
    volume = add_volume(scene, matrix=GRIDS["oblique"])
    k, j, i = np.indices(LABELS.shape)
    radius = np.hypot(0.9 * (j - 11), 0.7 * (i - 15))
    ring = (np.abs(radius - 6) < 1) & (k == 8)
    theirs = add_segmentation(scene, volume, {"a": ring, "b": None})
    point = point_in_segment(theirs, "a", volume)
    i, j, k, _ = np.linalg.inv(ijk_to_ras(volume)) @ (*point, 1)
    assert ring[round(k), round(j), round(i)]
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    assert center_on_segment(scene, theirs, "a", volume) == point
    assert [slice_node.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == pytest.approx(point)
    assert center_on_segment(scene, theirs, "b", volume) is None


def test_a_map_survives_a_bundle_with_its_colours(application, scene, tmp_path):
    volume = add_volume(scene)
    node = add_map(scene, volume, MAP, world_geometry(volume))
    set_threshold(node, 0.0, 0.4)
    assert scene.WriteToMRB(str(tmp_path / "a.mrb"), None, slicer.vtkMRMLMessageCollection())
    application.close()
    other = Application(tmp_path / "another")
    assert other.scene.ReadFromMRB(str(tmp_path / "a.mrb"), False, slicer.vtkMRMLMessageCollection())
    again = other.scene.GetFirstNodeByName(node.GetName())
    assert np.allclose(array_from_image(again.GetImageData()), MAP)
    display = again.GetDisplayNode()
    assert display.GetColorNode() is map_colors(other.scene)
    assert np.allclose(
        display.GetColorNode().GetLookupTable().GetTableValue(0)[:3], (213 / 255, 94 / 255, 0), atol=0.01
    )
    assert display.GetUpperThreshold() == pytest.approx(0.4) and display.GetApplyThreshold()
    other.close()
