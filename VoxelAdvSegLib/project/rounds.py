"""Whether labeling more still pays: what each training was worth, and how much its proposals were corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelAdvSegLib.errors import BundleError
from VoxelAdvSegLib.model_folder import read_about
from VoxelAdvSegLib.project import runs

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

# A gain that a reader would notice; few validation cases move by as much by chance.
NOTICEABLE_DICE = 0.01
FEW_VALIDATION_CASES = 5
# Above this overlap of proposal and accepted label, corrections are retouching.
GOOD_CORRECTION_DICE = 0.95


@dataclass(frozen=True)
class Round:
    """One training that left a model.

    labeled, unlabeled, validation: cases it had; validation_dice: mean over organs, None without;
    correction_dice: mean overlap of its proposals with what the person made of them; corrections:
    how many that were.
    """

    run: str
    model: str
    date: str
    labeled: int
    unlabeled: int
    validation: int
    validation_dice: float | None
    correction_dice: float | None
    corrections: int


@dataclass(frozen=True)
class Rounds:
    """Oldest first; text: whether it still pays, in plain words."""

    rows: tuple[Round, ...]
    text: str


def list_rounds(project: Project) -> Rounds:
    """The rounds, also those whose training was deleted since."""
    corrections = _corrections(project)
    known = dict(project.content.rounds)
    for folder in runs.run_folders(project.path):
        facts = _facts(folder)
        if facts is not None:
            known[folder.name] = facts
    rows = []
    for run in sorted(known):
        model = f"{runs.FOLDER}/{run}"
        scores = corrections.get(model, [])
        mean = sum(scores) / len(scores) if scores else None
        rows.append(Round(run=run, model=model, **known[run], correction_dice=mean, corrections=len(scores)))
    return Rounds(tuple(rows), whether_it_pays(rows))


def keep_round(project: Project, run_id: str) -> None:
    """Remembers a round in the project, before its training is deleted."""
    facts = _facts(project.path / runs.FOLDER / run_id)
    if facts is not None:
        project.content.rounds[run_id] = facts
        project.save()


def whether_it_pays(rows: list[Round]) -> str:
    """One to three sentences on the last two rounds."""
    if not rows:
        return "No model has been trained yet."
    last = rows[-1]
    retouching = last.correction_dice is not None and last.correction_dice >= GOOD_CORRECTION_DICE
    corrected = (
        f" Its proposals and your corrections overlap by {last.correction_dice:.2f} (Dice, {last.corrections} cases)."
        if last.correction_dice is not None else ""
    )  # fmt: skip
    if last.validation_dice is None:
        return f"There are no validation cases, so the models cannot be compared.{corrected}"
    few = (
        f" With {last.validation} validation case{'s' * (last.validation != 1)} such figures also move by chance."
        if last.validation < FEW_VALIDATION_CASES else ""
    )  # fmt: skip
    earlier = [row for row in rows[:-1] if row.validation_dice is not None]
    if not earlier or earlier[-1].validation_dice is None:
        return (
            f"First round: Dice {last.validation_dice:.3f} on the validation cases with {last.labeled} labeled "
            f"cases.{corrected} Correct some predictions and train again to see whether it pays.{few}"
        )
    before = earlier[-1]
    gain = last.validation_dice - earlier[-1].validation_dice
    more = last.labeled - before.labeled
    cause = f"With {more} more labeled case{'s' * (more != 1)}" if more > 0 else "Without more labeled cases"
    change = f"the validation Dice went from {earlier[-1].validation_dice:.3f} to {last.validation_dice:.3f}"
    if gain >= NOTICEABLE_DICE:
        verdict = "It still pays to correct more."
    elif gain <= -NOTICEABLE_DICE:
        verdict = "Look at the newest labels, or train longer, before correcting more."
    elif retouching:
        verdict = "More corrections will hardly change the model."
    else:
        verdict = "The last corrections brought little; choose cases unlike those labeled so far."
    return f"{cause} {change}. {verdict}{corrected}{few}"


def _facts(folder: Path) -> dict[str, Any] | None:
    """What a training with a model was like; None for one without."""
    try:
        provenance = read_about(folder / "model")["provenance"]
        ended = runs.read_run(folder)
        told = provenance.get("validation_dice")
        dice = ended.dice or (told if isinstance(told, Mapping) else {})
        mean = dice.get("mean")
        return {
            "date": str(provenance.get("date", "")),
            "labeled": int(provenance["labeled_scans"]),
            "unlabeled": int(provenance["unlabeled_scans"]),
            "validation": int(provenance["validation_scans"]),
            "validation_dice": None if mean is None else float(mean),
        }
    except (BundleError, KeyError, TypeError, ValueError):
        return None


def _corrections(project: Project) -> dict[str, list[float]]:
    """Mean Dice of each accepted proposal, by model. Of a case corrected twice on one proposal, the last counts."""
    scores: dict[str, dict[str, float]] = {}
    for case in project.cases:
        for version in project.versions(case.id):
            if version.decision in ("accepted", "corrected") and version.model and version.mean_dice is not None:
                scores.setdefault(version.model, {})[case.id] = version.mean_dice
    return {model: list(by_case.values()) for model, by_case in scores.items()}
