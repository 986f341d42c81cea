"""What the folder of a training holds, by kind, and how it is removed. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.disk import is_partial, remove, size_of, written_or_told
from VoxelAdvSegLib.project.runs import EVENTS

CONFIG, LOCK = "config.json", ".lock"
TWIN = "supervised_twin"  # a verdict's own training (training/again.py), in the folder of the run it is about
COMPARE_JOBS = "compare-*"  # jobs of the panel that found out about it
FOLDERS = {
    "cache": "prepared scans", "previews": "previews", "checkpoints": "checkpoints", "model": "models",
    TWIN: "comparisons", "cross_validation": "comparisons", "calibration": "comparisons",
}  # fmt: skip
DIARIES = frozenset((
    CONFIG, LOCK, EVENTS, "plan.txt", "memory.json", "key.json", "job.json", "log.txt", "pid.json", "control.json",
    "STOP", "CANCELLED", "verdict.json", "comparison.json",
))  # fmt: skip
WORDS = {
    "prepared scans": "copies of the scans as the training read them", "previews": "pictures of the training at work",
    "checkpoints": "what it needs to be resumed", "models": "the trained model",
    "comparisons": "trainings that a verdict or a calibration needed", "diaries": "curves and settings",
    "left over": "what an interrupted program did not finish", "other": "not of the training",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A file or folder directly in a run folder; size: bytes."""

    kind: str
    path: Path
    size: int


def parts_of_run(folder: Path) -> Iterator[Part]:
    """Everything in a run folder, each path once. A link is removed itself where it is ours, and never followed."""
    for path in sorted(folder.iterdir()):
        yield Part(_kind(path), path, size_of(path))


def _kind(path: Path) -> str:
    if path.is_symlink():  # runs of one benchmark share their prepared scans
        return "prepared scans" if path.name == "cache" else "other"
    if path.is_dir():
        if path.match(COMPARE_JOBS):
            return "comparisons"
        return FOLDERS.get(path.name) or ("left over" if is_partial(path) or path.name == ".model.old" else "other")
    if path.name in DIARIES:
        return "diaries"
    return "left over" if is_partial(path) else "other"


def places_of_work(run: Path) -> list[Path]:
    """Folders in which a process may be at work on this training: its own, its twin's, those of its comparisons."""
    inner = [run / TWIN, *sorted(run.glob(COMPARE_JOBS))]
    return [run, *(folder for folder in inner if folder.is_dir())]


def check_is_run(folder: Path) -> None:
    """Raises ProjectError unless the folder is that of a training of ours, and a safe one to clean.

    Ours: with a configuration, a diary or a model in it, as far as a training came.
    """
    path = folder.absolute()
    real = path.resolve()
    found = ""
    if path.is_symlink():
        found = f"a link to {real}"
    elif not path.is_dir():
        found = "a file" if path.exists() else "no such folder"
    elif real.parent == real or real == Path.home().resolve():
        found = "a whole disk" if real.parent == real else "your own folder"
    elif not any((path / name).is_file() for name in (CONFIG, EVENTS, "model/model.json")):
        found = f"no {CONFIG}, no {EVENTS} and no model"
    if found:
        raise ProjectError(
            "this is no folder of a training, and nothing was removed", file=folder,
            expected="a run folder itself, as given after --run when it was trained", found=found,
            do="correct the path, or remove the folder by hand",
        )  # fmt: skip


def clean_run(folder: Path, keep_model: bool) -> list[tuple[Part, str]]:
    """Removes what a training has stored; each part with what became of it: removed, kept, left alone.

    Files that are not the training's are left alone. The caller has made sure that no process works there
    and holds the lock, whose file stays. Raises ProjectError when the disk refuses; the rest can then be
    removed by the same call.
    """
    check_is_run(folder)
    # What says that the folder is ours goes last, so that a call that was cut short can be repeated.
    parts = sorted(
        parts_of_run(folder), key=lambda part: (part.path.name in (EVENTS, CONFIG), part.path.name == CONFIG)
    )
    ends = []
    for part in parts:
        if part.kind == "other":
            ends.append((part, "left alone"))
        elif keep_model and part.kind == "models":
            ends.append((part, "kept"))
        elif part.path.name != LOCK:
            with written_or_told(part.path):
                remove(part.path)
            ends.append((part, "removed"))
    return ends
