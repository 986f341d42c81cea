"""Where to compute, and how much memory is free there."""

from __future__ import annotations

import os

import psutil
import torch

from VoxelAdvSegLib.data.plan import Machine
from VoxelAdvSegLib.errors import ConfigError


def choose_device(wish: str) -> torch.device:
    """auto: the first CUDA device where there is one, else the CPU; cpu; cuda; cuda:N.

    Raises ConfigError when the wished device is not there.
    """
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


def describe_machine(device: torch.device) -> Machine:
    """Name, free memory and cores of what the device computes on."""
    cores = os.cpu_count() or 1
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return Machine("cuda", float(free), cores, torch.cuda.get_device_name(device))
    return Machine("cpu", float(psutil.virtual_memory().available), cores, f"the CPU ({cores} cores)")
