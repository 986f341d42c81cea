"""A user's segmentation on its way out: which segment is which organ, what overlaps, and the file for the project."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer

from VoxelAdvSegLib.data.organs import Organ, same_name
from VoxelAdvSegLib.data.terminology import TISSUE, Terminology, parse_terminology, terminology_of
from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.scene.files import replacing
from VoxelAdvSegLib.scene.grids import ijk_to_ras, node_to_world, oriented_image_from_array, shape_zyx, vtk_matrix
from VoxelAdvSegLib.scene.segments import LABELMAP, Box, segment_boxes, segment_ids, segment_names
from VoxelAdvSegLib.scene.volumes import check_usable


@dataclass(frozen=True)
class Overlap:
    """Two segments that claim the same voxels."""

    first: str
    second: str
    voxels: int

    def __str__(self) -> str:
        return f"'{self.first}' and '{self.second}' overlap in {self.voxels} voxel{'s' if self.voxels != 1 else ''}"


@dataclass(frozen=True)
class Matching:
    """Which segment is which organ.

    segments: segment ID by organ name; ambiguous: by organ name the names of several segments that
    all fit, none of which is taken; missing: organs without a segment; ignored: names of segments
    that are no organ; doubts: sentences on segments whose name and code say different organs.
    """

    segments: dict[str, str]
    ambiguous: dict[str, list[str]]
    missing: list[str]
    ignored: list[str]
    doubts: list[str]


def match_segments(segmentation_node, organs: Sequence[Organ]) -> Matching:
    """Segments to organs, first by name, then by the code of the terminology; values never count."""
    names = segment_names(segmentation_node)
    segmentation = segmentation_node.GetSegmentation()
    codes = {segment_id: segmentation.GetSegment(segment_id).GetTerminology() or "" for segment_id in names}
    by_name = {organ.name: [i for i, name in names.items() if same_name(name, organ.name)] for organ in organs}
    named = {segment_id for found in by_name.values() for segment_id in found}
    taken, ambiguous, missing = {}, {}, []
    for organ in organs:
        found = by_name[organ.name] or [i for i in names if i not in named and _same_code(codes[i], _code(organ))]
        if len(found) == 1:
            taken[organ.name] = found[0]
        elif found:
            ambiguous[organ.name] = [names[segment_id] for segment_id in found]
        else:
            missing.append(organ.name)
    used = set(taken.values())
    loose = [name for i, name in names.items() if i not in used and not any(name in f for f in ambiguous.values())]
    doubts = [
        f"the segment '{names[segment_id]}' is coded as {other.name}"
        for organ_name, segment_id in taken.items()
        for other in organs
        if other.name != organ_name and _same_code(codes[segment_id], _code(other))
    ]
    return Matching(taken, ambiguous, missing, loose, doubts)


def overlaps(segmentation_node, volume_node, ids: Sequence[str] | None = None) -> list[Overlap]:
    """Pairs of segments with common voxels on the volume's grid, the largest first."""
    ids = segment_ids(segmentation_node) if ids is None else list(ids)
    segmentation = segmentation_node.GetSegmentation()
    if len({segmentation.GetLayerIndex(segment_id) for segment_id in ids}) < 2:
        return []  # one label map holds all: a voxel has one value
    names = segment_names(segmentation_node)
    boxes = segment_boxes(segmentation_node, ids, volume_node)
    found = [
        Overlap(names[first], names[second], _common(boxes[first], boxes[second]))
        for first, second in itertools.combinations(ids, 2)
    ]
    return sorted((overlap for overlap in found if overlap.voxels), key=lambda overlap: -overlap.voxels)


def export_segmentation(
    segmentation_node,
    volume_node,
    path: str | Path,
    names: Mapping[str, str] | None = None,
    compress: bool = True,
    cropped: bool = False,
) -> None:
    """Writes segments as .seg.nrrd on the volume's grid, with names, colours, codes, status and overlaps.

    The file lies in the world as `export_volume` writes the volume. names: only these segments (by
    ID), under these names. cropped: store only the box around the segments, as Slicer does (for drafts,
    which are written often). Node, storage node and file name of the user stay as they are. Raises
    InputError when a segment is not there or two get one name, RunError when the file cannot be written.
    """
    path = Path(path)
    check_usable(volume_node)
    if not path.name.lower().endswith(".seg.nrrd"):
        raise InputError("the format is not known", file=path, expected=".seg.nrrd", found=path.suffix)
    wanted = dict(segment_names(segmentation_node) if names is None else names)
    absent = [name for segment_id, name in wanted.items() if segment_id not in segment_names(segmentation_node)]
    if absent:
        raise InputError(f"the segment for '{absent[0]}' was removed", file=path, do="choose the segments again")
    if names is not None and len(set(wanted.values())) < len(wanted):
        raise InputError("two segments would get one name", file=path, found=", ".join(wanted.values()),
                         do="choose one segment for each organ")  # fmt: skip
    copy = _on_grid(segmentation_node, volume_node, wanted, cropped)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetUseCompression(compress)
    with replacing(path) as temporary:
        storage.SetFileName(str(temporary))
        if not storage.WriteData(copy):
            raise RunError("the file cannot be written")


def _on_grid(segmentation_node, volume_node, names: Mapping[str, str], cropped: bool):
    """A segmentation node outside any scene: the segments on the volume's grid where it lies in the world."""
    to_world = node_to_world(volume_node) @ ijk_to_ras(volume_node)
    node = slicer.vtkMRMLSegmentationNode()
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(LABELMAP)
    k, j, i = shape_zyx(volume_node)
    converter = slicer.vtkSegmentationConverter
    grid = converter.SerializeImageGeometry(vtk_matrix(to_world), [0, i - 1, 0, j - 1, 0, k - 1])
    segmentation.SetConversionParameter(converter.GetReferenceImageGeometryParameterName(), grid)
    boxes = segment_boxes(segmentation_node, names, volume_node)
    start, shape = _union(boxes.values()) if cropped else ((0, 0, 0), (k, j, i))
    layers, places = _layers(boxes, np.asarray(start), shape)
    images = [oriented_image_from_array(layer, to_world, start) for layer in layers]
    for segment_id, name in names.items():
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(segmentation_node.GetSegmentation().GetSegment(segment_id))
        segment.SetName(name)
        layer, value = places[segment_id]
        segment.AddRepresentation(LABELMAP, images[layer])
        segment.SetLabelValue(value)
        segmentation.AddSegment(segment, segment_id)
    return node


def _union(boxes: Iterable[Box]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Start and shape of the box around all; one voxel where all are empty."""
    filled = [box for box in boxes if box.mask.size]
    if not filled:
        return (0, 0, 0), (1, 1, 1)
    start = np.min([box.start_zyx for box in filled], axis=0)
    stop = np.max([np.add(box.start_zyx, box.mask.shape) for box in filled], axis=0)
    return tuple(map(int, start)), tuple(map(int, stop - start))


def _layers(boxes: Mapping[str, Box], start: np.ndarray, shape: tuple[int, ...]):
    """Label arrays without overlap, as few as a first fit gives, and (layer, value) of each segment.

    start, shape: of the box of the volume's grid that the arrays cover.
    """
    layers: list[np.ndarray] = []
    counts: list[int] = []
    places: dict[str, tuple[int, int]] = {}
    kind = np.min_scalar_type(len(boxes))
    for segment_id, box in boxes.items():
        where = tuple(slice(a, a + n) for a, n in zip(box.start_zyx - start, box.mask.shape, strict=True))
        free = (index for index, layer in enumerate(layers) if not np.any(layer[where][box.mask]))
        index = next(free, len(layers))
        if index == len(layers):
            layers.append(np.zeros(shape, kind))
            counts.append(0)
        counts[index] += 1
        layers[index][where][box.mask] = counts[index]
        places[segment_id] = (index, counts[index])
    return layers, places


def _code(organ: Organ) -> str:
    return organ.terminology or terminology_of(organ.name)


def _same_code(first: str, second: str) -> bool:
    """Whether two texts name the same structure and side; the generic tissue is no structure."""
    one, other = parse_terminology(first), parse_terminology(second)
    return one.type.value != TISSUE.type.value and _values(one) == _values(other)


def _values(terminology: Terminology) -> tuple[str, ...]:
    kind, side = terminology.type, terminology.modifier
    return (kind.scheme, kind.value, *((side.scheme, side.value) if side else ()))


def _common(first: Box, second: Box) -> int:
    """Voxels that both have."""
    start = np.maximum(first.start_zyx, second.start_zyx)
    stop = np.minimum(np.add(first.start_zyx, first.mask.shape), np.add(second.start_zyx, second.mask.shape))
    if not np.all(start < stop):
        return 0
    parts = [box.mask[tuple(map(slice, start - box.start_zyx, stop - box.start_zyx))] for box in (first, second)]
    return int(np.count_nonzero(parts[0] & parts[1]))
