"""The report's numbers against NumPy on planted results (method.md, test 40)."""

import numpy as np
import pytest

from Testing.benchmark.conftest import CASES, planted_report, random_dice
from VoxelAdvSegLib.evaluation.statistics import (
    DRAWS,
    Difference,
    bootstrap_means,
    case_values,
    compare,
    difference_table,
    paired,
    spread,
)


def reports(dice):
    return {seed: planted_report(of_seed) for seed, of_seed in enumerate(dice)}


def test_mean_and_sd_between_seeds():
    values = [0.8, 0.82, 0.87]
    found = spread(values)
    assert (found.mean, found.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert spread([0.5, None]) == spread([0.5]) and spread([0.5]).sd is None
    assert spread([None]).mean is None


def test_a_cases_value_is_the_mean_over_its_organs():
    dice = random_dice(1)[0]
    found = case_values(planted_report(dice), "dice")
    assert list(found.values()) == pytest.approx(dice.mean(1).tolist())
    report = planted_report(dice)
    report["cases"][2]["organs"]["ball"]["dice"] = None
    assert case_values(report, "dice")[CASES[2]] == pytest.approx(dice[2, 1])


def test_the_interval_equals_a_plain_bootstrap():
    first, second = random_dice(3, seed=1), random_dice(3, 0.01, seed=2)
    found = paired(reports(first), reports(second))
    table = (second - first).mean(2)
    assert difference_table(reports(first), reports(second), "dice") == pytest.approx(table)
    assert found.mean == pytest.approx(table.mean())
    rng = np.random.default_rng(0)
    of_seeds = rng.integers(3, size=(DRAWS, 3))
    of_cases = rng.integers(len(CASES), size=(DRAWS, len(CASES)))
    plain = np.array([table[np.ix_(s, c)].mean() for s, c in zip(of_seeds, of_cases, strict=True)])
    assert bootstrap_means(table) == pytest.approx(plain)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])))
    assert found.better == int((table.mean(0) > 0).sum()) and (found.cases, found.seeds) == (8, 3)


def test_only_common_seeds_and_known_cases_are_paired():
    first, second = reports(random_dice(3, seed=1)), reports(random_dice(2, seed=2))
    second[1]["cases"][0]["organs"] = {o: {**v, "dice": None} for o, v in second[1]["cases"][0]["organs"].items()}
    found = paired(first, second)
    assert (found.seeds, found.cases) == (2, 7)
    assert paired(first, {9: second[0]}).mean is None


@pytest.mark.parametrize(
    ("gains", "answer"),
    [
        ([0.03, -0.02, 0.01], "cannot tell"),  # three cases, mixed signs
        ([0.03, 0.02, 0.04], "cannot tell"),  # three of one sign: one in four by chance
        ([0.03, 0.02, 0.04, 0.03, 0.02, 0.05, 0.03, 0.04], "yes"),
        ([-0.03, -0.02, -0.04, -0.03, -0.02, -0.05, -0.03, -0.04], "no"),
        ([0.03, -0.02, 0.04, -0.03, 0.02, -0.05, 0.03, -0.04], "cannot tell"),
    ],
)
def test_the_verdict(gains, answer):
    dice = np.full((1, len(CASES), 2), 0.8)
    other = dice.copy()
    other[0, : len(gains)] += np.array(gains)[:, None]
    first, second = reports(dice), reports(other)
    for report in (*first.values(), *second.values()):
        report["cases"] = report["cases"][: len(gains)]
    assert compare(paired(first, second)) == answer


def test_one_case_has_no_interval():
    assert compare(Difference(0.1, None, None, 1, 1, 1)) == "cannot tell"
