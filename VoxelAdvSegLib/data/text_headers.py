"""What NRRD and MetaImage headers may say before a reader is given them.

Both may name other files as the place of their voxels: any file of the computer, a device or a pipe.
MetaImage's reader also crashes at impossible numbers, and gives uninitialized memory as voxels where
there are too few.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from VoxelAdvSegLib.errors import InputError

LARGEST_HEADER = 1 << 20
CHUNK_BYTES = 1 << 22
MOST_FILES = 100_000
METAIMAGE_ENDINGS = (".mha", ".mhd")
METAIMAGE_TYPES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
METAIMAGE_NUMBERS = frozenset(
    "NDims DimSize Offset Origin Position ElementSpacing ElementSize TransformMatrix Rotation Orientation "
    "CenterOfRotation HeaderSize ElementNumberOfChannels CompressedDataSize".split()
)
# A name with a number in it, as slice_%03d.raw, followed by first, last and step.
PATTERN = re.compile(r"([^%]*%0?\d{0,2}d[^%]*)\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+\d+)?")


@dataclass(frozen=True)
class TextHeader:
    """kind: "NRRD" or "MetaImage"; fields: as written, names in lower case of NRRD alone; rest: lines
    after the one that names the data; end: where the header ends in the file."""

    kind: str
    fields: dict[str, str]
    data: str
    rest: tuple[str, ...]
    end: int


def read_text_header(path: Path) -> TextHeader | None:
    """None where the file is of another format."""
    with path.open("rb") as file:
        head = file.read(LARGEST_HEADER)
    if head.startswith(b"NRRD"):
        head = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
        lines = [os.fsdecode(line).strip() for line in head.splitlines()[1:]]
        pairs = [(name.strip().lower().replace(" ", ""), value.strip()) for name, value in _pairs(lines, ":")]
        names = [line.partition(":")[0].strip().lower().replace(" ", "") for line in lines]
        rest = lines[names.index("datafile") + 1 :] if "datafile" in names else []
        fields = dict(pairs)
        return TextHeader("NRRD", fields, fields.get("datafile", ""), tuple(filter(None, rest)), len(head))
    if not path.name.lower().endswith(METAIMAGE_ENDINGS):
        return None
    named = re.search(rb"^\s*ElementDataFile\s*[=:]([^\n]*)\n?", head, re.MULTILINE)
    if named is None:
        raise _impossible(path, "a line with ElementDataFile", "no such line")
    lines = [os.fsdecode(line).strip() for line in head[: named.start()].splitlines()]
    fields = {name.strip(): value.strip() for name, value in _pairs(lines, "=")}
    data = os.fsdecode(named[1].strip())
    rest = [os.fsdecode(line).strip() for line in head[named.end() :].splitlines()] if data[:4] == "LIST" else []
    return TextHeader("MetaImage", fields, data, tuple(filter(None, rest)), named.end())


def check_text_header(path: Path) -> None:
    """Raises InputError when a header has numbers that cannot be, or names voxels outside its folder."""
    header = read_text_header(path)
    if header is None:
        return
    if header.kind == "NRRD":
        for name in ("byteskip", "lineskip"):
            if name in header.fields and not _integer(header.fields[name], -1 if name == "byteskip" else 0, 1 << 40):
                raise _impossible(path, "a number of bytes or lines to skip", f"{name} {header.fields[name]}")
    else:
        _check_metaimage(header.fields, path)
    data_files(path)


def _check_metaimage(fields: dict[str, str], path: Path) -> None:
    if not _integer(fields.get("NDims", ""), 1, 10):
        raise _impossible(path, "NDims from 1 to 10", fields.get("NDims", "none"))
    if fields.get("ElementType") not in METAIMAGE_TYPES:
        raise _impossible(path, " ".join(METAIMAGE_TYPES), fields.get("ElementType", "no ElementType"))
    for name in METAIMAGE_NUMBERS & set(fields):
        if not all(map(_finite, fields[name].split())):
            raise _impossible(path, f"finite numbers after {name}", fields[name])
    if not _integer(fields.get("ElementNumberOfChannels", "1"), 1, 1024):
        raise _impossible(path, "1 to 1024 channels", fields["ElementNumberOfChannels"])


def check_metaimage_voxels(path: Path, voxel_bytes: int) -> None:
    """Raises InputError when a MetaImage holds fewer voxels than it says, or packed ones that are damaged."""
    header = read_text_header(path)
    if header is None or header.kind != "MetaImage":
        return
    files = data_files(path)
    start = header.end if files == [path] else 0
    if header.fields.get("CompressedData", "").lower() in ("true", "1"):
        found = sum(_unpacked_bytes(file, start, voxel_bytes) for file in files)
    else:
        found = sum(file.stat().st_size for file in files) - start
        found -= max(0, int(float(header.fields.get("HeaderSize", "0")))) * len(files)
    if found < voxel_bytes:
        raise InputError(
            "the file is damaged or cut short", file=path, expected=f"{voxel_bytes} bytes, as its header says",
            found=f"{found} bytes", do="copy, download or export the file again",
        )  # fmt: skip


def _unpacked_bytes(file: Path, start: int, most: int) -> int:
    """Bytes that a zlib or gzip stream unpacks to, counted no further than `most`; its checksum is verified."""
    unpacker = zlib.decompressobj(47)  # either of the two forms
    count = 0
    try:
        with file.open("rb") as opened:
            opened.seek(start)
            while not unpacker.eof and count <= most:
                packed = unpacker.unconsumed_tail or opened.read(CHUNK_BYTES)
                if not packed:
                    raise zlib.error("the stream ends too early")
                count += len(unpacker.decompress(packed, CHUNK_BYTES))
    except zlib.error as error:
        raise InputError(
            "the file is damaged or cut short", file=file, expected="a whole packed image", found=str(error),
            do="copy, download or export the file again",
        ) from error  # fmt: skip
    return count


def data_files(path: Path) -> list[Path]:
    """The files that hold the voxels: the header's own, or those that it names.

    Raises InputError when one of them lies outside the header's folder or is no plain file.
    """
    header = read_text_header(path)
    if header is None or not header.data or header.data.upper() == "LOCAL":
        return [path]
    folder = path.absolute().parent
    return [_beside(folder, name, path) for name in _listed(header.data, header.rest, path)]


def _listed(text: str, rest: tuple[str, ...], path: Path) -> list[str]:
    """Names of the files: told one by one, by a pattern with numbers, or as one name."""
    pattern = PATTERN.fullmatch(text)
    if pattern is not None:
        first, last, step = (int(pattern[number]) for number in (2, 3, 4))
        count = (last - first) // step + 1 if step else 0
    elif re.fullmatch(r"LIST(\s+\d+D?)?", text, re.IGNORECASE):
        count = len(rest)
    else:
        return [text]
    if not 0 < count <= MOST_FILES:
        raise InputError(
            "the header names no files that could hold its voxels", file=path,
            expected="a first number, a last number and a step", found=text[:200], do="export the image again",
        )  # fmt: skip
    return list(rest) if pattern is None else [pattern[1] % (first + step * number) for number in range(count)]


def _beside(folder: Path, name: str, header: Path) -> Path:
    # Of Windows, too: a header made there may be looked at here, and the other way round.
    file = Path(os.path.normpath(folder / name.replace("\\", "/")))
    if "\0" in name or re.match(r"[A-Za-z]:", name) or not file.is_relative_to(folder) or file == folder:
        raise InputError(
            "the header refers to a file outside its folder", file=header,
            expected="voxels in the same file, or in a file beside or below it", found=name[:200],
            do="save the image as one file (.nrrd or .mha), or put its data beside the header",
        )  # fmt: skip
    try:
        found = "something else than a file" if file.exists() else "nothing"
        plain = file.is_file()
    except OSError as error:
        found, plain = error.strerror or str(error), False
    if not plain:
        raise InputError(
            "the file that holds the image's voxels is not there", file=header, expected=name[:200],
            found=found, do="copy it beside the header, or save the image as one file (.nrrd or .mha)",
        )  # fmt: skip
    return file


def _pairs(lines: list[str], sign: str) -> list[tuple[str, str]]:
    return [(name, value) for name, found, value in (line.partition(sign) for line in lines) if found]


def _integer(text: str, least: int, most: int) -> bool:
    return bool(re.fullmatch(r"[+-]?\d{1,20}", text)) and least <= int(text) <= most


def _finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _impossible(path: Path, expected: str, found: str) -> InputError:
    return InputError(
        "the header says what cannot be", file=path, expected=expected, found=found[:200],
        do="correct the header or export again",
    )  # fmt: skip
