"""The discriminator's side of voxel-wise adversarial learning (Eq. 2; method.md 1.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from VoxelAdvSegLib.config import Adversarial, Config
from VoxelAdvSegLib.losses import adversarial_loss, discriminator_loss
from VoxelAdvSegLib.networks.discriminator import Discriminator, level_channels
from VoxelAdvSegLib.networks.fusion import FeatureFusion, PatchFeatures, VoxelFeatures
from VoxelAdvSegLib.networks.joint_voxels import draw_joint_voxels, gather_joint
from VoxelAdvSegLib.networks.vnet import block_channels

MEMORY = 0.95  # decay of the moving accuracies, about the last 20 steps


@dataclass(frozen=True)
class Drawn:
    """The voxels of one step, n per class on each side.

    classes (K * n,): whose head judges; weights (K,): 1 for classes with enough voxels on both
    sides (C*); counts (K,): voxels of each class on a side.
    """

    real: VoxelFeatures | PatchFeatures
    fake: VoxelFeatures | PatchFeatures
    classes: Tensor
    weights: Tensor
    real_counts: Tensor
    fake_counts: Tensor


class Adversary:
    """Draws voxels, judges them, and says what discriminator and encoder minimize.

    shared: the student's own fusion where fusion_sharing is "shared", else None.
    """

    def __init__(
        self,
        settings: Adversarial,
        classes: int,
        discriminator: Discriminator,
        shared: FeatureFusion | None = None,
    ) -> None:
        self.settings = settings
        self.classes = classes
        self.discriminator = discriminator
        fusion = discriminator.fusion if shared is None else shared
        assert fusion is not None
        self.fusion = fusion
        self.fusion_is_shared = shared is not None
        self.chance = 0.5 if settings.adv_form == "lsgan" else 0.0  # logit between fake and real
        # Smoothed "real" targets move the undecided logit: D = (1 - eps)/(2 - eps) there (row 15).
        smoothing = settings.disc_label_smoothing
        self.undecided = (1 - smoothing) / 2 if settings.adv_form == "lsgan" else math.log(1 - smoothing)

    def draw(self, features: Sequence[Tensor], real: Tensor, fake: Tensor, groups: Sequence[int] = ()) -> Drawn:
        """Voxels of every class on both sides.

        features: the chosen levels (B, C_l, d, h, w); real: (B, D, H, W) class of labeled voxels,
        -1 elsewhere; fake: the same for unlabeled voxels, by pseudo-label; groups: of the patches
        (networks/joint.py), which several processes need.
        """
        s = self.settings
        per_class = max(1, min(s.disc_voxels_per_class, s.disc_points_max // self.classes))
        real_voxels = draw_joint_voxels(real, groups, self.classes, per_class)
        fake_voxels = draw_joint_voxels(fake, groups, self.classes, per_class)
        enough = (torch.minimum(real_voxels.counts, fake_voxels.counts) >= s.min_class_voxels).float()
        if not s.disc_include_background:
            enough[0] = 0
        moved = [
            level.detach() if number in s.adv_detach_levels else level
            for number, level in zip(s.feature_levels, features, strict=True)
        ]
        shape = tuple(real.shape[1:])
        return Drawn(
            real=gather_joint(self.fusion, moved, real_voxels, shape),
            fake=gather_joint(self.fusion, moved, fake_voxels, shape),
            classes=torch.arange(self.classes, device=real.device).repeat_interleave(per_class),
            weights=enough,
            real_counts=real_voxels.counts,
            fake_counts=fake_voxels.counts,
        )

    def judge(self, voxels: VoxelFeatures | PatchFeatures, classes: Tensor, noise: float = 0.0) -> Tensor:
        """Logits (K, n) of drawn voxels; the fusion gets gradient only where it is the discriminator's.

        noise: sd added to the fused features (row 16).
        """
        fused = self.fusion.fuse(voxels, frozen=self.fusion_is_shared)
        if noise > 0:
            fused = fused + noise * torch.randn_like(fused)
        return self.discriminator.judge(fused, classes).reshape(self.classes, -1)

    def discriminator_objective(self, drawn: Drawn, noise: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
        """L_D on detached features, and the accuracies a person watches."""
        s = self.settings
        self.discriminator.train()
        real = self.judge(drawn.real.detached(), drawn.classes, noise)
        fake = self.judge(drawn.fake.detached(), drawn.classes, noise)
        loss = discriminator_loss(real, fake, drawn.weights, s.disc_label_smoothing, s.adv_form)
        observed = self._accuracies(real.detach(), fake.detach(), drawn)
        return loss, observed

    def adversarial_objective(self, drawn: Drawn, noise: float = 0.0) -> Tensor:
        """L_adv. The discriminator's weights are not the student's to move: the loop sees to that."""
        s = self.settings
        self.discriminator.eval()
        fake = self.judge(drawn.fake, drawn.classes, noise)
        loss = adversarial_loss(fake, drawn.weights, s.adv_form, s.adv_reduction, drawn.fake_counts)
        if s.adv_target == "both":
            # Labeled voxels towards "fake": the same loss of the logit mirrored at chance.
            mirrored = 2 * self.chance - self.judge(drawn.real, drawn.classes, noise)
            loss = loss + adversarial_loss(mirrored, drawn.weights, s.adv_form, s.adv_reduction, drawn.real_counts)
        return loss

    def _accuracies(self, real: Tensor, fake: Tensor, drawn: Drawn) -> dict[str, Tensor]:
        on_real = (real > self.undecided).float().mean(1)
        on_fake = (fake < self.undecided).float().mean(1)
        accuracy = ((on_real + on_fake) / 2 * drawn.weights).sum() / drawn.weights.sum().clamp_min(1)
        counted = drawn.weights.sum() > 0
        memory = self.discriminator.moving_accuracy
        memory.copy_(torch.where(counted, memory * MEMORY + accuracy * (1 - MEMORY), memory))
        unseen = torch.full_like(on_real, float("nan"))
        return {
            "accuracy_labeled": torch.where(drawn.weights > 0, on_real, unseen),
            "accuracy_unlabeled": torch.where(drawn.weights > 0, on_fake, unseen),
            "voxels_labeled": drawn.real_counts,
            "voxels_unlabeled": drawn.fake_counts,
            "moving_accuracy": memory.clone(),
        }

    @torch.no_grad()
    def note_held_out(self, held_out: Drawn) -> None:
        """Accuracy on labeled volumes that were never "real" lately, against the unlabeled ones.

        Only this says whether a difference of distributions was found or a few volumes were
        learned by heart (row 67; method.md 1.3).
        """
        if not bool(held_out.weights.sum() > 0):
            return
        self.discriminator.eval()
        on_real = (self.judge(held_out.real, held_out.classes) > self.undecided).float().mean(1)
        on_fake = (self.judge(held_out.fake, held_out.classes) < self.undecided).float().mean(1)
        balanced = ((on_real + on_fake) / 2 * held_out.weights).sum() / held_out.weights.sum()
        memory = self.discriminator.moving_held_out
        memory.mul_(MEMORY).add_(balanced * (1 - MEMORY))

    def gate(self) -> float:
        """0 where held-out volumes cannot be told from unlabeled ones, 1 where they always can."""
        return float((2 * (self.discriminator.moving_held_out - 0.5)).clamp(0, 1))


def make_fusion(config: Config, filters: int) -> FeatureFusion:
    """A fusion of the configured levels of a V-Net with that many filters."""
    a = config.adversarial
    channels = level_channels(block_channels(filters), a.feature_levels)
    return FeatureFusion(channels, a.feature_dim, a.fusion_kernel, a.fusion_align_corners, a.fusion_path)


def make_discriminator(config: Config, classes: int, fusion: FeatureFusion | None) -> Discriminator:
    """A fresh discriminator; fusion: its own, or None where it looks through the student's."""
    a = config.adversarial
    return Discriminator(fusion, classes, a.feature_dim, a.disc_hidden_layers, a.disc_heads, a.disc_norm)
