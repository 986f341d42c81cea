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


class ConfidenceSums:
    """Confidence of a scan whose probabilities come a few slices after the other."""

    def __init__(self, names: Sequence[str], slab: int = SLAB) -> None:
        self.names = names
        self.slab = slab
        self._sums = torch.zeros(len(names), 4, dtype=torch.float64)  # voxels, sum inside, boundary voxels, sum there
        self._peaks = torch.zeros(len(names))
        self._held: tuple[Tensor, Tensor] | None = None  # the last two slices: a neighbour slice tells the surface
        self._judged = 0  # of them, the first ones that have been counted

    def add(self, probabilities: Tensor) -> None:
        """The next slices (K, d, H, W)."""
        self._sums = self._sums.to(probabilities.device)
        self._peaks = torch.maximum(self._peaks.to(probabilities.device), probabilities[1:].flatten(1).amax(1))
        sure, label = probabilities.max(0)
        if self._held is not None:
            sure, label = torch.cat([self._held[0], sure]), torch.cat([self._held[1], label])
        self._judge(sure, label, self._judged, len(label) - 1)
        self._held = sure[-2:], label[-2:]
        self._judged = min(1, len(label) - 1)

    def by_organ(self) -> dict[str, OrganConfidence]:
        """Once all slices are there."""
        if self._held is not None:
            self._judge(*self._held, self._judged, len(self._held[1]))
            self._held = None
        return {
            name: OrganConfidence(
                voxels=int(voxels),
                inside=inside / voxels if voxels else None,
                boundary=near_sum / near if near else None,
                peak=peak,
            )
            for name, (voxels, inside, near, near_sum), peak in zip(
                self.names, self._sums.tolist(), self._peaks.tolist(), strict=True
            )
        }

    def _judge(self, sure: Tensor, label: Tensor, first: int, last: int) -> None:
        for start in range(first, last, self.slab):
            stop = min(start + self.slab, last)
            low, high = max(start - 1, 0), min(stop + 1, len(label))
            own = slice(start - low, stop - low)
            certain = sure[low:high][own]
            for index in range(len(self.names)):
                organ = label[low:high] == index + 1
                near = surface(organ)[own]
                organ = organ[own]
                self._sums[index] += torch.stack(
                    [
                        organ.sum(dtype=torch.float64),
                        certain[organ].sum(dtype=torch.float64),
                        near.sum(dtype=torch.float64),
                        certain[near].sum(dtype=torch.float64),
                    ]
                )


def confidence_by_organ(probabilities: Tensor, names: Sequence[str], slab: int = SLAB) -> dict[str, OrganConfidence]:
    """The confidence of each organ; probabilities (K, D, H, W), names of the classes 1 to K - 1."""
    sums = ConfidenceSums(names, slab)
    sums.add(probabilities)
    return sums.by_organ()


def surface(mask: Tensor) -> Tensor:
    """Voxels (D, H, W) with a face neighbour on the other side of the mask's surface."""
    near = torch.zeros_like(mask)
    for axis in range(3):
        length = mask.shape[axis] - 1
        crossed = mask.narrow(axis, 0, length) ^ mask.narrow(axis, 1, length)
        near.narrow(axis, 0, length).logical_or_(crossed)
        near.narrow(axis, 1, length).logical_or_(crossed)
    return near
