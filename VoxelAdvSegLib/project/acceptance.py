"""From a segmentation that a person accepts to the next label version of its case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from VoxelAdvSegLib.data.volume import read_geometry
from VoxelAdvSegLib.errors import InputError, ProjectError
from VoxelAdvSegLib.evaluation.metrics import dice
from VoxelAdvSegLib.project import drafts, labels, predictions, roles
from VoxelAdvSegLib.project.labels import DECISIONS, LabelVersion
from VoxelAdvSegLib.project.records import Case
from VoxelAdvSegLib.project.segmentation import Matched, match_segments, require_organs

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project


def accept(
    project: Project,
    case: Case,
    file: Path,
    decision: str,
    model: str | None = None,
    proposal_dice: Mapping[str, float | None] | None = None,
) -> LabelVersion:
    """The new version. Raises ProjectError or InputError, and then nothing has changed."""
    if decision not in DECISIONS or decision == "restored":
        raise ProjectError(
            f"'{decision}' is no decision", expected=", ".join(DECISIONS[:-1]), found=decision, do="report this",
        )  # fmt: skip
    roles.check_editable(case)
    if not project.organs:
        raise ProjectError(
            "the project has no organs yet", file=project.path, expected="at least one organ", found="none",
            do="add the organs that you segment",
        )  # fmt: skip
    if not file.name.lower().endswith(".seg.nrrd"):
        raise InputError(
            "the label is no Slicer segmentation", file=file, expected="a .seg.nrrd, whose segments have names",
            found=file.name, do="save it as a segmentation",
        )  # fmt: skip
    matched = match_segments(file, project.organs, read_geometry(case.image))
    require_organs(matched, project.organs, file)
    prediction = predictions.read_prediction(project.case_folder(case.id))
    proposed = prediction is not None and decision in ("accepted", "corrected")
    if proposal_dice is None:
        proposal_dice = _compare(project, case, prediction.segmentation, matched) if proposed and prediction else {}
    if model is None:
        model = prediction.model if proposed and prediction else ""
    folder = project.case_folder(case.id)
    version = labels.add_version(
        folder / "labels", file, decision=decision, model=model, dice=dict(proposal_dice), overlaps=matched.overlaps,
        strangers=matched.strangers,
    )  # fmt: skip
    project.put(roles.accepted(case, version.number))
    drafts.remove_draft(folder)
    return version


def restore(project: Project, case: Case, number: int) -> LabelVersion:
    """A copy of an earlier version as the newest. A draft stays: restoring is no answer to it."""
    roles.check_editable(case)
    folder = project.case_folder(case.id)
    earlier = labels.read_version(folder / "labels", number)
    version = labels.add_version(
        folder / "labels", earlier.file, decision="restored", model=earlier.model, dice=dict(earlier.dice),
        overlaps=dict(earlier.overlaps), strangers=earlier.strangers, source=number,
    )  # fmt: skip
    case = roles.accepted(case, version.number)
    project.put(roles.begun(case) if (folder / drafts.ABOUT).is_file() else case)
    return version


def _compare(project: Project, case: Case, proposal: Path, accepted: Matched) -> dict[str, float | None]:
    """Dice of proposal and accepted label by organ; None where neither has it."""
    proposed = match_segments(proposal, project.organs, read_geometry(case.image))
    return {organ.name: _dice(proposed, accepted, organ.name) for organ in project.organs}


def _dice(first: Matched, second: Matched, organ: str) -> float | None:
    a, b = first.masks.get(organ), second.masks.get(organ)
    if a is None or b is None:
        return None if a is b else 0.0
    return dice(a, b)
