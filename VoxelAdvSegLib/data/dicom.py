"""DICOM images: a folder of slices, or one enhanced multi-frame file, as one volume.

Where a slice lies comes from its own header (pydicom), its intensities from GDCM through
SimpleITK, which decodes JPEG 2000 but neither sorts the frames of a multi-frame file nor looks
for gaps.
"""

from __future__ import annotations

import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ImplicitVRLittleEndian

from VoxelAdvSegLib.data.integrity import access_told, without_messages
from VoxelAdvSegLib.data.volume import MAX_VOXELS, Geometry, check_geometry
from VoxelAdvSegLib.errors import InputError

# Objects beside the images of a study that have pixels or frames, but are no scan.
NOT_IMAGES = frozenset(("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG", "DOC"))
# Largest departure of a slice from its place in an even stack, in slice distances: rounded
# positions pass, a missing slice (1.0) does not.
SLICE_TOLERANCE = 0.1
# Largest sideways shift from slice to slice (gantry tilt), in slice distances.
TILT_TOLERANCE = 1e-2
DIRECTION_TOLERANCE = 1e-4
SAME_PLACE_MM = 1e-3
MOST_FRAMES = 65_536
# What numpy, pydicom and our own reading of a header raise at values of the wrong kind or number.
UNDEFINED_LENGTH = 0xFFFFFFFF
GREY = ("MONOCHROME1", "MONOCHROME2")
ODD_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, NotImplementedError, RecursionError)


_reading: ContextVar[bool] = ContextVar("reading", default=False)
logging.getLogger("pydicom").addFilter(lambda record: not _reading.get())


class OddValueError(ValueError):
    """A value that no scanner writes; its text says which, without the value where that may name somebody."""


@dataclass(frozen=True)
class Frame:
    """One slice: where its pixels are stored, and where it lies (LPS, millimetres).

    axes: (2, 3) unit vectors along columns (x) and rows (y) of the picture.
    """

    file: Path
    index: int
    position_lps_mm: np.ndarray
    axes: np.ndarray
    spacing_xy_mm: tuple[float, float]
    shape_yx: tuple[int, int]
    rescale: tuple[float, float]


def read_series(path: Path) -> tuple[np.ndarray, Geometry, str]:
    """Intensities (z, y, x) float32, geometry and modality of a folder or file with one series.

    Raises InputError when there are no images or several series, when slices are missing, double,
    tilted or of different kinds, or when pixels cannot be decoded.
    """
    headers = read_series_headers(path)
    with odd_values_told(path):
        frames, geometry = _stack(headers, path)
        modality = str(headers[0][1].get("Modality", ""))
    pixels: dict[Path, np.ndarray] = {}
    array = np.empty(geometry.shape_zyx, np.float32)
    first_rescale = {frame.file: frame.rescale for frame in frames if frame.index == 0}
    for z, frame in enumerate(frames):
        if frame.file not in pixels:
            pixels = {frame.file: _decode(frame.file, frame.shape_yx, frame.index + 1)}
        array[z] = pixels[frame.file][frame.index]
        slope, intercept = first_rescale[frame.file]
        if frame.rescale != (slope, intercept):  # GDCM rescales every frame as the file's first
            array[z] = (array[z] - intercept) / slope * frame.rescale[0] + frame.rescale[1]
    return array, geometry, modality


def read_series_geometry(path: Path) -> Geometry:
    """Grid of a series from its headers. Raises InputError as read_series does, but for pixels."""
    headers = read_series_headers(path)
    with odd_values_told(path):
        return _stack(headers, path)[1]


def series_files(path: Path) -> list[Path]:
    """Files of a series in the order of the volume's slices (one file for a multi-frame image)."""
    headers = read_series_headers(path)
    with odd_values_told(path):
        frames, _ = _stack(headers, path)
    return list(dict.fromkeys(frame.file for frame in frames))


def read_series_headers(path: Path) -> list[tuple[Path, Dataset]]:
    """Files of the one image series in a folder (or of one file) with their headers."""
    files = files_in(path)
    series: dict[str, list[tuple[Path, Dataset]]] = {}
    for file in files:
        header = read_dicom_file(file)
        if header is None and file.suffix.lower() == ".dcm":
            raise InputError(
                "the file is damaged or cut short", file=file, expected="a whole DICOM file",
                found="a file without DICOM's mark", do="export the series again, or take the file out of the folder",
            )  # fmt: skip
        with odd_values_told(file):
            if header is not None and "Rows" in header and str(header.get("Modality", "")) not in NOT_IMAGES:
                series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((file, header))
    if not series:
        folders = [] if path.is_file() else sorted(p.name for p in path.iterdir() if p.is_dir())
        raise InputError(
            "there is no DICOM image", file=path, expected="the slices of one CT or MR series",
            found=f"folders {', '.join(folders[:8])}" if folders else f"{len(files)} other files",
            do="give the folder that holds the slices themselves",
        )  # fmt: skip
    if len(series) > 1:
        with odd_values_told(path):
            found = "; ".join(_describe(headers) for headers in list(series.values())[:8])
        raise InputError(
            f"there are {len(series)} DICOM series in the folder", file=path, expected="one series",
            found=found, do="put the files of each series into a folder of its own",
        )  # fmt: skip
    (headers,) = series.values()
    return headers


def files_in(path: Path) -> list[Path]:
    """The files of a folder in order, or the one file. Raises InputError when they may not be listed."""
    with access_told(path):
        return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps away what pydicom warns of and logs: it quotes values, and they may be names."""
    was = _reading.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _reading.reset(was)


@contextmanager
def odd_values_told(file: Path) -> Iterator[None]:
    """A header's values that are of the wrong kind or number, or missing, become an InputError.

    pydicom converts a value when it is asked for, so this may happen at every look into a header. Only
    texts of our own are told on: others quote the value, which in a damaged header may be a name.
    """
    try:
        with _quiet():
            yield
    except ODD_VALUES as error:
        raise InputError(
            "a DICOM header has values that cannot be", file=file, expected="the header of a scanner's image",
            found=str(error) if isinstance(error, OddValueError) else type(error).__name__,
            do="export the series again",
        ) from (error if isinstance(error, OddValueError) else None)  # fmt: skip


def read_dicom_file(file: Path, pixels: bool = False) -> Dataset | None:
    """The data set of a file, with or without its pixels; None when the file is not DICOM."""
    try:
        with _quiet():
            if pixels:
                return pydicom.dcmread(file)
            with file.open("rb") as opened:
                header = pydicom.dcmread(opened, stop_before_pixels=True)
                _check_pixel_bytes(header, opened, file)
                return header
    except InputError:
        raise
    except InvalidDicomError:
        return None
    except (EOFError, OSError, MemoryError, zlib.error, *ODD_VALUES) as error:
        told = f"{error}"[:200] if isinstance(error, (EOFError, OSError)) else type(error).__name__
        raise InputError(
            "the file is damaged or cut short", file=file, expected="a whole DICOM file", found=told,
            do="export the series again",
        ) from None  # fmt: skip


def _check_pixel_bytes(header: Dataset, opened: BinaryIO, file: Path) -> None:
    """Raises InputError when an image's pixels, at which the file stands open, are fewer than its header says.

    GDCM fills up what is missing, with anything.
    """
    syntax = header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    start = opened.read(12)
    if "Rows" not in header or syntax.is_deflated or start[:4] not in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        return  # no image, or one whose pixels stand elsewhere
    order = "<" if syntax.is_little_endian else ">"
    (length,) = struct.unpack_from(order + "I", start, 4 if syntax.is_implicit_VR else 8)
    bits = int(header.BitsAllocated)
    count = int(header.get("NumberOfFrames", 1) or 1) * int(header.get("SamplesPerPixel", 1))
    wanted = (int(header.Rows) * int(header.Columns) * count * bits + 7) // 8
    if syntax.is_compressed == (length == UNDEFINED_LENGTH) and (syntax.is_compressed or length >= wanted):
        return
    raise InputError(
        "the pixels of a DICOM file are not those of its header", file=file, expected=f"{wanted} bytes"
        if not syntax.is_compressed else "pixels in packed frames", found=f"{length} bytes",
        do="export the series again",
    )  # fmt: skip


def functional_group(header: Dataset, frame: int, name: str) -> Dataset | None:
    """First item of a multi-frame header's functional group: the frame's own, else the shared one."""
    for groups in (
        header.get("PerFrameFunctionalGroupsSequence", [])[frame : frame + 1],
        header.get("SharedFunctionalGroupsSequence", [])[:1],
    ):
        if groups and groups[0].get(name):
            return groups[0][name][0]
    return None


def stack_geometry(
    shape_zyx: tuple[int, int, int], spacing_xyz_mm: tuple[float, float, float], origin_lps_mm, axes
) -> Geometry:
    """Grid of slices with axes (2, 3) stacked along their normal from the first slice's position."""
    x_axis, y_axis = (axis / np.linalg.norm(axis) for axis in axes)
    x, y, z = (float(value) for value in origin_lps_mm)
    direction = np.stack((x_axis, y_axis, np.cross(x_axis, y_axis)), 1)
    return Geometry(shape_zyx, spacing_xyz_mm, (x, y, z), tuple(direction.ravel().tolist()))


def _describe(headers: list[tuple[Path, Dataset]]) -> str:
    """Modality and number of a series. Its description is free text, in which people have been named."""
    file, header = headers[0]
    words = (header.get("Modality", ""), header.get("SeriesNumber", ""))
    return f"{' '.join(str(word)[:16] for word in words if word)} ({len(headers)} files, {file.name} ...)"


def _frames(file: Path, header: Dataset) -> list[Frame]:
    if header.get("SamplesPerPixel", 1) != 1:
        raise InputError(
            "the image has several numbers for each voxel", file=file, expected="one grey value",
            found=f"{header.SamplesPerPixel} (colour)", do="export the grey images",
        )  # fmt: skip
    if str(header.get("PhotometricInterpretation", GREY[1])) not in GREY:
        raise OddValueError("a picture that is not grey")
    count = int(header.get("NumberOfFrames", 1) or 1)
    if not 1 <= count <= MOST_FRAMES or not 1 <= count * int(header.Rows) * int(header.Columns) <= MAX_VOXELS:
        raise InputError(
            "the volume is too large to be true", file=file, expected=f"at most {MAX_VOXELS:.2g} voxels",
            found=f"{count} frames of {header.Rows} x {header.Columns}", do="export the series again",
        )  # fmt: skip
    return [_frame(file, header, index, count) for index in range(count)]


def _frame(file: Path, header: Dataset, index: int, count: int) -> Frame:
    if "SharedFunctionalGroupsSequence" in header:
        position = functional_group(header, index, "PlanePositionSequence") or Dataset()
        orientation = functional_group(header, index, "PlaneOrientationSequence") or Dataset()
        measures = functional_group(header, index, "PixelMeasuresSequence") or Dataset()
        transformation = functional_group(header, index, "PixelValueTransformationSequence") or Dataset()
    else:
        position = orientation = measures = transformation = header if count == 1 else Dataset()
    place = position.get("ImagePositionPatient")
    cosines = orientation.get("ImageOrientationPatient")
    spacing = measures.get("PixelSpacing")
    for name, value in (
        ("Image Position (Patient)", place),
        ("Image Orientation (Patient)", cosines),
        ("Pixel Spacing", spacing),
    ):
        if not value:
            raise InputError(
                "a slice does not say where it lies", file=file, expected=name, found="nothing",
                do="use the original images of the scanner, not screenshots",
            )  # fmt: skip
    numbers = (*place, *cosines, *spacing)
    if (len(place), len(cosines), len(spacing)) != (3, 6, 2) or not all(math.isfinite(float(n)) for n in numbers):
        raise OddValueError("a position, orientation or pixel spacing that is none")
    rescale = float(transformation.get("RescaleSlope") or 1), float(transformation.get("RescaleIntercept") or 0)
    if not all(map(math.isfinite, rescale)) or rescale[0] == 0:
        raise OddValueError("a rescale slope or intercept that is none")
    return Frame(
        file,
        index,
        np.array(place, float),
        np.array(cosines, float).reshape(2, 3),
        (float(spacing[1]), float(spacing[0])),  # DICOM says rows first
        (int(header.Rows), int(header.Columns)),
        rescale,
    )


def _stack(headers: list[tuple[Path, Dataset]], path: Path) -> tuple[list[Frame], Geometry]:
    """The frames in order along the normal, and the grid they make."""
    frames = [frame for file, header in headers for frame in _frames(file, header)]
    first = frames[0]
    for frame in frames:
        _check_alike(first, frame)
    if len(frames) < 2:
        raise InputError(
            "the image is 2-D", file=path, expected="a 3-D volume of several slices", found="one slice",
            do="give the folder that holds the whole series",
        )  # fmt: skip
    normal = np.cross(*first.axes)
    length = float(np.linalg.norm(normal))
    if not 0.9 < length < 1.1:
        raise OddValueError("an orientation whose axes are not at right angles")
    normal /= length
    frames.sort(key=lambda frame: float(frame.position_lps_mm @ normal))
    heights = np.array([frame.position_lps_mm @ normal for frame in frames])
    _check_even(frames, heights, path)
    step = (frames[-1].position_lps_mm - frames[0].position_lps_mm) / (len(frames) - 1)
    distance = float((heights[-1] - heights[0]) / (len(frames) - 1))
    sideways = float(np.linalg.norm(step - distance * normal))
    if sideways > TILT_TOLERANCE * distance:
        raise InputError(
            "the slices are tilted against their stack (gantry tilt)", file=path,
            expected="slices stacked at right angles", found=f"{sideways:.3g} mm sideways for each slice",
            do="correct the tilt first (in Slicer: load the series and harden its acquisition transform)",
        )  # fmt: skip
    shape_zyx = (len(frames), *first.shape_yx)
    spacing_xyz_mm = (*first.spacing_xy_mm, distance)
    geometry = stack_geometry(shape_zyx, spacing_xyz_mm, frames[0].position_lps_mm, first.axes)
    check_geometry(geometry, path)
    return frames, geometry


def _check_alike(first: Frame, other: Frame) -> None:
    for name, expected, found, alike in (
        ("size", first.shape_yx, other.shape_yx, first.shape_yx == other.shape_yx),
        ("pixel spacing", first.spacing_xy_mm, other.spacing_xy_mm,
         np.allclose(first.spacing_xy_mm, other.spacing_xy_mm, rtol=1e-4)),
        ("orientation", first.axes.ravel().tolist(), other.axes.ravel().tolist(),
         np.abs(first.axes - other.axes).max() <= DIRECTION_TOLERANCE),
    ):  # fmt: skip
        if not alike:
            raise InputError(
                f"the slices differ in {name}", file=other.file,
                expected=f"{expected}, as in {first.file.name}", found=str(found),
                do="take the slices that do not belong (a scout view?) out of the folder",
            )  # fmt: skip


def _check_even(frames: list[Frame], heights: np.ndarray, path: Path) -> None:
    steps = np.diff(heights)
    double = np.flatnonzero(steps < SAME_PLACE_MM)
    if double.size:
        raise InputError(
            "several slices lie at the same place", file=path, expected="one slice at each position",
            found=f"{double.size} double positions, first {_name(frames[double[0]])} and "
            f"{_name(frames[double[0] + 1])} at {heights[double[0]]:.2f} mm",
            do="keep one copy, or split phases, echoes or time points into folders",
        )  # fmt: skip
    typical = float(np.median(steps))
    even = heights[0] + np.arange(len(heights)) * (heights[-1] - heights[0]) / (len(heights) - 1)
    if np.abs(heights - even).max() > SLICE_TOLERANCE * typical:
        worst = int(np.argmax(np.abs(steps - typical)))
        raise InputError(
            "the slices are not evenly spaced, or some are missing", file=path,
            expected=f"a slice every {typical:.4g} mm",
            found=f"{steps[worst]:.4g} mm between {_name(frames[worst])} and {_name(frames[worst + 1])}",
            do="export the whole series again, or resample it evenly",
        )  # fmt: skip


def _name(frame: Frame) -> str:
    return frame.file.name if frame.index == 0 else f"{frame.file.name} frame {frame.index + 1}"


def _decode(file: Path, shape_yx: tuple[int, int], frames: int) -> np.ndarray:
    """Frames (n, y, x) float32 as stored, rescaled; at least as many as asked for."""
    try:
        with without_messages():
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(file), sitk.sitkFloat32))
    except RuntimeError as error:
        raise InputError(
            "the pixels of a DICOM file cannot be decoded", file=file, expected="a whole, grey DICOM image",
            found=" ".join(str(error).rpartition("ERROR:")[2].split()), do="export the series again",
        ) from error  # fmt: skip
    array = array[np.newaxis] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[1:] != shape_yx or len(array) < frames:
        raise InputError(
            "the pixels of a DICOM file are not those of its header", file=file,
            expected=f"{frames} or more frames of {shape_yx}", found=str(array.shape), do="export the series again",
        )  # fmt: skip
    return array
