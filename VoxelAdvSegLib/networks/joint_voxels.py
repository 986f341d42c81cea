"""Voxels of each class drawn from the patches of all processes, and their features (method.md 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from VoxelAdvSegLib.networks.fusion import FeatureFusion, PatchFeatures, VoxelFeatures
from VoxelAdvSegLib.networks.joint import gather, joint_sum, own_slots, processes
from VoxelAdvSegLib.networks.voxels import draw_class_voxels


@dataclass(frozen=True)
class JointVoxels:
    """positions (K, n) flat indices into the own label array; counts (K,) voxels of each class anywhere.

    own (K, n): false where the voxel lies in a patch of another process, and the position means
    nothing; None where there is one process.
    """

    positions: Tensor
    counts: Tensor
    own: Tensor | None = None

    def chosen(self, classes: Tensor) -> JointVoxels:
        """Those of some classes: a bool mask (K,)."""
        own = None if self.own is None else self.own[classes]
        return JointVoxels(self.positions[classes], self.counts[classes], own)


def draw_joint_voxels(labels: Tensor, groups: Sequence[int], classes: int, per_class: int) -> JointVoxels:
    """As `draw_class_voxels` over the patches of all processes: the same draws whatever their number.

    labels: (B, D, H, W) integers of the own patches, -1 ignored; groups: see networks/joint.py.
    """
    if processes() == 1:
        alone = draw_class_voxels(labels, classes, per_class)
        return JointVoxels(alone.positions, alone.counts)
    slots = own_slots(groups)
    by_patch = labels.flatten(1)
    positions, counts, owned = [], [], []
    for index in range(classes):
        of_class = by_patch == index
        here = of_class.sum(1)  # (B,)
        everywhere = gather(here, groups)
        before = (everywhere.cumsum(0) - everywhere)[slots]  # voxels in earlier patches, of all
        before_here = here.cumsum(0) - here
        count = everywhere.sum()
        uniform = torch.rand(per_class, device=labels.device, dtype=torch.float64)
        ranks = (uniform * count).long().clamp_max((count - 1).clamp_min(0))
        inside = (ranks >= before[:, None]) & (ranks < (before + here)[:, None])  # (B, n)
        local = ((ranks - before[:, None] + before_here[:, None]) * inside).sum(0) + 1
        found = torch.searchsorted(of_class.flatten().cumsum(0), local, side="left")
        positions.append(found.clamp_max(labels.numel() - 1))
        counts.append(count)
        owned.append(inside.any(0))
    return JointVoxels(torch.stack(positions), torch.stack(counts), torch.stack(owned))


def gather_joint(
    fusion: FeatureFusion, features: Sequence[Tensor], drawn: JointVoxels, shape_zyx: Sequence[int]
) -> VoxelFeatures | PatchFeatures:
    """Raw features (K * n, k, C_l) of drawn voxels, of those in other processes' patches too.

    What follows is computed by every process on the same rows, so that class means and norms over
    them are those of one process.
    """
    voxels = fusion.gather(features, drawn.positions.reshape(-1), shape_zyx)
    if drawn.own is None:
        return voxels
    assert isinstance(voxels, VoxelFeatures)  # the dense path is for one process (training/parallel.py)
    keep = drawn.own.reshape(-1, 1)
    inside = joint_sum((voxels.inside & keep).float()) > 0
    return VoxelFeatures([joint_sum(level * keep[..., None]) for level in voxels.levels], inside)
