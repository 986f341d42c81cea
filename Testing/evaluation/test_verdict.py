"""Verdicts on planted differences: a clear yes, a clear no, and what cannot be told."""

import json

import pytest

from VoxelAdvSegLib.evaluation.verdict import judge

SPREAD = (0.00, 0.01, -0.01, 0.02, -0.02, 0.005, -0.005, 0.0)
CLEAR = tuple(0.03 + s / 4 for s in SPREAD)


def report(*scores, organ="liver"):
    """A report of cases c0, c1, ... with the Dice of one organ each."""
    cases = [{"name": f"c{i}", "organs": {organ: {"dice": dice}}} for i, dice in enumerate(scores)]
    return {"organs": {organ: {}}, "cases": cases}


def pair(gains, start=0.8):
    """Reports before and after, the second better by the gains."""
    return report(*[start] * len(gains)), report(*(start + gain for gain in gains))


@pytest.mark.parametrize(
    ("gains", "answer", "words"),
    [
        (CLEAR, "yes", "0.800 without the unlabeled scans and 0.830 with them, a difference of +0.030"),
        (tuple(-gain for gain in CLEAR), "no", "It is worse with them."),
        (tuple(s / 20 for s in SPREAD), "no", "too small to be of use"),
        (SPREAD, "cannot tell", "Cannot tell with 8 cases"),
        (tuple(0.002 + s / 40 for s in SPREAD), "no", "too small to be of use"),
        ((0.03, 0.02, 0.04), "cannot tell", "about 3 more labeled cases"),
        ((0.05,), "cannot tell", "Cannot tell with 1 case: "),
    ],
)
def test_known_differences(gains, answer, words):
    found = judge(*pair(gains))
    assert found.answer == answer
    assert words in found.sentence, found.sentence
    assert found.sentence.lower().startswith(answer)


def test_models_that_have_learned_nothing_are_not_compared():
    found = judge(*pair([0.1] * 8, start=0.1))
    assert found.answer == "cannot tell" and "more time is needed" in found.sentence


def test_the_number_of_cases_that_it_would_take():
    # Gains of mean 0.01 and sd 0.03 (n - 1): (2.802 * 0.03 / 0.01)^2 = 70.66, so 71 cases in all.
    half = [-0.02 + 0.0019, 0.04 - 0.0019]  # mean 0.01, sd over eight values 0.03
    found = judge(*pair(half * 4))
    assert found.overall.sd == pytest.approx(0.03, abs=1e-4)
    assert found.answer == "cannot tell" and found.more_cases == 71 - 8
    assert f"about {71 - 8} more labeled cases" in found.sentence
    assert judge(*pair(CLEAR)).more_cases is None


def test_a_hopeless_number_is_not_given_to_the_case():
    found = judge(*pair([-0.2, 0.2] * 4))
    assert found.more_cases > 1000 and "more than 1,000 more labeled cases" in found.sentence


def test_each_organ_has_a_difference_of_its_own():
    first, second = pair(CLEAR)
    for case in (*first["cases"], *second["cases"]):
        case["organs"]["spleen"] = {"dice": 0.7}
    for wanted in (first, second):
        wanted["organs"]["spleen"] = {}
    found = judge(first, second)
    assert found.organs["liver"].mean == pytest.approx(sum(CLEAR) / 8)
    assert found.organs["spleen"].mean == 0
    assert found.overall.mean == pytest.approx(sum(CLEAR) / 16)


def test_a_case_without_dice_is_in_neither_mean():
    first, second = pair(CLEAR)
    second["cases"][0]["organs"]["liver"]["dice"] = None
    assert judge(first, second).overall.cases == 7
    nothing = judge(report(None), report(None))
    assert nothing.answer == "cannot tell" and "no scan could be scored" in nothing.sentence


def test_an_organ_that_is_not_there_is_left_out_for_both_models():
    """One model finds nothing and has no Dice, the other a voxel and has 0: that is no pair."""
    first, second = pair([0.0] * 8)
    for report_, dice in ((first, None), (second, 0.0)):
        report_["organs"]["spleen"] = {}
        for number, case in enumerate(report_["cases"]):
            case["organs"]["spleen"] = {"dice": dice if number == 0 else 0.7}
    found = judge(first, second)
    assert found.overall.mean == 0 and found.organs["spleen"].mean == 0 and found.overall.cases == 8


def test_repetitions_are_paired_by_their_number():
    first, second = pair(CLEAR)
    worse = report(*(case["organs"]["liver"]["dice"] - 0.5 for case in first["cases"]))
    found = judge({0: first, 1: worse}, {0: second, 1: worse})
    assert found.overall.mean == pytest.approx(sum(CLEAR) / 16) and found.overall.seeds == 2


def test_reports_of_different_cases_are_not_compared():
    with pytest.raises(ValueError, match="different cases"):
        judge(report(0.5), report(0.5, 0.6))


def test_a_verdict_is_json_and_always_the_same():
    one, two = (judge(*pair(SPREAD)).to_dict() for _ in range(2))
    assert json.loads(json.dumps(one, allow_nan=False)) == one == two
