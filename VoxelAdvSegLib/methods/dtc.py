"""Dual-task consistency: a distance map, turned into a mask, agrees with the predicted probabilities.

Luo et al., AAAI 2021 (public code read).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.distance_maps import signed_distances
from VoxelAdvSegLib.methods.optimizers import autocast
from VoxelAdvSegLib.methods.sassnet import organ_terms
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.networks.two_heads import TwoHeads
from VoxelAdvSegLib.networks.vnet import VNet

STEEPNESS = 1500.0
SATURATED = 80.0  # beyond it e^-x is 0 in fp32, and nothing is lost


def mask_of_distance(distances: Tensor) -> Tensor:
    """Signed distances as masks from 0 to 1: one half on the border, steep beside it."""
    return (-STEEPNESS * distances.float()).clamp(-SATURATED, SATURATED).sigmoid()


class DualTask(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        self.heads = TwoHeads(network)
        super().__init__(config, self.heads, steps)
        self.classes = classes

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        settings = self.config.comparison
        images, label = self.labeled(batch)
        n = len(images)
        with autocast(self.config, images.device):
            logits, distances = self.heads.forward_both(torch.cat([images, batch.unlabeled]))
        logits, distances = logits.float(), distances.float()
        terms = organ_terms(self.config.supervision, logits[:n], label)
        reference = signed_distances(label, self.classes)
        terms["distance"] = Term(F.mse_loss(distances[:n], reference), settings.sdm_weight)
        weight = settings.dtc_weight * self.ramp(step)
        terms["consistency"] = Term(F.mse_loss(mask_of_distance(distances), logits.sigmoid()), weight)
        yield Turn("student", terms, {"consistency_weight": weight})
