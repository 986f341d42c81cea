"""Half-done corrections: the newest whole draft is on the disk, whenever the process is killed.

A draft is two files, and `draft.json`, put in place by one rename, decides which segmentation counts:
the one whose checksum it tells. It may still bear its temporary name; the next look renames it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.disk import PARTIAL, move, read_json, remove, sha256, sync_file, write_json, written_or_told
from VoxelAdvSegLib.project.records import now

FILE = "draft.seg.nrrd"
ABOUT = "draft.json"
NEXT = f".draft{PARTIAL}.seg.nrrd"


@dataclass(frozen=True)
class Draft:
    """file: .seg.nrrd; base: the label version it began from, None for a prediction or nothing; date: UTC, ISO."""

    file: Path
    base: int | None
    date: str


def write_draft(folder: Path, write: Callable[[Path], object], base: int | None) -> Draft:
    """The new draft of a case folder; write(path) makes the .seg.nrrd.

    What `write` raises is passed on, and then the old draft is as it was. Raises ProjectError when
    nothing was written or the disk refuses.
    """
    target, coming = folder / FILE, folder / NEXT
    read_draft(folder)  # a draft under its temporary name gets its place before that name is used again
    with written_or_told(target):
        folder.mkdir(parents=True, exist_ok=True)
        coming.unlink(missing_ok=True)
    date = now()
    try:
        write(coming)
        if not coming.is_file() or coming.stat().st_size == 0:
            raise ProjectError(
                "the draft was not written", file=target, expected="a segmentation", found="nothing",
                do="save the segmentation by hand and report this",
            )  # fmt: skip
        with written_or_told(target):
            sync_file(coming)
            write_json(folder / ABOUT, {"base": base, "date": date, "sha256": sha256(coming)})
    except BaseException:
        if not _is_told(folder, coming):
            with contextlib.suppress(OSError):
                coming.unlink(missing_ok=True)
        raise
    with written_or_told(target):
        move(coming, target)
    return Draft(target, base, date)


def read_draft(folder: Path) -> Draft | None:
    """The draft of a case folder, None when there is none.

    Raises ProjectError when its file is not the one that was saved.
    """
    about, target, coming = folder / ABOUT, folder / FILE, folder / NEXT
    if not about.is_file():
        return None
    try:
        fields = read_json(about)
        base, date, told = fields["base"], str(fields["date"]), str(fields["sha256"])
        base = None if base is None else int(base)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ProjectError(
            "the description of a draft is damaged", file=about, expected="the JSON text that was saved",
            found=f"{type(error).__name__}: {error}",
            do=f"open {FILE} beside it by hand, then discard the draft",
        ) from error  # fmt: skip
    if coming.is_file() and sha256(coming) == told:  # killed between the two renames
        with written_or_told(target):
            move(coming, target)
    if not target.is_file() or sha256(target) != told:
        raise ProjectError(
            "the draft is not the one that was saved", file=target, expected="the file as it was saved",
            found="another content" if target.is_file() else "no file",
            do=f"look at {FILE} by hand, then discard the draft",
        )  # fmt: skip
    return Draft(target, base, date)


def remove_draft(folder: Path) -> None:
    """Raises ProjectError when the disk refuses. The description goes first: without it there is no draft."""
    with written_or_told(folder / ABOUT):
        for name in (ABOUT, FILE, NEXT):
            remove(folder / name)


def _is_told(folder: Path, file: Path) -> bool:
    try:
        return read_json(folder / ABOUT)["sha256"] == sha256(file)
    except (OSError, ValueError, KeyError, TypeError):
        return False
