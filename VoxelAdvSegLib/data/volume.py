"""A volume: an array that never travels without its geometry, and how it is read."""

from __future__ import annotations

import math
import re
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.integrity import (
    access_told,
    check_complete,
    check_data_size,
    check_header,
    not_finite,
    without_messages,
)
from VoxelAdvSegLib.errors import InputError

# Largest departure of the axes from unit length and right angles: far above what single precision
# and text headers round, below a tilt of 0.06 degrees.
AXES_TOLERANCE = 1e-3
# Beyond any scanner and microscope: what lies outside is a damaged header, or a length in another unit.
SPACINGS_MM = (1e-4, 1e3)
LARGEST_ORIGIN_MM = 1e6
# 8 GB as float32: beyond any scanner, but not beyond a damaged header.
MAX_VOXELS = 2**31
# Of each voxel in memory besides as it is stored: as float32, and once more on its way into an array.
WORKING_BYTES = 8
# Bytes that reading one file may take; None where nothing is at stake but the computer's memory.
memory_room: ContextVar[int | None] = ContextVar("memory_room", default=None)
# Formats of SimpleITK whose files may hold references to others that no check here would see.
REFUSED_FORMATS = frozenset(("HDF5ImageIO", "MINCImageIO", "Bruker2dseqImageIO"))


@dataclass(frozen=True)
class Geometry:
    """Grid of a volume in ITK's terms (world frame LPS, millimetres).

    shape_zyx: voxels; spacing_xyz_mm; origin_lps_mm: centre of voxel (0, 0, 0);
    direction: nine numbers, row-major, whose columns are the axes x, y, z.
    """

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    origin_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def spacing_zyx_mm(self) -> tuple[float, float, float]:
        x, y, z = self.spacing_xyz_mm
        return (z, y, x)


@dataclass(frozen=True)
class Volume:
    """Intensities (z, y, x) float32 and where they are; modality as DICOM writes it, or ""."""

    array: np.ndarray
    geometry: Geometry
    modality: str = ""


def read_volume(path: str | Path) -> Volume:
    """Intensities (z, y, x) float32 with their geometry, from any image file or a DICOM folder.

    The modality is DICOM's (0008,0060), and "" for other formats. Raises InputError when the
    path is missing, the file is unreadable or truncated, is not one 3-D grey image, has a
    spacing or direction that cannot be, or intensities that are not finite or all the same.
    """
    path = Path(path)
    if is_dicom(path):
        from VoxelAdvSegLib.data.dicom import read_series  # loads pydicom for DICOM only

        array, geometry, modality = read_series(path)
    else:
        header = read_header(path)
        geometry, modality = header_geometry(header, path), ""
        check_thick(geometry, path)
        array = read_pixels(path, sitk.sitkFloat32, header)
    check_intensities(array, path)
    return Volume(array, geometry, modality)


def read_geometry(path: str | Path) -> Geometry:
    """Grid of a volume, from its header alone. Raises InputError as read_volume does."""
    path = Path(path)
    if is_dicom(path):
        from VoxelAdvSegLib.data.dicom import read_series_geometry

        return read_series_geometry(path)
    geometry = header_geometry(read_header(path), path)
    check_thick(geometry, path)
    return geometry


def is_dicom(path: Path) -> bool:
    """Whether a path is a folder (then of DICOM) or a file with DICOM's mark.

    Raises InputError when it may not be looked at.
    """
    with access_told(path):
        str(path).encode()  # ITK ends the whole process at a name that is no text
        if path.is_dir():
            return True
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"


def read_header(path: Path) -> sitk.ImageFileReader:
    """The header of an image file, without its voxels. Raises InputError when there is none."""
    with access_told(path):
        str(path).encode()
        if not path.is_file():
            raise InputError(
                "there is no such file", file=path, expected="an image file or a folder of DICOM slices",
                found="something else than a file" if path.exists() else "nothing", do="check the path",
            )  # fmt: skip
        check_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with without_messages():
            if (kind := reader.GetImageIOFromFileName(str(path))) in REFUSED_FORMATS:
                raise InputError(
                    "this image format is not read", file=path, expected="NIfTI, NRRD, MetaImage or DICOM",
                    found=kind.removesuffix("ImageIO"), do="convert it, for example with 3D Slicer",
                )  # fmt: skip
            reader.ReadImageInformation()
    except RuntimeError as error:
        check_complete(path)  # says more precisely what is wrong
        raise _unreadable(path, error) from error
    return reader


def header_geometry(header: sitk.ImageFileReader, path: Path, components: int = 1) -> Geometry:
    """Grid told by a header, after checking that it is one 3-D image.

    components: numbers for each voxel, 1 for grey images. Further axes of length 1 are dropped.
    """
    size = list(header.GetSize())
    if header.GetNumberOfComponents() != components:
        raise InputError(
            "the image has several numbers for each voxel", file=path, expected="one grey value",
            found=f"{header.GetNumberOfComponents()} (colour, vectors or complex numbers)",
            do="save one channel as an image of its own",
        )  # fmt: skip
    if len(size) > 3 and set(size[3:]) == {1}:
        size = size[:3]
    if len(size) != 3:
        raise InputError(
            f"the image is {len(size)}-D", file=path, expected="a 3-D volume of several slices",
            found=" x ".join(map(str, size)) + " voxels",
            do="give the whole stack" if len(size) < 3 else "save one of its volumes as a file of its own",
        )  # fmt: skip
    axes = len(header.GetSize())
    direction = np.reshape(header.GetDirection(), (axes, axes))[:3, :3]
    geometry = Geometry(
        shape_zyx=(size[2], size[1], size[0]),
        spacing_xyz_mm=tuple(header.GetSpacing()[:3]),
        origin_lps_mm=tuple(header.GetOrigin()[:3]),
        direction=tuple(map(float, direction.ravel())),
    )
    check_geometry(geometry, path)
    return geometry


def check_thick(geometry: Geometry, path: Path) -> None:
    """Raises InputError when a volume is a single slice."""
    if min(geometry.shape_zyx) < 2:
        raise InputError(
            "the image is 2-D", file=path, expected="a 3-D volume of several slices",
            found=" x ".join(map(str, geometry.shape_zyx[::-1])) + " voxels", do="give the whole stack",
        )  # fmt: skip


def check_geometry(geometry: Geometry, path: Path) -> None:
    """Raises InputError when no real grid has this size, spacing, origin or direction."""
    spacing = geometry.spacing_xyz_mm
    if not all(math.isfinite(step) and step > 0 for step in spacing):
        raise InputError(
            "the spacing is not positive", file=path, expected="three positive lengths in mm",
            found=" x ".join(f"{step:g}" for step in spacing), do="correct the header or export again",
        )  # fmt: skip
    if not all(SPACINGS_MM[0] <= step <= SPACINGS_MM[1] for step in spacing):
        raise InputError(
            "the spacing is too small or too large to be true", file=path,
            expected=f"{SPACINGS_MM[0]:g} to {SPACINGS_MM[1]:g} mm",
            found=" x ".join(f"{step:g}" for step in spacing), do="correct the header: lengths are in millimetres",
        )  # fmt: skip
    if not all(abs(place) <= LARGEST_ORIGIN_MM for place in geometry.origin_lps_mm):
        raise InputError(
            "the origin is not a point", file=path, expected=f"three numbers in mm, at most {LARGEST_ORIGIN_MM:g}",
            found=str(geometry.origin_lps_mm), do="correct the header or export again",
        )  # fmt: skip
    axes = np.reshape(geometry.direction, (3, 3))
    if not np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=AXES_TOLERANCE):
        raise InputError(
            "the axes are not at right angles", file=path, expected="three perpendicular unit vectors",
            found=np.array2string(axes, precision=4, separator=", ").replace("\n", ""),
            do="resample the volume onto a rectangular grid (in Slicer: harden its transform)",
        )  # fmt: skip
    if math.prod(geometry.shape_zyx) > MAX_VOXELS:
        raise InputError(
            "the volume is too large to be true", file=path, expected=f"at most {MAX_VOXELS:.2g} voxels",
            found=" x ".join(map(str, geometry.shape_zyx[::-1])), do="check the header, or crop the volume",
        )  # fmt: skip


def read_pixels(path: Path, pixel_type: int, header: sitk.ImageFileReader) -> np.ndarray:
    """Voxels (z, y, x), or (z, y, x, component), in a SimpleITK pixel type.

    Raises InputError when the file is truncated or damaged.
    """
    with access_told(path):
        check_complete(path)
    bytes_each = sitk.Image(1, 1, header.GetPixelID()).GetSizeOfPixelComponent() * header.GetNumberOfComponents()
    check_data_size(path, math.prod(header.GetSize()) * bytes_each)
    _check_room(header, bytes_each, path)
    try:
        with without_messages():
            image = sitk.ReadImage(str(path), pixel_type)
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return sitk.GetArrayFromImage(image)[(0,) * (header.GetDimension() - 3)]


def _check_room(header: sitk.ImageFileReader, bytes_each: int, path: Path) -> None:
    """Raises InputError when the voxels that a header claims would not fit into the memory they may take."""
    room, needed = memory_room.get(), math.prod(header.GetSize()) * (bytes_each + WORKING_BYTES)
    if room is not None and needed > room:
        raise InputError(
            "the volume is too large for this computer", file=path, expected=f"one for {room / 1e9:.1f} GB of memory",
            found=" x ".join(map(str, header.GetSize())) + f" voxels, for which it takes {needed / 1e9:.1f} GB",
            do="check the header, crop or resample the volume, or use a computer with more memory",
        )  # fmt: skip


def check_intensities(array: np.ndarray, path: Path) -> None:
    """Raises InputError when intensities are not finite, or the same everywhere."""
    lowest, highest = float(array.min()), float(array.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise not_finite(path, int(array.size - np.isfinite(array).sum()))
    if lowest == highest:
        raise InputError(
            "all intensities are the same", file=path, expected="an image",
            found=f"{lowest:g} in every voxel", do="check the export, or leave the case out",
        )  # fmt: skip


def _unreadable(path: Path, error: RuntimeError) -> InputError:
    reason = re.sub(r"\(0x[0-9a-f]+\)", "", str(error).rpartition("ERROR:")[2])
    reason = " ".join(reason.partition("Reason:")[0].split())  # MetaImage's reason is a stale errno
    reason = reason.rpartition("[nrrd] ")[2]
    if "orthonormal" in str(error):
        return InputError(
            "the axes are not at right angles", file=path, expected="three perpendicular unit vectors",
            found="a sheared or zero direction in the header",
            do="resample the volume onto a rectangular grid (in Slicer: harden its transform)",
        )  # fmt: skip
    if "Zero-valued spacing" in str(error):
        return InputError(
            "the spacing is not positive", file=path, expected="three positive lengths in mm",
            found=reason[reason.rfind("to [") + 3 :], do="correct the header or export again",
        )  # fmt: skip
    return InputError(
        "the file cannot be read as an image", file=path,
        expected="a whole NIfTI, NRRD, MetaImage or other image file", found=reason[-200:],
        do="copy or export the file again",
    )  # fmt: skip
