"""A V-Net that predicts each organ twice: its probability and its signed distance map (SASSNet, DTC)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from VoxelAdvSegLib.networks.vnet import Head, VNet


class TwoHeads(nn.Module):
    """network's head becomes one sigmoid and one tanh channel per organ; its weights start the sigmoid's.

    The background has no channel: a voxel is background where no organ's probability is above one
    half. That is the class of the largest logit when the background's is 0, so a plain V-Net whose
    head has a row of zeros segments alike, and with one organ its softmax is the sigmoid.
    """

    def __init__(self, network: VNet) -> None:
        super().__init__()
        head = network.head
        assert isinstance(head, nn.Conv3d)
        organs = head.out_channels - 1
        self.organs = Head(head.in_channels, organs)
        self.distances = Head(head.in_channels, organs)
        with torch.no_grad():
            self.organs.weight.copy_(head.weight[1:] - head.weight[:1])
            self.organs.get_parameter("bias").copy_(head.get_parameter("bias")[1:] - head.get_parameter("bias")[0])
        network.head = nn.Identity()  # type: ignore[assignment]
        self.vnet = network

    def forward_both(self, volumes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of each organ's probability, and distance maps from -1 to 1: both (B, K-1, D, H, W)."""
        hidden = self.vnet(volumes)
        return self.organs(hidden), self.distances(hidden).tanh()

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits (B, K, D, H, W), the background's being 0."""
        return with_background(self.organs(self.vnet(volumes)))

    def plain_state(self) -> dict[str, Tensor]:
        """Weights of the plain V-Net that segments alike: the distance maps are left out."""
        rows = self.organs.state_dict()
        head = {f"head.{name}": torch.cat([torch.zeros_like(row[:1]), row]) for name, row in rows.items()}
        return {**self.vnet.state_dict(), **head}


def with_background(organ_logits: Tensor) -> Tensor:
    """(B, K-1, D, H, W) to (B, K, D, H, W): logit 0 for the background."""
    return torch.cat([torch.zeros_like(organ_logits[:, :1]), organ_logits], 1)
