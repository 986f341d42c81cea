"""Segmentations that name their segments: Slicer's .seg.nrrd and DICOM SEG."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.alignment import ORIGIN_TOLERANCE
from VoxelAdvSegLib.data.volume import Geometry, header_geometry, read_pixels
from VoxelAdvSegLib.errors import InputError


@dataclass(frozen=True)
class Segment:
    """A named segment. mask() gives its voxels, bool (z, y, x), on the segmentation's own grid."""

    name: str
    mask: Callable[[], np.ndarray]


def names_segments(header: sitk.ImageFileReader) -> bool:
    """Whether an image file's header is a Slicer segmentation's."""
    return bool(_segment_numbers(header))


def read_seg_nrrd(header: sitk.ImageFileReader, path: Path) -> tuple[Geometry, list[Segment]]:
    """Segments of a Slicer segmentation, and the box of voxels they are stored on.

    A segment is the voxels of its layer with its label value; files from before Slicer 4.11 say
    neither, there each segment is a layer of its own. Raises InputError when the file is damaged.
    """
    layers_count = header.GetNumberOfComponents()
    geometry = header_geometry(header, path, components=layers_count)
    array = read_pixels(path, sitk.sitkUnknown, header)
    layers = array.reshape(*geometry.shape_zyx, layers_count)
    segments = []
    for number in _segment_numbers(header):
        key = f"Segment{number}_"
        name = _text(header, key + "Name") or _text(header, key + "ID")
        try:
            layer = int(_text(header, key + "Layer") or number)
            value = int(_text(header, key + "LabelValue") or 1)
            voxels = layers[..., layer]
        except (ValueError, IndexError) as error:
            raise InputError(
                f"the segment '{name}' has no voxels of its own", file=path,
                expected=f"a label value, and a layer below {layers_count}", found=str(error),
                do="open the segmentation in Slicer and save it again",
            ) from error  # fmt: skip
        segments.append(Segment(name, partial(np.equal, voxels, value)))
    return geometry, segments


def read_dicom_seg(path: Path, image: Geometry) -> tuple[Geometry, list[Segment]]:
    """Segments of a DICOM SEG object (a file, or a folder with one), and the box they are stored on.

    The box is spanned by the positions of the frames; slices without frames are empty. Where the
    object does not say its slice distance, the image's along the same axis is taken.
    Raises InputError when there is no or more than one object, when it is fractional, or when
    frames do not lie on one grid.
    """
    from VoxelAdvSegLib.data.dicom import functional_group, read_dicom_header  # loads pydicom

    file = _seg_file(path)
    header = read_dicom_header(file)
    kind = str(header.get("SegmentationType", ""))
    if kind not in ("BINARY", "LABELMAP"):
        raise InputError(
            "the segmentation has no clear borders", file=file, expected="a BINARY or LABELMAP DICOM SEG",
            found=kind or "no segmentation type", do="export it as a binary segmentation",
        )  # fmt: skip
    count = int(header.NumberOfFrames)
    positions = np.array([_of_frame(functional_group, header, i, file, "Position") for i in range(count)])
    cosines = np.array([_of_frame(functional_group, header, i, file, "Orientation") for i in range(count)])
    measures = functional_group(header, 0, "PixelMeasuresSequence")
    geometry, slices = _frame_grid(positions, cosines, measures, header, image, file)

    def frames_of(number: int) -> np.ndarray:
        if kind == "LABELMAP":
            return np.arange(count)
        owner = [
            functional_group(header, i, "SegmentIdentificationSequence").ReferencedSegmentNumber
            for i in range(count)
        ]
        return np.flatnonzero(np.equal(owner, number))

    def mask(number: int) -> np.ndarray:
        box = np.zeros(geometry.shape_zyx, bool)
        frames = frames_of(number)
        value = number if kind == "LABELMAP" else 1
        for frame, picture in zip(frames, _pictures(file, frames), strict=True):
            box[slices[frame]] |= picture == value
        return box

    segments = [
        Segment(str(item.SegmentLabel), partial(mask, int(item.SegmentNumber)))
        for item in header.SegmentSequence
        if int(item.SegmentNumber) > 0  # a label map may list its background
    ]
    return geometry, segments


def _segment_numbers(header: sitk.ImageFileReader) -> list[int]:
    found = {re.fullmatch(r"Segment(\d+)_(?:Name|ID)", key) for key in header.GetMetaDataKeys()}
    return sorted({int(match[1]) for match in found if match})


def _text(header: sitk.ImageFileReader, key: str) -> str:
    return header.GetMetaData(key).strip() if header.HasMetaDataKey(key) else ""


def _seg_file(path: Path) -> Path:
    from VoxelAdvSegLib.data.dicom import read_dicom_header

    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    found = []
    for file in files:
        header = read_dicom_header(file)
        if header is not None and header.get("Modality") == "SEG":
            found.append(file)
    if len(found) != 1:
        raise InputError(
            "there is not one DICOM segmentation" if found else "there is no DICOM segmentation", file=path,
            expected="one DICOM SEG object", found=", ".join(file.name for file in found) or "none",
            do="give the file of the segmentation",
        )  # fmt: skip
    return found[0]


def _of_frame(functional_group, header, index: int, file: Path, what: str) -> list[float]:
    group = functional_group(header, index, f"Plane{what}Sequence")
    values = None if group is None else group.get(f"Image{what}Patient")
    if not values:
        raise InputError(
            "a frame of the segmentation does not say where it lies", file=file,
            expected=f"Image {what} (Patient)", found="nothing", do="export the segmentation again",
        )  # fmt: skip
    return [float(value) for value in values]


def _frame_grid(
    positions: np.ndarray, cosines: np.ndarray, measures, header, image: Geometry, file: Path
) -> tuple[Geometry, np.ndarray]:
    """The box spanned by the frames (n, 3) and each frame's slice in it."""
    x_axis, y_axis = cosines[0].reshape(2, 3)
    normal = np.cross(x_axis, y_axis)
    heights = positions @ normal
    first = positions[np.argmin(heights)]
    distance = measures.get("SpacingBetweenSlices")
    if not distance:
        along = np.argmax(np.abs(np.reshape(image.direction, (3, 3)).T @ normal))
        distance = image.spacing_xyz_mm[along]
    distance = float(distance)
    slices = np.round((heights - heights.min()) / distance).astype(int)
    off = np.abs(positions - first - slices[:, None] * distance * normal).max()
    if np.ptp(cosines, axis=0).max() > 1e-4 or off > ORIGIN_TOLERANCE * distance:
        raise InputError(
            "the frames of the segmentation do not lie on one grid", file=file,
            expected=f"parallel frames a multiple of {distance:g} mm apart", found=f"{off:.3g} mm off",
            do="resample the segmentation onto its image",
        )  # fmt: skip
    spacing = measures.PixelSpacing
    geometry = Geometry(
        shape_zyx=(int(slices.max()) + 1, int(header.Rows), int(header.Columns)),
        spacing_xyz_mm=(float(spacing[1]), float(spacing[0]), distance),
        origin_lps_mm=tuple(float(value) for value in first),
        direction=tuple(float(value) for value in np.stack((x_axis, y_axis, normal), 1).ravel()),
    )
    return geometry, slices


def _pictures(file: Path, frames: np.ndarray) -> list[np.ndarray]:
    from pydicom.pixels import iter_pixels

    if not len(frames):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(iter_pixels(file, indices=[int(frame) for frame in frames]))
    except (ValueError, RuntimeError, EOFError, AttributeError) as error:
        raise InputError(
            "the frames of the segmentation cannot be decoded", file=file,
            expected="a whole DICOM SEG object", found=str(error)[:200], do="export the segmentation again",
        ) from error  # fmt: skip
