"""The run's diary: one JSON object per line, written at once, read while it grows. No torch here."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROTOCOL = 1


class EventWriter:
    """Appends events to a file; each line is whole or absent.

    Every event has `type` and `time` (seconds since 1970); the other fields are its own.
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
        with contextlib.suppress(OSError):  # a full disk: the training itself will say so
            while not over.wait(seconds):
                events.write("heartbeat")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def clean(value: Any) -> Any:
    """The value with numbers that JSON cannot hold as null, and floats of six digits."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Events from a byte offset on, each with the offset after it.

    Only whole lines are taken, so a reader may call again with the last offset while the file
    grows. Lines that are not an event are passed over.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "type" in event:
                yield event, offset
