"""Times that can be compared: taken in turn in one process, so that whatever slows the machine slows all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Lap:
    """Seconds of one action in every round, the warm-up left out."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def over(self, other: Lap) -> float:
        """Median over the rounds of this time through the other's of the same round."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


def in_turn(
    actions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, warm_up: int = 1
) -> dict[str, Lap]:
    """Every action once a round, for so many rounds after the warm-up; the device has finished when a time is read."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(warm_up + rounds):
        for name, action in actions.items():
            finish(device)
            begin = time.perf_counter()
            action()
            finish(device)
            if number >= warm_up:
                taken[name].append(time.perf_counter() - begin)
    return {name: Lap(tuple(seconds)) for name, seconds in taken.items()}


def finish(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
