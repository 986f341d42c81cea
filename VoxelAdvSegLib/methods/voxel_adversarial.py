"""Voxel-wise adversarial semi-supervised learning (Lee et al.; Eq. 1 to 6; method.md 1).

One step: the teacher looks at all patches without gradient and labels the unlabeled voxels it is
sure of (Eq. 1); the student looks at them once; the discriminator learns to tell labeled from
unlabeled voxels by their fused features (Eq. 2); the student minimizes
L_sup + alpha L_adv + beta L_feature + gamma(t) L_c (Eq. 6). With bidirectional copy-paste (row 66)
the student sees patches in which both origins meet, and unlabeled voxels carry the teacher's class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.data.components import keep_largest
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.losses import consistency, cross_entropy, dice_loss, pseudo_label
from VoxelAdvSegLib.methods.adversary import Adversary, Drawn, make_discriminator, make_fusion
from VoxelAdvSegLib.methods.contract import Batch, Player, Term, Turn
from VoxelAdvSegLib.methods.copy_paste import (
    near_seam,
    paste_bidirectional,
    paste_labeled,
)
from VoxelAdvSegLib.methods.optimizers import autocast, make_discriminator_player, make_student_player
from VoxelAdvSegLib.methods.representation import FeatureLayer, FeaturePairs
from VoxelAdvSegLib.methods.supervised import encoder_parameters, supervised_terms
from VoxelAdvSegLib.networks import joint
from VoxelAdvSegLib.networks.teacher import decay_at, make_teacher, move_teacher, teacher_mode
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.schedule import gaussian_ramp, linear_ramp

HELD_OUT_STEPS = 200  # steps for which one fold of labeled cases is kept from the "real" side
HELD_OUT_FOLDS = 4


@dataclass(frozen=True)
class Seen:
    """What one step knows of its voxels; B patches of D x H x W.

    logits, probabilities, target: (B, K, D, H, W), target the teacher's; features: all nine
    levels of the student; real, fake: (B, D, H, W) class of labeled and of confident unlabeled
    voxels, -1 elsewhere; unlabeled: bool; pseudo: teacher's class of pasted unlabeled voxels;
    case: (B, D, H, W) number of the labeled case a voxel comes from, -1 for none.
    """

    logits: Tensor
    probabilities: Tensor
    features: list[Tensor]
    target: Tensor | None
    label: Tensor
    real: Tensor
    fake: Tensor
    unlabeled: Tensor
    pseudo: Tensor | None
    case: Tensor


class VoxelAdversarial:
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        self.config = config
        self.classes = classes
        self.steps = steps
        self.labeled_cases = labeled_cases
        self.student = network
        self.teacher: VNet | None = None
        self.feature_layer: FeatureLayer | None = None
        self.teacher_feature_layer: FeatureLayer | None = None
        adversarial, features = config.adversarial, config.representation
        self.adversarial_on = adversarial.adv_weight > 0
        self.features_on = features.feature_weight > 0
        self.pasting = config.supervision.copy_paste == "bidirectional"
        _check_setting(config, labeled_cases)
        student = list(network.parameters())
        if self.features_on:
            self.feature_layer = FeatureLayer(
                make_fusion(config, network.filters), adversarial.feature_dim, features.feature_mlp_norm
            )
            self.teacher_feature_layer = make_teacher(self.feature_layer)
            student += list(self.feature_layer.parameters())
        if (
            self.adversarial_on
            or self.features_on
            or self.pasting
            or config.consistency.consistency_weight > 0
            or config.training.eval_model == "teacher"
        ):
            self.teacher = make_teacher(network)
        everything: dict[str, nn.Module | None] = {
            "student": self.student,
            "teacher": self.teacher,
            "feature_layer": self.feature_layer,
            "teacher_feature_layer": self.teacher_feature_layer,
        }
        players = {"student": make_student_player(config, student)}
        if self.adversarial_on:
            shared = None
            if adversarial.fusion_sharing == "shared" and self.feature_layer is not None:
                shared = self.feature_layer.fusion
            own = make_fusion(config, network.filters) if shared is None else None
            discriminator = make_discriminator(config, classes, own)
            everything["discriminator"] = discriminator
            self.adversary = Adversary(adversarial, classes, discriminator, shared)
            players["discriminator"] = make_discriminator_player(config, list(discriminator.parameters()))
        self.networks = nn.ModuleDict({k: network for k, network in everything.items() if network is not None})
        self.pairs = FeaturePairs(features, classes, adversarial.min_class_voxels)
        self.players: Mapping[str, Player] = players

    # --- the step -----------------------------------------------------------------------------

    def batch_sizes(self, step: int) -> tuple[int, int]:
        patches = self.config.patches
        assert patches.batch_labeled is not None and patches.batch_unlabeled is not None
        if self._warming_up(step):
            return patches.batch_labeled + patches.batch_unlabeled, 0
        return patches.batch_labeled, patches.batch_unlabeled

    def _warming_up(self, step: int) -> bool:
        """Before pseudo-labels are worth pasting, the step is that of labeled copy-paste."""
        return self.pasting and step < self.config.supervision.copy_paste_warmup * self.steps

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        seen = self._look(batch, step)
        first = self.config.adversarial.disc_order == "first"
        drawn = self._draw(seen, step)
        if first:
            yield from self._discriminator_turns(seen, drawn, step)
        yield self._student_turn(seen, drawn, batch, step)
        if not first:
            yield from self._discriminator_turns(seen, drawn, step)

    def _look(self, batch: Batch, step: int) -> Seen:
        """Teacher, pseudo-labels, mixing, and the student's one forward."""
        settings = self.config
        labeled, label = batch.labeled, batch.label
        shape = tuple(label.shape[1:])
        case = batch.labeled_case[:, None, None, None].expand(-1, *shape)
        if settings.supervision.copy_paste == "labeled" or self._warming_up(step):
            labeled, label, case = paste_labeled((labeled, label, case), settings.supervision.copy_paste_box)
        self._teacher_features: list[Tensor] | None = None
        self._teacher_label = label
        self._groups = (len(labeled), len(batch.unlabeled))
        target = self._teach(torch.cat([labeled, batch.unlabeled]), step)
        nowhere = torch.full((len(batch.unlabeled), *shape), -1, dtype=torch.long, device=label.device)
        if self.pasting and len(batch.unlabeled):
            assert target is not None
            mixed = paste_bidirectional(labeled, label, batch.unlabeled, settings.supervision.copy_paste_box)
            images, reference, unlabeled = mixed.images, mixed.label, ~mixed.from_labeled
            n = len(labeled)
            guess = target[n:].argmax(1)
            if settings.supervision.pseudo_largest_component:
                guess = self._without_islands(guess)
            pseudo = torch.where(unlabeled, mixed.mix(label, guess), -1)
            target = mixed.mix(target[:n], target[n:])
            case = torch.where(mixed.from_labeled, torch.cat([case, case]), -1)
        else:
            images, pseudo = torch.cat([labeled, batch.unlabeled]), None
            reference = torch.cat([label, nowhere])
            unlabeled = torch.zeros_like(reference, dtype=torch.bool)
            unlabeled[len(labeled) :] = True
            case = torch.cat([case, nowhere])
        logits, features = self._forward_student(self._disturbed(images, "both"), len(labeled))
        logits = logits.float()
        probabilities = logits.softmax(1)
        fake = self._confident(probabilities, target, unlabeled)
        real = _erode(reference, settings.adversarial.real_label_erosion)
        if self.pasting and len(batch.unlabeled):
            seam = near_seam(~unlabeled, settings.adversarial.adv_seam_margin)
            real, fake = real.masked_fill(seam, -1), fake.masked_fill(seam, -1)
        return Seen(logits, probabilities, features, target, reference, real, fake, unlabeled, pseudo, case)

    def _without_islands(self, label: Tensor) -> Tensor:
        """Each patch's organs (n, D, H, W) as their largest part: a teacher's islands are mostly mistakes."""
        patches = [keep_largest(patch, self.classes - 1, connectivity=1) for patch in label.cpu().numpy()]
        return torch.from_numpy(np.stack(patches)).to(label.device)

    def _teach(self, images: Tensor, step: int) -> Tensor | None:
        """The teacher's probabilities (B, K, D, H, W), and its features of the labeled patches."""
        teacher = self.teacher
        if teacher is None:
            return None
        c = self.config.consistency
        noise = joint.randn_like(images, self._groups) * c.consistency_noise
        noisy = images + noise.clamp(-c.consistency_noise_clip, c.consistency_noise_clip)
        with (
            torch.no_grad(),
            teacher_mode(teacher, c.teacher_norm, c.teacher_dropout, c.teacher_buffers),
            autocast(self.config, images.device),
        ):
            logits, features = teacher.forward_features(noisy)
        self._teacher_features = features
        return logits.float().softmax(1)

    def _disturbed(self, images: Tensor, who: str) -> Tensor:
        c = self.config.consistency
        if c.consistency_noise_on != who:
            return images
        noise = joint.randn_like(images, self._groups) * c.consistency_noise
        return images + noise.clamp(-c.consistency_noise_clip, c.consistency_noise_clip)

    def _forward_student(self, images: Tensor, labeled: int) -> tuple[Tensor, list[Tensor]]:
        student = self.student
        with autocast(self.config, images.device):
            if self.config.consistency.batch_norm_mix == "joint" or labeled == len(images):
                return student.forward_features(images)
            parts = [student.forward_features(part) for part in (images[:labeled], images[labeled:])]
        return torch.cat([p[0] for p in parts]), [
            torch.cat(levels) for levels in zip(*[p[1] for p in parts], strict=True)
        ]

    def _confident(self, student: Tensor, target: Tensor | None, unlabeled: Tensor) -> Tensor:
        """Classes (B, D, H, W) of the unlabeled voxels that are sure (Eq. 1), -1 elsewhere."""
        a = self.config.adversarial
        source = student.detach() if a.pseudo_source == "student" else target
        if source is None:
            return torch.full_like(unlabeled, -1, dtype=torch.long)
        sure = pseudo_label(source, a.pseudo_threshold, a.pseudo_below, a.pseudo_quantile, unlabeled)
        return torch.where(unlabeled, _erode(sure, a.pseudo_erosion), -1)

    # --- the players --------------------------------------------------------------------------

    def _draw(self, seen: Seen, step: int) -> Drawn | None:
        a = self.config.adversarial
        if not self.adversarial_on or step < a.disc_start * self.steps or not bool(seen.unlabeled.any()):
            return None
        chosen = [seen.features[level - 1] for level in a.feature_levels]
        real = seen.real
        if a.adv_gate == "held_out":
            held_out = self._held_out(seen.case, step)
            self.adversary.note_held_out(
                self.adversary.draw(
                    [c.detach() for c in chosen], real.masked_fill(~held_out, -1), seen.fake, self._groups
                )
            )
            real = real.masked_fill(held_out, -1)
        return self.adversary.draw(chosen, real, seen.fake, self._groups)

    def _held_out(self, case: Tensor, step: int) -> Tensor:
        """Voxels of the labeled cases whose turn it is to be unknown to the discriminator."""
        folds = max(1, min(HELD_OUT_FOLDS, self.labeled_cases))
        return (case >= 0) & (case % folds == step // HELD_OUT_STEPS % folds)

    def _discriminator_turns(self, seen: Seen, drawn: Drawn | None, step: int) -> Iterator[Turn]:
        a = self.config.adversarial
        if drawn is None or not bool(drawn.weights.any()):
            return
        times = int(a.disc_steps) if a.disc_steps >= 1 else int(step % round(1 / a.disc_steps) == 0)
        if float(self.adversary.discriminator.moving_accuracy) > a.disc_acc_ceiling:
            # It has won for now: measure it, but let the encoder catch up (row 14).
            with torch.no_grad():
                _, observed = self.adversary.discriminator_objective(drawn, self._input_noise(step))
            yield Turn("discriminator", {}, observed)
            return
        for _ in range(times):
            loss, observed = self.adversary.discriminator_objective(drawn, self._input_noise(step))
            yield Turn("discriminator", {"discriminator": Term(loss)}, observed)

    def _student_turn(self, seen: Seen, drawn: Drawn | None, batch: Batch, step: int) -> Turn:
        s = self.config.supervision
        terms = supervised_terms(s, seen.logits, seen.probabilities, seen.label)
        observed: dict[str, Tensor | float] = {}
        mixing = self.pasting and len(batch.unlabeled) > 0
        if mixing:
            terms["pseudo_label"] = self._pseudo_term(seen, step)
        if drawn is not None:
            alpha = self._alpha(step)
            observed["adversarial_weight"] = alpha
            if self.config.adversarial.adv_gate == "held_out":
                observed["held_out_accuracy"] = self.adversary.discriminator.moving_held_out.clone()
            if alpha > 0:
                loss = self.adversary.adversarial_objective(drawn, self._input_noise(step))
                terms["adversarial"] = Term(loss, alpha)
        if self.feature_layer is not None:
            loss, signs = self._feature_term(seen)
            terms["feature"] = Term(loss, self.config.representation.feature_weight)
            observed |= signs
        gamma = self._gamma(step)
        observed["consistency_weight"] = gamma
        if gamma > 0 and seen.target is not None:
            terms["consistency"] = Term(self._consistency_term(seen), gamma)
        if seen.target is not None and bool(seen.unlabeled.any()):
            observed |= self._confidence(seen)
        return Turn("student", terms, observed)

    def _pseudo_term(self, seen: Seen, step: int) -> Term:
        """Dice and cross-entropy of unlabeled voxels against the teacher's class (row 66)."""
        s = self.config.supervision
        assert seen.pseudo is not None
        dice = dice_loss(
            seen.probabilities, seen.pseudo, denominator=s.dice_denominator, pool=s.dice_pool,
            absent=s.dice_absent,
        )  # fmt: skip
        value = (dice + s.ce_weight * cross_entropy(seen.logits, seen.pseudo)) / (1 + s.ce_weight)
        start = s.copy_paste_warmup * self.steps
        return Term(value, s.pseudo_weight * gaussian_ramp(step - start, s.pseudo_rampup * self.steps))

    def _feature_term(self, seen: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        levels = self.config.adversarial.feature_levels
        assert self.feature_layer is not None and self.teacher_feature_layer is not None
        assert self._teacher_features is not None
        label = seen.label
        if self.config.representation.feature_on_unlabeled:
            label = torch.where(seen.unlabeled, seen.fake, label)
        labeled = len(self._teacher_label)
        return self.pairs.objective(
            self.feature_layer,
            self.teacher_feature_layer,
            [seen.features[level - 1] for level in levels],
            [self._teacher_features[level - 1][:labeled] for level in levels],
            label,
            self._teacher_label,
        )

    def _consistency_term(self, seen: Seen) -> Tensor:
        c = self.config.consistency
        assert seen.target is not None
        valid = seen.unlabeled.float() if c.consistency_on == "unlabeled" else None
        return consistency(seen.probabilities, seen.target, c.consistency_loss, valid)

    def _confidence(self, seen: Seen) -> dict[str, Tensor]:
        """Teacher's mean confidence, and part of the unlabeled voxels above the threshold."""
        assert seen.target is not None
        best = seen.target.amax(1)
        count = seen.unlabeled.sum().clamp_min(1)
        return {
            "teacher_confidence": (best * seen.unlabeled).sum() / count,
            "pseudo_labeled": ((seen.fake >= 0) & seen.unlabeled).sum() / count,
        }

    def _alpha(self, step: int) -> float:
        a = self.config.adversarial
        self._adversarial_share = linear_ramp(step, a.adv_start * self.steps, a.adv_ramp * self.steps)
        if a.adv_gate == "held_out":
            self._adversarial_share *= self.adversary.gate()
        return a.adv_weight * float(self.adversary.discriminator.weight_scale) * self._adversarial_share

    def _input_noise(self, step: int) -> float:
        """Instance noise, gone at the end of the run (row 16)."""
        return self.config.adversarial.disc_input_noise * max(0.0, 1 - step / self.steps)

    def _gamma(self, step: int) -> float:
        c = self.config.consistency
        floored = step // c.consistency_quantum * c.consistency_quantum
        return c.consistency_weight * gaussian_ramp(floored, c.consistency_rampup * self.steps)

    # --- after the step -----------------------------------------------------------------------

    def after_step(self, step: int) -> None:
        if self.teacher is None or (step + 1) % self.config.consistency.ema_every:
            return
        c = self.config.consistency
        decay = decay_at(step // c.ema_every, c.ema_decay)
        move_teacher(self.teacher, self.student, decay, c.teacher_buffers)
        if self.feature_layer is not None and self.teacher_feature_layer is not None:
            move_teacher(self.teacher_feature_layer, self.feature_layer, decay, c.teacher_buffers)

    def shared_parameters(self) -> list[nn.Parameter]:
        return encoder_parameters(self.student)

    def note_gradient_ratios(self, ratios: Mapping[str, float]) -> None:
        """Hold the adversarial gradient at its target part of the supervised one (row 22).

        Ramp and gate are left out of the comparison: what they hold back is not to be made up for.
        """
        a = self.config.adversarial
        ratio = ratios.get("adversarial", 0.0)
        if a.adv_weight_mode == "balanced" and ratio > 0:
            scale = self.adversary.discriminator.weight_scale
            scale.mul_(a.adv_balance_target * self._adversarial_share / ratio).clamp_(1.0, 100.0)

    def segmenter(self) -> nn.Module:
        return self.networks[self.config.training.eval_model]

    def exports(self) -> dict[str, dict[str, Tensor]]:
        weights = {
            name: dict(self.networks[name].state_dict()) for name in ("student", "teacher") if name in self.networks
        }
        if self.adversarial_on:
            # A shipped discriminator has a fusion of its own, also where the student lent it.
            fusion = {f"fusion.{k}": v for k, v in self.adversary.fusion.state_dict().items()}
            weights["discriminator"] = {**self.adversary.discriminator.state_dict(), **fusion}
        return weights


def _check_setting(config: Config, labeled_cases: int) -> None:
    """Raises ConfigError for what the settings, the plan and the data ask together and cannot have."""
    patches, adversarial = config.patches, config.adversarial
    if config.supervision.copy_paste == "bidirectional" and patches.batch_labeled != patches.batch_unlabeled:
        raise ConfigError(
            "bidirectional copy-paste pairs labeled with unlabeled patches",
            expected="batch_labeled = batch_unlabeled",
            found=f"{patches.batch_labeled} and {patches.batch_unlabeled}",
            do="make them equal, or set copy_paste to labeled or none",
        )
    if adversarial.adv_weight > 0 and adversarial.adv_gate == "held_out" and labeled_cases < 2:
        raise ConfigError(
            "the gate keeps labeled cases from the discriminator in turn",
            expected="at least 2 labeled cases",
            found=str(labeled_cases),
            do="label another case, or set adv_gate=off",
        )


def _erode(label: Tensor, voxels: int) -> Tensor:
    """Classes with the voxels next to another class set to -1 (rows 29, 31)."""
    if voxels <= 0:
        return label
    values = label[:, None].float()
    size = 2 * voxels + 1
    largest = F.max_pool3d(values, size, 1, voxels)
    smallest = -F.max_pool3d(-values, size, 1, voxels)
    return torch.where((largest == smallest)[:, 0], label, -1)
