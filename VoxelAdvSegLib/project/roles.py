"""Which role and state a case may have, and how it gets there. Files are not touched here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.records import ROLES, Case, now

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project


def with_role(case: Case, role: str, leave_validation: bool = False) -> Case:
    """Raises ProjectError when the case cannot have the role, or would leave the validation unasked."""
    if role not in ROLES:
        raise ProjectError(f"there is no role '{role}'", expected=", ".join(ROLES), found=role, do="choose a role")
    if role in ("labeled", "validation") and case.label is None:
        raise ProjectError(
            f"{case.id} cannot be a {role} case", expected="an accepted label", found="no label",
            do="segment and accept it first",
        )  # fmt: skip
    if case.role == "validation" and role != "validation" and not leave_validation:
        raise ProjectError(
            f"{case.id} is a validation case", expected="the same validation cases from round to round",
            found=f"the wish to make it {role}",
            do="leave it as it is, or agree that earlier validation figures no longer compare",
        )  # fmt: skip
    return replace(case, role=role)


def draw_validation(project: Project, fraction: float) -> tuple[str, ...]:
    """Ids of the cases that become validation cases: the same for the same project and cases.

    At least one, and at least one labeled case stays for training. Raises ProjectError when the
    split was drawn before, or there are fewer than two labeled cases.
    """
    content = project.content
    if content.validation is not None:
        raise ProjectError(
            "the validation cases were drawn before", file=project.path,
            expected="one draw in the life of a project, so that rounds compare",
            found=f"{len(content.validation['cases'])} cases, drawn {content.validation['date'][:10]}",
            do="change the role of a single case by hand if it must be",
        )  # fmt: skip
    if not 0 < fraction < 1:
        raise ProjectError(
            "this share cannot be drawn", expected="a fraction between 0 and 1", found=str(fraction), do="choose 0.2",
        )  # fmt: skip
    labeled = [case.id for case in project.cases if case.role == "labeled" and case.has_usable_label]
    if len(labeled) < 2:
        raise ProjectError(
            "there are too few labeled cases to set some aside", file=project.path,
            expected="at least two", found=str(len(labeled)), do="label more cases, or train without validation",
        )  # fmt: skip
    count = min(max(1, round(fraction * len(labeled))), len(labeled) - 1)
    drawn = tuple(sorted(_in_drawing_order(labeled, content.id)[:count]))
    with project.batch():
        content.validation = {"fraction": fraction, "date": now(), "cases": list(drawn)}
        for case_id in drawn:
            project.put(replace(project.case(case_id), role="validation"))
    return drawn


def flagged(case: Case, reason: str) -> Case:
    if not reason.strip():
        raise ProjectError(
            f"{case.id} is flagged without a reason", expected="a few words for the next reader", found="nothing",
            do="say what is wrong",
        )  # fmt: skip
    return replace(case, state="flagged", reason=reason.strip(), skipped=False)


def reopened(case: Case) -> Case:
    check_editable(case)
    return replace(case, state="in progress", skipped=False)


def begun(case: Case) -> Case:
    return replace(case, state="in progress", skipped=False)


def without_draft(case: Case, has_prediction: bool) -> Case:
    """The state before the person began; a flag stays."""
    if case.state == "flagged":
        return case
    if case.label is not None:
        return replace(case, state="completed")
    return replace(case, state="predicted" if has_prediction else "not started")


def accepted(case: Case, label: int) -> Case:
    """A case with a new label version: in use for training, or for validation where it was."""
    role = "validation" if case.role == "validation" else "labeled"
    # What was said of the proposal is not said of what a person made of it.
    return replace(
        case, role=role, state="completed", label=label, skipped=False, reason="", predicted=None, unlike=False,
        place=None,
    )  # fmt: skip


def predicted(
    case: Case, model: str, score: float | None, reason: str, assessment: Mapping[str, Any] | None = None
) -> Case:
    """Score and reason of the newest prediction; the state changes only where no person has begun."""
    said = assessment or {}
    mean = said.get("predicted_dice_mean")
    case = replace(
        case, model=model, score=score, unlike=bool(said.get("unlike_training", False)), place=None,
        predicted=None if mean is None else (float(mean["value"]), float(mean["low"]), float(mean["high"])),
    )  # fmt: skip
    if case.state not in ("not started", "predicted"):
        return case
    return replace(case, state="predicted", reason=reason, skipped=False)


def unpredicted(case: Case) -> Case:
    """A case whose prediction was removed."""
    return replace(
        case, state="not started", score=None, reason="", model="", skipped=False, predicted=None, unlike=False,
        place=None,
    )  # fmt: skip


def check_editable(case: Case) -> None:
    if case.role == "excluded":
        raise ProjectError(
            f"{case.id} is excluded", expected="a case in use", found="the role excluded",
            do="give it the role unlabeled first",
        )  # fmt: skip


def _in_drawing_order(case_ids: Sequence[str], project_id: str) -> list[str]:
    """An order that looks random and depends on nothing but the ids."""
    return sorted(case_ids, key=lambda case_id: hashlib.sha256(f"{project_id} {case_id}".encode()).hexdigest())
