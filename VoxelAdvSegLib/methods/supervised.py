"""Training on labeled scans alone: the yardstick of every comparison.

V-Net with Dice (and cross-entropy where set), Yu et al., MICCAI 2019. Under a preset it gets every
ingredient of the semi-supervised method that needs no unlabeled scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from VoxelAdvSegLib.config import Config, Supervision
from VoxelAdvSegLib.losses import cross_entropy, dice_loss
from VoxelAdvSegLib.methods.contract import Batch, Player, Term, Turn
from VoxelAdvSegLib.methods.copy_paste import paste_labeled
from VoxelAdvSegLib.methods.optimizers import autocast, make_student_player
from VoxelAdvSegLib.networks.teacher import decay_at, make_teacher, move_teacher
from VoxelAdvSegLib.networks.vnet import VNet


def supervised_terms(settings: Supervision, logits: Tensor, probabilities: Tensor, label: Tensor) -> dict[str, Term]:
    """Dice of Eq. 4, with cross-entropy where it has weight (then half of the sum, row 54)."""
    dice = dice_loss(
        probabilities,
        label,
        denominator=settings.dice_denominator,
        pool=settings.dice_pool,
        absent=settings.dice_absent,
    )
    if settings.ce_weight <= 0:
        return {"dice": Term(dice)}
    share = 1 / (1 + settings.ce_weight)
    return {
        "dice": Term(dice, share),
        "cross_entropy": Term(cross_entropy(logits, label), share * settings.ce_weight),
    }


class Supervised:
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        self.config = config
        self.steps = steps
        self.student = network
        self.networks = nn.ModuleDict({"student": network})
        if config.training.eval_model == "teacher":
            self.networks["teacher"] = make_teacher(network)
        self.players: Mapping[str, Player] = {"student": make_student_player(config, list(network.parameters()))}

    def batch_sizes(self, step: int) -> tuple[int, int]:
        patches = self.config.patches
        assert patches.batch_labeled is not None and patches.batch_unlabeled is not None
        more = patches.batch_unlabeled if patches.supervised_equal_patches else 0
        return patches.batch_labeled + more, 0

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        settings = self.config.supervision
        images, label = batch.labeled, batch.label
        if settings.copy_paste != "none":
            images, label = paste_labeled((images, label), settings.copy_paste_box)
        with autocast(self.config, images.device):
            logits = self.student(images)
        logits = logits.float()
        yield Turn("student", supervised_terms(settings, logits, logits.softmax(1), label))

    def after_step(self, step: int) -> None:
        if "teacher" in self.networks:
            consistency = self.config.consistency
            move_teacher(
                self.networks["teacher"],
                self.networks["student"],
                decay_at(step, consistency.ema_decay),
                consistency.teacher_buffers,
            )

    def shared_parameters(self) -> list[nn.Parameter]:
        return encoder_parameters(self.student)

    def note_gradient_ratios(self, ratios: Mapping[str, float]) -> None:
        """Nothing is balanced here."""

    def segmenter(self) -> nn.Module:
        return self.networks[self.config.training.eval_model]

    def exports(self) -> dict[str, dict[str, Tensor]]:
        return {name: dict(network.state_dict()) for name, network in self.networks.items()}


def encoder_parameters(network: VNet) -> list[nn.Parameter]:
    """Blocks 1 to 4 and the ways down between them: where every term's gradient arrives."""
    modules = [*list(network.blocks)[:4], *list(network.downs)[:3]]
    return [p for module in modules for p in module.parameters()]
