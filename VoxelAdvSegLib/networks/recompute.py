"""Less memory for the same step: what the way back needs is computed again instead of kept."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Recomputed(nn.Sequential):
    """A block that keeps its input alone; gradients and running statistics are those of the plain one."""

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(input)
        twice = lambda: (contextlib.nullcontext(), _StatisticsAtRest(self))  # noqa: E731
        return checkpoint(super().forward, input, use_reentrant=False, context_fn=twice)  # type: ignore[return-value]


class _StatisticsAtRest(contextlib.AbstractContextManager):
    """The second time, the same batch does not move the running statistics again. May be entered repeatedly."""

    def __init__(self, module: nn.Module) -> None:
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.num_batches_tracked is not None]
        self._norms = [(norm, norm.momentum) for norm in norms]

    def __enter__(self) -> None:
        for norm, _ in self._norms:
            norm.momentum = 0.0  # they take part as they did, or torch would find another computation

    def __exit__(self, *error: object) -> None:
        for norm, momentum in self._norms:
            norm.momentum = momentum
            if norm.training and norm.num_batches_tracked is not None:
                norm.num_batches_tracked -= 1
