"""What a second process is worth: the same steps by one process and by two, in turn."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from VoxelAdvSegLib.bundle import make_network
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods import method_class
from VoxelAdvSegLib.methods.contract import Batch
from VoxelAdvSegLib.methods.optimizers import precision
from VoxelAdvSegLib.training.loop import take_step
from VoxelAdvSegLib.training.parallel import join, team

WARM_UP = 2  # steps before the clock counts
MODULE = "VoxelAdvSegLib.benchmark.processes"


def measure_two_processes(
    device: str = "cpu",
    patch_xyz: Sequence[int] = (48, 48, 32),
    filters: int = 8,
    method: str = "voxel_adversarial",
    steps: int = 8,
    rounds: int = 2,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Seconds per step of one process and of two that share its batch of 2 + 2 patches, and the efficiency.

    two_process_efficiency: seconds of one over twice the seconds of two; 1 where two are twice as fast.
    device: cpu, each process with one thread; or cuda, which takes two devices. The processes take
    turns in `rounds`; each figure is the median of all its timed steps. Raises RunError when one fails.
    """
    order = {
        "device": device, "steps": steps, "overrides": {
            "method": method, "patch": list(patch_xyz), "filters": filters, "batch_labeled": 2, "batch_unlabeled": 2,
            "steps": 1000, **(settings or {}),
        },
    }  # fmt: skip
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for processes in seconds:
            seconds[processes] += _launch(processes, order)
    one, two = (statistics.median(seconds[n]) for n in (1, 2))
    return {
        "two_process_efficiency": one / (2 * two), "seconds_one": one, "seconds_two": two, "device": device,
        "patch_xyz": list(patch_xyz), "filters": filters, "method": method, "steps_each": len(seconds[1]),
    }  # fmt: skip


def _launch(processes: int, order: Mapping[str, Any]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "seconds.json"
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m",
            MODULE, json.dumps({**order, "result": str(result)}),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not result.exists():
            # After the process's own words the launcher adds a page of its own.
            own = [line for line in done.stderr.splitlines() if re.match(r"(\[rank\d\]: *)?\w*Error\b", line)]
            raise RunError(
                f"a measurement with {processes} processes failed", expected="exit code 0",
                found=f"{done.returncode}: {own[0] if own else done.stderr.strip()[-300:]}",
                do="see the message, or leave it out",
            )  # fmt: skip
        return json.loads(result.read_text(encoding="utf-8"))


def _measure(order: Mapping[str, Any]) -> None:
    """One of the processes: steps on patches made up once, timed by the leader."""
    torch.set_num_threads(1)
    with team() as mine:
        device = mine.device(order["device"])
        config = resolve("auto", order["overrides"])
        torch.manual_seed(0)
        classes, total = 3, 1000
        network = make_network(config, classes).to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        made = method_class(config.training.method)(config, network, classes, total, 2)
        made.networks.to(device)
        join(made, config, mine.size)
        scaler = torch.amp.GradScaler(device.type, enabled=precision(config, device) is torch.float16)
        seconds = []
        for step in range(total // 2, total // 2 + WARM_UP + order["steps"]):
            batch = _batch(config.patches.patch, made.batch_sizes(step), mine.size, device)
            _finish(device)
            begin = time.perf_counter()
            take_step(made, batch, step, total, 0, scaler)
            _finish(device)
            seconds.append(time.perf_counter() - begin)
        if mine.leads:
            Path(order["result"]).write_text(json.dumps(seconds[WARM_UP:]), encoding="utf-8")


def _batch(patch_xyz: Sequence[int] | None, sizes: tuple[int, int], processes: int, device: torch.device) -> Batch:
    assert patch_xyz is not None
    labeled, unlabeled = (size // processes for size in sizes)
    label = torch.randint(3, (labeled, *patch_xyz[::-1]))
    images = torch.randn(labeled + unlabeled, 1, *patch_xyz[::-1])
    images[:labeled] += label[:, None]
    cases = torch.arange(labeled)
    return Batch(*(part.to(device) for part in (images[:labeled], label, images[labeled:], cases)))


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    _measure(json.loads(sys.argv[1]))
