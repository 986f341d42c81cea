"""Who computes on a device: one training at a time on each, so that none runs out of memory by another."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from VoxelAdvSegLib.jobs.process import Process, is_alive, this_process


@dataclass(frozen=True)
class Holder:
    """The training that has a device; since: seconds since 1970."""

    process: Process
    folder: str
    since: float


def default_locks() -> Path:
    """The folder of this user's device locks."""
    user = str(os.getuid()) if hasattr(os, "getuid") else "own"
    return Path(tempfile.gettempdir()) / f"VoxelAdvSeg-{user}"


def lock_files(locks: Path, device: str) -> tuple[Path, Path]:
    """The file that is locked, and the one that says by whom; the system frees the first when its holder dies."""
    name = re.sub(r"[^a-z0-9]+", "-", device.lower())
    return locks / f"{name}.lock", locks / f"{name}.json"


def write_holder(locks: Path, device: str, folder: Path) -> None:
    """Notes that this process has the device."""
    process = this_process()
    content = {
        "pid": process.pid, "token": process.token, "host": process.host, "folder": str(folder),
        "since": round(time.time(), 3),
    }  # fmt: skip
    file = lock_files(locks, device)[1]
    temporary = file.with_name(f".{file.name}.{process.pid}.partial")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(file)


def clear_holder(locks: Path, device: str) -> None:
    with contextlib.suppress(OSError):
        lock_files(locks, device)[1].unlink(missing_ok=True)


def holder(device: str, locks: Path | None = None) -> Holder | None:
    """The live training that has the device ("cpu", "cuda:0"), if any."""
    file = lock_files(locks or default_locks(), device)[1]
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        process = Process(int(content["pid"]), str(content["token"]), str(content["host"]))
        found = Holder(process, str(content["folder"]), float(content["since"]))
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return None
    return found if is_alive(process) else None
