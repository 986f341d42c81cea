"""Fused multi-resolution features, at sampled voxels or everywhere (figure 3; method.md 1.3, 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True)
class VoxelFeatures:
    """Raw features of chosen voxels, before any fusion: what both players look at.

    levels: per level (n, k, C_l), at least fp32, with k = 1, or 27 neighbours for a 3x3x3 last
    convolution; inside: (n, k), false where a neighbour lies outside the patch.
    """

    levels: list[Tensor]
    inside: Tensor

    def detached(self) -> VoxelFeatures:
        return VoxelFeatures([level.detach() for level in self.levels], self.inside)


@dataclass(frozen=True)
class PatchFeatures:
    """The same voxels with the whole maps around them, for the dense path (row 6).

    levels: per level (B, C_l, d, h, w); positions: (n,) flat indices into (B, D, H, W).
    """

    levels: list[Tensor]
    positions: Tensor
    shape_zyx: tuple[int, ...]

    def detached(self) -> PatchFeatures:
        return PatchFeatures([level.detach() for level in self.levels], self.positions, self.shape_zyx)


class FeatureFusion(nn.Module):
    """f(v) = W_0 sum_l U_l(W_l E_l + b_l)(v) + b_0: affine, so that sampling before it is exact.

    level_channels: channels of each level; dim: 64 in the paper; kernel: of the last
    convolution, 1 or 3; align_corners: convention of the trilinear upsampling U; path: sampled,
    or dense (every voxel is fused to read some: same results, for comparison).
    """

    def __init__(
        self,
        level_channels: Sequence[int],
        dim: int = 64,
        kernel: int = 1,
        align_corners: bool = False,
        path: str = "sampled",
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv3d(channels, dim, 1) for channels in level_channels)
        self.last = nn.Conv3d(dim, dim, kernel, padding=kernel // 2)
        self.kernel = kernel
        self.align_corners = align_corners
        self.path = path

    def gather(
        self, features: Sequence[Tensor], positions: Tensor, shape_zyx: Sequence[int]
    ) -> VoxelFeatures | PatchFeatures:
        """Raw features at voxels (n,) of the patches (flat indices into (B, D, H, W)).

        features: per level (B, C_l, d, h, w); (D, H, W) = shape_zyx.
        """
        if self.path == "dense":
            return PatchFeatures(list(features), positions, tuple(shape_zyx))
        if self.kernel == 1:
            inside = torch.ones_like(positions, dtype=torch.bool)[:, None]
            around = positions[:, None]
        else:
            around, inside = _neighbours(positions, shape_zyx)
        sampled = sample_levels(features, around.reshape(-1), shape_zyx, self.align_corners)
        return VoxelFeatures([level.reshape(*around.shape, -1) for level in sampled], inside)

    def fuse(self, voxels: VoxelFeatures | PatchFeatures, frozen: bool = False) -> Tensor:
        """Fused features (n, dim), equal to `dense` at those voxels (method.md 5.3).

        frozen: gradient passes through to the voxels' features, none reaches the weights.
        """
        if isinstance(voxels, PatchFeatures):
            everywhere = self.dense(voxels.levels, voxels.shape_zyx, frozen)
            return everywhere.movedim(1, -1).flatten(0, 3).index_select(0, voxels.positions)
        projected = []
        for convolution, level in zip(self.levels, voxels.levels, strict=True):
            weight, bias = _weights(convolution, frozen)
            projected.append(F.linear(level, weight.flatten(1), bias))
        total = torch.stack(projected).sum(0)
        weight, bias = _weights(self.last, frozen)
        taps = weight.flatten(2)  # (out, in, k), k in the order of `_neighbours`
        return torch.einsum("nki,oik->no", total * voxels.inside[..., None], taps) + bias

    def dense(self, features: Sequence[Tensor], shape_zyx: Sequence[int], frozen: bool = False) -> Tensor:
        """Fused features (B, dim, D, H, W) at every voxel; for the maps shown to a person."""
        total = None
        for convolution, level in zip(self.levels, features, strict=True):
            weight, bias = _weights(convolution, frozen)
            projected = F.conv3d(level.to(weight.dtype), weight, bias)
            if tuple(level.shape[2:]) != tuple(shape_zyx):
                projected = F.interpolate(
                    projected, size=tuple(shape_zyx), mode="trilinear", align_corners=self.align_corners
                )
            total = projected if total is None else total + projected
        assert total is not None
        weight, bias = _weights(self.last, frozen)
        return F.conv3d(total, weight, bias, padding=self.kernel // 2)


def _weights(layer: nn.Module, frozen: bool) -> tuple[Tensor, Tensor]:
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return (weight.detach(), bias.detach()) if frozen else (weight, bias)


def _neighbours(positions: Tensor, shape_zyx: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Flat indices (n, 27) of the 3x3x3 neighbours, z slowest, and whether each is in the patch."""
    index = unravel(positions, shape_zyx)
    steps = torch.cartesian_prod(*[torch.tensor((-1, 0, 1), device=positions.device)] * 3)
    inside = torch.ones(len(positions), len(steps), dtype=torch.bool, device=positions.device)
    for axis, size in enumerate(shape_zyx):
        moved = index[axis + 1][:, None] + steps[:, axis]
        inside &= (moved >= 0) & (moved < size)
    _, height, width = shape_zyx
    offsets = (steps[:, 0] * height + steps[:, 1]) * width + steps[:, 2]
    return torch.where(inside, positions[:, None] + offsets, positions[:, None]), inside


def unravel(positions: Tensor, shape_zyx: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Patch, z, y and x of flat indices into (B, D, H, W)."""
    depth, height, width = shape_zyx
    return (
        positions // (width * height * depth),
        positions // (width * height) % depth,
        positions // width % height,
        positions % width,
    )


def sample_levels(
    features: Sequence[Tensor], positions: Tensor, shape_zyx: Sequence[int], align_corners: bool = False
) -> list[Tensor]:
    """Per level, features (n, C_l) trilinearly interpolated at voxels of the patch; at least fp32.

    A gather of at most eight corners: no fused full-size map is made. On CUDA the backward is an
    accumulating scatter, deterministic in PyTorch's deterministic mode.
    """
    sample, *index = unravel(positions, shape_zyx)
    return [_sample_level(level, sample, index, shape_zyx, align_corners) for level in features]


def _sample_level(
    level: Tensor, sample: Tensor, index: Sequence[Tensor], shape_zyx: Sequence[int], align_corners: bool
) -> Tensor:
    precision = level.dtype if level.dtype in (torch.float32, torch.float64) else torch.float32
    if tuple(level.shape[2:]) == tuple(shape_zyx):
        return _rows(level, sample, index[0], index[1], index[2]).to(precision)
    ends, shares = [], []  # per axis: the two voxels of the level around each point, and their weights
    for position, size, full in zip(index, level.shape[2:], shape_zyx, strict=True):
        if align_corners:
            coordinate = position.to(precision) * ((size - 1) / max(full - 1, 1))
        else:
            coordinate = ((position.to(precision) + 0.5) * (size / full) - 0.5).clamp_min(0)
        lower = coordinate.floor().long().clamp_max(size - 1)
        fraction = coordinate - lower
        ends.append(torch.stack([lower, (lower + 1).clamp_max(size - 1)]))
        shares.append(torch.stack([1 - fraction, fraction]))
    # All eight corners (2, 2, 2, n, C) at once: one scatter into the level on the way back.
    z, y, x = ends[0][:, None, None], ends[1][:, None], ends[2]
    weight = shares[0][:, None, None] * shares[1][:, None] * shares[2]
    return (_rows(level, sample, z, y, x).to(precision) * weight[..., None]).sum((0, 1, 2))


def _rows(level: Tensor, sample: Tensor, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Features (..., C) of a level (B, C, d, h, w) at voxels given by indices that broadcast to (...).

    By index_select, whose backward sums in a fixed order on the CPU, with any number of threads;
    that of plain indexing does not.
    """
    depth, height, width = level.shape[2:]
    place = ((sample * depth + z) * height + y) * width + x
    rows = level.movedim(1, -1).flatten(0, 3)  # no copy where channels are last in memory
    return rows.index_select(0, place.flatten()).unflatten(0, place.shape)
