"""What a bundle says of a new segmentation: planted clouds, sentences, and the way to JSON and back."""

import json
import math

import numpy as np
import pytest

from VoxelAdvSegLib.inference.quality import (
    UNLIKE,
    Assessment,
    Calibration,
    PredictedDice,
    Quality,
    badness,
    error_of,
    make_groups,
)
from VoxelAdvSegLib.inference.signs import Anchors, CaseSigns, OrganSigns, make_anchors

FINE = OrganSigns(1000, 0.95, 0.05, 0.95, 0.2, 0.45, 0.8, 0.0)
WEIGHTS = dict.fromkeys(
    ("agreement", "disagreement", "overlap", "entropy", "typicality", "distance", "small", "volume", "scattered"), 0.1
)


def calibration(**weights: float) -> Calibration:
    return Calibration(
        cases=10, weights={**WEIGHTS, **weights}, centers={k: v or 0.0 for k, v in badness(FINE, None).items()},
        scales=dict.fromkeys(WEIGHTS, 1.0), intercepts={"liver": -1.0, "spleen": -1.0},
        spread={"liver": 0.2, "spleen": 0.4}, reach=1.8, volumes={"liver": (math.log(1000), 0.2)},
    )  # fmt: skip


def cloud(count: int, seed: int = 0, shift: float = 0.0) -> list[dict[str, np.ndarray]]:
    """Looks of scans that vary mostly along one direction."""
    rng = np.random.default_rng(seed)
    along = np.linspace(-1, 1, 12)
    return [
        {"intensities": shift + 0.1 * rng.normal(size=7), "features": rng.normal() * along + 0.1 * rng.normal(size=12)}
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [4, 8, 40])
def test_scans_of_the_same_kind_are_familiar_and_others_are_not(count: int):
    familiarity = make_groups(cloud(count), cloud(max(2, count // 4), seed=1))
    assert familiarity.scans == count
    same = [familiarity.novelty(look)[0] for look in cloud(100, seed=2)]
    assert np.mean(np.array(same) < 1) >= (0.8 if count < 8 else 0.95)
    novelty, group = familiarity.novelty(cloud(1, seed=3, shift=3.0)[0])
    assert novelty > 1 and group == "intensities"
    turned = cloud(1, seed=4)[0]
    turned["features"] = 3 * turned["features"][::2].repeat(2) * np.tile([1, -1], 6)
    assert familiarity.novelty(turned)[0] > 1 or count < 8


def test_what_varies_much_may_vary_on():
    """Along the direction in which the scans differ, a further one may lie where beside it would be far."""
    familiarity = make_groups(cloud(40), [])
    along = cloud(1, seed=5)[0]
    along["features"] = 2.0 * np.linspace(-1, 1, 12)
    beside = {**along, "features": 2.0 * np.linspace(-1, 1, 12)[[6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]]}
    assert familiarity.novelty(along)[0] < 1 < familiarity.novelty(beside)[0]


def test_one_scan_alone_is_no_cloud_but_no_error_either():
    familiarity = make_groups(cloud(1), [])
    assert math.isfinite(familiarity.novelty(cloud(1, seed=1)[0])[0])


def test_an_organ_that_was_not_found_has_no_place():
    looks = [{"organs": np.array([0.5, 0.5, 0.5 + 0.01 * i, np.nan, np.nan, np.nan])} for i in range(10)]
    familiarity = make_groups(looks, [])
    assert familiarity.novelty({"organs": np.full(6, np.nan)})[0] < 1
    assert familiarity.novelty({"organs": np.array([0.9, 0.1, 0.5, np.nan, np.nan, np.nan])})[0] > 1


def test_error_scale_and_back():
    found = Calibration(
        10, dict.fromkeys(WEIGHTS, 0.0), dict.fromkeys(WEIGHTS, 0.0), dict.fromkeys(WEIGHTS, 1.0),
        {"liver": error_of(0.8)}, {"liver": 0.1}, 2.0, {},
    ).predict({"liver": FINE})["liver"]  # fmt: skip
    assert found.value == pytest.approx(0.8, abs=1e-4)
    assert found.low == pytest.approx(1.01 - 0.21 * math.exp(0.2), abs=1e-4)
    assert found.high == pytest.approx(1.01 - 0.21 * math.exp(-0.2), abs=1e-4)


def test_what_was_not_found_is_said_to_be_missed():
    signs = {"liver": FINE, "spleen": OrganSigns(0)}
    assert calibration().predict(signs)["spleen"] is None
    assert calibration().explain(signs) == "spleen was not found."


def test_the_reason_names_the_organ_and_the_sign():
    shaky = OrganSigns(1000, 0.3, 0.05, 0.95, 0.2, 0.45, 0.8, 0.0)
    text = calibration(agreement=2.0).explain({"liver": FINE, "spleen": shaky})
    assert text.startswith("spleen is probably the least right (Dice 0.") and "changes when the picture" in text
    assert "several parts" in calibration(scattered=3.0).explain(
        {"liver": OrganSigns(1000, 0.9, 0.1, 0.9, 0.2, 0.4, 0.8, 0.99)}
    )  # fmt: skip


def test_anchors_tell_the_distance_to_the_nearest_labeled_scan():
    anchors = make_anchors(
        [np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [3.0, np.nan]])],
        [np.array([[1.0, 1.0], [2.0, 0.0]])],
    )
    assert anchors is not None
    away = anchors.distances(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert away[0] == 0 and away[1] == 0
    assert anchors.distances(np.array([[np.nan, 0], [1.0, 2.0]]))[0] is None
    signs = CaseSigns({"liver": FINE}, {}, np.array([[0.0, 0.0], [1.0, 9.0]]))
    placed = anchors.place(signs).organs["liver"].distance
    assert placed is not None and placed > 1
    assert anchors.place(CaseSigns({"liver": FINE}, {}, None)).organs["liver"] == FINE
    assert make_anchors([], []) is None


def test_quality_goes_through_json_unchanged():
    looks = cloud(10)
    anchors = Anchors(np.array([[[0.5, np.nan], [1.0, 2.0], [0.0, 0.0]]]), np.ones((3, 2)))
    for given in (calibration(), None):
        quality = Quality(given, make_groups(looks, []), anchors, "" if given else "too few")
        again = Quality.from_dict(json.loads(json.dumps(quality.to_dict(), allow_nan=False)))
        signs = CaseSigns({"liver": FINE, "spleen": FINE}, looks[0], np.array([[0.5, 0.1], [1.0, 2.5], [1, 1]]))
        assert again.assess(signs) == quality.assess(signs)
        assert again.calibration == given


@pytest.mark.parametrize("missing", ["calibration", "familiarity", "anchors", "refused"])
def test_a_damaged_description_is_noticed(missing: str):
    content = Quality(calibration(), make_groups(cloud(5), [])).to_dict()
    del content[missing]
    with pytest.raises(KeyError):
        Quality.from_dict(content)


def test_a_refusal_still_tells_how_much_a_case_needs_a_person():
    quality = Quality(None, make_groups(cloud(10), []), refused="Too few scans.")
    sure = quality.assess(CaseSigns({"liver": FINE}, cloud(1)[0], None))
    unsure = quality.assess(CaseSigns({"liver": OrganSigns(900, entropy=0.9, typicality=0.1)}, cloud(1)[0], None))
    lost = quality.assess(CaseSigns({"liver": OrganSigns(0)}, cloud(1)[0], None))
    assert sure.need < unsure.need < lost.need == 2
    assert sure.dice is None and sure.mean() is None
    assert sure.to_dict()["warning"] == "Too few scans." and sure.to_dict()["predicted_dice"] is None


def test_a_scan_of_another_kind_is_said_so_in_words():
    assessment = Assessment({"liver": PredictedDice(0.8, 0.7, 0.9)}, 1.4, "intensities", 0.2, "", "liver is fine.")
    assert UNLIKE in assessment.warning() and "grey values" in assessment.warning()
    assert assessment.to_dict()["unlike_training"] is True
    assert assessment.reason().startswith(f"This scan is {UNLIKE}") and assessment.reason().endswith("liver is fine.")
    assert Assessment(None, 0.5, "features", 0.2, "").reason("unsure") == "unsure"
    assert assessment.mean() == PredictedDice(0.8, 0.7, 0.9)
