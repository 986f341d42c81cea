"""A verdict as a child process finds it: a training's twin without unlabeled scans, and the scores of both."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.cli.job_train import device_to_itself, most_cores
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.evaluation.verdict import VERDICT
from VoxelAdvSegLib.jobs.locks import default_locks
from VoxelAdvSegLib.jobs.protocol import EVENTS, STOP, CompareRequest, Order
from VoxelAdvSegLib.training.events import PROTOCOL, EventWriter, heartbeat


class _Stopped(Exception):  # noqa: N818 - no error: a wish
    """The person does not want to know any more."""


def compare_here(folder: Path, request: CompareRequest, order: Order) -> int:
    """Trains the twin in the run's folder and leaves verdict.json there; 0 also when a person stopped it.

    Raises VoxelAdvSegError for what a person can repair.
    """
    import torch

    from VoxelAdvSegLib.data.manifest import read_manifest
    from VoxelAdvSegLib.evaluation.report import write_report
    from VoxelAdvSegLib.evaluation.scoring import labeled_cases
    from VoxelAdvSegLib.networks.device import choose_device
    from VoxelAdvSegLib.training.again import TWIN, judge_twins, train_twin
    from VoxelAdvSegLib.training.run_folder import RunFolder, read_description

    run = Path(request.run)
    manifest = read_manifest(Path(request.data), anywhere=request.anywhere)
    labeled_cases(manifest, "validation")
    torch.set_num_threads(request.threads or most_cores())
    wish = read_description(RunFolder(run)).config.training.device if request.device == "auto" else request.device
    device = str(choose_device(wish))
    locks = default_locks() if order.locks is None else Path(order.locks)
    with (
        contextlib.closing(EventWriter(folder / EVENTS)) as events,
        heartbeat(events),
        device_to_itself(locks, device, folder),
    ):
        events.write("start", protocol=PROTOCOL, version=__version__, device=device)

        def watch(event: dict[str, Any]) -> None:
            if (folder / STOP).exists():
                (run / TWIN / STOP).touch()
            _pass_on(events, event)

        def watch_scoring(done: int, total: int, name: str) -> None:
            if (folder / STOP).exists():
                raise _Stopped
            _progress(events, "scoring", done, total)

        try:
            train_twin(run, manifest, device, watch)
            verdict = judge_twins(run, manifest, device, watch_scoring)
        except (RunError, _Stopped):
            if not (folder / STOP).exists():
                raise
            events.write("end", reason="stopped")
            return 0
        write_report(verdict.to_dict(), run / VERDICT)
        events.write("end", reason="finished", answer=verdict.answer, sentence=verdict.sentence)
    return 0


def _pass_on(events: EventWriter, event: dict[str, Any]) -> None:
    """What a person waits for, of the twin's own diary."""
    kind = event["type"]
    if kind == "progress" and event["phase"] != "validation":
        _progress(events, event["phase"], event["done"], event["total"])
    elif kind == "step":
        _progress(events, "training", event["step"], event["steps"], seconds_left=event["seconds_left"])
    elif kind == "message":
        events.write("message", level=event["level"], text=event["text"])


def _progress(events: EventWriter, phase: str, done: int, total: int, **more: Any) -> None:
    events.write("progress", phase=phase, done=done, total=total, **more)
