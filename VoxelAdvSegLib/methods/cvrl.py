"""Contrastive voxel-wise representation learning, a reconstruction after You et al., 2021.

A voxel's projected feature is nearer to the teacher's of the same voxel under other noise than to
those of other voxels, of this step and of a queue of earlier ones; and so are the 64 dimensions of the
projection, as columns over the voxels of a patch. On block 9 of a mean teacher.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.losses import consistency
from VoxelAdvSegLib.methods.contract import Batch, Term, Turn
from VoxelAdvSegLib.methods.student import StudentMethod
from VoxelAdvSegLib.methods.supervised import supervised_terms
from VoxelAdvSegLib.networks import joint
from VoxelAdvSegLib.networks.vnet import VNet

WIDTH = 64
TEMPERATURE = 0.1
DIMENSION_WEIGHT = 0.1  # of the loss across dimensions


def info_nce(anchors: Tensor, positives: Tensor, more_negatives: Tensor | None = None) -> Tensor:
    """Mean of -ln(e^(a.p/T) / sum e^(a.x/T)), x over all positives (n, d) and the rows of more_negatives (m, d).

    Rows are taken as directions; no gradient reaches positives and negatives.
    """
    a = F.normalize(anchors.float(), dim=1)
    others = positives if more_negatives is None else torch.cat([positives, more_negatives])
    logits = a @ F.normalize(others.detach().float(), dim=1).T / TEMPERATURE
    return F.cross_entropy(logits, torch.arange(len(a), device=a.device))


class Queue(nn.Module):
    """The latest projected voxels of the teacher (size, 64), random directions at first."""

    rows: Tensor
    place: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, WIDTH), dim=1))
        self.register_buffer("place", torch.tensor(0))

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """Takes in rows (n, 64) in place of the oldest; of more than fit, the first."""
        size = len(self.rows)
        rows = F.normalize(rows[:size], dim=1)
        where = (int(self.place) + torch.arange(len(rows), device=rows.device)) % size
        self.rows[where] = rows
        self.place.fill_((int(self.place) + len(rows)) % size)


class ContrastiveVoxels(StudentMethod):
    def __init__(self, config: Config, network: VNet, classes: int, steps: int, labeled_cases: int) -> None:
        filters = network.filters
        self.projection = nn.Sequential(nn.Linear(filters, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.queue = Queue(config.comparison.cvrl_queue)
        super().__init__(
            config, network, steps, teacher=True, projection=self.projection, others={"queue": self.queue}
        )  # fmt: skip

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]:
        settings = self.config.comparison
        images, label = self.labeled(batch)
        n = len(images)
        everything = torch.cat([images, batch.unlabeled])
        logits, features = self.see_features(everything)
        probabilities = logits.softmax(1)
        target, slow_features = self.teach(everything, labeled=n)
        terms = supervised_terms(self.config.supervision, logits[:n], probabilities[:n], label)
        weight = settings.mt_weight * self.ramp(step)
        terms["consistency"] = Term(consistency(probabilities[n:], target[n:]), weight)
        terms["contrast"] = Term(self._contrast(features[8], slow_features[8], n), settings.cvrl_weight)
        yield Turn("student", terms, {"consistency_weight": weight})

    def _contrast(self, student: Tensor, teacher: Tensor, labeled: int) -> Tensor:
        """Of block-9 features (B, C, D, H, W), at voxels drawn in each patch; the queue takes in the teacher's."""
        groups = (labeled, len(student) - labeled)
        own_places = joint.own_slots(groups)
        count = self.config.comparison.cvrl_voxels
        patches = joint.processes() * len(student)
        places = torch.randint(student[0, 0].numel(), (patches, count), device=student.device)[own_places]

        def rows(features: Tensor) -> Tensor:
            index = places[:, None].expand(-1, features.shape[1], -1)
            return features.flatten(2).gather(2, index).transpose(1, 2).float()  # (B, n, C)

        own = self.projection(rows(student))
        with torch.no_grad():
            slow = self.networks["teacher_projection"](rows(teacher))
            everywhere = joint.gather(slow, groups)  # those of other processes are negatives, too
        others = [number for number in range(patches) if number not in own_places]
        negatives = torch.cat([everywhere[others].flatten(0, 1), self.queue.rows])
        across_voxels = info_nce(own.flatten(0, 1), slow.flatten(0, 1), negatives)
        across_dimensions = torch.stack([info_nce(a.T, b.T) for a, b in zip(own, slow, strict=True)]).mean()
        self.queue.add(everywhere.flatten(0, 1))
        return across_voxels + DIMENSION_WEIGHT * across_dimensions
