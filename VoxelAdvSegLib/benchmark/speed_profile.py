"""Where the time of a step goes, operation by operation, and how busy a GPU is meanwhile."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from VoxelAdvSegLib.benchmark.speed_training import Training
from VoxelAdvSegLib.benchmark.stopwatch import finish

STEPS_SEEN = 2
LINES = 10
SAMPLE_SECONDS = 0.05


def profile_steps(training: Training) -> dict[str, list[dict[str, Any]]]:
    """The ten operations that take most of a step, and the ten that make most of its difference from the bare network.

    Milliseconds of the device's own time in a step, and in the bare network's.
    """
    step, bare = _milliseconds(training.step, training.device), _milliseconds(training.bare, training.device)
    rows = [
        {"operation": name, "step_ms": step.get(name, 0.0), "bare_ms": bare.get(name, 0.0)} for name in {**step, **bare}
    ]
    return {
        "top": sorted(rows, key=lambda row: -row["step_ms"])[:LINES],
        "gap": sorted(rows, key=lambda row: row["bare_ms"] - row["step_ms"])[:LINES],
    }


def _milliseconds(action: Callable[[], object], device: torch.device) -> dict[str, float]:
    action()
    finish(device)
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=kinds) as seen:
        for _ in range(STEPS_SEEN):
            action()
        finish(device)
    own = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return {event.key: getattr(event, own) / 1000 / STEPS_SEEN for event in seen.key_averages()}


def watch_utilization(training: Training, rounds: int) -> float | None:
    """Mean percent of the time that the GPU was at work during steps; None where the driver's library is not there."""
    samples: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(SAMPLE_SECONDS):
            samples.append(torch.cuda.utilization(training.device))

    try:
        torch.cuda.utilization(training.device)
    except (ModuleNotFoundError, RuntimeError):
        return None
    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    for _ in range(rounds):
        training.step(training.batches.at(training.done, *training.sizes))
    finish(training.device)
    over.set()
    watcher.join()
    return statistics.fmean(samples) if samples else None
