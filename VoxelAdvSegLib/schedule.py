"""Weights and rates as functions of the step (rows 23, 41, 42, 56)."""

from __future__ import annotations

import math

PAPER_STEPS = 6000  # Section IV-B
PAPER_DROP = 2500  # Section IV-B: divided by ten every 2500


def learning_rate(step: int, total: int, base: float, schedule: str) -> float:
    """step: x0.1 every 2500 of 6000 steps, stretched to T; poly: (1 - t/T)^0.9; cosine; constant."""
    if schedule == "constant":
        return base
    if schedule == "poly":
        return base * (1 - min(step, total) / total) ** 0.9
    if schedule == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * min(step, total) / total))
    interval = PAPER_DROP if total == PAPER_STEPS else max(1, round(total * PAPER_DROP / PAPER_STEPS))
    return base * 0.1 ** (step // interval)


def gaussian_ramp(step: float, end: float) -> float:
    """exp(-5 (1 - t/t_max)^2), t clipped at t_max (Section IV-B); 1 where there is no ramp."""
    if end <= 0:
        return 1.0
    return math.exp(-5 * (1 - min(step, end) / end) ** 2)


def linear_ramp(step: int, start: float, length: float) -> float:
    """0 before start, rising to 1 over length steps."""
    if step < start:
        return 0.0
    return 1.0 if length <= 0 else min(1.0, (step - start) / length)
