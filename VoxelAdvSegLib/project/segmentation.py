"""Segmentations of a project's cases: which segment is which organ, by name and code, never by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.alignment import place
from VoxelAdvSegLib.data.segments import Segment, read_seg_nrrd
from VoxelAdvSegLib.data.terminology import TISSUE, parse_terminology
from VoxelAdvSegLib.data.volume import Geometry, is_dicom, read_header
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.project.records import ProjectOrgan


@dataclass(frozen=True)
class Matched:
    """The organs of a segmentation on its image's grid.

    masks: bool (z, y, x) by organ name, only organs that have voxels; overlaps: voxels by pair of
    segments that share them; strangers: names of segments that are no organ of the project.
    """

    masks: dict[str, np.ndarray]
    overlaps: dict[str, int]
    strangers: tuple[str, ...]

    def class_indices(self, organs: Sequence[ProjectOrgan], shape_zyx: tuple[int, int, int]) -> np.ndarray:
        """uint8 (z, y, x), i + 1 = the i-th organ; where organs overlap the later one stays."""
        array = np.zeros(shape_zyx, np.uint8)
        for index, organ in enumerate(organs, 1):
            if organ.name in self.masks:
                array[self.masks[organ.name]] = index
        return array


def find_organ(organs: Sequence[ProjectOrgan], name: str, terminology: str = "") -> ProjectOrgan | None:
    """The organ that a segment means: by one of its names, else by its code, where one organ alone has it.

    The generic code for tissue, which every new segment in Slicer has, says nothing.
    """
    for organ in organs:
        if organ.is_called(name):
            return organ
    code = _code(terminology)
    if code is None:
        return None
    same = [organ for organ in organs if _code(organ.terminology) == code]
    return same[0] if len(same) == 1 else None


def read_segments(path: Path, image: Geometry) -> tuple[Geometry, list[Segment]]:
    """Segments of a .seg.nrrd or DICOM SEG and the box they lie on. Raises InputError when it is damaged."""
    if is_dicom(path):
        from VoxelAdvSegLib.data.dicom_seg import read_dicom_seg  # loads pydicom for DICOM only

        return read_dicom_seg(path, image)
    return read_seg_nrrd(read_header(path), path)


def match_segments(path: Path, organs: Sequence[ProjectOrgan], image: Geometry) -> Matched:
    """The project's organs in a segmentation file, on the image's grid.

    Several segments of one organ are united. Raises InputError when the file is damaged, lies on
    another grid, or reaches beyond the image.
    """
    geometry, segments = read_segments(path, image)
    owners: dict[str, list[tuple[str, np.ndarray]]] = {}
    strangers = []
    for segment in segments:
        organ = find_organ(organs, segment.name, segment.terminology)
        if organ is None:
            strangers.append(segment.name)
        else:
            owners.setdefault(organ.name, []).append((segment.name, segment.mask()))
    overlaps = _overlaps([part for parts in owners.values() for part in parts], geometry.shape_zyx)
    masks = {}
    while owners:  # one by one: a large scan's masks are not held twice
        name, parts = owners.popitem()
        united = np.logical_or.reduce([mask for _, mask in parts])
        if united.any():
            masks[name] = place(united.view(np.uint8), geometry, image, path).view(bool)
    return Matched(masks, overlaps, tuple(strangers))


def require_organs(matched: Matched, organs: Sequence[ProjectOrgan], path: Path) -> None:
    """Raises InputError when none of the organs has voxels."""
    if not matched.masks:
        names = ", ".join(organ.name for organ in organs)
        raise InputError(
            "the segmentation has none of the organs", file=path, expected=f"voxels in at least one of {names}",
            found="segments " + ", ".join(matched.strangers) if matched.strangers else "no voxels",
            do="draw an organ, name its segment like the organ, or flag the case",
        )  # fmt: skip


def _overlaps(parts: Sequence[tuple[str, np.ndarray]], shape_zyx: tuple[int, int, int]) -> dict[str, int]:
    """Voxels that two segments share, by "first and second"; parts: name and mask of each segment."""
    claims = np.zeros(shape_zyx, np.uint8)
    for _, mask in parts:
        claims += mask
    if not (claims > 1).any():  # as a rule; then no pair needs to be looked at
        return {}
    found = {}
    for (first, mask), (second, other) in combinations(parts, 2):
        voxels = int(np.count_nonzero(mask & other))
        if voxels:
            found[f"{first} and {second}"] = voxels
    return found


def _code(terminology: str) -> tuple[str, ...] | None:
    """Scheme and value of type and modifier, None where they say nothing."""
    found = parse_terminology(terminology)
    if (found.type.scheme, found.type.value) == (TISSUE.type.scheme, TISSUE.type.value):
        return None
    modifier = (found.modifier.scheme, found.modifier.value) if found.modifier else ()
    return (found.type.scheme, found.type.value, *modifier)
