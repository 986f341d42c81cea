"""The trainings of a project, as their folders tell of them. No torch, and no process is looked at here."""

from __future__ import annotations

import datetime
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.project.disk import written_or_told
from VoxelAdvSegLib.training.events import Follower

FOLDER = "runs"
EVENTS = "events.jsonl"
CANCELLED = "CANCELLED"
RUN_ID = re.compile(r"\d{8}-\d{6}(-\d+)?")
FRESH_SECONDS = 60.0  # a diary that was written to within them belongs to a living process
HEAD_BYTES = 2**16
TAIL_BYTES = 2**18  # holds the last events of any run; what is between is for curves
STATES = ("prepared", "running", "interrupted", "finished", "cancelled", "failed")

Alive = Callable[[Path], "bool | None"]


@dataclass(frozen=True)
class Run:
    """One training. step, steps: how far it came; started, ended: seconds since 1970; cause: why it failed;
    reason: how it ended ("finished", "stopped", "out of time"); dice: final validation, by organ and "mean"."""

    id: str
    path: Path
    state: str
    step: int = 0
    steps: int | None = None
    started: float | None = None
    ended: float | None = None
    cause: str = ""
    reason: str = ""
    dice: Mapping[str, float | None] = field(default_factory=dict)
    has_model: bool = False

    @property
    def text(self) -> str:
        """How it stands, a short sentence."""
        of = f" of {self.steps}" if self.steps else ""
        if self.state == "running":
            return f"Running, step {self.step}{of}."
        if self.state == "interrupted":
            return f"Interrupted at step {self.step}{of}; it can be resumed."
        if self.state == "failed":
            return f"Failed at step {self.step}{of}: {self.cause.splitlines()[0] if self.cause else 'no cause told'}"
        if self.state == "cancelled":
            return f"Cancelled at step {self.step}{of}."
        if self.state == "prepared":
            return "Not started."
        how = {"stopped": "Stopped", "out of time": "Ended by its time budget"}.get(self.reason, "Finished")
        mean = self.dice.get("mean")
        quality = "" if mean is None else f"; Dice {mean:.3f} on the validation cases"
        return f"{how} at step {self.step}{of}{quality}."


def new_run(project_folder: Path) -> Path:
    """A new empty run folder, named after the local time. Raises ProjectError when it cannot be made."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    number = 1
    with written_or_told(project_folder / FOLDER):
        (project_folder / FOLDER).mkdir(parents=True, exist_ok=True)
        while True:
            folder = project_folder / FOLDER / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1


def run_folders(project_folder: Path) -> list[Path]:
    """Oldest first; links and folders of other names are not ours."""
    folder = project_folder / FOLDER
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        (path for path in found if RUN_ID.fullmatch(path.name) and path.is_dir() and not path.is_symlink()),
        key=lambda path: _order(path.name),
    )


def read_run(folder: Path, alive: Alive | None = None) -> Run:
    """A training from its diary; alive(folder) says whether its process runs, None when it cannot tell.

    Only the beginning and the end of the diary are read, however long it is.
    """
    diary = folder / EVENTS
    first = next(iter(_events(diary, 0, HEAD_BYTES)), None)
    step, steps, last, reason, cause = 0, None, None, "", ""
    dice: Mapping[str, float | None] = {}
    over = ""
    try:
        status = diary.stat()
        start, written = max(0, status.st_size - TAIL_BYTES), status.st_mtime
    except OSError:
        start, written = 0, None
    for event in _events(diary, start, None):
        kind = event["type"]
        last = _number(event.get("time")) or last
        if kind == "start":
            over = ""
        if kind in ("start", "plan", "step", "end", "checkpoint", "validation"):
            step = int(_number(event.get("step")) or step)
            steps = int(_number(event.get("steps")) or 0) or steps
        if kind == "end":
            over, reason, dice = "finished", str(event.get("reason", "")), _dice(event.get("dice"))
        elif kind == "error":
            over, cause = "failed", _cause(str(event.get("text", "")))
    state = over or _unfinished(folder, first is not None, written, alive)
    if state == "finished" and (folder / CANCELLED).exists():
        state = "cancelled"  # the person was faster than the end, and wants nothing of it
    return Run(
        id=folder.name, path=folder, state=state, step=step, steps=steps,
        started=None if first is None else _number(first.get("time")), ended=last if over else None,
        cause=cause if state == "failed" else "", reason=reason if state == "finished" else "",
        dice=dice if state == "finished" else {},
        has_model=state != "cancelled" and (folder / "model" / "model.json").is_file(),
    )  # fmt: skip


def _unfinished(folder: Path, begun: bool, written: float | None, alive: Alive | None) -> str:
    lives = None if alive is None else alive(folder)
    if lives is None:
        lives = written is not None and abs(time.time() - written) < FRESH_SECONDS
    if lives:
        return "running"
    if (folder / CANCELLED).exists():
        return "cancelled"
    return "interrupted" if begun else "prepared"


def _events(diary: Path, start: int, most: int | None) -> Iterator[dict[str, Any]]:
    for event, _ in Follower(diary, start).take(most_bytes=most):
        yield event


def _cause(text: str) -> str:
    """What happened, without the name of the error's class in front."""
    return re.sub(r"^\w*Error: ", "", text.strip())


def _dice(value: Any) -> dict[str, float | None]:
    if not isinstance(value, dict):
        return {}
    return {str(name): _number(score) for name, score in value.items()}


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < sys.float_info.max else None  # JSON has no infinity, a damaged file may


def _order(run_id: str) -> tuple[str, int]:
    day, clock, *number = run_id.split("-")
    return f"{day}-{clock}", int(number[0]) if number else 1
