"""Labels: whatever their format, one class-index array on exactly the image's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.alignment import align, place
from VoxelAdvSegLib.data.organs import Organ, same_name
from VoxelAdvSegLib.data.segments import Segment, names_segments, read_seg_nrrd
from VoxelAdvSegLib.data.volume import Geometry, header_geometry, is_dicom, read_header, read_pixels
from VoxelAdvSegLib.errors import InputError

SEGMENTATION_ENDINGS = (".seg.nrrd", ".seg.nhdr")


@dataclass(frozen=True)
class LabelMap:
    """A label as read, with what had to be decided on the way.

    array: uint8 (z, y, x), 0 background, i + 1 the i-th organ; overlap_voxels: voxels that
    several organs claimed (the later organ got them); ignored_segments: names of segments that
    are no organs; missing_segments: names of organs that a segmentation has no segment for.
    """

    array: np.ndarray
    overlap_voxels: int = 0
    ignored_segments: tuple[str, ...] = ()
    missing_segments: tuple[str, ...] = ()


def read_label(path: str | Path, organs: Sequence[Organ], image: Geometry, allow_empty: bool = False) -> np.ndarray:
    """The array of `read_label_map`: class indices uint8 (z, y, x) on the image's grid."""
    return read_label_map(path, organs, image, allow_empty).array


def read_label_map(path: str | Path, organs: Sequence[Organ], image: Geometry, allow_empty: bool = False) -> LabelMap:
    """A label with class indices on the image's grid, from a label map or a segmentation.

    Label maps of any image format are matched by value (Organ.value) and must cover the image;
    segmentations (.seg.nrrd, DICOM SEG) by segment name only, and may be stored on a box of the
    image's grid. Raises InputError when the file is unreadable, is on another grid, has values
    that no organ has or names twice, or (unless allow_empty) has none of the organs.
    """
    path = Path(path)
    if is_dicom(path):
        from VoxelAdvSegLib.data.dicom_seg import read_dicom_seg  # loads pydicom for DICOM only

        label = _by_name(*read_dicom_seg(path, image), organs, image, path)
    else:
        header = read_header(path)
        if names_segments(header) or path.name.lower().endswith(SEGMENTATION_ENDINGS):
            label = _by_name(*read_seg_nrrd(header, path), organs, image, path)
        else:
            geometry = header_geometry(header, path)
            indices = _class_indices(read_pixels(path, sitk.sitkUnknown, header), organs, path)
            label = LabelMap(align(indices, geometry, image, path))
    if not allow_empty and not label.array.any():
        raise InputError(
            "the label has none of the organs", file=path,
            expected=f"at least one of {_list(organ.name for organ in organs)}", found="background only",
            do="check the label, or list the case under 'unlabeled'",
        )  # fmt: skip
    return label


def _by_name(
    geometry: Geometry, segments: Sequence[Segment], organs: Sequence[Organ], image: Geometry, path: Path
) -> LabelMap:
    """Segments painted in the organs' order; names alone decide which is which."""
    names = [segment.name for segment in segments]
    matches = [[s for s in segments if same_name(s.name, organ.name)] for organ in organs]
    for organ, found in zip(organs, matches, strict=True):
        if len(found) > 1:
            raise InputError(
                f"several segments are called {organ.name}", file=path, expected="one segment for each organ",
                found=_list(f"'{segment.name}'" for segment in found),
                do="merge them, or rename those that are not meant",
            )  # fmt: skip
    if not any(matches):
        raise InputError(
            "no segment has the name of an organ", file=path,
            expected=f"some of {_list(organ.name for organ in organs)}", found=_list(names) or "no segments",
            do="rename the segments, or the organs in 'labels' of the manifest",
        )  # fmt: skip
    painted = np.zeros(geometry.shape_zyx, np.uint8)
    claimed_twice = np.zeros(geometry.shape_zyx, bool)
    for index, found in enumerate(matches):
        for segment in found:
            mask = segment.mask()
            claimed_twice |= mask & (painted > 0)
            painted[mask] = index + 1
    matched = {segment.name for found in matches for segment in found}
    return LabelMap(
        place(painted, geometry, image, path),
        overlap_voxels=int(np.count_nonzero(claimed_twice)),
        ignored_segments=tuple(name for name in names if name not in matched),
        missing_segments=tuple(o.name for o, found in zip(organs, matches, strict=True) if not found),
    )


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
