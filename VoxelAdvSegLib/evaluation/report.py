"""Scores of many cases: per case and organ, per organ, and over all, as JSON and as a table."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.evaluation.metrics import METRICS, EmptyDistance, OrganScore, score_organ
from VoxelAdvSegLib.table import align

PENALIZED = ("missed", "false_present")
_COLUMNS = (
    ("dice", "Dice"), ("jaccard", "Jaccard"), ("hd95_voxel", "HD95 voxel"), ("hd95_mm", "HD95 mm"),
    ("asd_voxel", "ASD voxel"), ("asd_mm", "ASD mm"), ("assd_voxel", "ASSD voxel"), ("assd_mm", "ASSD mm"),
)  # fmt: skip


@dataclass(frozen=True)
class CaseScore:
    """Scores of one case; organs: one OrganScore per organ name."""

    name: str
    organs: dict[str, OrganScore]


def score_case(
    name: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    organs: Sequence[Organ],
    spacing_zyx_mm: Sequence[float],
    empty_distance: EmptyDistance = "diagonal",
) -> CaseScore:
    """Scores of a class-index array (z, y, x) against the reference's, both in the order of `organs`.

    Raises ValueError when the shapes differ.
    """
    return CaseScore(
        name,
        {
            organ.name: score_organ(prediction == index, reference == index, spacing_zyx_mm, empty_distance)
            for index, organ in enumerate(organs, start=1)
        },
    )


def summarize(cases: Sequence[CaseScore]) -> dict:
    """Report of one or more cases, ready for JSON: means over cases per organ, then over organs.

    None (null in JSON) means that nothing could be said; it is left out of every mean.
    n counts the cases of which the organ's Dice is a mean.
    """
    organs = {name: _summary([case.organs[name] for case in cases]) for name in cases[0].organs}
    return {
        "mean": {metric: _mean([organ[metric] for organ in organs.values()]) for metric in METRICS},
        "organs": organs,
        "cases": [
            {
                "name": case.name,
                "organs": {name: {**score.values, "outcome": score.outcome} for name, score in case.organs.items()},
            }
            for case in cases
        ],
    }


def check_writable(path: Path) -> None:
    """Raises RunError when no report can be put at `path`; called before long work, so that none is lost.

    Makes the folder where it is missing.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error
    if path.is_dir():
        raise _not_writable(path, "a folder of this name")
    if not os.access(path.parent, os.W_OK):
        raise _not_writable(path, "no right to write there")


def write_report(report: dict, path: Path) -> None:
    """Writes the report as JSON, whole or not at all. Raises RunError when the place is not writable."""
    check_writable(path)
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _not_writable(path, error.strerror or str(error)) from error


def format_report(report: dict) -> str:
    """The report as plain aligned text: one line per organ, the mean, then Dice of every case."""
    return f"{_organ_table(report)}\n\n{_case_table(report)}"


def _not_writable(path: Path, found: str) -> RunError:
    return RunError(
        "the report cannot be written",
        file=path,
        expected="a file in a folder you may write to",
        found=found,
        do="choose another place with --output",
    )


def _summary(scores: list[OrganScore]) -> dict:
    summary: dict = {metric: _mean([score.values[metric] for score in scores]) for metric in METRICS}
    summary["n"] = sum(score.values["dice"] is not None for score in scores)
    for outcome in (*PENALIZED, "true_absent"):
        summary[outcome] = sum(score.outcome == outcome for score in scores)
    return summary


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _organ_table(report: dict) -> str:
    rows = [["organ", "cases", *(title for _, title in _COLUMNS), "missed", "false"]]
    for name, organ in report["organs"].items():
        counts = [str(organ["missed"]), str(organ["false_present"])]
        rows.append([name, str(organ["n"]), *(_cell(organ, metric) for metric, _ in _COLUMNS), *counts])
    rows.append(["mean", "", *(_cell(report["mean"], metric) for metric, _ in _COLUMNS), "", ""])
    lines = [align(rows)]
    if any(organ[outcome] for organ in report["organs"].values() for outcome in PENALIZED):
        lines.append("missed: in the reference, not found.  false: found, not in the reference.")
    return "\n".join(lines)


def _case_table(report: dict) -> str:
    names = list(report["organs"])
    rows = [["Dice per case", *names]]
    for case in report["cases"]:
        rows.append([case["name"], *(_case_cell(case["organs"][name]) for name in names)])
    return align(rows)


def _case_cell(organ: dict) -> str:
    words = {"missed": "missed", "false_present": "false", "true_absent": "-"}
    return words.get(organ["outcome"]) or _cell(organ, "dice")


def _cell(values: dict, metric: str) -> str:
    value = values[metric]
    if value is None:
        return "-"
    return f"{value:.4f}" if metric in ("dice", "jaccard") else f"{value:.2f}"
