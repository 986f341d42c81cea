"""A look at the installation, from inside it: facts only, told one by one, so that a crash loses none told before."""

from __future__ import annotations

import contextlib
import csv
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.jobs.protocol import EVENTS, ProbeRequest
from VoxelAdvSegLib.training.events import PROTOCOL, EventWriter, heartbeat

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"
NVIDIA_FIELDS = ("name", "driver_version", "memory.total", "compute_cap")
NVIDIA_SECONDS = 15
# Packages whose module has another name.
MODULES = {"SimpleITK": "SimpleITK", "pynrrd": "nrrd"}
ERROR_CHARACTERS = 600
# The test kernel: a 3-D convolution forward and backward, and its work in 10^9 multiplications.
KERNEL_CHANNELS, KERNEL_SIZE = 16, {"cpu": 32, "cuda": 64}
KERNEL_PASSES = 3


def probe_here(folder: Path, request: ProbeRequest) -> int:
    """Tells what is there; 0 whatever was found."""
    with contextlib.closing(EventWriter(folder / EVENTS)) as events, heartbeat(events):
        events.write("start", protocol=PROTOCOL, version=__version__)
        events.write("python", **python_facts())
        events.write("driver", cards=nvidia_cards())
        for name, needs in requirements():
            events.write("progress", phase=f"looking at {name}")
            events.write("package", **package_facts(name, needs))
        _torch(events, request.kernel)
        events.write("end", reason="finished")
    return 0


def python_facts() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": _memory_bytes(),
    }


def requirements(file: Path = REQUIREMENTS) -> list[tuple[str, str]]:
    """Names and least versions of what the library needs in this Python."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        found = re.match(r"([\w.-]+)\s*>=\s*([\w.]+)(.*)", line.strip())
        if found and not ("python_version" in found[3] and sys.version_info >= (3, 11)):
            rows.append((found[1], found[2]))
    return rows


def package_facts(name: str, needs: str) -> dict[str, Any]:
    """version: None when it is not installed; error: what importing it says, None when it works.

    torch is imported apart, by what follows.
    """
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"name": name, "needs": needs, "version": None, "error": None}
    error = None
    if name != "torch":
        try:
            importlib.import_module(MODULES.get(name, name))
        except BaseException as problem:  # whatever a broken package does
            error = _told(problem)
    return {"name": name, "needs": needs, "version": version, "error": error}


def nvidia_cards() -> list[dict[str, str]] | None:
    """What the driver's own program says of the cards; None where there is no such program or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={','.join(NVIDIA_FIELDS)}", "--format=csv,noheader,nounits"]
    options: dict[str, Any] = {}
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW  # type: ignore[attr-defined]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=NVIDIA_SECONDS, check=False, stdin=subprocess.DEVNULL,
            **options,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    names = ("name", "driver", "memory_mb", "capability")
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def _torch(events: EventWriter, kernel: bool) -> None:
    events.write("progress", phase="loading torch")
    begin = time.perf_counter()
    try:
        import torch
    except BaseException as problem:
        missing = isinstance(problem, ModuleNotFoundError) and problem.name == "torch"
        events.write("torch", version=None, error=_told(problem), missing=missing)
        return
    cuda = torch.cuda.is_available()
    events.write(
        "torch", version=torch.__version__, error=None, missing=False, seconds=time.perf_counter() - begin,
        cuda=torch.version.cuda, rocm=torch.version.hip, cuda_works=cuda,
        built_for=torch.cuda.get_arch_list() if cuda else [],
    )  # fmt: skip
    for device in ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if cuda else 0))]:
        events.write("progress", phase=f"testing {device}")
        events.write("device", **_device_facts(device, kernel))


def _device_facts(device: str, kernel: bool) -> dict[str, Any]:
    """name, memory and, with kernel, whether a 3-D convolution runs and how fast.

    error: what went wrong, None when it works; gmac_per_second: of the kernel, None without.
    """
    import torch

    facts: dict[str, Any] = {
        "device": device, "name": platform.processor() or platform.machine(), "memory_bytes": _memory_bytes(),
        "free_bytes": None, "capability": None, "error": None, "gmac_per_second": None,
    }  # fmt: skip
    try:
        if device != "cpu":
            about = torch.cuda.get_device_properties(device)
            free, total = torch.cuda.mem_get_info(device)
            facts |= {
                "name": about.name, "memory_bytes": total, "free_bytes": free,
                "capability": f"{about.major}.{about.minor}",
            }  # fmt: skip
        if kernel:
            facts["gmac_per_second"] = _run_kernel(device)
    except BaseException as problem:  # a broken card shows in many ways
        facts["error"] = _told(problem)
    return facts


def _run_kernel(device: str) -> float:
    """Speed of a convolution forward and backward, 10^9 multiply-adds per second."""
    import torch

    size = KERNEL_SIZE["cpu" if device == "cpu" else "cuda"]
    layer = torch.nn.Conv3d(KERNEL_CHANNELS, KERNEL_CHANNELS, 3, padding=1).to(device)
    images = torch.zeros(1, KERNEL_CHANNELS, size, size, size, device=device, requires_grad=True)
    fastest = float("inf")
    for _ in range(KERNEL_PASSES):
        begin = time.perf_counter()
        loss = layer(images).square().sum()
        loss.backward()
        loss.detach().item()  # waits for the card
        if device != "cpu":
            torch.cuda.synchronize(device)
        fastest = min(fastest, time.perf_counter() - begin)
    work = 3 * KERNEL_CHANNELS**2 * 27 * size**3 / 1e9  # forward, gradient of the input, of the weights
    return work / fastest


def _memory_bytes() -> int | None:
    """Memory of the computer; None where neither the system nor psutil tells it."""
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().total)


def _told(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"[:ERROR_CHARACTERS]
