"""Where to compute, and how much memory is free there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import torch

from VoxelAdvSegLib.data.plan import Machine
from VoxelAdvSegLib.errors import ConfigError


def choose_device(wish: str, place: int = 0, processes: int = 1) -> torch.device:
    """auto: the first CUDA device where there is one, else the CPU; cpu; cuda; cuda:N.

    place: which of the processes on this computer asks; each gets a CUDA device of its own. Raises
    ConfigError when the wished device is not there, or there are fewer than processes.
    """
    if processes > 1:
        return _device_of_one(wish, place, processes)
    if wish == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError("unknown device", expected="auto | cpu | cuda | cuda:N", found=wish, do="correct --device")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(
            f"there is no device {wish}",
            expected="cpu" if not count else ", ".join(f"cuda:{i}" for i in range(count)) + " or cpu",
            found=wish,
            do="use --device auto",
        )
    return torch.device("cuda:0") if wish == "cuda" else device


def _device_of_one(wish: str, place: int, processes: int) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wish == "cpu" or (wish == "auto" and not count):
        return torch.device("cpu")
    if wish not in ("auto", "cuda") or processes > count:
        raise ConfigError(
            "each process needs a CUDA device of its own",
            expected=f"--device cuda or cpu, and at most {count} processes on this computer" if count else "cpu",
            found=f"--device {wish}, {processes} processes",
            do="start torchrun with another --nproc-per-node; CUDA_VISIBLE_DEVICES chooses the devices",
        )
    return torch.device("cuda", place)


def describe_machine(device: torch.device, processes: int = 1) -> Machine:
    """Name, cores, and the free memory that one of the processes on this computer may have."""
    cores = os.cpu_count() or 1
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return Machine("cuda", float(free), cores, torch.cuda.get_device_name(device))
    return Machine("cpu", float(psutil.virtual_memory().available) / processes, cores, f"the CPU ({cores} cores)")


class PeakMemory:
    """The most memory that has been in use since it was made: of the device, or of this process on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = 0
        else:
            self._before = psutil.Process().memory_info().rss
            self._earlier = peak_rss()

    def measured_bytes(self) -> int | None:
        """None where an earlier peak of the process hides this one (reading scans, on the CPU)."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        peak = peak_rss()
        return peak - self._before if peak > self._earlier else None


def peak_rss() -> int:
    """Largest resident size of this process so far, in bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    if sys.platform == "linux":
        # getrusage's survives exec: a child would begin with the peak of the program that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
    import resource  # not on Windows

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory", "std::bad_alloc",
    "could not create a primitive",  # oneDNN, whose kernels need memory as well
    "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, in whatever words the device or the system says so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
