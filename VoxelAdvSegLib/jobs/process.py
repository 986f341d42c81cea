"""Which process runs a job, whether it is still the same one, and how it is ended with all its children.

A process is named by its number and a start token. Both sides make the token the same way, without
any package: a number alone may belong to another program after a restart.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ENDED_STATES = ("Z", "X", "x")  # of /proc/N/stat: ended, only not yet fetched by its parent
QUERY_LIMITED_INFORMATION = 0x1000
STILL_ACTIVE = 259
PROC_PIDTBSDINFO, BSDINFO_BYTES, BSDINFO_START = 3, 136, 120  # of <sys/proc_info.h>


@dataclass(frozen=True)
class Process:
    """A process of one computer at one time."""

    pid: int
    token: str
    host: str


def this_process() -> Process:
    pid = os.getpid()
    return Process(pid, start_token(pid) or "", platform.node())


def is_alive(process: Process) -> bool | None:
    """Whether that very process still runs; None where this cannot be known: on another computer."""
    if process.host != platform.node():
        return None
    return start_token(process.pid) == process.token and bool(process.token)


def start_token(pid: int) -> str | None:
    """Tells the process from every other that has or had its number; None when it does not run."""
    if pid <= 0:
        return None
    if sys.platform.startswith("linux"):
        return _linux_token(pid)
    if sys.platform == "win32":
        return _windows_token(pid)
    if sys.platform == "darwin":
        return _mac_token(pid)
    return _ps_token(pid)


def _linux_token(pid: int) -> str | None:
    found = _linux_status(pid)
    if found is None or found[0] in ENDED_STATES:
        return None
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{boot}:{found[2]}"


def _linux_status(pid: int) -> tuple[str, int, str] | None:
    """State, parent and start time (clock ticks since boot) of a process."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    # The name, in parentheses, may hold blanks and parentheses itself.
    words = text.rpartition(")")[2].split()
    return words[0], int(words[1]), words[19]


def _mac_token(pid: int) -> str | None:
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("/usr/lib/libproc.dylib", use_errno=True)
        buffer = ctypes.create_string_buffer(BSDINFO_BYTES)
        size = library.proc_pidinfo(pid, PROC_PIDTBSDINFO, ctypes.c_uint64(0), buffer, BSDINFO_BYTES)
        if size != BSDINFO_BYTES:
            return None
        seconds, microseconds = struct.unpack_from("<QQ", buffer.raw, BSDINFO_START)
        return f"{seconds}.{microseconds:06}"
    return _ps_token(pid)


def _ps_token(pid: int) -> str | None:
    try:
        done = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=2, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _windows_token(pid: int) -> str | None:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:
        return None
    try:
        code = ctypes.c_ulong()
        if kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code)) and code.value != STILL_ACTIVE:
            return None
        times = [ctypes.c_ulonglong() for _ in range(4)]
        if not kernel.GetProcessTimes(ctypes.c_void_p(handle), *map(ctypes.byref, times)):
            return None
        return str(times[0].value)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def ask_to_end(pid: int) -> None:
    """A polite signal to the process group of a child; nothing on Windows, which has none."""
    if os.name == "posix":
        _signal_group(pid, signal.SIGTERM)


def kill_tree(pids: Iterable[int]) -> None:
    """Ends processes at once, with their groups and all their descendants. Does not wait for them.

    The caller has made sure that the numbers are still those of its children.
    """
    for pid in pids:
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                subprocess.Popen(
                    ["taskkill", "/PID", str(pid), "/T", "/F"], stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    creationflags=subprocess.CREATE_NO_WINDOW,
                )  # fmt: skip
            continue
        others = _descendants(pid)
        _signal_group(pid, signal.SIGKILL)
        for other in (pid, *others):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(other, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> None:
    """The signal to the child's own group; to the child alone where it shares ours."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(pid)
        if group == os.getpgrp():
            os.kill(pid, number)
        else:
            os.killpg(group, number)


def _descendants(pid: int) -> list[int]:
    """Children, their children and so on, where /proc tells them; those that left the group, too."""
    if not PROC.is_dir():
        return []
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            status = _linux_status(int(entry.name))
            if status is not None:
                children.setdefault(status[1], []).append(int(entry.name))
    found, waiting = [], list(children.get(pid, ()))
    while waiting:
        child = waiting.pop()
        found.append(child)
        waiting += children.get(child, ())
    return found
