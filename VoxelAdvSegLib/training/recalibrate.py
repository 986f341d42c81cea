"""Running statistics of batch norm, rebuilt with the final weights (row 65)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from VoxelAdvSegLib.training.batches import Batches


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Batches, step: int, sizes: tuple[int, int], passes: int) -> None:
    """Running mean and variance as plain averages over `passes` training batches; other norms stay."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    was_training = network.training
    momenta = [m.momentum for m in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for number in range(passes):
        batch = batches.at(step + number, *sizes)
        network(torch.cat([batch.labeled, batch.unlabeled]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)
