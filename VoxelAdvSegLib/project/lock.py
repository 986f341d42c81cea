"""One program at a time in a project: a lock that the system takes back when the program ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import IO

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.disk import read_json, write_json

if sys.platform == "win32":
    import msvcrt

    def _take(file: IO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: IO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class FolderLock:
    """Held from `take` to `release`, or to the end of the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._holder = folder / ".lock.json"
        self._file: IO | None = None

    def take(self) -> None:
        """Raises ProjectError when another program has the folder, or it cannot be written to.

        Where the file system knows no locks (some network drives) nothing is held; the project
        then notices at its next saving that another program has saved.
        """
        try:
            file = self.path.open("a+")
        except OSError as error:
            raise ProjectError(
                "the project folder cannot be written", file=self.path.parent,
                expected="a folder with the right to write", found=error.strerror or str(error),
                do="change the folder's rights, or copy the project to a folder of your own",
            ) from error  # fmt: skip
        try:
            _take(file)
        except OSError as error:
            if error.errno in TAKEN:
                file.close()
                raise ProjectError(
                    "the project is open in another program", file=self.path.parent,
                    expected="one Slicer at a time in a project", found=self._who(),
                    do="close the project there, or open another one here",
                ) from error  # fmt: skip
        self._file = file
        write_json(self._holder, {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M")})

    def release(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._holder.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _who(self) -> str:
        try:
            holder = read_json(self._holder)
            return f"opened {holder['since']} by process {holder['pid']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process that has it"
