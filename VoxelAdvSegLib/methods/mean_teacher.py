"""Mean teacher: the student's view of unlabeled patches follows a slow average of itself.

Tarvainen & Valpola, NeurIPS 2017, as the left-atrium benchmark runs it: input noise at the teacher,
mean squared difference of probabilities, weight 0.1 after a ramp of 40 epochs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.losses import consistency
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.methods.supervised import supervised_terms
from VoxelAdvSegLib.networks.vnet import VNet


class MeanTeacher(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        super().__init__(config, network, steps, teacher=True)

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        images, label = self.labeled(batch)
        n = len(images)
        everything = torch.cat([images, batch.unlabeled])
        logits = self.see(everything)
        probabilities = logits.softmax(1)
        # The teacher sees the labeled patches too, so that batch norm is the same for both.
        target, _ = self.teach(everything, labeled=n)
        terms = supervised_terms(self.config.supervision, logits[:n], probabilities[:n], label)
        weight = self.config.comparison.mt_weight * self.ramp(step)
        terms["consistency"] = Term(consistency(probabilities[n:], target[n:]), weight)
        yield Turn("student", terms, {"consistency_weight": weight})
