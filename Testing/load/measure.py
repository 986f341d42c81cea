"""What a program takes from the computer while it runs: memory and open files, its children's included."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROC = Path("/proc")


@dataclass(frozen=True)
class Used:
    """code: exit code; peak_mb: most resident memory of all its processes at once (pages that several of them
    share are counted for each); files: most open files of its first process; seconds: until its end."""

    code: int
    output: str
    peak_mb: float
    files: int
    seconds: float


def run_watched(command: Sequence[str], pause: float = 0.02) -> Used:
    """Runs a command and looks at its processes every so many seconds; Linux only."""
    begin, peak, files = time.monotonic(), 0.0, 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY, env=environment)
        while process.poll() is None:
            peak = max(peak, sum(resident_mb(pid) for pid in family(process.pid)))
            files = max(files, open_files(process.pid))
            time.sleep(pause)
        log.seek(0)
        output = log.read().decode()
    return Used(process.returncode, output, peak, files, time.monotonic() - begin)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:  # grows while it is walked
        with contextlib.suppress(OSError):
            for task in (PROC / str(one) / "task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def resident_mb(pid: int) -> float:
    """0 for a process that has just ended."""
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def open_files(pid: int) -> int:
    try:
        return len(list((PROC / str(pid) / "fd").iterdir()))
    except OSError:
        return 0
