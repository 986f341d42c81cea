"""Scans that no model should be trusted with: noise, shifts, cuts, mirrorings (of a normalized image, z, y, x)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

LEAST_SIZE = 16  # voxels that a cut leaves along its axis


def _noisy(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng(0).normal(0, 1, image.shape).astype(np.float32)


def _shifted(image: np.ndarray) -> np.ndarray:
    """A third of the scan away along y, what leaves comes in on the other side."""
    return np.roll(image, image.shape[1] // 3, 1)


def _cut(image: np.ndarray) -> np.ndarray:
    """One half along y."""
    return image[:, : max(LEAST_SIZE, image.shape[1] // 2)]


FAULTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "noise": _noisy,
    "shifted": _shifted,
    "cropped": _cut,
    "mirrored z": lambda image: image[::-1],
    "mirrored y": lambda image: image[:, ::-1],
    "mirrored x": lambda image: image[:, :, ::-1],
}
