"""Models as files from anywhere: looked at with every doubt, and without loading a weight.

A model is flat: model.json, README.md and weights in safetensors, whose checksums model.json tells.
Nothing in it is executed, here or later: there is no pickle.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from VoxelAdvSegLib.errors import BundleError
from VoxelAdvSegLib.model_folder import ABOUT, CARD, LARGEST_TEXT, WEIGHTS, WEIGHTS_NAME, check_model, damaged
from VoxelAdvSegLib.project.disk import PARTIAL, move, written_or_told

MOST_FILES = 16
LARGEST_WEIGHTS = 4 * 2**30
LARGEST_MODEL = 8 * 2**30  # all files together
MOST_EXPANSION = 200  # bytes from one packed byte; JSON stays far below


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


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
                raise damaged(source, f"{member.name}: {error}"[:200]) from error
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
    if sum(member.size for member in members) > LARGEST_MODEL:
        raise _strange(source, f"{sum(member.size for member in members)} bytes in all")
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
        raise damaged(source, f"{'more' if left < 0 else 'fewer'} bytes in a file than it claims to have")


def _strange(file: Path, found: str) -> BundleError:
    return BundleError(
        "this is no model that was exported here", file=file,
        expected=f"{ABOUT}, {CARD} and weights ({WEIGHTS}), nothing else", found=found,
        do="do not use the file; ask for it to be exported again",
    )  # fmt: skip
