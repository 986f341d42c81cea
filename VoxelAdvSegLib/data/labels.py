"""Labels: whatever their format, one class-index array on exactly the image's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.alignment import align
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.volume import Geometry, header_geometry, read_header, read_pixels
from VoxelAdvSegLib.errors import InputError


@dataclass(frozen=True)
class LabelMap:
    """A label as read, with what had to be decided on the way.

    array: uint8 (z, y, x), 0 background, i + 1 the i-th organ; overlap_voxels: voxels that
    several organs claimed (the later organ got them); ignored_segments: names of segments that
    are no organs.
    """

    array: np.ndarray
    overlap_voxels: int = 0
    ignored_segments: tuple[str, ...] = ()


def read_label(
    path: str | Path, organs: Sequence[Organ], image: Geometry, allow_empty: bool = False
) -> np.ndarray:
    """The array of `read_label_map`: class indices uint8 (z, y, x) on the image's grid."""
    return read_label_map(path, organs, image, allow_empty).array


def read_label_map(
    path: str | Path, organs: Sequence[Organ], image: Geometry, allow_empty: bool = False
) -> LabelMap:
    """A label with class indices on the image's grid, from a label map.

    Raises InputError when the file is unreadable, is on another grid, has values that
    no organ has, or (unless allow_empty) has none of the organs.
    """
    path = Path(path)
    header = read_header(path)
    geometry = header_geometry(header, path)
    array = _class_indices(read_pixels(path, sitk.sitkUnknown, header), organs, path)
    label = LabelMap(align(array, geometry, image, path))
    if not allow_empty and not label.array.any():
        raise InputError(
            "the label has none of the organs", file=path,
            expected=f"at least one of {_list(organ.name for organ in organs)}", found="background only",
            do="check the label, or list the case under 'unlabeled'",
        )  # fmt: skip
    return label


def _class_indices(values: np.ndarray, organs: Sequence[Organ], path: Path) -> np.ndarray:
    """Class indices of voxel values. Raises InputError when a value is no organ's."""
    index_of = np.zeros(256, np.uint8)
    for index, organ in enumerate(organs):
        index_of[organ.value] = index + 1
    known = [0, *(organ.value for organ in organs)]
    unknown = np.setdiff1d(np.unique(values), known)
    if unknown.size:
        raise InputError(
            "the label has values that no organ has", file=path, expected=f"some of {_list(known)}",
            found=_list(f"{value:g}" for value in unknown),
            do="add the organ to 'labels' of the manifest, or correct the label",
        )  # fmt: skip
    return index_of[values.astype(np.uint8)]


def _list(words, most: int = 12) -> str:
    words = [str(word) for word in words]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
