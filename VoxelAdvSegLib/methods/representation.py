"""Voxel-wise representation learning, the student's and the teacher's side (Eq. 3; method.md 1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from VoxelAdvSegLib.config import Representation
from VoxelAdvSegLib.losses import feature_loss
from VoxelAdvSegLib.networks.fusion import FeatureFusion
from VoxelAdvSegLib.networks.joint_voxels import JointVoxels, draw_joint_voxels, gather_joint
from VoxelAdvSegLib.networks.projection import make_mlp
from VoxelAdvSegLib.networks.teacher import teacher_mode
from VoxelAdvSegLib.networks.voxels import draw_in_patches


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
        """L_feature and the signs of a collapse; 0 and none where no class has enough voxels.

        features: the chosen levels, (B, C_l, d, h, w); labels: (B, D, H, W), -1 ignored. The
        student's patches are the teacher's L labeled ones and others, or 2 L mixed ones, patch i
        and L + i made of the teacher's patch i.
        """
        # Swapping the sides of a random pair is another random pair (row 48).
        sides = [
            self._compare(student, teacher, student_features, teacher_features, student_label, teacher_label)
            for _ in range(2 if self.settings.feature_symmetric else 1)
        ]
        return torch.stack([loss for loss, _ in sides]).mean(), sides[0][1]

    def _compare(
        self,
        student: FeatureLayer,
        teacher: FeatureLayer,
        student_features: Sequence[Tensor],
        teacher_features: Sequence[Tensor],
        student_label: Tensor,
        teacher_label: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.settings
        first, second = self.draw(student_label, teacher_label)
        classes = len(first.counts)
        if not classes:
            return torch.zeros((), device=student_label.device), {}
        shape = tuple(student_label.shape[1:])
        online = student.fusion.fuse(gather_joint(student.fusion, student_features, first, shape))
        prediction = student.predictor(student.projector(online))
        with torch.no_grad(), teacher_mode(teacher.projector):
            slow = teacher.fusion.fuse(gather_joint(teacher.fusion, teacher_features, second, shape))
            target = teacher.projector(slow).unflatten(0, (classes, -1))
        paired = target
        if s.feature_pairing == "class_mean":
            paired = target.mean(1, keepdim=True).expand_as(target)
        distance = feature_loss(prediction.unflatten(0, (classes, -1)), paired, s.feature_reduction)
        return distance.mean(), _collapse_signs(target)

    def draw(self, student_label: Tensor, teacher_label: Tensor) -> tuple[JointVoxels, JointVoxels]:
        """Voxels (C, n) for student and teacher, of the C classes with enough of them.

        Other classes take no part: their rows would enter the statistics of batch norm.
        """
        s = self.settings
        labeled = len(teacher_label)
        groups = (labeled, len(student_label) - labeled)
        first = draw_joint_voxels(student_label, groups, self.classes, s.feature_voxels_per_class)
        second = draw_joint_voxels(teacher_label, (labeled,), self.classes, s.feature_voxels_per_class)
        enough = torch.minimum(first.counts, second.counts) >= self.min_voxels
        if not s.feature_include_background:
            enough[0] = False
        firsts, seconds = first.chosen(enough), second.chosen(enough)
        # A voxel and its partner in the same patch lie in the same process.
        same_place = firsts.positions % teacher_label.numel()
        if s.feature_pairing == "same_voxel":
            seconds = replace(firsts, positions=same_place)
        elif not s.feature_cross_sample:
            patches = same_place // teacher_label[0].numel()
            seconds = replace(firsts, positions=draw_in_patches(teacher_label, patches, enough.nonzero()[:, 0]))
        return firsts, seconds


def _collapse_signs(target: Tensor) -> dict[str, Tensor]:
    """Mean cosine between class means, and spread of directions (isotropic: 1/sqrt(64) = 0.125).

    target: (C, n, dim).
    """
    directions = nn.functional.normalize(target, dim=-1)
    spread = directions.flatten(0, 1).std(0).mean()
    means = nn.functional.normalize(directions.mean(1), dim=-1)
    classes = len(means)
    if classes < 2:
        return {"feature_spread": spread}
    cosines = means @ means.T
    between = (cosines.sum() - cosines.trace()) / (classes * (classes - 1))
    return {"class_cosine": between, "feature_spread": spread}
