"""Double-uncertainty weighted mean teacher, a reconstruction after Wang et al., MICCAI 2020.

Four passes of the teacher with dropout say how unsure it is of each voxel's class (entropy of the
mean) and of its features (variance); sure voxels weigh more in the consistency of predictions and of
the features of block 9. Differences: the original learns the weights of its terms and penalizes the
mean uncertainty, which with fixed weights has no gradient and is only observed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.losses import entropy
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.methods.supervised import supervised_terms
from VoxelAdvSegLib.networks import joint
from VoxelAdvSegLib.networks.vnet import VNet


def feature_uncertainty(passes: Tensor) -> Tensor:
    """Variance over passes (T, B, C, D, H, W), mean over channels, scaled to 0..1: (B, D, H, W).

    0 everywhere where the passes agree.
    """
    variance = passes.var(0, correction=0).mean(1)
    limits = joint.gather(torch.stack([variance.amin(), variance.amax()])[None], (1,))
    low, high = limits[:, 0].amin(), limits[:, 1].amax()
    return (variance - low) / (high - low).clamp_min(1e-12)


def weighted_difference(student: Tensor, teacher: Tensor, uncertainty: Tensor) -> Tensor:
    """Mean squared difference over channels (B, C, D, H, W), voxels weighted by e^-uncertainty (B, D, H, W)."""
    weight = (-uncertainty).exp()
    difference = ((student - teacher).square().mean(1) * weight).sum()
    difference, total = joint.joint_sum(torch.stack([difference, weight.sum()]))
    return difference / total


class DoubleUncertainty(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        super().__init__(config, network, steps, teacher=True)
        self.classes = classes

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        images, label = self.labeled(batch)
        n = len(images)
        everything = torch.cat([images, batch.unlabeled])
        logits, features = self.see_features(everything)
        probabilities = logits.softmax(1)
        target, hidden, unsure_class, unsure_feature = self._passes(everything, n)
        terms = supervised_terms(self.config.supervision, logits[:n], probabilities[:n], label)
        weight = self.config.comparison.mt_weight * self.ramp(step)
        terms["consistency"] = Term(weighted_difference(probabilities[n:], target, unsure_class), weight)
        terms["feature"] = Term(weighted_difference(features[8][n:].float(), hidden, unsure_feature), weight)
        yield Turn("student", terms, {"consistency_weight": weight, "uncertainty": unsure_class.mean()})

    def _passes(self, images: Tensor, labeled: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the unlabeled patches: mean probabilities and features of block 9, and both uncertainties."""
        seen = [self.teach(images, dropout=True, labeled=labeled) for _ in range(self.config.comparison.duwm_passes)]
        mean = torch.stack([probabilities[labeled:] for probabilities, _ in seen]).mean(0)
        hidden = torch.stack([features[8][labeled:].float() for _, features in seen])
        return mean, hidden.mean(0), entropy(mean) / math.log(self.classes), feature_uncertainty(hidden)
