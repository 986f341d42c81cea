"""Shape-aware semi-supervised segmentation: distance maps of unlabeled scans shall look like those of labeled ones.

Li, Zhang & He, MICCAI 2020 (public code read). A second head predicts each organ's signed distance
map; a discriminator of whole maps with their image tells labeled from unlabeled patches.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config, Supervision
from VoxelAdvSegLib.losses import dice_loss
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.distance_maps import signed_distances
from VoxelAdvSegLib.methods.optimizers import autocast, make_opponent_player
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.networks.map_discriminators import VolumeDiscriminator
from VoxelAdvSegLib.networks.two_heads import TwoHeads
from VoxelAdvSegLib.networks.vnet import VNet

FEW_LABELS = 8  # up to here the published weight is larger
UNLABELED, LABELED = 0, 1  # the discriminator's classes


def organ_terms(settings: Supervision, logits: Tensor, label: Tensor) -> dict[str, Term]:
    """Dice of sigmoid maps, one per organ (B, K-1, D, H, W); with cross-entropy per organ where it has weight."""
    probabilities = logits.sigmoid()
    background = 1 - probabilities.amax(1, keepdim=True)
    dice = dice_loss(
        torch.cat([background, probabilities], 1), label, denominator=settings.dice_denominator,
        pool=settings.dice_pool, absent=settings.dice_absent,
    )  # fmt: skip
    if settings.ce_weight <= 0:
        return {"dice": Term(dice)}
    truth = torch.stack([label == organ for organ in range(1, logits.shape[1] + 1)], 1).to(logits.dtype)
    share = 1 / (1 + settings.ce_weight)
    binary = F.binary_cross_entropy_with_logits(logits, truth)
    return {"dice": Term(dice, share), "cross_entropy": Term(binary, share * settings.ce_weight)}


def adversarial_weight(wish: float | None, labeled_cases: int) -> float:
    """The configured weight, or the published one: 0.015 with 8 labeled cases, 0.01 with 16."""
    return wish if wish is not None else 0.015 if labeled_cases <= FEW_LABELS else 0.01


class ShapeAware(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        channels = network.in_channels
        self.heads = TwoHeads(network)
        self.opponent = VolumeDiscriminator(classes - 1, channels)
        super().__init__(config, self.heads, steps, others={"discriminator": self.opponent})
        self.players["discriminator"] = make_opponent_player(config, list(self.opponent.parameters()))
        self.classes = classes
        self.weight = adversarial_weight(config.comparison.sassnet_adv_weight, labeled_cases)

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        images, label = self.labeled(batch)
        n = len(images)
        everything = torch.cat([images, batch.unlabeled])
        with autocast(self.config, images.device):
            logits, distances = self.heads.forward_both(everything)
        logits, distances = logits.float(), distances.float()
        terms = organ_terms(self.config.supervision, logits[:n], label)
        reference = signed_distances(label, self.classes)
        terms["distance"] = Term(F.mse_loss(distances[:n], reference), self.config.comparison.sdm_weight)
        self.opponent.eval()
        judged = self.opponent(distances[n:], batch.unlabeled)
        called = torch.full((len(judged),), LABELED, device=judged.device)
        terms["adversarial"] = Term(F.cross_entropy(judged, called), self.weight * self.ramp(step))
        yield Turn("student", terms)
        yield self._discriminator_turn(everything, n)

    def _discriminator_turn(self, images: Tensor, labeled: int) -> Turn:
        """On the maps of the student that has just moved, in evaluation mode."""
        self.heads.eval()
        with torch.no_grad(), autocast(self.config, images.device):
            distances = self.heads.forward_both(images)[1].float()
        self.heads.train()
        self.opponent.train()
        judged = self.opponent(distances, images)
        origin = torch.full((len(images),), UNLABELED, device=images.device)
        origin[:labeled] = LABELED
        right = (judged.argmax(1) == origin).float()
        observed = {"accuracy_labeled_maps": right[:labeled].mean(), "accuracy_unlabeled_maps": right[labeled:].mean()}
        return Turn("discriminator", {"discriminator": Term(F.cross_entropy(judged, origin))}, observed)
