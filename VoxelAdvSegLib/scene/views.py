"""What the slice views show: remembered, changed, and put back exactly; and jumps to what matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from VoxelAdvSegLib.scene.grids import ijk_to_ras, node_to_world
from VoxelAdvSegLib.scene.nodes import Handle
from VoxelAdvSegLib.scene.segments import segment_mask


@dataclass(frozen=True)
class _Layers:
    """Volumes and opacities of one slice view, by node ID."""

    background: str | None
    foreground: str | None
    label: str | None
    foreground_opacity: float
    label_opacity: float


class SliceLayers:
    """What all slice views of a scene showed at one moment."""

    def __init__(self, scene) -> None:
        self._scene = scene
        self._layers = {node.GetID(): _layers_of(node) for node in composite_nodes(scene)}

    def restore(self, shown=None) -> None:
        """Puts every layer back.

        shown: only in views whose foreground is still this node, so that what a person chose
        meanwhile stays. Views and volumes that were deleted are passed over.
        """
        for node in composite_nodes(self._scene):
            layers = self._layers.get(node.GetID())
            if shown is not None and node.GetForegroundVolumeID() != shown.GetID():
                continue
            if layers is None:
                layers = _Layers(
                    node.GetBackgroundVolumeID(), None, node.GetLabelVolumeID(), 0.0, node.GetLabelOpacity()
                )
            was_modifying = node.StartModify()
            try:
                if shown is None:
                    node.SetBackgroundVolumeID(self._present(layers.background))
                    node.SetLabelVolumeID(self._present(layers.label))
                    node.SetLabelOpacity(layers.label_opacity)
                node.SetForegroundVolumeID(self._present(layers.foreground))
                node.SetForegroundOpacity(layers.foreground_opacity)
            finally:
                node.EndModify(was_modifying)

    def _present(self, node_id: str | None) -> str | None:
        return node_id if node_id and self._scene.GetNodeByID(node_id) is not None else None


class Outline:
    """A segmentation drawn as outlines in the slice views, until `restore`."""

    def __init__(self, segmentation_node) -> None:
        if segmentation_node.GetDisplayNode() is None:
            segmentation_node.CreateDefaultDisplayNodes()
        display = segmentation_node.GetDisplayNode()
        self._display = Handle.of(display)
        self._filled = display.GetVisibility2DFill()
        self._outlined = display.GetVisibility2DOutline()
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)

    def restore(self) -> None:
        """Draws it as before, unless it was deleted."""
        display = self._display.node
        if display is not None:
            display.SetVisibility2DFill(self._filled)
            display.SetVisibility2DOutline(self._outlined)


def composite_nodes(scene) -> list:
    """The composite node of every slice view."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    return [scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode") for index in range(count)]


def show_foreground(scene, volume_node, opacity: float) -> SliceLayers:
    """Lays a volume over all slice views; the layers before, to be put back with `restore(volume_node)`."""
    before = SliceLayers(scene)
    for node in composite_nodes(scene):
        was_modifying = node.StartModify()
        try:
            node.SetForegroundVolumeID(volume_node.GetID())
            node.SetForegroundOpacity(opacity)
        finally:
            node.EndModify(was_modifying)
    return before


def set_foreground_opacity(scene, volume_node, opacity: float) -> None:
    """Only in views that show this volume in front."""
    for node in composite_nodes(scene):
        if node.GetForegroundVolumeID() == volume_node.GetID():
            node.SetForegroundOpacity(opacity)


def show_background(scene, volume_node) -> None:
    """Shows a volume in all slice views; foreground and label layers stay."""
    for node in composite_nodes(scene):
        node.SetBackgroundVolumeID(volume_node.GetID())


def center_on_segment(scene, segmentation_node, segment_id: str, volume_node) -> tuple[float, float, float] | None:
    """Brings all slice views to the middle of a segment; where that is (RAS mm), None when it has no voxel.

    The place is always a voxel of the segment, also of a ring or in two parts.
    """
    point = point_in_segment(segmentation_node, segment_id, volume_node)
    if point is not None:
        slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *point, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    return point


def point_in_segment(segmentation_node, segment_id: str, volume_node) -> tuple[float, float, float] | None:
    """The voxel of a segment that is nearest to its centre of gravity, in RAS mm of the world."""
    places = np.argwhere(segment_mask(segmentation_node, segment_id, volume_node))[:, ::-1]
    if not len(places):
        return None
    to_world = node_to_world(volume_node) @ ijk_to_ras(volume_node)
    points = places @ to_world[:3, :3].T + to_world[:3, 3]
    r, a, s = points[np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1))]
    return (float(r), float(a), float(s))


def _layers_of(node) -> _Layers:
    return _Layers(
        node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetLabelVolumeID(),
        node.GetForegroundOpacity(), node.GetLabelOpacity(),
    )  # fmt: skip
