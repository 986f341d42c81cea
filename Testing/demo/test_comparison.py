"""What the demo says of its figures, with figures planted."""

import pytest

from VoxelAdvSegLib.demo.comparison import (
    balanced_accuracy,
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
