"""What parent and child write to each other: job.json in, events.jsonl out (docs/protocol.md)."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.training.events import PROTOCOL

JOB = "job.json"
EVENTS = "events.jsonl"
LOG = "log.txt"
PULSE = "pid.json"
STOP = "STOP"
CONTROL = "control.json"
CANCELLED = "CANCELLED"
LARGEST_JOB = 64 * 2**20  # bytes of job.json: a queue of 100,000 scans is smaller


@dataclass(frozen=True)
class TrainRequest:
    """A training in the job folder itself, which becomes the run folder.

    data: manifest; settings: those of config.py by name, over the preset; steps or minutes: the
    budget, neither: planned from data and machine; init: run or model folder to go on from;
    resume: go on with the training in the folder; threads: of the CPU, None for all but one;
    anywhere: the manifest may name files outside its folder.
    """

    kind: ClassVar[str] = "train"

    data: str
    preset: str = "auto"
    method: str | None = None
    steps: int | None = None
    minutes: float | None = None
    device: str = "auto"
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    init: str | None = None
    resume: bool = False
    threads: int | None = None
    anywhere: bool = True


@dataclass(frozen=True)
class SegmentCase:
    """One scan of a queue: id, image file or DICOM folder, and the folder for its results."""

    id: str
    image: str
    output: str


@dataclass(frozen=True)
class SegmentRequest:
    """A queue of scans for one model; looks_labeled: also the discriminator map, where the model has one;
    training_map: by the discriminator of the training in place of the one that was trained afterwards."""

    kind: ClassVar[str] = "segment"

    model: str
    cases: tuple[SegmentCase, ...]
    looks_labeled: bool = True
    training_map: bool = False
    largest_component: bool | None = None
    flips: bool | None = None
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        cases = tuple(SegmentCase(**case) if isinstance(case, Mapping) else case for case in self.cases)
        object.__setattr__(self, "cases", cases)
        ids = [case.id for case in cases]
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise InputError(
                f"two scans of the queue are called {twice}", expected="each scan once", found="one name twice",
                do="leave one of them out",
            )  # fmt: skip


@dataclass(frozen=True)
class CompareRequest:
    """Whether a finished training in the run folder is better than its twin without the unlabeled scans.

    data: manifest, with the validation cases that decide.
    """

    kind: ClassVar[str] = "compare"

    run: str
    data: str
    device: str = "auto"
    threads: int | None = None
    anywhere: bool = True


@dataclass(frozen=True)
class ProbeRequest:
    """Looks at the installation; kernel: also computes something small on every device."""

    kind: ClassVar[str] = "probe"

    kernel: bool = True


Request = TrainRequest | SegmentRequest | CompareRequest | ProbeRequest
REQUESTS: dict[str, type[Request]] = {r.kind: r for r in (TrainRequest, SegmentRequest, CompareRequest, ProbeRequest)}


@dataclass(frozen=True)
class Order:
    """What job.json holds: the request; sitting: names one start of a child in this folder.

    diary: bytes of events that were there before it.
    """

    request: Request
    sitting: str
    locks: str | None = None
    diary: int = 0


def write_order(folder: Path, request: Request, locks: Path | None = None) -> Order:
    """Puts job.json into the folder, whole or not at all. Raises RunError when that fails."""
    try:
        diary = (folder / EVENTS).stat().st_size
    except OSError:
        diary = 0
    order = Order(request, uuid.uuid4().hex, None if locks is None else str(locks), diary)
    content = {
        "protocol": PROTOCOL,
        "kind": request.kind,
        "sitting": order.sitting,
        "locks": order.locks,
        "diary": order.diary,
        "written": round(time.time(), 3),
        "request": asdict(request),
    }
    replace_text(folder / JOB, json.dumps(content, indent=1, ensure_ascii=False))
    with contextlib.suppress(OSError):  # it tells where the data lie: its owner's matter
        (folder / JOB).chmod(0o600)
    return order


def read_order(folder: Path) -> Order:
    """What job.json of a folder asks for.

    Raises InputError when there is none, when it is damaged, or of a newer protocol; fields of a
    request that are unknown are damage, too: a child must not do something else than it was asked.
    """
    file = folder / JOB
    try:
        if file.stat().st_size > LARGEST_JOB:
            raise ValueError("too large")
        content = json.loads(file.read_text(encoding="utf-8"))
        protocol = content["protocol"]
        if not isinstance(protocol, int) or protocol < 1:
            raise ValueError(f"protocol {protocol!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(file, error) from error
    if protocol > PROTOCOL:
        raise InputError(
            "the job was written by a newer version", file=file, expected=f"protocol {PROTOCOL} or earlier",
            found=f"protocol {protocol}", do="update the library that runs it",
        )  # fmt: skip
    try:
        request = REQUESTS[content["kind"]]
        known = {f.name for f in fields(request)}
        unknown = set(content["request"]) - known
        if unknown:
            raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
        diary = content.get("diary", 0)
        if not isinstance(diary, int):
            raise ValueError(f"diary {diary!r}")
        return Order(request(**content["request"]), str(content["sitting"]), content.get("locks"), diary)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, error) from error


def replace_text(path: Path, text: str) -> None:
    """The file, whole or not at all. Raises RunError when it cannot be written."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            "a file of the job cannot be written", file=path, expected="a folder with room that may be written to",
            found=str(error), do="make room, or choose another project folder",
        ) from error  # fmt: skip


def _damaged(file: Path, error: Exception) -> InputError:
    found = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
    return InputError(
        "the job cannot be read", file=file, expected="job.json as it was written (docs/protocol.md)",
        found=found[:300], do="start it again",
    )  # fmt: skip
