"""What a project keeps on the disk, how large it is, and how what can be made again is removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project import dataset, drafts, findings, models, predictions, roles, runs
from VoxelAdvSegLib.project.disk import is_partial, remove, size_of, written_or_told
from VoxelAdvSegLib.project.records import CASE_ID
from VoxelAdvSegLib.project.run_contents import parts_of_run, places_of_work
from VoxelAdvSegLib.project.runs import Alive
from VoxelAdvSegLib.project.store import BACKUP, FILE

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

# What each kind is, and whether it may be removed: a person's work and the only copy of a scan may not.
KINDS = {
    "labels": ("accepted labels, all versions", False),
    "drafts": ("half-done corrections", False),
    "scans": ("scans that came from the scene", False),
    "models": ("trained and imported models", False),
    "diaries": ("curves and settings of trainings", False),
    "project": ("the project's own lists", False),
    "predictions": ("segmentations and maps that wait for review, or were reviewed", True),
    "prepared scans": ("copies of scans as trainings read them", True),
    "previews": ("pictures of trainings at work", True),
    "checkpoints": ("what a training needs to be resumed", True),
    "comparisons": ("trainings without the unlabeled scans, which verdicts needed", True),
    "jobs": ("diaries of segmentations and checks", True),
    "left over": ("what an interrupted program did not finish", True),
    "other": ("files that are not of the project", False),
}
JOB_FILES = frozenset(("job.json", runs.EVENTS))


@dataclass(frozen=True)
class Stored:
    """One kind of what is stored; text: what it is, in words; size in bytes."""

    kind: str
    text: str
    size: int
    removable: bool


def list_stored(project: Project) -> tuple[Stored, ...]:
    """All kinds, also those that take no room; together they are all files in the folder."""
    sizes = dict.fromkeys(KINDS, 0)
    for kind, path in _parts(project):
        sizes[kind] += size_of(path)
    return tuple(Stored(kind, text, sizes[kind], removable) for kind, (text, removable) in KINDS.items())


def clean(project: Project, kinds: Iterable[str], alive: Alive | None) -> int:
    """Removes whole kinds; returns the bytes that became free.

    Folders of a training or job that runs are left alone. Raises ProjectError for a kind that is
    not removable, and then nothing was removed.
    """
    kinds = set(kinds)
    for kind in sorted(kinds):
        if kind not in KINDS or not KINDS[kind][1]:
            raise ProjectError(
                f"'{kind}' cannot be cleaned up", file=project.path,
                expected=", ".join(name for name, (_, removable) in KINDS.items() if removable),
                found=KINDS[kind][0] if kind in KINDS else "no kind of stored files",
                do="models and trainings are deleted one by one; labels and drafts stay",
            )  # fmt: skip
    freed = 0
    for kind, path in list(_parts(project)):
        if kind in kinds and not _is_in_use(project, path, alive):
            freed += size_of(path)
            with written_or_told(path):
                remove(path)
    if "predictions" in kinds:
        with project.batch():
            for case in project.cases:
                if case.state == "predicted":
                    project.put(roles.unpredicted(case))
    return freed


def delete_run(project: Project, folder: Path, alive: Alive | None) -> None:
    """Raises ProjectError when the training runs."""
    if runs.read_run(folder, alive).state == "running":
        raise ProjectError(
            "the training is running", file=folder, expected="a training that has ended", found="one that runs",
            do="stop or cancel it first",
        )  # fmt: skip
    with written_or_told(folder):
        remove(folder)


def _parts(project: Project) -> Iterator[tuple[str, Path]]:
    """Everything in the project folder, each path once, with its kind. Links are never ours."""
    for path in _entries(project.path):
        if path.is_symlink():
            yield "other", path
        elif path.name == "cases" and path.is_dir():
            yield from _in_cases(project, path)
        elif path.name == runs.FOLDER and path.is_dir():
            yield from _in_runs(path)
        elif path.name == models.FOLDER and path.is_dir():
            for folder in _entries(path):
                yield "left over" if is_partial(folder) else "models", folder
        elif path.name == "jobs" and path.is_dir():
            for folder in _entries(path):
                ours = folder.is_dir() and not folder.is_symlink() and JOB_FILES & {f.name for f in _entries(folder)}
                yield "jobs" if ours else "other", folder
        elif path.name in (FILE, BACKUP, dataset.FILE, findings.FILE, ".lock", ".lock.json"):
            yield "project", path
        else:
            yield "left over" if is_partial(path) else "other", path


def _in_cases(project: Project, cases: Path) -> Iterator[tuple[str, Path]]:
    for folder in _entries(cases):
        if folder.is_symlink() or not folder.is_dir():
            yield "other", folder
        elif is_partial(folder):
            yield "left over", folder
        elif folder.name not in project.content.cases:
            # A scan whose addition was cut short; with a person's work in it, it is not for us to remove.
            abandoned = CASE_ID.fullmatch(folder.name) and {path.name for path in _entries(folder)} <= {"image.nrrd"}
            yield "left over" if abandoned else "other", folder
        else:
            for path in _entries(folder):
                yield _kind_in_case(path), path


def _kind_in_case(path: Path) -> str:
    if path.is_symlink():
        return "other"
    if path.name in (drafts.FILE, drafts.ABOUT, drafts.NEXT):
        return "drafts"
    if path.name == predictions.FOLDER:
        return "predictions"
    if path.name == "labels":
        return "labels"
    if path.name == "image.nrrd":
        return "scans"
    if re.fullmatch(rf"{dataset.DERIVED}\d+-[0-9a-f]+\.seg\.nrrd", path.name):
        return "prepared scans"
    return "left over" if is_partial(path) else "other"


def _in_runs(place: Path) -> Iterator[tuple[str, Path]]:
    ours = set(runs.run_folders(place.parent))
    for folder in _entries(place):
        if folder not in ours:
            yield "other", folder
            continue
        for part in parts_of_run(folder):
            yield "other" if part.path.is_symlink() else part.kind, part.path


def _is_in_use(project: Project, path: Path, alive: Alive | None) -> bool:
    inside = path.relative_to(project.path).parts
    if inside[0] not in (runs.FOLDER, "jobs"):
        return False
    places = places_of_work(project.path / inside[0] / inside[1])
    return any(runs.read_run(place, alive).state == "running" for place in places)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())
