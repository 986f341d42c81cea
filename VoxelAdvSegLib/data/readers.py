"""The parent's side of reading apart: children that read files, and what becomes of those that fall."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from VoxelAdvSegLib import errors
from VoxelAdvSegLib.data.volume import MAX_VOXELS
from VoxelAdvSegLib.errors import InputError, VoxelAdvSegError

ROOT = Path(__file__).resolve().parents[2]
LONGEST_ANSWER = 1 << 24
IDLE_SECONDS = 20.0  # after which a child without work ends itself
HAS_ALARM = hasattr(signal, "setitimer")
PARTS = {"float32": np.float32, "uint8": np.uint8}  # what voxels may come as


def _half_of_memory() -> int:
    """Half of the computer's memory, in bytes; of 16 GB where the system does not tell."""
    try:
        return max(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2, 4 << 30)
    except (AttributeError, OSError, ValueError):
        return 8 << 30


@dataclass(frozen=True)
class Limits:
    """What reading one file may take.

    memory_bytes: for one child, None for half of the computer's; seconds: for a small file, to which
    a second for each MB is added, for slow disks and networks.
    """

    memory_bytes: int | None = None
    seconds: float = 60.0

    def seconds_for(self, path: Path) -> float:
        size = 0
        with contextlib.suppress(OSError):
            files = path.iterdir() if path.is_dir() else [path]
            size = sum(file.stat().st_size for file in files)
        return self.seconds + size / 1e6


class Readers:
    """Children that read files for the threads of this process; each is started when it is needed."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.memory_bytes = limits.memory_bytes or _half_of_memory()
        self.started = 0
        self._idle: list[_Reader] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *what: object) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.end()

    def ask(self, path: Path, kind: str, **request: Any) -> tuple[dict[str, Any], np.ndarray | None]:
        """The child's answer, and the voxels where it sends some.

        Raises InputError as the reading functions do, and when the child falls, takes too long or
        too much memory.
        """
        seconds = self.limits.seconds_for(path)
        order = {"kind": kind, "path": os.path.abspath(path), "seconds": seconds, **request}  # noqa: PTH100
        reader = self._take()
        try:
            answer, array = reader.ask(order, seconds)
        except _FellError as fall:
            raise InputError(
                "the file cannot be read: its reader fell", file=path, expected="a whole image file",
                found=str(fall), do="check where the file comes from, and copy or export it again",
            ) from fall  # fmt: skip
        except BaseException:  # Ctrl-C in the middle of an answer: the rest of it must not be taken for another
            reader.kill()
            raise
        if "fault" in answer:
            reader.kill()
            raise _told_fault(answer["fault"], path)
        if "error" in answer:
            self._give_back(reader)
            raise _told_error(answer["error"])
        self._give_back(reader)
        return answer, array

    def _take(self) -> _Reader:
        with self._lock:
            rested = [reader for reader in self._idle if reader.has_rested()]
            self._idle = [reader for reader in self._idle if reader not in rested]
            reader = self._idle.pop() if self._idle else None
            self.started += reader is None
        for old in rested:
            old.end()
        return reader or _Reader(self.memory_bytes)

    def _give_back(self, reader: _Reader) -> None:
        reader.free_since = time.monotonic()
        with self._lock:
            if not self._closed:
                self._idle.append(reader)
                return
        reader.end()


class _FellError(Exception):
    """The child gave no whole answer."""


class _Reader:
    """One child: `python -m VoxelAdvSegLib.data.reader`, a line of JSON for a line of JSON and its voxels."""

    def __init__(self, memory_bytes: int) -> None:
        self.free_since = time.monotonic()
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "VoxelAdvSegLib.data.reader", str(memory_bytes), str(IDLE_SECONDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path}, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip

    def ask(self, order: dict[str, Any], seconds: float) -> tuple[dict[str, Any], np.ndarray | None]:
        """Raises _FellError when the child dies, by itself or by its alarm; it is gone then."""
        begin = time.monotonic()
        watch = contextlib.nullcontext() if HAS_ALARM else _killed_after(seconds, self.process)
        try:
            with watch:
                return self._exchange(order)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            self.process.kill()
            code = self.process.wait()
            self._close()
            if time.monotonic() - begin >= seconds:
                raise _FellError(f"no end after {seconds:.0f} seconds") from error
            raise _FellError(_ending(code)) from error

    def has_rested(self) -> bool:
        """Whether it has been without work for so long that it may have ended itself."""
        return time.monotonic() - self.free_since > IDLE_SECONDS / 2

    def _exchange(self, order: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
        to_child, from_child = self.process.stdin, self.process.stdout
        assert to_child is not None and from_child is not None
        to_child.write(json.dumps(order).encode("ascii") + b"\n")
        to_child.flush()
        line = from_child.readline(LONGEST_ANSWER)
        if not line.endswith(b"\n"):
            raise EOFError
        answer = json.loads(line)
        if "array" not in answer:
            return answer, None
        shape = tuple(answer["array"]["shape"])
        if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape) or math.prod(shape) > MAX_VOXELS:
            raise ValueError(shape)
        array = np.empty(shape, PARTS[answer["array"]["dtype"]])
        _fill(from_child, array)
        return answer, array

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close()

    def end(self) -> None:
        """It ends at the end of its orders."""
        self._close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


@contextlib.contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Where a process cannot set itself an alarm: a thread of ours ends it."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # so that it does not kill the child at its next file


def _fill(pipe: IO[bytes], array: np.ndarray) -> None:
    left = array.data.cast("B")
    while left:
        count = pipe.readinto(left)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        left = left[count:]


def _ending(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _told_error(fields: dict[str, Any]) -> VoxelAdvSegError:
    kind = getattr(errors, fields.pop("kind"))
    return kind(fields.pop("what"), **fields)


def _told_fault(fault: dict[str, str], path: Path) -> InputError:
    """An exception that nobody foresaw: its traceback is the cause, for those who mend it."""
    error = InputError(
        "the file cannot be read", file=path, expected="a whole image file", found=fault["found"],
        do="check where the file comes from, and copy or export it again",
    )  # fmt: skip
    error.__cause__ = RuntimeError(fault["traceback"])
    return error
