"""Discriminators of whole maps: of distance maps with their image (SASSNet), of class maps per voxel (DAP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAK = 0.2


class VolumeDiscriminator(nn.Module):
    """Two logits (unlabeled, labeled) for a map together with its image.

    Four 4x4x4 stride-2 convolutions; map and image meet after the first. The pool follows the patch.
    """

    def __init__(self, maps: int, channels: int, width: int = 64) -> None:
        super().__init__()
        self.of_map = nn.Conv3d(maps, width, 4, 2, 1)
        self.of_image = nn.Conv3d(channels, width, 4, 2, 1)
        layers: list[nn.Module] = [nn.LeakyReLU(LEAK), nn.Dropout3d(0.5)]
        for source in (width, 2 * width, 4 * width):
            layers += [nn.Conv3d(source, 2 * source, 4, 2, 1), nn.LeakyReLU(LEAK), nn.Dropout3d(0.5)]
        self.body = nn.Sequential(*layers[:-1])
        self.head = nn.Linear(8 * width, 2)

    def forward(self, maps: Tensor, images: Tensor) -> Tensor:
        hidden = self.body(self.of_map(maps) + self.of_image(images))
        return self.head(hidden.mean((2, 3, 4)))


class PatchDiscriminator(nn.Module):
    """A logit (B, D, H, W) per voxel, larger for "is a reference map", from class maps (B, K, D, H, W)."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for source, target in ((classes, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv3d(source, target, 4, 2, 1), nn.LeakyReLU(LEAK)]
        self.body = nn.Sequential(*layers, nn.Conv3d(4 * width, 1, 4, 2, 1))

    def forward(self, maps: Tensor) -> Tensor:
        coarse = self.body(maps)
        return torch.nn.functional.interpolate(coarse, maps.shape[2:], mode="trilinear", align_corners=False)[:, 0]
