"""What a panel shows: curves in bounded memory, and a reading of the discriminator that follows from numbers."""

from pathlib import Path

import numpy as np
import pytest

from Testing.jobs.conftest import END_EVENT, START_EVENT, step_event
from VoxelAdvSegLib.jobs.curves import Curve
from VoxelAdvSegLib.jobs.discriminator_reading import FEWEST_VALUES, read_discriminator
from VoxelAdvSegLib.jobs.training_view import MOST_CURVES, TrainingView


def filled(values, start: int = 0, most: int = 5000) -> Curve:
    curve = Curve(most)
    for x, y in enumerate(values, start):
        curve.add(x, y)
    return curve


# --- curves ----------------------------------------------------------------------------------------


def test_a_short_curve_is_kept_as_it_is():
    x, y = filled([3.0, 1.0, 2.0], start=5).points()
    assert list(x) == [5, 6, 7] and list(y) == [3, 1, 2]


@pytest.mark.parametrize("count", [4999, 5000, 5001, 123_456])
def test_a_long_curve_has_few_points_its_mean_and_its_ends(count: int):
    values = np.sin(np.arange(count) / 500)
    curve = filled(values)
    x, y = curve.points()
    assert len(x) == len(y) == len(curve) <= 5000 and (count < 5000 or len(x) >= 2500)
    assert x[-1] == count - 1 and x[0] < 2 * curve.stride and np.all(np.diff(x) > 0)
    assert y[: len(y) - 1].mean() == pytest.approx(values[: int(x[-2]) + 1].mean(), abs=1e-9)
    assert np.abs(np.interp(x, np.arange(count), values) - y).max() < 0.05
    assert curve.last == values[-1]


def test_a_peak_is_averaged_by_hand():
    curve = filled([0.0, 2.0, 4.0, 6.0, 10.0], most=4)  # four points become two, the fifth value is on its way
    x, y = curve.points()
    assert list(x) == [1, 3, 4] and list(y) == [1, 5, 10] and curve.stride == 2


def test_repeated_steps_take_the_place_of_the_first():
    curve = filled([9.0, 9.0, 9.0, 9.0])
    curve.add(2, 1.0)
    x, y = curve.points()
    assert list(x) == [0, 1, 2] and list(y) == [9, 9, 1] and curve.last == 1.0
    long = filled(np.zeros(10_001))
    long.add(5000, 7.0)
    x, y = long.points()
    assert x[-1] == 5000 and np.all(np.diff(x) > 0) and y[-1] == 7.0


# --- the view --------------------------------------------------------------------------------------


@pytest.fixture
def view(tmp_path: Path) -> TrainingView:
    made = TrainingView(tmp_path)
    made.take(START_EVENT)
    return made


def test_terms_accuracies_and_scores_become_curves(view: TrainingView):
    for step in (1, 2):
        view.take(step_event(step))
    view.take({"type": "validation", "step": 2, "dice": {"ball": 0.5, "pebble": None}, "mean": 0.5, "best": True,
               "final": False, "cases": 1})  # fmt: skip
    assert [list(a) for a in view.terms["dice"].points()] == [[1, 2], [1, 0.5]]
    assert set(view.terms) == {"dice", "adversarial", "discriminator"} and view.weights["adversarial"] == 0.01
    assert set(view.on_labeled) == {"ball", "pebble"}  # nothing was said of the background
    assert [list(a) for a in view.on_unlabeled["ball"].points()] == [[1, 2], [0.8, 0.8]]
    assert view.observed["moving_accuracy"].last == 0.7
    assert view.dice["ball"].last == 0.5 and "pebble" not in view.dice and view.best == (2, 0.5)


def test_every_change_is_told_by_the_version(view: TrainingView):
    before = view.version
    view.take({"type": "heartbeat"})
    view.take({"type": "from the future"})
    assert view.version == before
    view.take(step_event(1))
    assert view.version > before


def test_a_preview_lies_in_the_folder_whatever_the_diary_says(view: TrainingView):
    view.take({"type": "preview", "step": 3, "file": "../../etc/step_3.npz", "case": "c"})
    assert view.preview == view.folder / "previews" / "step_3.npz" and view.preview_step == 3


def test_warnings_come_once(view: TrainingView):
    for _ in range(3):
        view.take({"type": "message", "level": "warning", "text": "No labeled scan shows it."})
    view.take({"type": "message", "level": "info", "text": "New organs."})
    assert view.warnings == ["No labeled scan shows it."] and view.messages == ["New organs."]


def test_the_end_has_the_final_scores(view: TrainingView):
    view.take({"type": "validation", "step": 9, "dice": {"ball": 0.7}, "mean": 0.7, "best": False, "final": True})
    assert view.dice == {} and view.final_dice == {"ball": 0.7}
    view.take(END_EVENT)
    assert view.reason == "finished" and view.final_dice == {"ball": 0.9}


def test_a_diary_of_ever_new_names_does_not_fill_the_memory(view: TrainingView):
    for step in range(1, 2 * MOST_CURVES):
        view.take(step_event(step, observed={f"name {step}": 1.0}))
    assert len(view.observed) == MOST_CURVES


# --- the reading -----------------------------------------------------------------------------------


def reading(*pairs: tuple[float, float], count: int = 30, method: str = "voxel_adversarial", noise: float = 0.02):
    """Of organs a, b, ... whose accuracies on labeled and unlabeled voxels scatter around the pairs."""
    rng = np.random.default_rng(0)
    names = "abc"[: len(pairs)]
    sides = [
        {n: filled(pair[side] + noise * rng.standard_normal(count)) for n, pair in zip(names, pairs, strict=True)}
        for side in (0, 1)
    ]
    return read_discriminator(*sides, list(names), method)


@pytest.mark.parametrize(
    "pairs, verdict, words",
    [
        ([(0.52, 0.49)], "alike", "now look like the labeled ones"),
        ([(0.4, 0.45)], "alike", "now look like"),  # worse than guessing: the encoder is ahead
        ([(0.95, 0.9)], "told apart", "do not look like the labeled ones: the discriminator tells"),
        ([(0.95, 0.9), (0.5, 0.5)], "told apart", "do not look like the labeled ones in a:"),
        ([(0.68, 0.66)], "becoming alike", "look partly like"),
        ([(0.68, 0.66), (0.5, 0.5)], "becoming alike", "in b, and not yet in a"),
        ([(0.98, 0.03)], "one-sided", "says little"),
        ([(0.98, 0.03), (0.5, 0.5)], "becoming alike", "in b, and not yet in a"),
    ],
)  # fmt: skip
def test_the_line_follows_from_the_numbers(pairs: list, verdict: str, words: str):
    found = reading(*pairs)
    assert found.verdict == verdict and words in found.text


def test_organs_are_read_each_with_its_numbers():
    organs = reading((0.9, 0.86), (0.5, 0.5), noise=0.0).organs
    assert [o.verdict for o in organs] == ["told apart", "alike"]
    assert organs[0].text == "a: can be told apart (right for 90% of labeled and 86% of unlabeled voxels)."


def test_few_values_say_nothing():
    assert reading((0.5, 0.5), count=FEWEST_VALUES - 1).verdict == "too early"
    assert reading((0.5, 0.5), count=FEWEST_VALUES).verdict == "alike"
    found = read_discriminator({}, {}, ["a"], "voxel_adversarial")
    assert found.verdict == "too early" and "too few sure voxels" in found.organs[0].text


def test_wide_scatter_is_no_certainty():
    assert reading((0.57, 0.57), noise=0.01).verdict == "alike"
    assert reading((0.57, 0.57), noise=0.6).verdict != "alike"


def test_what_was_once_so_and_is_no_more():
    """The reading is of the last values, not of the whole training."""
    early_apart = {"a": filled([0.95] * 200 + [0.5] * 40)}
    assert read_discriminator(early_apart, early_apart, ["a"], "voxel_adversarial").verdict == "alike"


def test_a_method_without_discriminator_says_so():
    assert reading((0.5, 0.5), method="supervised").verdict == "none"
