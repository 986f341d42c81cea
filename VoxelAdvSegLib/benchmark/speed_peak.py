"""Peak memory of two steps: on the CPU the process tells it, so each setup is measured in a child of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import psutil
import torch

from VoxelAdvSegLib.benchmark.speed_training import Setup, Training
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.networks.device import peak_rss
from VoxelAdvSegLib.training.session import prepare_device

MEASURED = 2


def peak_of_steps(setup: Setup, device: torch.device) -> int:
    """Bytes that two steps take at their most: on a GPU what torch has given out, on the CPU the process's growth.

    Raises RunError when the child that measures fails, most often for lack of memory.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        training = Training(setup, device)
        torch.cuda.reset_peak_memory_stats(device)
        for _ in range(MEASURED):
            training.step()
        return torch.cuda.max_memory_allocated(device)
    child = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(asdict(setup))], capture_output=True, text=True, check=False
    )
    if child.returncode:
        raise RunError(
            "the memory of a step could not be measured", expected="a child process that ends with 0",
            found=f"{child.returncode}: {child.stderr.strip()[-300:]}", do="close other programs and measure again",
        )  # fmt: skip
    return int(child.stdout.split()[-1])


def _measure(setup: Setup) -> int:
    device = torch.device("cpu")
    prepare_device(device)
    training = Training(setup, device)
    before = psutil.Process().memory_info().rss
    for _ in range(MEASURED):
        training.step()
    return peak_rss() - before


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    print(_measure(Setup(**{**wanted, "patch_zyx": tuple(wanted["patch_zyx"])})))
