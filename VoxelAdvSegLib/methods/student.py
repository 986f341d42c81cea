"""The housekeeping that methods with one student share; what a step minimizes is each method's own file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.methods.contract import Batch, Player
from VoxelAdvSegLib.methods.copy_paste import paste_labeled
from VoxelAdvSegLib.methods.optimizers import autocast, make_student_player
from VoxelAdvSegLib.methods.supervised import encoder_parameters
from VoxelAdvSegLib.networks import joint
from VoxelAdvSegLib.networks.teacher import decay_at, make_teacher, move_teacher, teacher_mode
from VoxelAdvSegLib.networks.vnet import VNet

EPOCHS = 40  # of the published ramp, which rises by epochs: 150 steps of 6000 (method.md 3)


class StudentMethod:
    """Networks, players and teachers; turns() is left to the method.

    student: a V-Net, or a module around one that has it as `vnet`, gives its logits when called and
    its weights as a plain V-Net's by `plain_state()`. projection: trained with the student. others:
    what a checkpoint must hold besides. teacher: whether the method needs one; one that the
    configuration evaluates is made in any case.
    """

    def __init__(
        self,
        config: Config,
        student: nn.Module,
        steps: int,
        *,
        teacher: bool = False,
        projection: nn.Module | None = None,
        others: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.config = config
        self.steps = steps
        self.student = student
        trained = {"student": student} | ({} if projection is None else {"projection": projection})
        self.networks = nn.ModuleDict({**trained, **(others or {})})
        self._averages: list[tuple[nn.Module, nn.Module]] = []
        if teacher or config.training.eval_model == "teacher":
            for name, fast in trained.items():
                slow = make_teacher(fast)
                self.networks["teacher" if name == "student" else f"teacher_{name}"] = slow
                self._averages.append((slow, fast))
        parameters = [p for network in trained.values() for p in network.parameters()]
        self.players: dict[str, Player] = {"student": make_student_player(config, parameters)}

    # --- pieces of a step ---------------------------------------------------------------------

    def batch_sizes(self, step: int) -> tuple[int, int]:
        patches = self.config.patches
        assert patches.batch_labeled is not None and patches.batch_unlabeled is not None
        return patches.batch_labeled, patches.batch_unlabeled

    def labeled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images and labels, with copy-paste among them where the preset has any kind of it.

        So every method has what `supervised` has: the ingredients that need no unlabeled scan.
        """
        settings = self.config.supervision
        if settings.copy_paste == "none":
            return batch.labeled, batch.label
        images, label = paste_labeled((batch.labeled, batch.label), settings.copy_paste_box)
        return images, label

    def see(self, images: Tensor) -> Tensor:
        """The student's logits (B, K, D, H, W) in fp32."""
        with autocast(self.config, images.device):
            logits = self.student(images)
        return logits.float()

    def see_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `see`, and the outputs of blocks 1 to 9."""
        assert isinstance(self.student, VNet)
        with autocast(self.config, images.device):
            logits, features = self.student.forward_features(images)
        return logits.float(), features

    @torch.no_grad()
    def teach(self, images: Tensor, dropout: bool | None = None, labeled: int = 0) -> tuple[Tensor, list[Tensor]]:
        """The teacher's probabilities (B, K, D, H, W) of noisy images, and the outputs of its blocks 1 to 9.

        Noise is drawn anew in every call; dropout None: as the configuration says; labeled: how many of
        the images come first as a group of their own (networks/joint.py).
        """
        teacher, c = self.networks["teacher"], self.config.consistency
        assert isinstance(teacher, VNet)
        use_dropout = c.teacher_dropout if dropout is None else dropout
        with (
            teacher_mode(teacher, c.teacher_norm, use_dropout, c.teacher_buffers),
            autocast(self.config, images.device),
        ):
            logits, features = teacher.forward_features(self.noisy(images, labeled))
        return logits.float().softmax(1), features

    def noisy(self, images: Tensor, labeled: int = 0) -> Tensor:
        """Images with the clipped noise of the published mean teachers."""
        c = self.config.comparison
        noise = joint.randn_like(images, (labeled, len(images) - labeled)) * c.mt_noise
        return images + noise.clamp(-c.mt_noise_clip, c.mt_noise_clip)

    def ramp(self, step: int) -> float:
        """Part of a weight that a step has reached, from e^-5 to 1."""
        return epoch_ramp(step, self.steps)

    # --- the rest of the contract -------------------------------------------------------------

    def after_step(self, step: int) -> None:
        c = self.config.consistency
        for slow, fast in self._averages:
            move_teacher(slow, fast, decay_at(step, c.ema_decay), c.teacher_buffers)

    def shared_parameters(self) -> list[nn.Parameter]:
        return encoder_parameters(plain_vnet(self.student))

    def note_gradient_ratios(self, ratios: Mapping[str, float]) -> None:
        """Nothing is balanced here."""

    def segmenter(self) -> nn.Module:
        return self.networks[self.config.training.eval_model]

    def exports(self) -> dict[str, dict[str, Tensor]]:
        return {n: plain_state(self.networks[n]) for n in ("student", "teacher") if n in self.networks}


def epoch_ramp(step: int, total: int) -> float:
    """exp(-5 (1 - e/40)^2) with e the epochs done: floor(t/150) where 6000 steps are trained."""
    epoch = min(step * EPOCHS // max(1, total), EPOCHS)
    return math.exp(-5 * (1 - epoch / EPOCHS) ** 2)


def plain_vnet(network: nn.Module) -> VNet:
    """The V-Net that a student is, or is built around."""
    found = network if isinstance(network, VNet) else network.vnet
    assert isinstance(found, VNet)
    return found


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """Weights that a plain V-Net of K classes loads: all that segmenting needs."""
    if isinstance(network, VNet):
        return dict(network.state_dict())
    return network.plain_state()  # type: ignore[operator]
