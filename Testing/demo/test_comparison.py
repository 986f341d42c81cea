"""What the demo says of its figures, with figures planted."""

import pytest

from VoxelAdvSegLib.demo.comparison import (
    balanced_accuracy,
    compare,
    judge,
    most_and_least,
    read_discriminator,
    read_history,
)


def report(*scores):
    """A report of cases c0, c1, ... with the Dice of one organ each."""
    return {
        "organs": {"liver": {}},
        "cases": [{"name": f"c{i}", "organs": {"liver": {"dice": dice}}} for i, dice in enumerate(scores)],
    }


def step(number, labeled, unlabeled):
    """A step event with the discriminator's accuracies per class."""
    return {
        "type": "step", "step": number, "terms": {"student": {"dice": 1 / number}},
        "observed": {"accuracy_labeled": labeled, "accuracy_unlabeled": unlabeled, "teacher_confidence": 0.5},
    }  # fmt: skip


def test_differences_by_hand():
    liver, overall = compare(report(0.5, 0.6), report(0.6, 0.9))
    assert (liver.first, liver.second, liver.mean) == pytest.approx((0.55, 0.75, 0.2))
    # Gains 0.1 and 0.3: sd 0.1414, standard error 0.1, t of one degree of freedom 12.706.
    assert (liver.low, liver.high) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-4)
    assert (liver.better, liver.cases) == (2, 2)
    assert overall.name == "all organs" and overall.mean == pytest.approx(0.2)


def test_a_case_without_dice_is_in_neither_mean():
    liver, _ = compare(report(0.5, None), report(0.6, 0.9))
    assert (liver.first, liver.second, liver.cases, liver.low) == (0.5, 0.6, 1, None)


def test_reports_of_different_cases_are_not_compared():
    with pytest.raises(ValueError, match="different cases"):
        compare(report(0.5), report(0.5, 0.6))


@pytest.mark.parametrize(
    ("supervised", "semi", "answer", "words"),
    [
        ((0.70, 0.71, 0.72), (0.80, 0.82, 0.81), "Yes", "difference of +0.100"),
        ((0.80, 0.82, 0.81), (0.70, 0.71, 0.72), "No", "was worse"),
        ((0.80, 0.70, 0.75), (0.70, 0.79, 0.74), "No", "chance alone"),
        ((0.70, 0.79, 0.74), (0.80, 0.70, 0.76), "Not clearly", "chance alone"),
        ((0.70,), (0.90,), "Not clearly", "one scan says little"),
        ((0.20, 0.21, 0.22), (0.10, 0.11, 0.13), "Too early to say", "--minutes"),
        ((0.20, 0.21, 0.22), (0.60, 0.61, 0.63), "Yes", "3 of 3"),
    ],
)
def test_the_answer_follows_the_figures(supervised, semi, answer, words):
    found, why = judge(compare(report(*supervised), report(*semi))[-1])
    assert found == answer
    assert words in why


def test_cases_to_show_are_the_extremes_and_the_middle():
    first, second = report(0.5, 0.5, 0.5, 0.5, 0.5), report(0.6, 0.4, 0.5, 0.9, 0.55)
    assert [name for name, _ in most_and_least(first, second)] == ["c3", "c4", "c1"]
    assert most_and_least(report(0.5), report(0.4))[0][0] == "c0"


def test_history_reads_curves_and_leaves_out_what_is_not_finite():
    events = [
        step(1, [0.5, None], [0.7, None]),
        {"type": "validation", "step": 2, "mean": 0.3},
        {"type": "validation", "step": 3, "mean": None},
        step(4, [0.9, 0.8], [0.5, 0.4]),
    ]
    history = read_history(events)
    assert history.terms == {"dice": [(1, 1.0), (4, 0.25)]}
    assert history.validation == [(2, 0.3)]
    assert history.observed == {"teacher_confidence": [(1, 0.5), (4, 0.5)]}
    assert history.accuracy["labeled"] == [[(1, 0.5), (4, 0.9)], [(4, 0.8)]]
    # Step 1: (0.5 + 0.7) / 2; step 4: mean of 0.7 and 0.6.
    assert balanced_accuracy(history) == [(1, pytest.approx(0.6)), (4, pytest.approx(0.65))]


@pytest.mark.parametrize(
    ("early", "late", "words"),
    [
        (0.90, 0.52, ("hardly tell", "fell, from 0.90", "to 0.52")),
        (0.50, 0.60, ("somewhat better than by chance", "rose")),
        (0.80, 0.80, ("still told", "stayed about the same")),
    ],
)
def test_the_reading_of_the_discriminator_follows_its_accuracies(early, late, words):
    events = [step(n, [early if n < 4 else late], [early if n < 4 else late]) for n in range(1, 7)]
    sentence = read_discriminator(read_history(events))
    assert all(word in sentence for word in words), sentence


def test_a_discriminator_that_never_saw_enough_is_said_so():
    assert "never had enough" in read_discriminator(read_history([step(1, [None], [None])]))
    assert "never had enough" in read_discriminator(read_history([]))
