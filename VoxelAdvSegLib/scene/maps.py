"""The discriminator's map over the slices: where a scan looks like the labeled scans, 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer

from VoxelAdvSegLib.data.volume import Geometry, header_geometry, read_header, read_pixels
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.scene.grids import array_from_image, ijk_to_ras, image_from_array, vtk_matrix
from VoxelAdvSegLib.scene.hierarchy import place_beside
from VoxelAdvSegLib.scene.nodes import is_alive, remove_node
from VoxelAdvSegLib.scene.segmentations import INPUT_ROLE, check_on_grid
from VoxelAdvSegLib.scene.segments import segment_boxes, segment_names
from VoxelAdvSegLib.scene.views import Outline, SliceLayers, set_foreground_opacity, show_foreground
from VoxelAdvSegLib.scene.volumes import ROLE_ATTRIBUTE, check_usable

TITLE = "Looks like labeled scans"
LEGEND = "Looks like\nlabeled scans"  # in one line it would cover half of a view
COLORS_TAG = "VoxelAdvSegLooksLabeled"
MAP_ROLE = "map"
OPACITY = 0.5
# Low is warm, for it asks to be looked at; around the middle, where the discriminator cannot tell,
# the scan shows through. Vermilion and blue stay apart for colour-blind readers.
STOPS = ((213, 94, 0), (190, 190, 190), (0, 114, 178))  # at 0, 0.5 and 1
CLEAR, FULL = 0.05, 0.35  # from 0.5: transparent up to the one, full colour from the other on
COLORS = 256


def map_colors(scene):
    """The colour table of the map, one for each scene; made when the scene lacks it. Saved with the scene."""
    colors = scene.GetSingletonNode(COLORS_TAG, "vtkMRMLColorTableNode")
    if colors is not None:
        return colors
    colors = slicer.vtkMRMLColorTableNode()
    colors.SetName(TITLE)
    colors.SetSingletonTag(COLORS_TAG)
    colors.SetTypeToUser()
    colors.SetNumberOfColors(COLORS)
    for entry in range(COLORS):
        value = entry / (COLORS - 1)
        r, g, b = (float(np.interp(value, (0, 0.5, 1), [stop[part] / 255 for stop in STOPS])) for part in range(3))
        opacity = float(np.interp(abs(value - 0.5), (CLEAR, FULL), (0, 1)))
        colors.SetColor(entry, f"{value:.2f}", r, g, b, opacity)
    colors.GetLookupTable().SetTableRange(0, 1)
    return scene.AddNode(colors)


def read_map(path: str | Path) -> tuple[np.ndarray, Geometry]:
    """A map as a child process wrote it: float32 (z, y, x) and its grid. Raises InputError."""
    path = Path(path)
    header = read_header(path)
    return read_pixels(path, sitk.sitkFloat32, header), header_geometry(header, path)


def add_map(scene, volume_node, array: np.ndarray, geometry: Geometry):
    """The map as a scalar volume beside its scan, moved as the scan is, called "<volume> looks like labeled scans".

    Values are held to 0 .. 1; where they are not numbers the map says 0.5, "cannot tell". Raises
    InputError when it is not on the volume's grid; then the scene is as before.
    """
    check_usable(volume_node)
    check_on_grid(array.shape, geometry, volume_node)
    name = scene.GenerateUniqueName(f"{volume_node.GetName()} {TITLE.lower()}")
    map_node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    try:
        map_node.SetAttribute(ROLE_ATTRIBUTE, MAP_ROLE)
        map_node.SetNodeReferenceID(INPUT_ROLE, volume_node.GetID())
        map_node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        fill_map(map_node, array, ijk_to_ras(volume_node))
        place_beside(map_node, volume_node)
    except BaseException:
        remove_node(map_node)
        raise
    return map_node


def fill_map(map_node, array: np.ndarray, to_ras: np.ndarray) -> None:
    """New values for a map node, on a grid given by its IJK to RAS (4, 4); its display is made once and kept."""
    values = np.asarray(array, np.float32)
    if not (values.min() >= 0 and values.max() <= 1):  # false also where a value is not a number
        values = np.nan_to_num(values, nan=0.5, posinf=1.0, neginf=0.0).clip(0, 1)
    was_modifying = map_node.StartModify()
    try:
        map_node.SetIJKToRASMatrix(vtk_matrix(to_ras))
        if map_node.GetDisplayNode() is None:
            _make_display(map_node)  # before the voxels, which it would look through for a window of its own
        map_node.SetAndObserveImageData(image_from_array(values))
    finally:
        map_node.EndModify(was_modifying)


def set_threshold(map_node, lowest: float, highest: float) -> None:
    """Shows only where the map lies between two values; 0 and 1 show all of it."""
    display = map_node.GetDisplayNode()
    display.SetThreshold(lowest, highest)
    display.SetApplyThreshold(lowest > 0 or highest < 1)


class MapOverlay:
    """A map laid over all slice views, until `hide`.

    outlined: segmentations that are drawn as outlines meanwhile, since two fills would mix their colours.
    """

    def __init__(self, scene, map_node, opacity: float = OPACITY, outlined: Sequence = ()) -> None:
        self._scene = scene
        self.map_node = map_node
        self._before: SliceLayers | None = show_foreground(scene, map_node, opacity)
        self._outlines = [Outline(node) for node in outlined]

    def set_opacity(self, opacity: float) -> None:
        if is_alive(self.map_node):
            set_foreground_opacity(self._scene, self.map_node, opacity)

    def hide(self) -> None:
        """Puts back what the views showed; a foreground that a person chose meanwhile stays. Again: nothing."""
        if self._before is not None and is_alive(self.map_node):
            self._before.restore(self.map_node)
        self._before = None
        for outline in self._outlines:
            outline.restore()
        self._outlines = []


def show_legend(map_node, visible: bool) -> None:
    """A bar with the colours and what they mean, in the views that show the map."""
    logic = slicer.vtkSlicerColorLogic
    legend = logic.GetColorLegendDisplayNode(map_node)
    if legend is None:
        if not visible:
            return
        legend = logic.AddDefaultColorLegendDisplayNode(map_node)
        legend.SetTitleText(LEGEND)
        legend.SetLabelFormat("%.1f")
        legend.SetNumberOfLabels(3)  # 0, 0.5 and 1
    legend.SetVisibility(visible)


def mean_per_segment(map_node, segmentation_node) -> dict[str, float | None]:
    """Mean of the map within each segment by name, None for segments without voxels.

    Raises InputError when the two have no voxel grid in common because one of them was deleted.
    """
    if not is_alive(map_node) or not is_alive(segmentation_node):
        raise InputError("the map or the segmentation is no longer in the scene", do="segment the volume again")
    values = array_from_image(map_node.GetImageData())
    means = {}
    names = segment_names(segmentation_node)
    for segment_id, box in segment_boxes(segmentation_node, names, map_node).items():
        inside = values[box.place][box.mask]
        means[names[segment_id]] = float(inside.mean(dtype=np.float64)) if inside.size else None
    return means


def _make_display(map_node) -> None:
    map_node.CreateDefaultDisplayNodes()
    display = map_node.GetDisplayNode()
    display.SetAndObserveColorNodeID(map_colors(map_node.GetScene()).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetAutoThreshold(False)
    display.SetThreshold(0, 1)
    display.SetApplyThreshold(False)
    display.InterpolateOn()
