"""Where a patch lies and how it is changed: drawn here as numbers, applied in training/batches.py.

Everything is a function of seed and step, so that a resumed run draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Ranges of method.md 1.6; intensities stay gentle: strong changes cost Dice in short runs (method.md 6).
ROTATION_DEGREES = 15.0
ZOOM = (0.85, 1.2)
THICK_SLICES = 3.0  # spacing ratio from which rotation stays within the slices
ON_THE_GRID = ("uamt", "d4", "none")  # every voxel of a patch is one of the volume: nothing is interpolated


@dataclass(frozen=True)
class PatchDraw:
    """Voxel o of the patch (from its centre) shows the volume at centre_zyx + matrix @ o.

    gain, offset, gamma, noise_sd, blur_sd: changes of normalized intensities, in that order.
    """

    centre_zyx: np.ndarray
    matrix: np.ndarray
    gain: float = 1.0
    offset: float = 0.0
    gamma: float = 1.0
    noise_sd: float = 0.0
    blur_sd: float = 0.0
    noise_seed: int = 0


@dataclass(frozen=True)
class PatchPlan:
    """What draws depend on besides the case: patch (z, y, x), kind, spacing, axes that may be flipped."""

    shape_zyx: tuple[int, int, int]
    augment: str
    spacing_zyx_mm: tuple[float, float, float]
    mirror_zyx: tuple[bool, bool, bool]


def case_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order of the cases in one epoch."""
    return np.random.default_rng([seed, 7, epoch]).permutation(count)


def cases_at(seed: int, step: int, size: int, count: int) -> list[int]:
    """Cases of a step, from a stream that is shuffled anew whenever all have been seen (row 59)."""
    places = range(step * size, step * size + size)
    return [int(case_order(seed, place // count, count)[place % count]) for place in places]


def draw_patch(
    rng: np.random.Generator,
    plan: PatchPlan,
    volume_zyx: Sequence[int],
    around_zyx: np.ndarray | None = None,
) -> PatchDraw:
    """A patch anywhere in the volume, or (around) near a voxel, with its augmentation."""
    shape = np.asarray(plan.shape_zyx)
    matrix = _orientation(rng, plan)
    reach = np.abs(matrix) @ shape if plan.augment in ("uamt", "d4") else shape
    size = np.asarray(volume_zyx)
    low, high = (reach - 1) / 2, size - 1 - (reach - 1) / 2
    if around_zyx is None:
        start = rng.integers(0, np.maximum(size - reach, 0).astype(int) + 1)
        centre = low + start
    else:
        centre = np.clip(around_zyx + rng.uniform(-0.25, 0.25, 3) * shape, low, high)
        if plan.augment in ON_THE_GRID:
            centre = low + np.round(centre - low)
    # A volume smaller than the patch sits in its middle.
    centre = np.where(high < low, np.floor((size - reach) / 2) + (reach - 1) / 2, centre)
    if plan.augment in ON_THE_GRID:
        return PatchDraw(centre, matrix)
    return PatchDraw(centre, _geometry(rng, plan) @ matrix, **_intensity(rng, plan.augment == "strong"))


def _orientation(rng: np.random.Generator, plan: PatchPlan) -> np.ndarray:
    """Signed permutation of the axes.

    uamt: k x 90 degrees about z, then always a flip of x or y, as the benchmark's code does (only
    mirrored images ever occur); d4: all eight; none: as it is; else: flips of the allowed axes.
    """
    identity = np.eye(3)
    if plan.augment == "none":
        return identity
    if plan.augment in ("uamt", "d4"):
        quarter = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
        turned = np.linalg.matrix_power(quarter, int(rng.integers(4)))
        flip = identity.copy()
        if plan.augment == "uamt":
            axis = 1 + int(rng.integers(2))
            flip[axis, axis] = -1
        elif rng.integers(2):
            flip[1, 1] = -1
        return flip @ turned
    signs = [(-1.0 if rng.random() < 0.5 else 1.0) if allowed else 1.0 for allowed in plan.mirror_zyx]
    return np.diag(signs)


def _geometry(rng: np.random.Generator, plan: PatchPlan) -> np.ndarray:
    """Rotation and zoom in millimetres, as a matrix on voxel offsets."""
    spacing = np.asarray(plan.spacing_zyx_mm)
    angles = np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, 3))
    if spacing.max() >= THICK_SLICES * spacing.min():
        angles = np.where(np.arange(3) == spacing.argmax(), angles, 0)
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    zoom = rng.uniform(*ZOOM)
    return np.diag(1 / spacing) @ rotation @ np.diag(spacing) / zoom


def _intensity(rng: np.random.Generator, strong: bool) -> dict[str, Any]:
    much = 2.5 if strong else 1.0
    return {
        "gain": float(1 + much * rng.uniform(-0.1, 0.1)),
        "offset": float(much * rng.uniform(-0.1, 0.1)),
        "gamma": float(np.exp(much * rng.uniform(-0.2, 0.2))) if rng.random() < 0.3 else 1.0,
        "noise_sd": float(much * rng.uniform(0, 0.1)) if rng.random() < 0.3 else 0.0,
        "blur_sd": float(rng.uniform(0.4, 0.4 + 0.6 * much)) if rng.random() < 0.2 else 0.0,
        "noise_seed": int(rng.integers(2**31)),
    }
