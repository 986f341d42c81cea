"""Deep atlas prior, a reconstruction after Zheng et al., MICCAI 2019.

An atlas of the labeled masks says where labels vary; a focal loss weighs these voxels more. A
discriminator tells reference maps from predictions voxel by voxel, and unlabeled voxels that it
takes for reference teach themselves. Differences: the original registers whole scans to build its
atlas; here patches are laid over each other by centre of mass and extent as training sees them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.losses import cross_entropy
from VoxelAdvSegLib.methods.atlas import Atlas
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.optimizers import make_opponent_player
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.networks import joint
from VoxelAdvSegLib.networks.map_discriminators import PatchDiscriminator
from VoxelAdvSegLib.networks.vnet import VNet

FOCUS = 2.0  # exponent of the focal loss


def focal(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of (1 - p)^2 (-ln p) of the reference class; weight (B, D, H, W) is taken relative to its mean."""
    loss = F.cross_entropy(logits, label, reduction="none")
    loss = (1 - (-loss).exp()) ** FOCUS * loss
    if weight is None:
        return loss.mean()
    weighted, total = joint.joint_sum(torch.stack([(loss * weight).sum(), weight.sum()]))
    return weighted / total


class DeepAtlasPrior(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        self.atlas = Atlas(classes)
        self.opponent = PatchDiscriminator(classes)
        super().__init__(config, network, steps, others={"discriminator": self.opponent, "atlas": self.atlas})
        self.players["discriminator"] = make_opponent_player(config, list(self.opponent.parameters()))
        self.classes = classes

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        settings = self.config.comparison
        images, label = self.labeled(batch)
        n = len(images)
        logits = self.see(torch.cat([images, batch.unlabeled]))
        probabilities = logits.softmax(1)
        self.atlas.add(joint.gather(label, (n,)))
        terms = {"focal": Term(focal(logits[:n], label, 1 + self.atlas.uncertainty(label)))}
        judged = self.opponent(probabilities)
        real = torch.ones_like(judged)
        for name, part, weight in (
            ("adversarial_labeled", slice(None, n), settings.dap_adv_weight_labeled),
            ("adversarial_unlabeled", slice(n, None), settings.dap_adv_weight_unlabeled),
        ):
            terms[name] = Term(F.binary_cross_entropy_with_logits(judged[part], real[part]), weight)
        trusted = judged[n:].detach().sigmoid() > settings.dap_trust
        own = logits[n:].detach().argmax(1)
        weight = settings.dap_self_weight * self.ramp(step)
        terms["self_training"] = Term(cross_entropy(logits[n:], own, trusted), weight)
        yield Turn("student", terms, {"trusted_voxels": trusted.float().mean()})
        yield self._discriminator_turn(probabilities.detach(), label)

    def _discriminator_turn(self, predicted: Tensor, label: Tensor) -> Turn:
        reference = F.one_hot(label, self.classes).movedim(-1, 1).to(predicted.dtype)
        real, fake = self.opponent(reference), self.opponent(predicted)
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        observed = {
            "accuracy_reference_maps": (real > 0).float().mean(),
            "accuracy_predicted_maps": (fake < 0).float().mean(),
        }
        return Turn("discriminator", {"discriminator": Term(loss)}, observed)
