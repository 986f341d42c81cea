"""What the discriminator's accuracies say, in one line of plain words that follows from the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from VoxelAdvSegLib.jobs.curves import Curve

FEWEST_VALUES = 10  # of the diary, before anything is said
ALIKE_BELOW = 0.60  # balanced accuracy up to which features count as alike; 0.5 is guessing
TOLD_APART_ABOVE = 0.75
ONE_SIDED = 0.85  # calls that share of one side right, and as few of the other


@dataclass(frozen=True)
class OrganReading:
    """accuracies (0 to 1) on labeled and unlabeled voxels, means of the last values; None: too early."""

    organ: str
    on_labeled: float | None
    on_unlabeled: float | None
    verdict: str  # alike | becoming alike | told apart | one-sided | too early
    text: str


@dataclass(frozen=True)
class Reading:
    """text: the one line; verdict: as an organ's, or "none" where the method has no discriminator."""

    verdict: str
    text: str
    organs: list[OrganReading] = field(default_factory=list)


def read_discriminator(
    on_labeled: Mapping[str, Curve], on_unlabeled: Mapping[str, Curve], organs: Sequence[str], method: str
) -> Reading:
    """The reading over all organs (without background), and of each."""
    if method == "supervised":
        return Reading("none", "This method has no discriminator: it learns from the labeled scans alone.")
    rows = [_organ(name, on_labeled.get(name), on_unlabeled.get(name)) for name in organs]
    known = [row for row in rows if row.verdict != "too early"]
    if not known:
        return Reading("too early", "Too early to say whether unlabeled features look like labeled ones.", rows)
    return _overall(rows, known)


def _overall(rows: list[OrganReading], known: list[OrganReading]) -> Reading:
    alike = [r for r in known if r.verdict == "alike"]
    apart = [r for r in known if r.verdict == "told apart"]
    one_sided = [r for r in known if r.verdict == "one-sided"]
    if len(one_sided) == len(known):
        return Reading(
            "one-sided",
            "The discriminator calls nearly all voxels the same, labeled or not: for now it says little.", rows,
        )  # fmt: skip
    if len(alike) == len(known):
        return Reading("alike", "The unlabeled features now look like the labeled ones.", rows)
    if apart:
        accuracy = fmean(_balanced(r) for r in apart)
        where = "" if len(apart) == len(known) else f" in {_names(apart)}"
        return Reading(
            "told apart",
            f"The unlabeled features do not look like the labeled ones{where}: the discriminator tells their "
            f"voxels apart in {accuracy:.0%} of cases (50% is guessing).",
            rows,
        )
    if alike:
        return Reading(
            "becoming alike",
            f"The unlabeled features look like the labeled ones in {_names(alike)}, and not yet in "
            f"{_names([r for r in known if r not in alike])}.",
            rows,
        )
    accuracy = fmean(_balanced(r) for r in known)
    return Reading(
        "becoming alike",
        f"The unlabeled features look partly like the labeled ones: the discriminator is right in {accuracy:.0%} "
        "of cases (50% is guessing).",
        rows,
    )


def _organ(name: str, labeled: Curve | None, unlabeled: Curve | None) -> OrganReading:
    if labeled is None or unlabeled is None:
        return OrganReading(name, None, None, "too early", f"{name}: too few sure voxels so far.")
    real, fake = ([y for _, y in curve.recent] for curve in (labeled, unlabeled))
    count = min(len(real), len(fake))
    if count < FEWEST_VALUES:
        return OrganReading(name, labeled.last, unlabeled.last, "too early", f"{name}: too early to say.")
    on_labeled, on_unlabeled = fmean(real), fmean(fake)
    balanced = [(a + b) / 2 for a, b in zip(real[-count:], fake[-count:], strict=True)]
    accuracy, error = fmean(balanced), pstdev(balanced) / math.sqrt(count)
    numbers = f"right for {on_labeled:.0%} of labeled and {on_unlabeled:.0%} of unlabeled voxels"
    if abs(on_labeled - on_unlabeled) > 2 * ONE_SIDED - 1 and accuracy < TOLD_APART_ABOVE:
        side = "labeled" if on_labeled > on_unlabeled else "unlabeled"
        verdict, words = "one-sided", f"nearly every voxel is called {side}"
    elif accuracy + error <= ALIKE_BELOW:
        verdict, words = "alike", "cannot be told apart"
    elif accuracy - error >= TOLD_APART_ABOVE:
        verdict, words = "told apart", "can be told apart"
    else:
        verdict, words = "becoming alike", "partly alike"
    return OrganReading(name, on_labeled, on_unlabeled, verdict, f"{name}: {words} ({numbers}).")


def _balanced(row: OrganReading) -> float:
    return ((row.on_labeled or 0.0) + (row.on_unlabeled or 0.0)) / 2


def _names(rows: Sequence[OrganReading]) -> str:
    names = [row.organ for row in rows]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
