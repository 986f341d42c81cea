"""Pasting a box of one patch into another (row 66; after Bai et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.networks import joint


def draw_box(shape_zyx: Sequence[int], edge: float, device: torch.device) -> Tensor:
    """Bool (D, H, W), true inside a box of `edge` times each side, anywhere in the patch."""
    mask = torch.zeros(tuple(shape_zyx), dtype=torch.bool, device=device)
    sizes = [max(1, round(n * edge)) for n in shape_zyx]
    starts = [int(torch.randint(n - size + 1, ())) for n, size in zip(shape_zyx, sizes, strict=True)]
    z, y, x = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    mask[z, y, x] = True
    return mask


def paste_labeled(arrays: Sequence[Tensor], edge: float) -> list[Tensor]:
    """Every patch with a box of the one before it; the same box in images, labels, ... (B, ..., D, H, W)."""
    if len(arrays[0]) * joint.processes() < 2:
        return list(arrays)
    box = draw_box(tuple(arrays[0].shape[-3:]), edge, arrays[0].device)
    return [torch.where(box, joint.roll(array), array) for array in arrays]


@dataclass(frozen=True)
class Mixed:
    """Patches of both origins in each image.

    images: (2n, C, D, H, W); from_labeled: (2n, D, H, W) bool, true where the voxel comes from
    a labeled patch; label: reference there, -1 elsewhere.
    """

    images: Tensor
    from_labeled: Tensor
    label: Tensor
    box: Tensor

    def mix(self, labeled: Tensor, unlabeled: Tensor) -> Tensor:
        """Another pair of arrays (n, ..., D, H, W), mixed as the images are."""
        return torch.cat([torch.where(self.box, unlabeled, labeled), torch.where(self.box, labeled, unlabeled)])


def paste_bidirectional(labeled: Tensor, label: Tensor, unlabeled: Tensor, edge: float) -> Mixed:
    """First half: labeled patches with an unlabeled box; second half: the reverse.

    Both lists must be equally long. The same box serves all, so that each voxel of each patch
    is seen once.
    """
    box = draw_box(tuple(labeled.shape[2:]), edge, labeled.device)
    from_labeled = torch.cat([(~box).expand(len(labeled), *box.shape), box.expand(len(labeled), *box.shape)])
    images = torch.cat([torch.where(box, unlabeled, labeled), torch.where(box, labeled, unlabeled)])
    reference = torch.where(from_labeled, torch.cat([label, label]), -1)
    return Mixed(images, from_labeled, reference, box)


def near_seam(from_labeled: Tensor, margin: int) -> Tensor:
    """Voxels within `margin` voxels of a change of origin: bool, as from_labeled (B, D, H, W)."""
    if margin <= 0:
        return torch.zeros_like(from_labeled)
    origin = from_labeled[:, None].float()
    size = 2 * margin + 1
    widest = F.max_pool3d(origin, size, 1, margin)
    narrowest = -F.max_pool3d(-origin, size, 1, margin)
    return (widest != narrowest)[:, 0]
