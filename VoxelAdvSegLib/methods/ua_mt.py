"""Uncertainty-aware mean teacher: only voxels of which the teacher is sure are to be followed.

Yu et al., MICCAI 2019 (public code read): the entropy of the mean of eight stochastic passes of the
teacher is the uncertainty; the limit below which a voxel counts rises to the largest entropy there is.
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
from VoxelAdvSegLib.schedule import gaussian_ramp


def entropy_limit(step: int, total: int, classes: int) -> float:
    """(3/4 + ramp/4) ln K: entropy below which a voxel counts, from 0.7517 ln K at the start to ln K."""
    return (0.75 + 0.25 * gaussian_ramp(step, total)) * math.log(classes)


def certain_consistency(student: Tensor, teacher: Tensor, certain: Tensor) -> Tensor:
    """Mean squared difference of probabilities (B, K, D, H, W) over the voxels that count (B, D, H, W)."""
    squared = (student - teacher).square().sum(1)
    difference, count = joint.joint_sum(torch.stack([(squared * certain).sum(), certain.sum().to(squared.dtype)]))
    return difference / (student.shape[1] * count + 1e-16)


class UncertaintyAwareMeanTeacher(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        super().__init__(config, network, steps, teacher=True)
        self.classes = classes

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        images, label = self.labeled(batch)
        n = len(images)
        logits = self.see(torch.cat([images, batch.unlabeled]))
        probabilities = logits.softmax(1)
        target, _ = self.teach(batch.unlabeled, dropout=True)
        certain = entropy(self._mean_of_passes(batch.unlabeled)) < entropy_limit(step, self.steps, self.classes)
        terms = supervised_terms(self.config.supervision, logits[:n], probabilities[:n], label)
        weight = self.config.comparison.mt_weight * self.ramp(step)
        terms["consistency"] = Term(certain_consistency(probabilities[n:], target, certain), weight)
        yield Turn("student", terms, {"consistency_weight": weight, "certain_voxels": certain.float().mean()})

    def _mean_of_passes(self, images: Tensor) -> Tensor:
        passes = self.config.comparison.uamt_passes
        total = self.teach(images, dropout=True)[0]
        for _ in range(passes - 1):  # one after the other: eight at once would not fit beside the student
            total += self.teach(images, dropout=True)[0]
        return total / passes
