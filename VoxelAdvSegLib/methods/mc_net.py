"""Mutual consistency: several decoders of one encoder follow each other's sharpened predictions.

Wu et al., MICCAI 2021 (two decoders) and Medical Image Analysis 2022 (three; public code read).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.optimizers import autocast
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.methods.supervised import supervised_terms
from VoxelAdvSegLib.networks.decoders import ManyDecoders
from VoxelAdvSegLib.networks.vnet import VNet

TEMPERATURE = 0.1


def sharpen(probabilities: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """p^(1/T) over its sum: (0.6, 0.4) becomes (0.983, 0.017) at T = 0.1. Classes along dimension 1."""
    # Over the largest first, or the powers of many classes would leave fp32's range.
    relative = (probabilities / probabilities.amax(1, keepdim=True)) ** (1 / temperature)
    return relative / relative.sum(1, keepdim=True)


def mutual_consistency(probabilities: Sequence[Tensor], stop_gradient: bool = False) -> Tensor:
    """Sum over ordered pairs of decoders of the mean of (p_i - s(p_j))^2."""
    targets = [sharpen(p.detach() if stop_gradient else p) for p in probabilities]
    pairs = permutations(range(len(probabilities)), 2)
    return torch.stack([F.mse_loss(probabilities[i], targets[j]) for i, j in pairs]).sum()


class MutualConsistency(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        self.decoders = ManyDecoders(network, classes, config.comparison.mcnet_decoders)
        super().__init__(config, self.decoders, steps)

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        settings = self.config.comparison
        images, label = self.labeled(batch)
        n = len(images)
        with autocast(self.config, images.device):
            outputs = self.decoders.forward_all(torch.cat([images, batch.unlabeled]))
        logits = [output.float() for output in outputs]
        probabilities = [output.softmax(1) for output in logits]
        own = [
            supervised_terms(self.config.supervision, z[:n], p[:n], label)
            for z, p in zip(logits, probabilities, strict=True)
        ]
        terms = {
            name: Term(torch.stack([of[name].value for of in own]).sum(), 0.5 * own[0][name].weight) for name in own[0]
        }
        weight = settings.mcnet_weight * self.ramp(step)
        terms["consistency"] = Term(mutual_consistency(probabilities, settings.mcnet_stop_gradient), weight)
        yield Turn("student", terms, {"consistency_weight": weight})
