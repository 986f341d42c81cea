"""What the diaries and scores of two trainings say, in sentences: nothing is written in beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Balanced accuracy of the discriminator: below the first nearly chance, above the second well told apart.
CHANCE, TOLD_APART = 0.55, 0.70
NOTICEABLE = 0.03  # change of accuracy that is called one

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class History:
    """A run's diary as curves: points are (step, value).

    accuracy: by side ("labeled", "unlabeled"), one curve per class, background first.
    """

    terms: dict[str, Points] = field(default_factory=dict)
    observed: dict[str, Points] = field(default_factory=dict)
    accuracy: dict[str, list[Points]] = field(default_factory=dict)
    validation: Points = field(default_factory=list)


def case_mean(case: Mapping[str, Any]) -> float | None:
    """Mean Dice of a report's case over the organs of which it is known."""
    known = [organ["dice"] for organ in case["organs"].values() if organ["dice"] is not None]
    return float(np.mean(known)) if known else None


def read_history(events: Iterable[Mapping[str, Any]]) -> History:
    """Curves of a run from its events; values that were not finite are left out."""
    history = History()
    for event in events:
        step = event.get("step", 0)
        if event["type"] == "validation" and event["mean"] is not None:
            history.validation.append((step, event["mean"]))
        if event["type"] != "step":
            continue
        for player in event["terms"].values():
            for name, value in player.items():
                _add(history.terms.setdefault(name, []), step, value)
        for name, value in event["observed"].items():
            side = name.removeprefix("accuracy_")
            if isinstance(value, list) and side in ("labeled", "unlabeled") and side != name:
                curves = history.accuracy.setdefault(side, [[] for _ in value])
                for curve, entry in zip(curves, value, strict=True):
                    _add(curve, step, entry)
            elif isinstance(value, int | float):
                _add(history.observed.setdefault(name, []), step, value)
    return history


def _add(curve: Points, step: float, value: float | None) -> None:
    if value is not None:
        curve.append((step, float(value)))


def balanced_accuracy(history: History) -> Points:
    """Mean over classes of the discriminator's accuracy on both sides, by step."""
    values: dict[float, list[float]] = {}
    for real, fake in zip(*(history.accuracy.get(s, []) for s in ("labeled", "unlabeled")), strict=True):
        of_fake = dict(fake)
        for step, accuracy in real:
            if step in of_fake:
                values.setdefault(step, []).append((accuracy + of_fake[step]) / 2)
    return [(step, float(np.mean(entries))) for step, entries in sorted(values.items())]


def read_discriminator(history: History) -> str:
    """One honest sentence on what the discriminator managed, from its accuracies."""
    curve = [value for _, value in balanced_accuracy(history)]
    if not curve:
        return "The discriminator never had enough voxels on both sides to learn from."
    third = max(1, len(curve) // 3)
    early, late = float(np.mean(curve[:third])), float(np.mean(curve[-third:]))
    if late < CHANCE:
        found = (
            "it could hardly tell voxels of labeled from voxels of unlabeled scans: either their features have "
            "become alike, or it has not learned to see the difference"
        )
    elif late < TOLD_APART:
        found = "it told voxels of labeled from voxels of unlabeled scans somewhat better than by chance"
    else:
        found = (
            "it still told voxels of labeled from voxels of unlabeled scans well: their features have not become "
            "alike, or it has learned the few labeled scans by heart"
        )
    trend = "stayed about the same"
    if abs(late - early) >= NOTICEABLE:
        trend = "fell" if late < early else "rose"
    return (
        f"In the last third of the training {found}. Its mean accuracy {trend}, from {early:.2f} in the first "
        f"third to {late:.2f} (chance is 0.50)."
    )


def most_and_least(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Cases to show, (name, why): most and least in favour of the second method, and the middle one."""
    gains: list[tuple[float, str]] = sorted(
        (b - a, case["name"])
        for case, a, b in (
            (case, case_mean(case), case_mean(other))
            for case, other in zip(first["cases"], second["cases"], strict=True)
        )
        if a is not None and b is not None
    )
    places: Sequence[int] = sorted({len(gains) - 1, len(gains) // 2, 0} if gains else (), reverse=True)
    shown = []
    for place in places:
        gain, name = gains[place]
        rank = "most" if place == len(gains) - 1 else "least" if place == 0 else "neither most nor least"
        shown.append((name, f"{rank} in favour of the unlabeled scans, difference {gain:+.3f}"))
    return shown
