"""How sure the segmenting network is of each organ, from the probabilities it has given anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SLAB = 8  # slices looked at together: memory does not grow with the scan


@dataclass(frozen=True)
class OrganConfidence:
    """Of one organ on the working grid.

    voxels: where it is the most probable class; inside: mean probability of the winning class over
    them; boundary: the same over the voxels on both sides of the organ's surface; peak: the highest
    probability of the organ anywhere. inside and boundary are None where there are no such voxels.
    """

    voxels: int
    inside: float | None
    boundary: float | None
    peak: float


def confidence_by_organ(probabilities: Tensor, names: Sequence[str], slab: int = SLAB) -> dict[str, OrganConfidence]:
    """The confidence of each organ; probabilities (K, D, H, W), names of the classes 1 to K - 1."""
    depth = probabilities.shape[1]
    # Per organ: voxels, sum inside, boundary voxels, sum there.
    sums = torch.zeros(len(names), 4, dtype=torch.float64, device=probabilities.device)
    for start in range(0, depth, slab):
        stop = min(start + slab, depth)
        low, high = max(start - 1, 0), min(stop + 1, depth)  # a neighbour slice tells the surface
        sure, label = probabilities[:, low:high].max(0)
        own = slice(start - low, stop - low)
        for index in range(len(names)):
            organ = label == index + 1
            near = surface(organ)[own]
            organ, certain = organ[own], sure[own]
            sums[index] += torch.stack(
                [
                    organ.sum(dtype=torch.float64),
                    certain[organ].sum(dtype=torch.float64),
                    near.sum(dtype=torch.float64),
                    certain[near].sum(dtype=torch.float64),
                ]
            )
    peaks = [float(probabilities[index + 1].max()) for index in range(len(names))]
    return {
        name: OrganConfidence(
            voxels=int(voxels),
            inside=inside / voxels if voxels else None,
            boundary=near_sum / near if near else None,
            peak=peak,
        )
        for name, (voxels, inside, near, near_sum), peak in zip(names, sums.tolist(), peaks, strict=True)
    }


def surface(mask: Tensor) -> Tensor:
    """Voxels (D, H, W) with a face neighbour on the other side of the mask's surface."""
    near = torch.zeros_like(mask)
    for axis in range(3):
        length = mask.shape[axis] - 1
        crossed = mask.narrow(axis, 0, length) ^ mask.narrow(axis, 1, length)
        near.narrow(axis, 0, length).logical_or_(crossed)
        near.narrow(axis, 1, length).logical_or_(crossed)
    return near
