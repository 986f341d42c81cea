"""Corrections without a screen, through the engine under Slicer's Segment Editor, with its masks and its undo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
from scipy import ndimage

from VoxelAdvSegLib.scene.grids import (
    ijk_to_ras,
    node_to_world,
    oriented_image_from_array,
    shape_zyx,
)

EDITOR_TAG = "SegmentEditor"
UNDO_STATES = 10  # what Slicer's own editor keeps


def shared_editor_node(scene):
    """The parameter node that Slicer's Segment Editor uses, made when it is not there yet."""
    editor_node = scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if editor_node is None:
        editor_node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        editor_node.UnRegister(None)
        editor_node.SetSingletonTag(EDITOR_TAG)
        editor_node = scene.AddNode(editor_node)
    return editor_node


class Correction:
    """Edits one segmentation over one volume; every edit is one state of undo.

    The editor node is one of its own, hidden and not saved, so that the user's choices in the
    Segment Editor stay. `close` takes it out of the scene.
    """

    def __init__(self, scene, segmentation_node, volume_node) -> None:
        self.segmentation_node = segmentation_node
        self.volume_node = volume_node
        self._editor_node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        self._editor_node.UnRegister(None)
        self._editor_node.SetHideFromEditors(True)
        self._editor_node.SetSaveWithScene(False)
        self._editor_node = scene.AddNode(self._editor_node)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetSegmentEditorNode(self._editor_node)
        self._logic.SetSegmentationNode(segmentation_node)
        self._logic.SetSourceVolumeNode(volume_node)
        self._logic.SetMaximumNumberOfUndoStates(UNDO_STATES)

    def set_mask(self, segment_id: str, mask: np.ndarray) -> None:
        """Replaces a segment by a mask, bool (z, y, x) on the volume's grid."""
        self._edit(segment_id, mask, self._logic.ModificationModeSet)

    def draw_ball(self, segment_id: str, center_ras_mm: Sequence[float], radius_mm: float) -> int:
        """Adds the voxels within a ball in the world to a segment; how many voxels the ball has."""
        ball = ball_mask(self.volume_node, center_ras_mm, radius_mm)
        self._edit(segment_id, ball, self._logic.ModificationModeAdd)
        return int(np.count_nonzero(ball))

    def erase_ball(self, segment_id: str, center_ras_mm: Sequence[float], radius_mm: float) -> int:
        """Takes the voxels within a ball out of a segment; how many voxels the ball has."""
        ball = ball_mask(self.volume_node, center_ras_mm, radius_mm)
        self._edit(segment_id, ball, self._logic.ModificationModeRemove)
        return int(np.count_nonzero(ball))

    def undo(self) -> bool:
        """Takes back the last edit; False when there is none."""
        possible = bool(self._logic.CanUndo())
        if possible:
            self._logic.Undo()
        return possible

    def redo(self) -> bool:
        possible = bool(self._logic.CanRedo())
        if possible:
            self._logic.Redo()
        return possible

    def close(self) -> None:
        self._logic.SetSegmentationNode(None)
        self._logic.SetSourceVolumeNode(None)
        if self._editor_node.GetScene() is not None:
            self._editor_node.GetScene().RemoveNode(self._editor_node)

    def _edit(self, segment_id: str, mask: np.ndarray, mode: int) -> None:
        if self.segmentation_node.GetSegmentation().GetSegment(segment_id) is None:
            raise KeyError(segment_id)
        to_segmentation = np.linalg.inv(node_to_world(self.segmentation_node)) @ node_to_world(self.volume_node)
        place, start = (slice(None),) * 3, (0, 0, 0)
        if mode != self._logic.ModificationModeSet:  # add and remove need the voxels in question only
            found = ndimage.find_objects(mask.view(np.uint8))
            if not found:
                return
            place, start = found[0], tuple(part.start for part in found[0])
        to_ras = to_segmentation @ ijk_to_ras(self.volume_node)
        modifier = oriented_image_from_array(mask[place].astype(np.uint8), to_ras, start)
        self._logic.SetCurrentSegmentID(segment_id)
        self._logic.UpdateReferenceGeometryImage()
        self._logic.ResetModifierLabelmapToDefault()
        self._logic.SaveStateForUndo()
        self._logic.ModifySegmentByLabelmap(self.segmentation_node, segment_id, modifier, mode, False, False)


def ball_mask(volume_node, center_ras_mm: Sequence[float], radius_mm: float) -> np.ndarray:
    """Voxels of the volume, bool (z, y, x), whose centres lie within a ball in the world."""
    to_world = node_to_world(volume_node) @ ijk_to_ras(volume_node)
    k, j, i = np.meshgrid(*(np.arange(size) for size in shape_zyx(volume_node)), indexing="ij", sparse=True)
    square = np.zeros(shape_zyx(volume_node), np.float32)
    for (to_i, to_j, to_k, start), place in zip(to_world[:3], center_ras_mm, strict=True):
        square += np.square(to_i * i + to_j * j + to_k * k + (start - place)).astype(np.float32)
    return square <= radius_mm**2
