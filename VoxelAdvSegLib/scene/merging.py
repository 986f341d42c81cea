"""A prediction written into segments that a person chose; completed segments are never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import slicer

from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.scene.grids import ijk_to_ras, node_to_world, oriented_image_from_array
from VoxelAdvSegLib.scene.nodes import Handle
from VoxelAdvSegLib.scene.predictions import Prediction
from VoxelAdvSegLib.scene.segmentations import check_on_grid
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask, segment_names
from VoxelAdvSegLib.scene.status import Status, set_status, status_of
from VoxelAdvSegLib.scene.volumes import check_usable

_LOGIC = slicer.vtkSlicerSegmentationsModuleLogic


class Mode(Enum):
    """What happens where another segment already is."""

    OVERWRITE = "overwrite"  # the prediction takes the voxel, unless the other segment is completed
    KEEP = "keep"  # the other segment keeps the voxel
    OVERLAP = "overlap"  # both have it


class Snapshot:
    """All segments of a segmentation as they are now, to be put back."""

    def __init__(self, segmentation_node) -> None:
        self._handle = Handle.of(segmentation_node)
        self._segmentation = slicer.vtkSegmentation()
        self._segmentation.DeepCopy(segmentation_node.GetSegmentation())

    def restore(self) -> bool:
        """Puts the segments back; False when the node was deleted meanwhile."""
        node = self._handle.node
        if node is None:
            return False
        was_modifying = node.StartModify()
        try:
            node.GetSegmentation().DeepCopy(self._segmentation)
        finally:
            node.EndModify(was_modifying)
        return True


@dataclass(frozen=True)
class Merge:
    """What a merge did.

    voxels: voxels that each target segment now has, by its name; protected: names of completed
    segments that kept all they had; undo: puts everything back.
    """

    voxels: Mapping[str, int]
    protected: tuple[str, ...]
    undo: Snapshot


def merge_into(
    segmentation_node, volume_node, prediction: Prediction, targets: Mapping[str, str], mode: Mode = Mode.OVERWRITE
) -> Merge:
    """Replaces the voxels of chosen segments by the prediction's; all other organs of it are left out.

    targets: segment ID by organ name. A completed target stays as it is. Written segments become in
    progress, flagged where uncertain; names, colours and codes stay the user's. Raises InputError
    when a segment or organ is not there, or the prediction is not on the volume's grid.
    """
    check_usable(volume_node)
    check_on_grid(prediction.array.shape, prediction.geometry, volume_node)
    segmentation = segmentation_node.GetSegmentation()
    organs = {organ.name: organ for organ in prediction.organs}
    for organ_name, segment_id in targets.items():
        if organ_name not in organs or segmentation.GetSegment(segment_id) is None:
            raise InputError(
                f"there is no segment for {organ_name} any more", expected="an organ of the prediction and a segment",
                do="choose the segments again",
            )  # fmt: skip
    if len(set(targets.values())) < len(targets):
        raise InputError("two organs would go into one segment", do="choose a segment for each organ")
    names = segment_names(segmentation_node)
    completed = {i for i in names if status_of(segmentation.GetSegment(i)) is Status.COMPLETED}
    written = {organ: segment_id for organ, segment_id in targets.items() if segment_id not in completed}
    others = [i for i in segment_ids(segmentation_node) if i not in written.values()]
    undo = Snapshot(segmentation_node)
    blockers = {Mode.OVERWRITE: completed, Mode.KEEP: set(others), Mode.OVERLAP: set()}[mode]
    blocked = np.zeros(prediction.array.shape, bool)
    for segment_id in blockers:
        blocked |= segment_mask(segmentation_node, segment_id, volume_node)
    yielding = [i for i in others if i not in completed] if mode is Mode.OVERWRITE else []
    voxels = {}
    was_modifying = segmentation_node.StartModify()
    try:
        for organ_name, segment_id in written.items():
            mask = (prediction.array == organs[organ_name].value) & ~blocked
            _write(segmentation_node, segment_id, volume_node, mask, yielding)
            uncertain = organ_name in prediction.uncertain
            set_status(segmentation.GetSegment(segment_id), Status.FLAGGED if uncertain else Status.IN_PROGRESS)
            voxels[names[segment_id]] = int(np.count_nonzero(mask))
    except BaseException:
        undo.restore()
        raise
    finally:
        segmentation_node.EndModify(was_modifying)
    return Merge(voxels, tuple(names[i] for i in names if i in completed), undo)


def write_mask(segmentation_node, segment_id: str, volume_node, mask: np.ndarray) -> None:
    """Replaces a segment by a mask, bool (z, y, x) on the volume's grid; no other segment changes."""
    _write(segmentation_node, segment_id, volume_node, mask, [])


def _write(segmentation_node, segment_id: str, volume_node, mask: np.ndarray, yielding: list[str]) -> None:
    """The mask into a segment, and out of the yielding ones."""
    to_segmentation = np.linalg.inv(node_to_world(segmentation_node)) @ node_to_world(volume_node)
    image = oriented_image_from_array(mask.astype(np.uint8), to_segmentation @ ijk_to_ras(volume_node))
    for other in yielding:
        theirs = segment_mask(segmentation_node, other, volume_node)
        if np.any(theirs & mask):
            write_mask(segmentation_node, other, volume_node, theirs & ~mask)
    if not _LOGIC.SetBinaryLabelmapToSegment(image, segmentation_node, segment_id, _LOGIC.MODE_REPLACE):
        raise InputError(f"the segment '{segment_id}' cannot be written", do="load the segmentation again")
