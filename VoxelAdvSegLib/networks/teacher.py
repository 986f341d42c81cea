"""The teacher: a slow average of the student (Section III-B; rows 32 to 37)."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


def make_teacher(student: Network) -> Network:
    """A copy of the student that no optimizer moves."""
    teacher = copy.deepcopy(student)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher


def decay_at(step: int, ceiling: float = 0.99) -> float:
    """min(1 - 1/(t + 1), ceiling): 0 at t = 0, so the first update copies the student (row 36)."""
    return min(1.0 - 1.0 / (step + 1), ceiling)


@torch.no_grad()
def move_teacher(teacher: nn.Module, student: nn.Module, decay: float, buffers: str = "ema") -> None:
    """theta_t <- decay theta_t + (1 - decay) theta_s; buffers: ema | copy | own (row 34).

    Integer buffers (the counter of batch norm) are copied unless `own`.
    """
    average = get_ema_multi_avg_fn(decay)
    average(list(teacher.parameters()), list(student.parameters()), 0)
    if buffers == "own":
        return
    for own, source in zip(teacher.buffers(), student.buffers(), strict=True):
        if buffers == "ema" and own.is_floating_point():
            own.lerp_(source, 1 - decay)
        else:
            own.copy_(source)


@contextlib.contextmanager
def teacher_mode(
    teacher: nn.Module, norm: str = "batch", dropout: bool = False, buffers: str = "ema"
) -> Iterator[None]:
    """Evaluation mode, but batch norm by the statistics of the batch where norm is "batch".

    The running statistics are not touched, being averages of the student's, unless buffers is
    "own": then they follow what the teacher sees (row 34).
    """
    was_training = teacher.training
    teacher.eval()
    saved: list[tuple[_BatchNorm, torch.Tensor | None, torch.Tensor | None]] = []
    for module in teacher.modules():
        if isinstance(module, _BatchNorm) and norm == "batch":
            if buffers == "own":
                module.train()
                continue
            # Without running buffers the functional uses the batch's statistics and updates nothing.
            saved.append((module, module.running_mean, module.running_var))
            module.running_mean = module.running_var = None
        elif dropout and isinstance(module, nn.Dropout3d):
            module.train()
    try:
        yield
    finally:
        for module, mean, variance in saved:
            module.running_mean, module.running_var = mean, variance
        teacher.train(was_training)
