"""Files that leave the scene: whole, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from VoxelAdvSegLib.errors import InputError, RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when all went well, else is removed.

    Raises RunError when the file cannot be written.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError, InputError) as error:
        raise RunError(
            "the file cannot be written", file=path, expected="a folder with room that may be written to",
            found=" ".join(str(error).rpartition("ERROR:")[2].split())[:200],
            do="make room, or choose another project folder",
        ) from error  # fmt: skip
