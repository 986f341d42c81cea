"""The voxel-wise feature discriminator with one head per class (figure 3a; method.md 1.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from VoxelAdvSegLib.networks.fusion import FeatureFusion


class Discriminator(nn.Module):
    """Fusion, perceptron, K heads: a logit, larger for "looks labeled".

    fusion None: the caller fuses (fusion_sharing: shared). heads: per_class or single;
    norm: none, spectral or layer. The buffers are the discriminator's memory of how well it
    does; they are saved with it, so that a resumed run decides alike.
    """

    moving_accuracy: Tensor
    moving_held_out: Tensor
    weight_scale: Tensor  # of alpha, where the gradient ratio is held (row 22)

    def __init__(
        self,
        fusion: FeatureFusion | None,
        classes: int,
        dim: int = 64,
        hidden_layers: int = 2,
        heads: str = "per_class",
        norm: str = "none",
    ) -> None:
        super().__init__()
        self.fusion = fusion
        wrap = spectral_norm if norm == "spectral" else (lambda layer: layer)
        layers: list[nn.Module] = []
        for _ in range(hidden_layers):
            layers.append(wrap(nn.Linear(dim, dim)))
            if norm == "layer":
                layers.append(nn.LayerNorm(dim))
            layers.append(nn.LeakyReLU(0.2))
        self.perceptron = nn.Sequential(*layers)
        self.heads = wrap(nn.Linear(dim, classes if heads == "per_class" else 1))
        self.register_buffer("moving_accuracy", torch.tensor(0.5))
        self.register_buffer("moving_held_out", torch.tensor(0.5))
        self.register_buffer("weight_scale", torch.tensor(1.0))

    def judge(self, fused: Tensor, classes: Tensor) -> Tensor:
        """Logits (n,) of fused features (n, dim), each by the head of its class (n,)."""
        return self.judge_hidden(self.perceptron[0](fused), classes)

    def judge_hidden(self, hidden: Tensor, classes: Tensor) -> Tensor:
        """The same from what the first layer, before its activation, makes of the features: (n, dim)."""
        logits = self.heads(self.perceptron[1:](hidden))
        if logits.shape[1] == 1:
            return logits[:, 0]
        return logits.gather(1, classes[:, None])[:, 0]

    def judge_everywhere(self, fused: Tensor, classes: Tensor) -> Tensor:
        """Logits (B, D, H, W) of dense fused features (B, dim, D, H, W) by classes (B, D, H, W)."""
        rows = fused.permute(0, 2, 3, 4, 1).reshape(-1, fused.shape[1])
        return self.judge(rows, classes.reshape(-1)).reshape(classes.shape)


def level_channels(channels: Sequence[int], levels: Sequence[int]) -> list[int]:
    """Channels of the chosen levels (counted from 1)."""
    return [channels[level - 1] for level in levels]
