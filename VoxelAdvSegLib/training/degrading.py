"""Scans made worse on purpose: from them a quality estimate learns what failure looks like."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

KINDS = ("noise", "blur", "contrast", "bias field")


def degrade(image: np.ndarray, seed: int) -> np.ndarray:
    """A normalized image (z, y, x) with one fault of random kind and strength, float32; the same for a seed.

    Nothing is moved, so the reference label still fits.
    """
    rng = np.random.default_rng([seed, 1])
    kind = KINDS[int(rng.integers(len(KINDS)))]
    if kind == "noise":
        image = image + rng.normal(0, rng.uniform(0.3, 1.5), image.shape)
    elif kind == "blur":
        image = ndimage.gaussian_filter(image, rng.uniform(0.7, 3.0))
    elif kind == "contrast":
        low, span = image.min(), max(float(np.ptp(image)), 1e-6)
        image = _normalized(((image - low) / span) ** np.exp(rng.uniform(-1.2, 1.2)), image)
    else:
        axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in image.shape), indexing="ij")
        direction = rng.normal(size=3)
        slope = sum(d * axis for d, axis in zip(direction / np.linalg.norm(direction), axes, strict=True))
        image = _normalized((image - image.min()) * np.exp(0.8 * slope), image)
    return image.astype(np.float32)


def _normalized(changed: np.ndarray, image: np.ndarray) -> np.ndarray:
    """With mean and deviation of the image, as preprocessing would have made them."""
    return (changed - changed.mean()) / max(float(changed.std()), 1e-6) * image.std() + image.mean()
