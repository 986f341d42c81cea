"""Signed distance maps of reference labels (SASSNet, DTC; method.md 3)."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_FACES = ndimage.generate_binary_structure(3, 1)


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """float32 (z, y, x): distance outside over its maximum, minus distance inside over its maximum.

    Positive outside, negative inside, 0 on the organ's outermost voxels; all 0 where the mask is
    empty. The patch's faces are no border of an organ that they cut.
    """
    mask = np.asarray(mask, bool)
    result = np.zeros(mask.shape, np.float32)
    if not mask.any():
        return result
    for sign, where in ((1, ~mask), (-1, mask)):
        if where.all():  # the organ fills the patch: there is nothing to measure a distance to
            continue
        distance = np.asarray(ndimage.distance_transform_edt(where))
        result += sign * distance / max(distance.max(), 1)
    result[mask & np.logical_not(ndimage.binary_erosion(mask, _FACES, border_value=1))] = 0
    return result


def signed_distances(label: Tensor, classes: int) -> Tensor:
    """Maps (B, K-1, D, H, W) float32 of every organ of labels (B, D, H, W), computed on the CPU."""
    arrays = label.cpu().numpy()
    maps = np.stack([[signed_distance(patch == organ) for organ in range(1, classes)] for patch in arrays])
    return torch.from_numpy(maps).to(label.device)
