"""The command `job`: what a job folder asks for is done; for programs, not for people (docs/protocol.md)."""

from __future__ import annotations

import argparse
import contextlib
import os
import traceback
from pathlib import Path
from typing import Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.cli.main import reading_apart
from VoxelAdvSegLib.errors import VoxelAdvSegError
from VoxelAdvSegLib.jobs.protocol import (
    EVENTS,
    CompareRequest,
    Order,
    ProbeRequest,
    SegmentRequest,
    TrainRequest,
    read_order,
)
from VoxelAdvSegLib.jobs.pulse import beating
from VoxelAdvSegLib.training.events import PROTOCOL, EventWriter

FAILED = 2
NICE = 5  # behind everything a person waits for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder with job.json")


def run(arguments: argparse.Namespace) -> int:
    """Does the job; every failure is also the last event of the diary."""
    folder = arguments.folder.absolute()
    order = read_order(folder)
    if os.name == "posix":
        with contextlib.suppress(OSError):
            os.nice(NICE)
    with beating(folder, order.sitting):
        _tell(folder, "job", protocol=PROTOCOL, version=__version__, kind=order.request.kind, sitting=order.sitting)
        try:
            return _do(folder, order)
        except VoxelAdvSegError as error:
            fields = _with_pseudonyms(told(error), folder, order)
            print(fields["text"], flush=True)
            _tell(folder, "error", **fields, sitting=order.sitting)
            return FAILED
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            traceback.print_exc()
            text = f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):
                _tell(folder, "error", text=text, kind=type(error).__name__, sitting=order.sitting)
            return FAILED


def told(error: VoxelAdvSegError) -> dict[str, Any]:
    """An error as fields of an event."""
    return {
        "text": str(error), "kind": type(error).__name__, "what": error.what, "file": error.file,
        "expected": error.expected, "found": error.found, "do": error.do,
    }  # fmt: skip


def _with_pseudonyms(fields: dict[str, Any], folder: Path, order: Order) -> dict[str, Any]:
    """What lies in a training's folder names no patient; its key tells the panel of this computer who is meant."""
    request = order.request
    if not isinstance(request, TrainRequest | CompareRequest):
        return fields
    from VoxelAdvSegLib.data.manifest import read_manifest
    from VoxelAdvSegLib.data.pseudonyms import Pseudonyms

    try:
        run = folder if isinstance(request, TrainRequest) else Path(request.run)
        names = Pseudonyms(read_manifest(Path(request.data), problems=[], anywhere=True), run)
        names.save(folder, request.data, request.init if isinstance(request, TrainRequest) else None)
        return names.hide(fields)
    except (VoxelAdvSegError, OSError):  # then there are no cases that could be named
        return fields


def _do(folder: Path, order: Order) -> int:
    # Each kind loads what it needs, and torch only inside: a probe must work where torch does not.
    request = order.request
    if isinstance(request, ProbeRequest):
        from VoxelAdvSegLib.cli.job_probe import probe_here

        return probe_here(folder, request)
    with reading_apart():
        if isinstance(request, TrainRequest):
            from VoxelAdvSegLib.cli.job_train import train_here

            return train_here(folder, request, order)
        if isinstance(request, SegmentRequest):
            from VoxelAdvSegLib.cli.job_segment import segment_here

            return segment_here(folder, request)
        from VoxelAdvSegLib.cli.job_compare import compare_here

        return compare_here(folder, request, order)


def _tell(folder: Path, type: str, **fields: Any) -> None:
    """One event; the diary is closed again, since the work itself opens it."""
    with contextlib.closing(EventWriter(folder / EVENTS)) as events:
        events.write(type, **fields)
