"""The process behind a job, ours or one that an earlier Slicer started: does it live, and how is it ended."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from VoxelAdvSegLib.jobs.process import ask_to_end, is_alive, kill_tree
from VoxelAdvSegLib.jobs.protocol import JOB, PULSE
from VoxelAdvSegLib.jobs.pulse import Pulse, read_pulse

STALE_SECONDS = 60.0  # without a sign of life
STARTING_SECONDS = 120.0  # for the first sign: a cold disk and a virus scanner take their time
FIRST_BEAT_SECONDS = 30.0  # of a process that someone else started, before it counts as lost


class Worker:
    """child: the process that we started (a launcher, maybe), None for one of an earlier start.

    pulse: its last sign of life; exit_code: of our child, once it has ended.
    """

    def __init__(
        self, folder: Path, sitting: str, child: subprocess.Popen[bytes] | None, clock: Callable[[], float]
    ) -> None:
        self.folder = folder
        self.sitting = sitting
        self.child = child
        self.clock = clock
        self.pulse: Pulse | None = None
        self.exit_code: int | None = None
        self.born = clock()
        self.beat_seen: float | None = None  # clock when a new beat was seen
        self.beat_age = 0.0  # of that beat, then
        self.kill_at: float | None = None
        self._stamp: tuple[int, int] | None = None

    def look(self) -> None:
        """Reads pid.json where it has changed."""
        try:
            status = (self.folder / PULSE).stat()
        except OSError:
            return
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return
        pulse = read_pulse(self.folder)
        if pulse is None or pulse.sitting != self.sitting:
            return
        # The first beat may be old; from then on its age is by our own clock, whatever theirs says.
        first = self.pulse is None and self.child is None
        self.beat_age = max(0.0, time.time() - pulse.beat) if first else 0.0
        self.pulse, self._stamp, self.beat_seen = pulse, stamp, self.clock()

    @property
    def heartbeat_age(self) -> float | None:
        """Seconds since the last sign of life; None before the first."""
        return None if self.beat_seen is None else self.beat_age + self.clock() - self.beat_seen

    @property
    def is_silent(self) -> bool:
        """Whether its last, or first, sign of life is overdue."""
        age = self.heartbeat_age
        return self.clock() - self.born > STARTING_SECONDS if age is None else age > STALE_SECONDS

    def is_gone(self) -> bool:
        """Whether no process works on the job any more."""
        if self.child is not None:
            self.exit_code = self.child.poll()
            if self.exit_code is None:
                return False
            # A launcher may have ended without the Python that it had started.
            return not (self.pulse is not None and is_alive(self.pulse.process))
        self.look()
        if self.pulse is None:  # its parent may have started it just now
            return _age(self.folder / JOB) > FIRST_BEAT_SECONDS
        alive = is_alive(self.pulse.process)
        if alive is None:  # on another computer
            return self.is_silent
        return not alive

    def pids(self) -> list[int]:
        """Numbers that are certainly still those of its processes."""
        found = []
        if self.child is not None and self.child.poll() is None:
            found.append(self.child.pid)
        if self.pulse is not None and self.pulse.process.pid not in found and is_alive(self.pulse.process):
            found.append(self.pulse.process.pid)
        return found

    def end(self, grace_seconds: float) -> None:
        """Asks politely now, and kills all its processes with the first `kill_when_due` after the grace time."""
        if grace_seconds > 0:
            for pid in self.pids():
                ask_to_end(pid)
        self.kill_at = self.clock() + grace_seconds
        self.kill_when_due()

    def kill_when_due(self) -> None:
        if self.kill_at is not None and self.clock() >= self.kill_at:
            self.look()
            kill_tree(self.pids())


def _age(path: Path) -> float:
    """Seconds since a file was written; without end when it is not there."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return math.inf
