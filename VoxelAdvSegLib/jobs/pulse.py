"""A child's sign of life: pid.json, rewritten every few seconds, says who runs the job and since when."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from VoxelAdvSegLib.jobs.process import Process, this_process
from VoxelAdvSegLib.jobs.protocol import PULSE

BEAT_SECONDS = 5.0


@dataclass(frozen=True)
class Pulse:
    """process; sitting: of job.json; started, beat: seconds since 1970 by the child's clock."""

    process: Process
    sitting: str
    started: float
    beat: float


@contextlib.contextmanager
def beating(folder: Path, sitting: str, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """While it lasts, pid.json is kept fresh by a thread of its own, also while libraries load."""
    process, started, over = this_process(), time.time(), threading.Event()
    file = folder / PULSE

    def write() -> None:
        content = {
            "pid": process.pid, "token": process.token, "host": process.host, "sitting": sitting,
            "started": round(started, 3), "beat": round(time.time(), 3),
        }  # fmt: skip
        temporary = file.with_name(f".{file.name}.{process.pid}.partial")
        # On a full disk the work itself will tell; on Windows a reader may hold the file just now.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(file)

    def beat() -> None:
        while not over.wait(seconds):
            write()

    write()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def read_pulse(folder: Path) -> Pulse | None:
    """The last sign of life in a job folder; None when there is none that can be read."""
    try:
        with (folder / PULSE).open("rb") as file:
            content = json.loads(file.read(65536))
        process = Process(int(content["pid"]), str(content["token"]), str(content["host"]))
        return Pulse(process, str(content["sitting"]), float(content["started"]), float(content["beat"]))
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return None
