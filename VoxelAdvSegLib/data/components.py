"""Connected parts of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

ONE_PART = 0.99  # share of an organ's voxels in its largest part from which it is one: annotators leave specks


def keep_largest(array: np.ndarray, organs: int | Sequence[int], connectivity: int = 3) -> np.ndarray:
    """Each organ's largest connected part; its other parts become background.

    array: class indices (z, y, x), negative values kept; organs: their number, or the class indices of those
    that are meant; connectivity: 1 for faces, 3 for faces,
    edges and corners.
    """
    kept = array.copy()
    structure = ndimage.generate_binary_structure(3, connectivity)
    parts = np.zeros(array.shape, np.int32)
    for index in range(1, organs + 1) if isinstance(organs, int) else organs:
        ndimage.label(array == index, structure, output=parts)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        if np.count_nonzero(sizes) > 1:
            kept[(parts > 0) & (parts != sizes.argmax())] = 0
    return kept


def largest_share(mask: np.ndarray, connectivity: int = 3) -> float:
    """Part of the mask's voxels that lie in its largest connected part; 1 for an empty mask."""
    parts = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, ndimage.generate_binary_structure(3, connectivity), output=parts)
    sizes = np.bincount(parts.ravel())[1:]
    return float(sizes.max() / sizes.sum()) if len(sizes) else 1.0


def one_part_classes(labels: Sequence[np.ndarray], organs: int) -> list[int]:
    """Classes that are one connected part in every label (z, y, x) that shows them, and are shown at all."""
    found = []
    for index in range(1, organs + 1):
        masks = [mask for label in labels if (mask := np.asarray(label) == index).any()]
        if masks and all(largest_share(mask) >= ONE_PART for mask in masks):
            found.append(index)
    return found
