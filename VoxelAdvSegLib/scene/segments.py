"""Single segments: their voxels on a volume's grid, their names, colours and codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from scipy import ndimage

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.scene.grids import array_from_image, ijk_to_ras, matrix_of, node_to_world, shape_zyx

LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
_LOGIC = slicer.vtkSlicerSegmentationsModuleLogic


def segment_ids(segmentation_node) -> list[str]:
    """IDs in display order. Names may repeat, IDs do not."""
    return list(segmentation_node.GetSegmentation().GetSegmentIDs())


def segment_names(segmentation_node) -> dict[str, str]:
    """Name by segment ID, in display order."""
    segmentation = segmentation_node.GetSegmentation()
    return {segment_id: segmentation.GetSegment(segment_id).GetName() for segment_id in segment_ids(segmentation_node)}


@dataclass(frozen=True)
class Box:
    """The voxels of a segment within the smallest box that holds them, on a volume's grid.

    mask: bool (z, y, x), of no voxel for an empty segment; start_zyx: index of its first voxel.
    """

    mask: np.ndarray
    start_zyx: tuple[int, ...]

    @property
    def place(self) -> tuple[slice, ...]:
        """Where the box lies in an array of the volume's shape."""
        return tuple(slice(s, s + size) for s, size in zip(self.start_zyx, self.mask.shape, strict=True))

    @property
    def voxels(self) -> int:
        return int(np.count_nonzero(self.mask))


EMPTY = Box(np.zeros((0, 0, 0), bool), (0, 0, 0))


def segment_boxes(segmentation_node, ids: Iterable[str], volume_node) -> dict[str, Box]:
    """Boxes of segments by ID, in the given order; each label map is looked through once.

    On the volume's grid, wherever either of the two is moved to. Raises KeyError when the
    segmentation has no such segment.
    """
    segmentation = segmentation_node.GetSegmentation()
    shape = shape_zyx(volume_node)
    found: dict[int, tuple[np.ndarray, np.ndarray | None, list]] = {}
    boxes = {}
    for segment_id in ids:
        segment = segmentation.GetSegment(segment_id)
        if segment is None:
            raise KeyError(segment_id)
        if not segmentation.ContainsRepresentation(LABELMAP) and not (
            segmentation_node.CreateBinaryLabelmapRepresentation()
        ):
            boxes[segment_id] = EMPTY  # nothing was drawn yet
            continue
        image = segmentation_node.GetBinaryLabelmapInternalRepresentation(segment_id)
        if id(image) not in found:
            voxels, shift = array_from_image(image), _shift(image, segmentation_node, volume_node)
            found[id(image)] = (voxels, shift, [] if shift is None else ndimage.find_objects(voxels))
        voxels, shift, objects = found[id(image)]
        value = segment.GetLabelValue()
        if shift is None:
            boxes[segment_id] = _smallest(_resampled(segmentation_node, segment_id, volume_node))
        elif not 0 < value <= len(objects) or objects[value - 1] is None:
            boxes[segment_id] = EMPTY
        else:
            boxes[segment_id] = _within(voxels, objects[value - 1], value, shift, shape)
    return boxes


def segment_mask(segmentation_node, segment_id: str, volume_node) -> np.ndarray:
    """Voxels of a segment on the volume's grid, bool (z, y, x). Raises KeyError as segment_boxes does."""
    box = segment_boxes(segmentation_node, [segment_id], volume_node)[segment_id]
    mask = np.zeros(shape_zyx(volume_node), bool)
    mask[box.place] = box.mask
    return mask


def _within(voxels: np.ndarray, where: tuple[slice, ...], value: int, shift: np.ndarray, shape) -> Box:
    """The box `where` of a label map, moved by `shift`, as far as it lies within the shape."""
    start = [max(part.start, -move) for part, move in zip(where, shift, strict=True)]
    stop = [min(part.stop, size - move) for part, move, size in zip(where, shift, shape, strict=True)]
    if not all(a < b for a, b in zip(start, stop, strict=True)):
        return EMPTY
    mask = voxels[tuple(map(slice, start, stop))] == value
    return Box(mask, tuple(int(a + move) for a, move in zip(start, shift, strict=True)))


def _smallest(mask: np.ndarray) -> Box:
    found = ndimage.find_objects(mask.view(np.uint8))
    return Box(mask[found[0]], tuple(part.start for part in found[0])) if found else EMPTY


def _shift(image, segmentation_node, volume_node) -> np.ndarray | None:
    """Where a label map's first voxel lies on the volume's grid, (k, j, i); None when it is on another grid."""
    to_volume = np.linalg.inv(node_to_world(volume_node) @ ijk_to_ras(volume_node))
    to_world = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_world)
    between = to_volume @ node_to_world(segmentation_node) @ matrix_of(to_world)
    first = between @ [*image.GetExtent()[::2], 1]
    whole = np.round(first[:3]).astype(int)
    # The farthest voxel must not be off by more than a hundredth of a voxel.
    off = np.abs(between[:3, :3] - np.eye(3)) @ np.maximum(image.GetDimensions(), 1) + np.abs(first[:3] - whole)
    return whole[::-1] if np.all(off < 1e-2) else None


def _resampled(segmentation_node, segment_id: str, volume_node) -> np.ndarray:
    ids = vtk.vtkStringArray()
    ids.InsertNextValue(segment_id)
    merged = slicer.vtkOrientedImageData()
    extent = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    _LOGIC.GenerateMergedLabelmapInReferenceGeometry(segmentation_node, volume_node, ids, extent, merged)
    voxels = array_from_image(merged)
    shape = shape_zyx(volume_node)
    return voxels != 0 if voxels.shape == shape else np.zeros(shape, bool)


def describe(segment, organ: Organ) -> None:
    """Gives a segment an organ's name, colour and code, as set by a person and not to be changed by itself."""
    segment.SetName(organ.name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*(part / 255 for part in organ.color_rgb))
    segment.SetColorAutoGenerated(False)
    segment.SetTerminology(organ.terminology or terminology_of(organ.name))


def organ_of(segment, value: int = 0) -> Organ:
    """An organ that is called, coloured and coded as a segment is."""
    r, g, b = (round(part * 255) for part in segment.GetColor())
    return Organ(segment.GetName(), value, (r, g, b), segment.GetTerminology())
