"""Mean teacher that also keeps local and global structure, with entropy minimization.

Hang et al., MICCAI 2020. Local: cosines between the class probabilities of all pairs of voxels in a
few small blocks; global: maps of self-information; both of the student against the teacher.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.losses import consistency, entropy
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.methods.supervised import supervised_terms
from VoxelAdvSegLib.networks.vnet import VNet

BLOCK = 16  # voxels along each side of a block


def draw_block(shape_zyx: Sequence[int], points: int) -> Tensor:
    """Flat positions of at most `points` different voxels of a block of 16 voxels a side, anywhere in a patch."""
    sizes = [min(BLOCK, n) for n in shape_zyx]
    starts = [int(torch.randint(n - size + 1, ())) for n, size in zip(shape_zyx, sizes, strict=True)]
    axes = [torch.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    positions = ((z * shape_zyx[1] + y) * shape_zyx[2] + x).flatten()
    return positions[torch.randperm(len(positions))[:points]]


def local_structure(probabilities: Tensor, positions: Tensor) -> Tensor:
    """Cosines (B, n, n) between the probabilities (B, K, D, H, W) of all pairs of voxels at n flat positions."""
    directions = F.normalize(probabilities.flatten(2)[:, :, positions], dim=1)
    return directions.transpose(1, 2) @ directions


def self_information(probabilities: Tensor) -> Tensor:
    """-p log2(p) / log2(K) of every class (B, K, D, H, W)."""
    floor = torch.finfo(probabilities.dtype).tiny
    return -probabilities * probabilities.clamp_min(floor).log() / math.log(probabilities.shape[1])


class LocalGlobalMeanTeacher(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        super().__init__(config, network, steps, teacher=True)
        self.classes = classes

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        settings = self.config.comparison
        images, label = self.labeled(batch)
        n = len(images)
        everything = torch.cat([images, batch.unlabeled])
        logits = self.see(everything)
        student = logits.softmax(1)
        teacher, _ = self.teach(everything, labeled=n)
        terms = supervised_terms(self.config.supervision, logits[:n], student[:n], label)
        weight, small = settings.mt_weight * self.ramp(step), settings.lger_weight * self.ramp(step)
        terms["consistency"] = Term(consistency(student, teacher), weight)
        terms["local_structure"] = Term(self._local(student, teacher), small)
        terms["global_structure"] = Term(F.mse_loss(self_information(student), self_information(teacher)) / 2, small)
        terms["entropy"] = Term(entropy(student[n:]).mean() / math.log(self.classes), small)
        yield Turn("student", terms, {"consistency_weight": weight})

    def _local(self, student: Tensor, teacher: Tensor) -> Tensor:
        settings = self.config.comparison
        distances = []
        for _ in range(settings.lger_blocks):
            positions = draw_block(student.shape[2:], settings.lger_points).to(student.device)
            distances.append(F.mse_loss(local_structure(student, positions), local_structure(teacher, positions)))
        return torch.stack(distances).mean()
