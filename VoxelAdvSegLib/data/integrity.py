"""Whether an image file is whole: what ITK's readers let pass in silence or only print."""

from __future__ import annotations

import gzip
import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.text_headers import check_metaimage_voxels, check_text_header, data_files
from VoxelAdvSegLib.errors import InputError

NIFTI_HEADER_BYTES = 348
NIFTI2_HEADER_BYTES = 540
NIFTI_FLOATS = {16: "f4", 64: "f8"}  # codes of floating-point voxels
NIFTI_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64,
              1536: 128, 1792: 128, 2048: 256, 2304: 32}  # fmt: skip
UNIT_TOLERANCE = 1e-3  # of a quaternion's squared length, above 1
BARE_ENDINGS = frozenset((".img", ".hdr", ".gipl", ".vtk"))
VTK_HEADER_BYTES = 400
CHUNK_BYTES = 1 << 22
# Deflate, the best of the compressions that are read, makes at most 1032 bytes of one.
MOST_EXPANSION = 1032
HEADER_SLACK = 1 << 20
LARGEST_OFFSET = 1 << 30  # of a NIfTI header's voxels; extensions lie in front of them

_messages_lock = threading.Lock()
_hushed: list[int] = []  # the real standard error, once for each reader at work


def check_header(path: Path) -> None:
    """Raises InputError when a file is empty, no gzip, or a NIfTI header says a spacing that cannot be.

    ITK repairs a zero spacing and takes a negative one for a mirrored axis without a word. Nor may a
    header send the reader to a file outside its folder (data/text_headers.py).
    """
    head = _head(path)
    check_text_header(path)
    header = _nifti_header(path, head)
    if header is not None and not all(math.isfinite(step) and step > 0 for step in header.spacing_mm):
        raise InputError(
            "the spacing is not positive", file=path, expected="three positive lengths in mm",
            found=" x ".join(f"{step:g}" for step in header.spacing_mm),
            do="correct the header or export again",
        )  # fmt: skip


def check_complete(path: Path) -> None:
    """Raises InputError when a gzip stream is damaged, or a NIfTI file is cut or holds no numbers.

    ITK's NIfTI reader fills with zeros what is missing, and also what is NaN or infinite.
    """
    header = _nifti_header(path, _head(path))
    if header is None and not _is_zipped(path):
        return
    length, strange = _examine_content(path, header)
    if header is not None and (length < header.file_bytes or (_is_zipped(path) and length > _enough(header))):
        raise _cut(path, f"{header.file_bytes} bytes, as its header says", f"{length} bytes")
    if strange:
        raise not_finite(path, strange)


def not_finite(path: Path, count: int) -> InputError:
    return InputError(
        "some intensities are not numbers", file=path, expected="finite intensities",
        found=f"{count} voxels are NaN or infinite",
        do="replace them by the value of the background, or export again",
    )  # fmt: skip


def check_data_size(path: Path, voxel_bytes: int) -> None:
    """Raises InputError when the files of an image are too short to hold its voxels.

    However well they are packed; and bare in Analyze pairs, GIPL and binary VTK, whose readers
    fill what is missing with anything. A reader would first take the memory that a header claims.
    """
    ending = path.suffix.lower()
    data = path.with_suffix(".img") if ending == ".hdr" else path
    files = data_files(path) if data == path else [data]
    stored = sum(file.stat().st_size for file in files if file.is_file())
    if voxel_bytes > HEADER_SLACK + MOST_EXPANSION * stored:
        raise _cut(path, f"{voxel_bytes} bytes of voxels, as the header says", f"{stored} bytes in all")
    check_metaimage_voxels(path, voxel_bytes)
    if ending not in BARE_ENDINGS or not data.is_file() or b"ASCII" in _head(data)[:VTK_HEADER_BYTES]:
        return
    length = data.stat().st_size
    if length < voxel_bytes:
        raise _cut(data, f"at least {voxel_bytes} bytes, as its header says", f"{length} bytes")


@contextmanager
def access_told(path: Path) -> Iterator[None]:
    """Turns what the system says against a path (too long, no right to read, a broken disk) into an InputError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InputError(
            "the file cannot be opened", file=path, expected="a file that may be read",
            found=(error.strerror if isinstance(error, OSError) else None) or str(error),
            do="check the path, its rights and the disk",
        ) from error  # fmt: skip


@contextmanager
def without_messages() -> Iterator[None]:
    """Keeps away what C libraries print on standard error; their exceptions say it again.

    The redirection is the process's own: readers in several threads share one.
    """
    with _messages_lock:
        if not _hushed:
            real = os.dup(2)
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        else:
            real = _hushed[0]
        _hushed.append(real)
    try:
        yield
    finally:
        with _messages_lock:
            real = _hushed.pop()
            if not _hushed:
                os.dup2(real, 2)
                os.close(real)


@dataclass(frozen=True)
class _NiftiHeader:
    spacing_mm: tuple[float, ...]
    offset: int
    file_bytes: int
    floats: np.dtype | None  # of the voxels, where they are floating-point numbers


def _is_zipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _head(path: Path) -> bytes:
    """First bytes of the content."""
    if path.stat().st_size == 0:
        raise _cut(path, "an image file", "an empty file")
    with _gzip_errors(path), gzip.open(path) if _is_zipped(path) else path.open("rb") as file:
        return file.read(NIFTI2_HEADER_BYTES)


def _examine_content(path: Path, header: _NiftiHeader | None) -> tuple[int, int]:
    """Length of the content, and its voxels that are not finite where it is NIfTI of a float type.

    The checksum of a gzip stream is verified on the way; what goes on far beyond the voxels is not
    followed to its end.
    """
    floats = None if header is None else header.floats
    if not _is_zipped(path) and floats is None:
        return path.stat().st_size, 0
    length = strange = 0
    rest = b""
    with _gzip_errors(path), gzip.open(path) if _is_zipped(path) else path.open("rb") as file:
        if floats is not None and header is not None:
            while chunk := file.read(min(CHUNK_BYTES, header.offset - length)):
                length += len(chunk)
        while length <= _enough(header) and (chunk := file.read(CHUNK_BYTES)):
            length += len(chunk)
            if floats is not None and header is not None and length <= header.file_bytes + CHUNK_BYTES:
                rest += chunk
                whole = len(rest) // floats.itemsize * floats.itemsize
                values = np.frombuffer(rest[:whole], floats)
                strange += values.size - int(np.isfinite(values).sum())
                rest = rest[whole:]
    return length, strange


def _enough(header: _NiftiHeader | None) -> int:
    """Bytes of content after which nothing can follow that a reader wants."""
    return LARGEST_OFFSET if header is None else 2 * header.file_bytes + HEADER_SLACK


@contextmanager
def _gzip_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _cut(path, "a whole gzip file", str(error)) from error


def _nifti_header(path: Path, head: bytes) -> _NiftiHeader | None:
    """What a one-file NIfTI header (1 or 2) promises; None for other formats, for ITK to judge."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    if len(head) < NIFTI_HEADER_BYTES:
        raise _cut(path, f"a NIfTI header of {NIFTI_HEADER_BYTES} bytes", f"{len(head)} bytes")
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", head)
        if size == NIFTI_HEADER_BYTES and head[344:348] == b"n+1\0":
            dim = struct.unpack_from(order + "8h", head, 40)
            kind, bits = struct.unpack_from(order + "2h", head, 70)
            spacing = struct.unpack_from(order + "3f", head, 80)
            (offset,) = struct.unpack_from(order + "f", head, 108)
            codes = struct.unpack_from(order + "2h", head, 252)
            place = struct.unpack_from(order + "18f", head, 256)
        elif size == NIFTI2_HEADER_BYTES and len(head) == NIFTI2_HEADER_BYTES:
            kind, bits = struct.unpack_from(order + "2h", head, 12)
            dim = struct.unpack_from(order + "8q", head, 16)
            spacing = struct.unpack_from(order + "3d", head, 112)
            (offset,) = struct.unpack_from(order + "q", head, 168)
            codes = struct.unpack_from(order + "2i", head, 344)
            place = struct.unpack_from(order + "18d", head, 352)
        elif size == NIFTI_HEADER_BYTES:
            raise _impossible(path, "the mark of a NIfTI file in one piece", repr(head[344:348]))
        else:
            continue
        if not (1 <= dim[0] <= 7 and min(dim[1 : dim[0] + 1]) >= 1):
            raise _impossible(path, "1 to 7 axes of at least one voxel", f"{dim[0]} axes of {dim[1:]} voxels")
        if not (math.isfinite(offset) and 0 <= offset <= LARGEST_OFFSET and NIFTI_BITS.get(kind) == bits):
            found = f"voxels of type {kind} with {bits} bits from byte {offset:g} on"
            raise _impossible(path, "voxels of a known type behind the header", found)
        _check_nifti_place(path, codes, place)
        voxels = math.prod(dim[1 : dim[0] + 1])
        floats = np.dtype(order + NIFTI_FLOATS[kind]) if kind in NIFTI_FLOATS else None
        return _NiftiHeader(spacing[: dim[0]], int(offset), int(offset) + voxels * bits // 8, floats)
    return None


def _check_nifti_place(path: Path, codes: tuple[int, ...], place: tuple[float, ...]) -> None:
    """place: quaternion and offset, then the three rows of a matrix; codes: whether each of the two is meant.

    ITK takes a quaternion that is none for another rotation.
    """
    quaternion = place[:6]
    turned = all(map(math.isfinite, quaternion)) and sum(q * q for q in place[:3]) <= 1 + UNIT_TOLERANCE
    if codes[0] > 0 and not turned:
        raise _impossible(path, "a rotation and an offset", f"quaternion and offset {quaternion}")
    if codes[1] > 0 and not all(map(math.isfinite, place[6:])):
        raise _impossible(path, "a matrix of finite numbers", str(place[6:]))


def _impossible(path: Path, expected: str, found: str) -> InputError:
    return InputError(
        "the header says what cannot be", file=path, expected=expected, found=found[:200],
        do="correct the header or export again",
    )  # fmt: skip


def _cut(path: Path, expected: str, found: str) -> InputError:
    return InputError(
        "the file is damaged or cut short", file=path, expected=expected, found=found,
        do="copy, download or export the file again",
    )  # fmt: skip
