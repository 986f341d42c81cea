"""Voxel-wise representation learning, the student's and the teacher's side (Eq. 3; method.md 1.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from VoxelAdvSegLib.config import Representation
from VoxelAdvSegLib.losses import class_mean, feature_loss
from VoxelAdvSegLib.networks.fusion import FeatureFusion
from VoxelAdvSegLib.networks.projection import make_mlp
from VoxelAdvSegLib.networks.voxels import draw_class_voxels


class FeatureLayer(nn.Module):
    """Fusion R, projector q and predictor p; the teacher's copy has no use for p."""

    def __init__(self, fusion: FeatureFusion, dim: int, norm: str) -> None:
        super().__init__()
        self.fusion = fusion
        self.projector = make_mlp(dim, norm)
        self.predictor = make_mlp(dim, norm)


class FeaturePairs:
    """Draws pairs of voxels of one class and compares the student's view with the teacher's."""

    def __init__(self, settings: Representation, classes: int, min_voxels: int) -> None:
        self.settings = settings
        self.classes = classes
        self.min_voxels = min_voxels

    def objective(
        self,
        student: FeatureLayer,
        teacher: FeatureLayer,
        student_features: Sequence[Tensor],
        teacher_features: Sequence[Tensor],
        student_label: Tensor,
        teacher_label: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_feature and the signs of a collapse.

        features: the chosen levels, (B, C_l, d, h, w); labels: (B, D, H, W), -1 ignored. Student
        and teacher may see different patches: only the class of a voxel pairs them.
        """
        s = self.settings
        first, second, weights = self._draw(student_label, teacher_label)
        shape = tuple(student_label.shape[1:])
        online = student.fusion.fuse(student.fusion.gather(student_features, first, shape))
        prediction = student.predictor(student.projector(online))
        with torch.no_grad():
            slow = teacher.fusion.fuse(teacher.fusion.gather(teacher_features, second, shape))
            target = _batch_statistics(teacher.projector, slow)
        per_class = target.reshape(self.classes, -1, target.shape[1])
        paired = target
        if s.feature_pairing == "class_mean":
            paired = per_class.mean(1, keepdim=True).expand_as(per_class).reshape_as(target)
        distance = feature_loss(prediction, paired, s.feature_reduction).reshape(self.classes, -1)
        loss = class_mean(distance.mean(1), weights)
        if s.feature_symmetric:
            swapped = student.fusion.fuse(student.fusion.gather(student_features, second, shape))
            with torch.no_grad():
                slow = teacher.fusion.fuse(teacher.fusion.gather(teacher_features, first, shape))
                target_swapped = _batch_statistics(teacher.projector, slow)
            back = feature_loss(
                student.predictor(student.projector(swapped)), target_swapped, s.feature_reduction
            )
            loss = (loss + class_mean(back.reshape(self.classes, -1).mean(1), weights)) / 2
        return loss, _collapse_signs(per_class, weights)

    def _draw(self, student_label: Tensor, teacher_label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions (K * n,) for student and teacher, and the weight of each class (K,)."""
        s = self.settings
        n = s.feature_voxels_per_class
        if s.feature_cross_sample:
            first = draw_class_voxels(student_label, self.classes, n)
            second = draw_class_voxels(teacher_label, self.classes, n)
            firsts, seconds = first.positions, second.positions
            counts = torch.minimum(first.counts, second.counts)
        else:
            # Pairs within one patch: equal shares of the patches that hold the class.
            voxels = student_label[0].numel()
            shares = -(-n // len(student_label))
            pairs = [
                (draw_class_voxels(a[None], self.classes, shares), draw_class_voxels(b[None], self.classes, shares))
                for a, b in zip(student_label, teacher_label, strict=True)
            ]
            counts = torch.stack([torch.minimum(a.counts, b.counts) for a, b in pairs]).amin(0)
            firsts = torch.cat([a.positions + i * voxels for i, (a, _) in enumerate(pairs)], 1)
            seconds = torch.cat([b.positions + i * voxels for i, (_, b) in enumerate(pairs)], 1)
        if s.feature_pairing == "same_voxel":
            seconds = firsts
        weights = (counts >= self.min_voxels).float()
        if not s.feature_include_background:
            weights[0] = 0
        return firsts.reshape(-1), seconds.reshape(-1), weights


def _batch_statistics(projector: nn.Module, rows: Tensor) -> Tensor:
    """The teacher's projection, normalized over this step's points; running buffers stay as they are."""
    norms = [m for m in projector.modules() if isinstance(m, nn.BatchNorm1d)]
    saved = [(m, m.running_mean, m.running_var) for m in norms]
    for module in norms:
        module.running_mean = module.running_var = None
    projector.eval()
    try:
        return projector(rows)
    finally:
        for module, mean, variance in saved:
            module.running_mean, module.running_var = mean, variance


def _collapse_signs(per_class: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Mean cosine between class means, and spread of directions (isotropic: 1/sqrt(64) = 0.125)."""
    directions = nn.functional.normalize(per_class, dim=-1)
    means = nn.functional.normalize(directions.mean(1), dim=-1)
    pairs = weights[:, None] * weights[None] * (1 - torch.eye(len(means), device=means.device))
    cosine = ((means @ means.T) * pairs).sum() / pairs.sum().clamp_min(1)
    return {"class_cosine": cosine, "feature_spread": directions.flatten(0, 1).std(0).mean()}
