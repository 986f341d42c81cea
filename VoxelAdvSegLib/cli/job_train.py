"""A training as a child process does it: with the device to itself, and room on the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.jobs.locks import clear_holder, default_locks, holder, lock_files, write_holder
from VoxelAdvSegLib.jobs.protocol import Order, TrainRequest

WAIT_SECONDS = 20.0  # for a training that is just ending
# Of a scan's file: compressed files grow about threefold when read, working copies are of half precision.
WORKING_COPY_SHARE = 3.0
MODEL_BYTES = 500 * 2**20  # checkpoints, model, previews


def train_here(folder: Path, request: TrainRequest, order: Order) -> int:
    """Trains in the job folder, which is the run folder; 0 when a model was left.

    Raises VoxelAdvSegError for what a person can repair.
    """
    if not request.resume:
        check_room(folder, request)  # before torch is loaded: what is wrong here is said at once

    import torch

    from VoxelAdvSegLib.networks.device import choose_device
    from VoxelAdvSegLib.training.session import Request, train

    torch.set_num_threads(request.threads or most_cores())
    device = str(choose_device(request.device))
    locks = default_locks() if order.locks is None else Path(order.locks)
    with device_to_itself(locks, device, folder):
        train(
            Request(
                data=Path(request.data),
                run=folder,
                preset=request.preset,
                overrides=overrides(request),
                init=None if request.init is None else Path(request.init),
                resume=request.resume,
                anywhere=request.anywhere,
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


@contextlib.contextmanager
def device_to_itself(locks: Path, device: str, folder: Path, seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """While it lasts, no other training of this user computes on the device.

    Raises RunError when another has it for longer than a training needs to end.
    """
    from filelock import FileLock, Timeout

    try:
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(lock_files(locks, device)[0], timeout=seconds)
        lock.acquire()
    except Timeout as error:
        other = holder(device, locks)
        raise RunError(
            f"another training uses the device {device}", file=None if other is None else other.folder,
            expected="one training at a time on a device", found="a training that is running",
            do="wait for its end, stop it, or choose another device",
        ) from error  # fmt: skip
    except OSError as error:
        raise RunError(
            "the device cannot be reserved", file=locks, expected="a folder with the right to write",
            found=str(error), do="make room, or remove the folder",
        ) from error  # fmt: skip
    try:
        write_holder(locks, device, folder)
        yield
    finally:
        clear_holder(locks, device)
        lock.release()


def check_room(folder: Path, request: TrainRequest) -> None:
    """Raises RunError when the disk of the run has no room for working copies, checkpoints and model."""
    from VoxelAdvSegLib.data.manifest import read_manifest

    manifest = read_manifest(Path(request.data), anywhere=request.anywhere)
    images = {case.image for split in ("training", "unlabeled", "validation") for case in manifest.split(split)}
    need = MODEL_BYTES + WORKING_COPY_SHARE * sum(_bytes(image) for image in images)
    free = shutil.disk_usage(folder).free
    if free < need:
        raise RunError(
            "there is too little room on the disk for this training", file=folder,
            expected=f"about {need / 2**30:.1f} GB free", found=f"{free / 2**30:.1f} GB",
            do="make room, or put the project on another disk",
        )  # fmt: skip


def _bytes(image: Path) -> int:
    """Size of a scan's file or files; 0 where it is missing, which the data check tells better."""
    try:
        if image.is_dir():
            return sum(file.stat().st_size for file in image.iterdir() if file.is_file())
        return image.stat().st_size
    except OSError:
        return 0


def most_cores() -> int:
    """All cores but one, which stays with the person; a thread that waits for a taken core slows all others down."""
    cores = os.cpu_count() or 1
    return max(1, cores - 1)
