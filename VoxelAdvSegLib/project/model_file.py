"""Models as files from anywhere: looked at with every doubt, and without loading a weight.

A model is flat: model.json, README.md and weights in safetensors, whose checksums model.json tells.
Nothing in it is executed, here or later: there is no pickle.
"""

from __future__ import annotations

import json
import math
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.errors import BundleError
from VoxelAdvSegLib.project.disk import PARTIAL, move, sha256, written_or_told

MODEL_FORMAT = 1  # as bundle.FORMAT, which is out of reach without torch
ABOUT, CARD, WEIGHTS = "model.json", "README.md", ".safetensors"
WEIGHTS_NAME = re.compile(r"[A-Za-z0-9_\-]{1,60}\.safetensors")
MOST_FILES = 16
LARGEST_TEXT = 4 * 2**20
LARGEST_WEIGHTS = 4 * 2**30
LARGEST_HEADER = 16 * 2**20
MOST_EXPANSION = 200  # bytes from one packed byte; JSON stays far below
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def read_about(folder: Path) -> dict[str, Any]:
    """model.json of a model folder.

    Raises BundleError when there is none, it is damaged, or of another version.
    """
    file = folder / ABOUT
    try:
        if file.stat().st_size > LARGEST_TEXT:
            raise ValueError(f"{file.stat().st_size} bytes")
        about = json.loads(file.read_text(encoding="utf-8"))
        found = about["format"]
    except FileNotFoundError as error:
        raise BundleError(
            "there is no model", file=folder, expected=f"a folder with {ABOUT}", found="no such file",
            do="choose another model",
        ) from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder, f"{ABOUT}: {type(error).__name__}: {error}") from error
    if found != MODEL_FORMAT:
        raise BundleError(
            "the model is from another version", file=folder,
            expected=f"format {MODEL_FORMAT} (VoxelAdvSeg {__version__})",
            found=f"format {found} (VoxelAdvSeg {about.get('version', '?')})"[:200],
            do="update VoxelAdvSeg, or train the model anew",
        )  # fmt: skip
    checksums, organs = about.get("sha256"), about.get("organs")
    if not isinstance(checksums, dict) or not checksums or not all(WEIGHTS_NAME.fullmatch(name) for name in checksums):
        raise _damaged(folder, f"{ABOUT} has no table of weights files")
    if not isinstance(organs, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in organs):
        raise _damaged(folder, f"{ABOUT} names no organs")
    if not isinstance(about.get("provenance"), dict):
        raise _damaged(folder, f"{ABOUT} does not say how it was trained")
    return about


def check_model(folder: Path) -> dict[str, Any]:
    """read_about, after the weights were found whole and unaltered. Raises BundleError."""
    about = read_about(folder)
    present = {path.name for path in folder.iterdir() if path.name.endswith(WEIGHTS)}
    for name in sorted(present ^ set(about["sha256"])):
        raise _damaged(folder, f"{name} is missing" if name not in present else f"{name} is not told of in {ABOUT}")
    for name, checksum in about["sha256"].items():
        check_safetensors(folder / name)
        if sha256(folder / name) != checksum:
            raise _damaged(folder, f"{name} is not the file that was saved (its checksum differs)")
    return about


def check_safetensors(file: Path) -> None:
    """Raises BundleError unless the tensors of the header fill the file exactly."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise _damaged(file, f"a header of {length} bytes in a file of {size}")
        raw = opened.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        spans = sorted(_span(tensor) for tensor in header.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(file, f"its header: {type(error).__name__}: {error}"[:200]) from error
    end = 0
    for begin, stop in spans:
        if begin != end:
            raise _damaged(file, "tensors that overlap or leave gaps")
        end = stop
    if end != size - 8 - length:
        raise _damaged(file, f"{size - 8 - length} bytes of tensors where the header tells of {end}")


def pack(folder: Path, file: Path) -> None:
    """Writes a model folder as one zip file, whole or not at all. Raises BundleError, ProjectError."""
    about = check_model(folder)
    partial = file.with_name(f".{file.name[:100]}{PARTIAL}")
    with written_or_told(file):
        try:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
                for name in (ABOUT, CARD, *sorted(about["sha256"])):
                    if (folder / name).is_file():
                        # Without the time and rights of this machine: the same model is the same file.
                        entry = zipfile.ZipInfo(name)
                        entry.external_attr = (stat.S_IFREG | 0o644) << 16
                        entry.file_size = (folder / name).stat().st_size
                        with (folder / name).open("rb") as read, packed.open(entry, "w", force_zip64=True) as write:
                            _copy(read, write, entry.file_size, folder)
            move(partial, file)
        finally:
            partial.unlink(missing_ok=True)


def unpack(source: Path, folder: Path) -> None:
    """Fills a new folder with the model of a zip file or of another folder, and checks it.

    Only the files of a model are written, under their own names, and no more bytes than they claim.
    Raises BundleError for anything else in it, ProjectError when the disk refuses.
    """
    with _members(source) as members, written_or_told(folder):
        _check_members(source, members)
        folder.mkdir(parents=True)
        for member in members:
            try:
                with member.open() as read, (folder / member.name).open("xb") as write:
                    _copy(read, write, member.size, source)
            except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
                raise _damaged(source, f"{member.name}: {error}"[:200]) from error
    check_model(folder)


@contextmanager
def _members(source: Path) -> Iterator[list[_Member]]:
    if source.is_dir():
        files = [path for path in source.iterdir() if path.name in (ABOUT, CARD) or path.name.endswith(WEIGHTS)]
        for path in files:
            if path.is_symlink() or not path.is_file():
                raise _strange(source, f"{path.name} is a link")
        yield [_Member(path.name, path.stat().st_size, lambda path=path: path.open("rb")) for path in files]
        return
    try:
        packed = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BundleError(
            "this is no model file", file=source, expected="a .zip that was exported here, or a model folder",
            found=str(error)[:200], do="export or copy the model again",
        ) from error  # fmt: skip
    with packed:
        yield [_zip_member(packed, entry, source) for entry in packed.infolist()]


def _zip_member(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, source: Path) -> _Member:
    name = entry.filename[:100]
    if entry.flag_bits & 1:
        raise _strange(source, f"{name} is encrypted")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.is_dir() or kind not in (0, stat.S_IFREG):
        raise _strange(source, f"{name} is no plain file")
    if entry.file_size > MOST_EXPANSION * max(entry.compress_size, 1024):
        raise _strange(source, f"{name} would grow from {entry.compress_size} to {entry.file_size} bytes")
    return _Member(entry.filename, entry.file_size, lambda: packed.open(entry))


def _check_members(source: Path, members: list[_Member]) -> None:
    names = [member.name for member in members]
    if len(names) > MOST_FILES:
        raise _strange(source, f"{len(names)} files")
    if len({name.casefold() for name in names}) < len(names):
        raise _strange(source, "two files of one name")
    for member in members:
        if member.name not in (ABOUT, CARD) and not WEIGHTS_NAME.fullmatch(member.name):
            raise _strange(source, f"a file called {member.name[:100]!r}")
        largest = LARGEST_WEIGHTS if member.name.endswith(WEIGHTS) else LARGEST_TEXT
        if member.size > largest:
            raise _strange(source, f"{member.name} of {member.size} bytes")
    if ABOUT not in names:
        raise _strange(source, f"no {ABOUT}")


def _copy(read: IO[bytes], write: IO[bytes], size: int, source: Path) -> None:
    """Exactly `size` bytes."""
    left = size
    while chunk := read.read(min(1 << 20, left + 1)):
        left -= len(chunk)
        if left < 0:
            break
        write.write(chunk)
    if left:
        raise _damaged(source, f"{'more' if left < 0 else 'fewer'} bytes in a file than it claims to have")


def _span(tensor: Any) -> tuple[int, int]:
    begin, end = tensor["data_offsets"]
    shape = tensor["shape"]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (begin, end, *shape)):
        raise ValueError("sizes that are no numbers")
    if math.prod(shape) * ITEM_BYTES[tensor["dtype"]] != end - begin:
        raise ValueError(f"a tensor of shape {shape} in {end - begin} bytes")
    return begin, end


def _damaged(file: Path, found: str) -> BundleError:
    return BundleError(
        "the model is damaged", file=file, expected="the files as they were saved", found=found,
        do="copy or export the model again, or train it anew",
    )  # fmt: skip


def _strange(file: Path, found: str) -> BundleError:
    return BundleError(
        "this is no model that was exported here", file=file,
        expected=f"{ABOUT}, {CARD} and weights ({WEIGHTS}), nothing else", found=found,
        do="do not use the file; ask for it to be exported again",
    )  # fmt: skip
