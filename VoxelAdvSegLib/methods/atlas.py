"""A probabilistic atlas in the frame of the organs themselves: centre of mass, three standard deviations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

SIZE = 32  # voxels of the atlas along each axis
REACH = 3.0  # standard deviations from the centre to its faces; an ellipsoid ends at 2.24
MEMORY = 200  # labels that the running mean remembers once it has seen as many


class Atlas(nn.Module):
    """Running mean of label patches, each brought to the foreground's own centre and extent.

    It starts flat: every class equally likely everywhere.
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("mean", torch.full((classes, SIZE, SIZE, SIZE), 1 / classes))
        self.register_buffer("seen", torch.tensor(0))

    @torch.no_grad()
    def add(self, label: Tensor) -> None:
        """Takes in the patches (B, D, H, W) that show an organ."""
        for patch in label:
            frame = _frame(patch)
            if frame is None:
                continue
            centre, reach = frame
            one_hot = F.one_hot(patch, self.classes).movedim(-1, 0).float()
            corners = torch.stack([-reach, reach]) + centre
            here = _sample(one_hot, corners, (SIZE, SIZE, SIZE))
            self.seen += 1
            self.mean += (here - self.mean) / min(int(self.seen), MEMORY)

    @torch.no_grad()
    def uncertainty(self, label: Tensor) -> Tensor:
        """H(A)/ln K from 0 to 1 at the voxels of patches (B, D, H, W), laid over their foreground; smoothed."""
        smooth = F.avg_pool3d(F.pad(self.mean[None], (1,) * 6, mode="replicate"), 3, 1)[0]
        entropy = -torch.special.xlogy(smooth, smooth).sum(0) / torch.log(torch.tensor(float(self.classes)))
        maps = []
        for patch in label:
            frame = _frame(patch)
            if frame is None:
                maps.append(torch.zeros(patch.shape, device=patch.device))
                continue
            centre, reach = frame
            last = torch.tensor(patch.shape, device=patch.device) - 1
            # Corners of the patch in voxels of the atlas, whose faces lie at centre -+ reach.
            corners = (torch.stack([torch.zeros_like(centre), last.float()]) - centre + reach) / (2 * reach)
            maps.append(_sample(entropy[None], corners * (SIZE - 1), tuple(patch.shape))[0])
        return torch.stack(maps)


def _frame(label: Tensor) -> tuple[Tensor, Tensor] | None:
    """Centre of mass and reach (z, y, x in voxels) of a patch's foreground; None without any."""
    places = (label > 0).nonzero().float()
    if not len(places):
        return None
    return places.mean(0), REACH * places.std(0, correction=0).clamp_min(0.5)


def _sample(source: Tensor, corners: Tensor, shape: tuple[int, ...]) -> Tensor:
    """source (C, D, H, W) on a straight grid between two corners (2, 3; z, y, x voxels); edges go on outside."""
    axes = [
        torch.linspace(float(a), float(b), n, device=source.device) for a, b, n in zip(*corners, shape, strict=True)
    ]
    size = torch.tensor(source.shape[1:], device=source.device).float()
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    grid = 2 * grid / (size - 1).clamp_min(1) - 1
    return F.grid_sample(source[None], grid.flip(-1)[None], "bilinear", "border", align_corners=True)[0]
