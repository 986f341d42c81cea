"""Drawing voxels of each class without asking the device for numbers (method.md 1.3, sampling)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassVoxels:
    """positions (K, n) flat indices into the label array; counts (K,) voxels of each class."""

    positions: Tensor
    counts: Tensor


def draw_class_voxels(
    labels: Tensor, classes: int, per_class: int, generator: torch.Generator | None = None
) -> ClassVoxels:
    """Uniform draws with replacement of n voxels of every class, over all patches together.

    labels: (B, D, H, W) integers, -1 ignored. Patches share in proportion to their voxels of
    the class. The positions of an absent class mean nothing: look at its count.
    """
    flat = labels.reshape(-1)
    positions, counts = [], []
    for index in range(classes):
        cumulative = (flat == index).cumsum(0)
        count = cumulative[-1]
        uniform = torch.rand(per_class, device=flat.device, dtype=torch.float64, generator=generator)
        ranks = (uniform * count).long().clamp_max((count - 1).clamp_min(0)) + 1
        found = torch.searchsorted(cumulative, ranks, side="left")
        positions.append(found.clamp_max(flat.numel() - 1))
        counts.append(count)
    return ClassVoxels(torch.stack(positions), torch.stack(counts))


def draw_in_patches(
    labels: Tensor, patches: Tensor, classes: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Positions (C, n), uniform with replacement: voxels of class classes[i] in the patches named.

    labels: (B, D, H, W); patches: (C, n) numbers of patches that hold the class; classes: (C,).
    """
    positions = []
    for wanted, homes in zip(classes, patches, strict=True):
        of_class = labels.flatten(1) == wanted
        counts = of_class.sum(1)
        before = counts.cumsum(0) - counts
        uniform = torch.rand(homes.shape, device=labels.device, dtype=torch.float64, generator=generator)
        ranks = before[homes] + (uniform * counts[homes]).long() + 1
        positions.append(torch.searchsorted(of_class.flatten().cumsum(0), ranks, side="left"))
    return torch.stack(positions).clamp_max(labels.numel() - 1)
