"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.errors import ProjectError

PARTIAL = ".partial"  # part of the name of everything that is not finished
# On Windows a virus scanner may hold a file for a moment, and then it cannot be replaced.
MOVE_ATTEMPTS = 20 if os.name == "nt" else 1
MOVE_PAUSE = 0.05  # seconds


@contextlib.contextmanager
def written_or_told(path: Path) -> Iterator[None]:
    """Turns the system's refusal to write into a ProjectError that names the file."""
    try:
        yield
    except OSError as error:
        raise ProjectError(
            "the project cannot be written", file=path, expected="room on the disk and the right to write",
            found=error.strerror or str(error),
            do="free some space or change the folder's rights; what was saved before is untouched",
        ) from error  # fmt: skip


def write_json(path: Path, content: Any) -> None:
    """The file in UTF-8, whole or as it was before. Raises ProjectError when it cannot be written."""
    write_bytes(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """As write_json, for any content."""
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    with written_or_told(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            move(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def read_json(path: Path) -> Any:
    """Raises OSError or ValueError when it is not there or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def move(source: Path, target: Path) -> None:
    """Puts a finished file or new folder in its place, and the change of the folder on the disk."""
    for left in reversed(range(MOVE_ATTEMPTS)):
        try:
            source.replace(target)
            break
        except PermissionError:
            if not left:
                raise
            time.sleep(MOVE_PAUSE)
    sync_folder(target.parent)


def sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes renames last through a power cut, where the system can (not on Windows)."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # some network folders cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def copy_file(source: Path, target: Path) -> None:
    """A copy that is on the disk when the function returns; rights and times are not copied."""
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
        write.flush()
        os.fsync(write.fileno())


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove(path: Path) -> None:
    """A file, a link itself, or a folder with all in it; nothing is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if path.is_symlink():
        return 0
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    total = 0
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not (Path(folder) / name).is_symlink()]
        for name in files:
            with contextlib.suppress(OSError):  # gone meanwhile
                total += (Path(folder) / name).lstat().st_size
    return total


def is_partial(path: Path) -> bool:
    return path.name.startswith(".") and PARTIAL in path.name
