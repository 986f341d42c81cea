"""The run's diary: one JSON object per line, written at once, read while it grows. No torch here."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from VoxelAdvSegLib.errors import RunError

PROTOCOL = 1
LONGEST_LINE = 2**20  # bytes; the longest event of a training has a few thousand
CHUNK = 2**16


class EventWriter:
    """Appends events to a file; each line is whole or absent.

    Every event has `type` and `time` (seconds since 1970); the other fields are its own. Once the file's
    folder was moved or removed, `write` raises RunError: what else is written to the old place would be a
    second, broken run. An `error` is still written, to wherever the file is now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repair()
        self._file = path.open("a", encoding="utf-8")
        self._one_at_a_time = threading.Lock()  # steps and heartbeat come from two threads

    def _repair(self) -> None:
        """Ends a line that a killed process left half-written, so that the next one is readable."""
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open("rb+") as file:
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    file.write(b"\n")

    def write(self, type: str, **fields: Any) -> dict[str, Any]:
        event = {"type": type, "time": round(time.time(), 3), **clean(fields)}
        line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
        with self._one_at_a_time:
            if not self._file.closed:
                if type != "error" and not self.path.exists():
                    raise _moved(self.path)
                self._file.write(line)
                self._file.flush()
        return event

    def close(self) -> None:
        # On a full disk the last lines are lost; what went wrong has been raised by `write`.
        with self._one_at_a_time, contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def heartbeat(events: EventWriter, seconds: float = 5.0) -> Iterator[None]:
    """While it lasts, a `heartbeat` event every few seconds says that the process lives."""
    over = threading.Event()

    def beat() -> None:
        with contextlib.suppress(OSError, RunError):  # a full disk: the training itself will say so
            while not over.wait(seconds):
                events.write("heartbeat")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _moved(path: Path) -> RunError:
    return RunError(
        "the folder was moved or removed while work went on in it", file=path.parent,
        expected="the folder to stay where it is until the end", found=f"no {path.name} there",
        do="give the new place after --run and add --resume: it goes on from the last checkpoint",
    )  # fmt: skip


def clean(value: Any) -> Any:
    """The value with numbers that JSON cannot hold as null, and floats of six digits."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


class Follower:
    """Reads a diary while it grows, in bounded time and memory per call, whatever it holds.

    Only whole lines are taken. Lines that are no event (junk, torn characters, nesting without end)
    are passed over and counted; so are lines longer than `longest_line` bytes, which are never held
    as a whole. A file that was replaced, or became shorter, is read from its beginning; `restarts`
    counts that. The file is open during a call only, so its writer may remove it.
    """

    def __init__(
        self,
        path: Path,
        offset: int = 0,
        longest_line: int = LONGEST_LINE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.path = path
        self.offset = offset
        self.longest_line = longest_line
        self.behind = 0  # bytes known to be there and not read yet
        self.passed_over = 0
        self.restarts = 0
        self._clock = clock
        self._file: tuple[int, int] | None = None
        self._in_long_line = False

    def read(self, seconds: float | None = 0.02, most_bytes: int = 4 * 2**20) -> list[dict[str, Any]]:
        """New events; stops soon after that time or amount, and goes on there with the next call.

        seconds: None for no limit. A call takes longer by one line at most.
        """
        return [event for event, _ in self.take(seconds, most_bytes)]

    def take(self, seconds: float | None = None, most_bytes: int | None = None) -> Iterator[tuple[dict[str, Any], int]]:
        """As `read`, each event with the byte offset after it."""
        end = math.inf if seconds is None else self._clock() + seconds
        most = math.inf if most_bytes is None else max(most_bytes, self.longest_line + CHUNK)
        try:
            file = self.path.open("rb")
        except OSError:  # not there yet, or held for a moment by its writer or a virus scanner
            return
        with file:
            size = self._look_at(file)
            file.seek(self.offset)
            taken, unfinished, at_end = 0, b"", False
            while taken < most and self._clock() <= end:
                chunk = file.read(CHUNK)
                if not chunk:
                    at_end = True
                    break
                taken += len(chunk)
                *lines, unfinished = (unfinished + chunk).split(b"\n")
                for line in lines:
                    self.offset += len(line) + 1
                    self.behind = max(0, size - self.offset)
                    event = None if self._in_long_line else _event(line)
                    self._in_long_line = False
                    if event is not None:
                        yield event, self.offset
                    elif line.strip():
                        self.passed_over += 1
                    if self._clock() > end:
                        return
                if self._in_long_line or len(unfinished) > self.longest_line:
                    self._in_long_line = True
                    self.offset += len(unfinished)
                    unfinished = b""
            # A line that its writer has not finished is nothing to catch up with.
            self.behind = 0 if at_end else max(0, size - self.offset)

    def _look_at(self, file: BinaryIO) -> int:
        """The file's size; begins anew when it is not the file of the last call."""
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino)
        if (self._file is not None and identity != self._file) or status.st_size < self.offset:
            self.offset, self._in_long_line = 0, False
            self.restarts += 1
        self._file = identity
        return status.st_size


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """All events from a byte offset on, each with the offset after it (see Follower)."""
    yield from Follower(path, offset).take()
