"""DICOM SEG objects as labels: named segments on the box that their frames span."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels

from VoxelAdvSegLib.data.alignment import ORIGIN_TOLERANCE
from VoxelAdvSegLib.data.dicom import (
    DIRECTION_TOLERANCE,
    MOST_FRAMES,
    OddValueError,
    files_in,
    functional_group,
    odd_values_told,
    read_dicom_file,
    stack_geometry,
)
from VoxelAdvSegLib.data.segments import Segment
from VoxelAdvSegLib.data.volume import Geometry, check_geometry
from VoxelAdvSegLib.errors import InputError


def read_dicom_seg(path: Path, image: Geometry) -> tuple[Geometry, list[Segment]]:
    """Segments of a DICOM SEG object (a file, or a folder with one), and the box they are stored on.

    The box is spanned by the positions of the frames; slices without frames are empty. Where the
    object does not say its slice distance, the image's along the same axis is taken.
    Raises InputError when there is no or more than one object, when it is fractional, or when
    frames do not lie on one grid.
    """
    file, header = _read_seg(path)
    with odd_values_told(file):
        return _segments(file, header, image)


def _segments(file: Path, header: Dataset, image: Geometry) -> tuple[Geometry, list[Segment]]:
    kind = str(header.get("SegmentationType", ""))
    if kind not in ("BINARY", "LABELMAP"):
        raise InputError(
            "the segmentation has no clear borders", file=file, expected="a BINARY or LABELMAP DICOM SEG",
            found=kind or "no segmentation type", do="export it as a binary segmentation",
        )  # fmt: skip
    count = int(header.NumberOfFrames)
    if not 1 <= count <= MOST_FRAMES:
        raise OddValueError(f"{count} frames")
    positions = np.array([_of_frame(header, i, file, "Position") for i in range(count)])
    cosines = np.array([_of_frame(header, i, file, "Orientation") for i in range(count)])
    geometry, slices = _frame_grid(header, positions, cosines, image, file)
    one_map = kind == "LABELMAP"  # every frame shows all segments, else each frame one
    owners = np.array([0 if one_map else _segment_of_frame(header, i, file) for i in range(count)])

    def mask(number: int) -> np.ndarray:
        with odd_values_told(file):
            return painted(number)

    def painted(number: int) -> np.ndarray:
        box = np.zeros(geometry.shape_zyx, bool)
        frames = np.flatnonzero(owners == (0 if one_map else number))
        value = number if one_map else 1
        for frame, picture in zip(frames, _pictures(header, frames, file), strict=True):
            box[slices[frame]] |= picture == value
        return box

    segments = [
        Segment(str(item.SegmentLabel), partial(mask, int(item.SegmentNumber)))
        for item in header.SegmentSequence
        if int(item.SegmentNumber) > 0  # a label map may list its background
    ]
    return geometry, segments


def _read_seg(path: Path) -> tuple[Path, Dataset]:
    found = []
    for file in files_in(path):
        header = read_dicom_file(file)
        with odd_values_told(file):
            if header is not None and str(header.get("Modality", "")) == "SEG":
                found.append(file)
    dataset = read_dicom_file(found[0], pixels=True) if len(found) == 1 else None
    if dataset is None:
        raise InputError(
            "there is not one DICOM segmentation" if found else "there is no DICOM segmentation", file=path,
            expected="one DICOM SEG object", found=", ".join(file.name for file in found) or "none",
            do="give the file of the segmentation",
        )  # fmt: skip
    return found[0], dataset


def _of_frame(header: Dataset, index: int, file: Path, what: str) -> list[float]:
    group = functional_group(header, index, f"Plane{what}Sequence")
    values = None if group is None else group.get(f"Image{what}Patient")
    if not values:
        raise _incomplete(file, f"Image {what} (Patient)")
    return [float(value) for value in values]


def _segment_of_frame(header: Dataset, index: int, file: Path) -> int:
    group = functional_group(header, index, "SegmentIdentificationSequence")
    if group is None:
        raise _incomplete(file, "Segment Identification Sequence")
    return int(group.ReferencedSegmentNumber)


def _incomplete(file: Path, attribute: str) -> InputError:
    return InputError(
        "a frame of the segmentation does not say what or where it is", file=file, expected=attribute,
        found="nothing", do="export the segmentation again",
    )  # fmt: skip


def _frame_grid(
    header: Dataset, positions: np.ndarray, cosines: np.ndarray, image: Geometry, file: Path
) -> tuple[Geometry, np.ndarray]:
    """The box spanned by the frames (n, 3) and each frame's slice in it."""
    measures = functional_group(header, 0, "PixelMeasuresSequence")
    if measures is None or not measures.get("PixelSpacing"):
        raise _incomplete(file, "Pixel Spacing")
    axes = cosines[0].reshape(2, 3)
    normal = np.cross(*axes)
    distance = measures.get("SpacingBetweenSlices")
    if not distance:
        along = np.argmax(np.abs(np.reshape(image.direction, (3, 3)).T @ normal))
        distance = image.spacing_xyz_mm[along]
    distance = float(distance)
    if not (np.isfinite(distance) and distance > 0 and np.isfinite(positions).all() and np.isfinite(cosines).all()):
        raise OddValueError("positions, orientations or a slice distance that are none")
    heights = positions @ normal
    first = positions[np.argmin(heights)]
    slices = np.round((heights - heights.min()) / distance).astype(int)
    off = np.abs(positions - first - slices[:, None] * distance * normal).max()
    if np.ptp(cosines, axis=0).max() > DIRECTION_TOLERANCE or off > ORIGIN_TOLERANCE * distance:
        raise InputError(
            "the frames of the segmentation do not lie on one grid", file=file,
            expected=f"parallel frames a multiple of {distance:g} mm apart", found=f"{off:.3g} mm off",
            do="resample the segmentation onto its image",
        )  # fmt: skip
    row_mm, column_mm = measures.PixelSpacing
    if slices.max() >= MOST_FRAMES:
        raise OddValueError(f"frames {slices.max()} slices apart")
    shape_zyx = (int(slices.max()) + 1, int(header.Rows), int(header.Columns))
    geometry = stack_geometry(shape_zyx, (float(column_mm), float(row_mm), distance), first, axes)
    check_geometry(geometry, file)
    return geometry, slices


def _pictures(header: Dataset, frames: np.ndarray, file: Path) -> Sequence[np.ndarray]:
    if not len(frames):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(iter_pixels(header, indices=[int(frame) for frame in frames]))
    except (ValueError, RuntimeError, EOFError, AttributeError) as error:
        raise InputError(
            "the frames of the segmentation cannot be decoded", file=file,
            expected="a whole DICOM SEG object", found=str(error)[:200], do="export the segmentation again",
        ) from error  # fmt: skip
