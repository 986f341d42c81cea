"""Accepted labels of a case: numbered versions that are never overwritten, each with its provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.disk import (
    PARTIAL,
    copy_file,
    move,
    read_json,
    sha256,
    write_json,
    written_or_told,
)
from VoxelAdvSegLib.project.records import now

DECISIONS = ("accepted", "corrected", "imported", "drawn", "restored")
VERSION = re.compile(r"(\d{4,7})\.(seg\.nrrd|json)")


@dataclass(frozen=True)
class LabelVersion:
    """One accepted label.

    decision: what the person did; model: id of the model whose proposal it was, or ""; dice:
    overlap of proposal and accepted label by organ, empty without a proposal, None where neither
    has the organ; overlaps: shared voxels by pair of segments; source: the version that was restored.
    """

    number: int
    file: Path
    date: str
    decision: str
    model: str = ""
    dice: Mapping[str, float | None] = field(default_factory=dict)
    overlaps: Mapping[str, int] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    source: int | None = None
    sha256: str = ""

    @property
    def mean_dice(self) -> float | None:
        known = [value for value in self.dice.values() if value is not None]
        return sum(known) / len(known) if known else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it, in sentences."""
        notes = [f"{pair} overlap in {voxels} voxels." for pair, voxels in self.overlaps.items()]
        if self.strangers:
            notes.append(f"Segments that are no organ of the project are left out: {', '.join(self.strangers)}.")
        return tuple(notes)


def add_version(folder: Path, file: Path, **facts: Any) -> LabelVersion:
    """Copies a .seg.nrrd in as the next version; facts: fields of LabelVersion besides number and file.

    The JSON beside it is written last: a version without is none. Raises ProjectError when
    it cannot be written.
    """
    with written_or_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        number = max((_number(path) for path in folder.iterdir()), default=0) + 1
        target = version_file(folder, number)
        partial = folder / f".{number:04}{PARTIAL}.seg.nrrd"
        copy_file(file, partial)
        move(partial, target)
    version = LabelVersion(number, target, **{"date": now(), **facts, "sha256": sha256(target)})
    write_json(_about(folder, number), _to_json(version))
    return version


def read_versions(folder: Path) -> tuple[LabelVersion, ...]:
    """All versions, oldest first. Raises ProjectError when one's description is damaged."""
    if not folder.is_dir():
        return ()
    numbers = sorted({_number(path) for path in folder.glob("*.json")} - {0})
    return tuple(read_version(folder, number) for number in numbers)


def read_version(folder: Path, number: int) -> LabelVersion:
    """Raises ProjectError when there is no such version, or its description is damaged."""
    about, file = _about(folder, number), version_file(folder, number)
    if not (about.is_file() and file.is_file()):
        raise ProjectError(
            f"there is no label version {number}", file=folder, expected=f"{file.name} and {about.name}",
            found="nothing" if not file.is_file() else "no description", do="choose another version",
        )  # fmt: skip
    try:
        fields = read_json(about)
        return LabelVersion(
            number=number, file=file, date=str(fields["date"]), decision=str(fields["decision"]),
            model=str(fields["model"]),
            dice={str(k): None if v is None else float(v) for k, v in fields["proposal_dice"].items()},
            overlaps={str(k): int(v) for k, v in fields["overlap_voxels"].items()},
            strangers=tuple(map(str, fields["other_segments"])), source=fields["source"],
            sha256=str(fields["sha256"]),
        )  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProjectError(
            "the description of a label is damaged", file=about, expected="the JSON text that was saved",
            found=f"{type(error).__name__}: {error}", do="take the file from a backup, or accept the label again",
        ) from error  # fmt: skip


def _to_json(version: LabelVersion) -> dict[str, Any]:
    return {
        "date": version.date,
        "decision": version.decision,
        "model": version.model,
        "proposal_dice": dict(version.dice),
        "mean_proposal_dice": version.mean_dice,
        "overlap_voxels": dict(version.overlaps),
        "other_segments": list(version.strangers),
        "source": version.source,
        "sha256": version.sha256,
        "version": __version__,
    }


def _number(path: Path) -> int:
    """Number of a version's file, also of one that was left unfinished; 0 for others."""
    match = VERSION.fullmatch(path.name)
    return int(match[1]) if match else 0


def version_file(folder: Path, number: int) -> Path:
    return folder / f"{number:04}.seg.nrrd"


def _about(folder: Path, number: int) -> Path:
    return folder / f"{number:04}.json"
