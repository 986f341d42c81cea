"""Comparing reports: means over seeds, paired differences with bootstrap intervals, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS = 10_000
CONFIDENCE = 0.95
# Five cases of one sign have a chance of 1/16 under no difference (two-sided sign test), six of 1/32.
FEWEST_CASES = 6
LEAST_GAIN = 0.005  # Dice: a gain that is surely smaller is none that anybody would notice

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Mean over runs, and standard deviation (n - 1) between them; None where nothing can be said."""

    mean: float | None
    sd: float | None
    runs: int


@dataclass(frozen=True)
class Difference:
    """A row minus the first, on the same cases and seeds; low, high: its 95 % bootstrap interval.

    None where there are no common cases; better: cases whose mean over seeds is larger; before, after:
    means of both over these cases; sd: of the differences between cases.
    """

    mean: float | None
    low: float | None
    high: float | None
    better: int
    cases: int
    seeds: int
    before: float | None = None
    after: float | None = None
    sd: float | None = None


def spread(values: Sequence[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    if not known:
        return Spread(None, None, 0)
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Spread(float(np.mean(known)), sd, len(known))


def case_values(report: Report, metric: str, organ: str | None = None) -> dict[str, float | None]:
    """Value of every case: of one organ, or the mean over the organs of which it is known."""
    values: dict[str, float | None] = {}
    for case in report["cases"]:
        organs = case["organs"].values() if organ is None else (case["organs"][organ],)
        known = [found[metric] for found in organs if found[metric] is not None]
        values[case["name"]] = float(np.mean(known)) if known else None
    return values


def paired(
    first: Mapping[int, Report], second: Mapping[int, Report], metric: str = "dice", organ: str | None = None
) -> Difference:
    """Second minus first, by seed and case; reports by seed; of one organ, or the mean over all.

    The interval is that of percentiles over 10,000 draws, with replacement, of cases and of seeds:
    both are samples. With one seed it says nothing of the spread between seeds.
    """
    before, after = _tables(first, second, metric, organ)
    table = after - before
    seeds, cases = table.shape
    if not table.size:
        return Difference(None, None, None, 0, cases, seeds)
    gains = table.mean(0)
    better, means = int((gains > 0).sum()), (float(before.mean()), float(after.mean()))
    if cases < 2:
        return Difference(float(table.mean()), None, None, better, cases, seeds, *means)
    low, high = np.percentile(bootstrap_means(table), [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    sd = float(gains.std(ddof=1))
    return Difference(float(table.mean()), float(low), float(high), better, cases, seeds, *means, sd)


def difference_table(
    first: Mapping[int, Report], second: Mapping[int, Report], metric: str, organ: str | None = None
) -> np.ndarray:
    """(seeds, cases) of the seeds in both, and of the cases known in all of their reports."""
    before, after = _tables(first, second, metric, organ)
    return after - before


def _tables(
    first: Mapping[int, Report], second: Mapping[int, Report], metric: str, organ: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Values of both, (seeds, cases) as `difference_table`."""
    seeds = sorted(set(first) & set(second))
    pairs = [_common_values(first[seed], second[seed], metric, organ) for seed in seeds]
    names = [
        name
        for name in (pairs[0][0] if pairs else ())
        if all(a.get(name) is not None and b.get(name) is not None for a, b in pairs)
    ]
    before, after = (
        np.array([[values[name] for name in names] for values in of_seeds], float).reshape(len(seeds), len(names))
        for of_seeds in ([a for a, _ in pairs], [b for _, b in pairs])
    )
    return before, after


def _common_values(
    first: Report, second: Report, metric: str, organ: str | None
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Values of the cases of both, each over the organs that are known in both: or it is no pair.

    An organ that is not there has no Dice where nothing was found, and 0 where a voxel was.
    """
    if organ is not None:
        return case_values(first, metric, organ), case_values(second, metric, organ)
    others = {case["name"]: case["organs"] for case in second["cases"]}
    before: dict[str, float | None] = {}
    after: dict[str, float | None] = {}
    for case in first["cases"]:
        own, other = case["organs"], others.get(case["name"], {})
        pairs = [(own[name][metric], other[name][metric]) for name in own if name in other]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        before[case["name"]], after[case["name"]] = (
            (float(np.mean([a for a, _ in known])), float(np.mean([b for _, b in known]))) if known else (None, None)
        )
    return before, after


def bootstrap_means(table: np.ndarray) -> np.ndarray:
    """Means (10,000,) of the table with seeds and cases drawn with replacement; always the same draws."""
    rng = np.random.default_rng(0)
    seeds, cases = table.shape
    of_seeds = rng.integers(seeds, size=(DRAWS, seeds))
    of_cases = rng.integers(cases, size=(DRAWS, cases))
    # The mean over a drawn grid is that of its counts: no (draws, seeds, cases) array is needed.
    weights_seeds = _counts(of_seeds, seeds) / seeds
    weights_cases = _counts(of_cases, cases) / cases
    return np.einsum("ds,sc,dc->d", weights_seeds, table, weights_cases, optimize=True)


def compare(difference: Difference) -> str:
    """Whether the row's Dice is better than the first's: yes, no, or cannot tell.

    no: worse, or better by less than 0.005 even at the upper end. Below six cases no interval is trusted.
    """
    d = difference
    if d.low is None or d.high is None or d.cases < FEWEST_CASES:
        return "cannot tell"
    return "no" if d.high < LEAST_GAIN else "yes" if d.low > 0 else "cannot tell"


def _counts(drawn: np.ndarray, size: int) -> np.ndarray:
    return (drawn[:, :, None] == np.arange(size)).sum(1)
