"""A training as a child process does it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.jobs.protocol import Order, TrainRequest


def train_here(folder: Path, request: TrainRequest, order: Order) -> int:
    """Trains in the job folder, which is the run folder; 0 when a model was left."""
    import torch

    from VoxelAdvSegLib.training.session import Request, train

    torch.set_num_threads(request.threads or _most_cores())
    train(
        Request(
            data=Path(request.data),
            run=folder,
            preset=request.preset,
            overrides=overrides(request),
            init=None if request.init is None else Path(request.init),
            resume=request.resume,
        )
    )
    return 0


def overrides(request: TrainRequest) -> dict[str, Any]:
    """Settings of config.py by name, those with a field of their own included."""
    settings = dict(request.settings)
    if request.minutes is not None:
        settings |= {"steps": None, "minutes": request.minutes}
    if request.steps is not None:
        settings |= {"steps": request.steps, "minutes": None}
    for name in ("method", "device", "seed"):
        value = getattr(request, name)
        if value is not None:
            settings[name] = value
    return settings


def _most_cores() -> int:
    """All cores but one, which stays with the person."""
    cores = os.cpu_count() or 1
    return cores - 1 if cores > 2 else cores
