"""The V-Net of the left-atrium benchmark (method.md, 1.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.networks.recompute import Recomputed

DOWNSAMPLING = 16  # four stride-2 convolutions
CONVOLUTIONS_PER_BLOCK = (1, 2, 3, 3, 3, 3, 3, 2, 1)  # blocks 1 to 9
NORMS = ("batch", "instance", "group", "none")


def block_channels(filters: int) -> tuple[int, ...]:
    """Channels at the output of blocks 1 to 9."""
    return tuple(filters * factor for factor in (1, 2, 4, 8, 16, 8, 4, 2, 1))


def block_strides() -> tuple[int, ...]:
    """Voxels of the input per voxel of the output of blocks 1 to 9, along each axis."""
    return (1, 2, 4, 8, 16, 8, 4, 2, 1)


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    if kind == "instance":
        return nn.InstanceNorm3d(channels, affine=True)
    if kind == "group":
        return nn.GroupNorm(min(16, channels), channels)
    if kind == "none":
        return nn.Identity()
    raise ConfigError("unknown norm", expected=" | ".join(NORMS), found=kind, do="set network.norm")


class Convolution(nn.Conv3d):
    """3 x 3 x 3, the size kept."""

    def __init__(self, source: int, channels: int) -> None:
        super().__init__(source, channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[2] == 2 and input.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # oneDNN's weight gradient in bfloat16 is wrong for exactly two slices (torch 2.13; up to 1e37).
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)


class Head(nn.Conv3d):
    """1 x 1 x 1, from features to classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu":
            return super().forward(input)
        # oneDNN's would hand a gradient with channels first to the largest block, which then takes half as long again.
        return F.linear(input.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


def unit(convolution: nn.Module, norm: str, channels: int) -> list[nn.Module]:
    """A convolution with its norm and ReLU."""
    return [convolution, _norm(norm, channels), nn.ReLU(inplace=True)]


class VNet(nn.Module):
    """Plain V-Net: nine blocks, four additive skips, no residuals inside a block.

    in_channels: image channels; classes: K, background included; filters: channels of
    block 1 (16 in the paper); norm: one of NORMS; dropout: channel dropout of 0.5 after
    blocks 5 and 9, in training mode only.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        filters: int = 16,
        norm: str = "batch",
        dropout: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.filters = filters
        self.norm = norm
        channels = block_channels(filters)
        blocks, downs, ups = [], [], []
        for level, repeats in enumerate(CONVOLUTIONS_PER_BLOCK):
            layers: list[nn.Module] = []
            for repeat in range(repeats):
                source = in_channels if level == 0 and repeat == 0 else channels[level]
                layers += unit(Convolution(source, channels[level]), norm, channels[level])
            blocks.append(nn.Sequential(*layers))
        for level in range(4):
            step = nn.Conv3d(channels[level], channels[level + 1], 2, stride=2)
            downs.append(nn.Sequential(*unit(step, norm, channels[level + 1])))
        for level in range(4, 8):
            step = nn.ConvTranspose3d(channels[level], channels[level + 1], 2, stride=2)
            ups.append(nn.Sequential(*unit(step, norm, channels[level + 1])))
        self.blocks = nn.ModuleList(blocks)
        self.downs = nn.ModuleList(downs)
        self.ups = nn.ModuleList(ups)
        self.dropout = nn.Dropout3d(0.5 if dropout else 0.0)
        self.head = Head(channels[8], classes)

    def recompute_blocks(self) -> None:
        """From now on a block keeps its input alone (networks/recompute.py)."""
        for layers in (self.blocks, self.ups):
            for number, block in enumerate(layers):
                assert isinstance(block, nn.Sequential)
                layers[number] = Recomputed(*block)  # the same layers under the same names

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits (B, K, D, H, W) of volumes (B, C, D, H, W)."""
        return self.forward_features(volumes)[0]

    def forward_features(self, volumes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the outputs of blocks 1 to 9 (before dropout).

        Raises ConfigError when a size is not a multiple of 16, or too small for instance norm.
        """
        check_size(volumes.shape[2:])
        if self.norm == "instance" and max(volumes.shape[2:]) == DOWNSAMPLING:
            raise ConfigError(
                "instance norm has no statistics of the one voxel that is left in block 5",
                expected="more than 16 voxels along an axis",
                found="16 x 16 x 16",
                do="choose a larger patch, or another norm",
            )
        features: list[Tensor] = []
        hidden = volumes
        for level in range(5):
            if level:
                hidden = self.downs[level - 1](hidden)
            hidden = self.blocks[level](hidden)
            features.append(hidden)
        hidden = self.dropout(hidden)
        for level in range(5, 9):
            hidden = self.blocks[level](self.ups[level - 5](hidden) + features[8 - level])
            features.append(hidden)
        return self.head(self.dropout(hidden)), features

    def set_output_prior(self, class_frequency: Sequence[float]) -> None:
        """Start the output bias at the log frequency of each class (row 64)."""
        with torch.no_grad():
            frequency = torch.as_tensor(class_frequency, dtype=torch.float64).clamp_min(1e-6)
            self.head.get_parameter("bias").copy_((frequency / frequency.sum()).log())


def check_size(shape_zyx: Sequence[int]) -> None:
    """Raises ConfigError naming the axis when a size is not a multiple of 16."""
    for axis, size in zip("zyx", shape_zyx, strict=True):
        if size % DOWNSAMPLING:
            raise ConfigError(
                f"the network cannot take {size} voxels along {axis}",
                expected=f"a multiple of {DOWNSAMPLING}",
                found=str(size),
                do="choose another patch, or pad the volume",
            )
