"""Calibration with planted truths: how signs and Dice go together is known here."""

import math
from dataclasses import replace

import numpy as np
import pytest

from VoxelAdvSegLib.evaluation.calibration import Example, calibrate
from VoxelAdvSegLib.inference.quality import FEWEST_CASES, SIGNS
from VoxelAdvSegLib.inference.signs import OrganSigns

VOLUMES = {"liver": [9000, 10000, 11000], "kidney": [900, 1000, 1100]}


def planted(case: int, organ: str, seed: int = 0, noise: float = 0.1, degraded: bool = False) -> Example:
    """An organ whose error is that of its signs, with the kidney's twice the liver's, and a little noise."""
    rng = np.random.default_rng([seed, case, organ == "kidney", degraded])
    wrong = rng.uniform(0.02, 0.15) * (3 if degraded else 1)
    error = min(0.9, wrong * (2 if organ == "kidney" else 1) * math.exp(noise * rng.normal()))
    signs = OrganSigns(
        voxels=int(rng.normal(10000, 500) / (10 if organ == "kidney" else 1)), agreement=1 - wrong, disagreement=wrong,
        overlap=1 - wrong / 2, entropy=wrong, typicality=0.5 - wrong, distance=10 * wrong, scattered=0.0,
    )  # fmt: skip
    return Example(case, organ, signs, 1 - error, degraded)


def scans(count: int, seed: int = 0, noise: float = 0.1, degraded: bool = True) -> list[Example]:
    versions = (False, True) if degraded else (False,)
    return [
        planted(case, organ, seed, noise, worse) for case in range(count) for organ in VOLUMES for worse in versions
    ]


@pytest.mark.parametrize("count", [8, 15, 30])
def test_the_dice_of_new_scans_is_predicted_and_lies_in_the_interval(count: int):
    calibration = calibrate(scans(count), VOLUMES)
    assert calibration is not None and calibration.cases == count
    asked = scans(400, seed=1, degraded=False)
    found = [calibration.predict({e.organ: e.signs})[e.organ] for e in asked]
    off = [abs(f.value - e.dice) for f, e in zip(found, asked, strict=True)]
    constant = [abs(e.dice - np.median([a.dice for a in asked])) for e in asked]
    assert np.mean(off) < 0.025 < np.mean(constant)
    inside = np.mean([f.low <= e.dice <= f.high for f, e in zip(found, asked, strict=True)])
    assert 0.85 <= inside <= 0.99
    assert all(0 <= f.low <= f.value <= f.high <= 1 for f in found)


def test_the_interval_is_as_wide_as_the_noise_asks():
    asked = planted(0, "liver", seed=2)
    widths = []
    for noise in (0.05, 0.3, 1.0):
        calibration = calibrate(scans(20, noise=noise), VOLUMES)
        assert calibration is not None
        found = calibration.predict({"liver": asked.signs})["liver"]
        widths.append(found.high - found.low)
    assert widths == sorted(widths) and widths[2] > 2 * widths[0]


@pytest.mark.parametrize(
    "worse",
    [
        {"agreement": 0.5}, {"disagreement": 0.5}, {"overlap": 0.4}, {"entropy": 0.9}, {"typicality": 0.0},
        {"distance": 9.0}, {"scattered": 0.5}, {"voxels": 2000}, {"voxels": 100_000},
    ],
)  # fmt: skip
def test_no_sign_that_gets_worse_raises_the_dice(worse: dict):
    calibration = calibrate(scans(12), VOLUMES)
    assert calibration is not None
    good = planted(0, "liver", seed=3).signs
    before, after = (calibration.predict({"liver": signs})["liver"] for signs in (good, replace(good, **worse)))
    if "voxels" in worse and worse["voxels"] > good.voxels:
        return  # larger costs less Dice for the same outline, and is unusual: either may win
    assert after.value < before.value


def test_fewer_than_eight_scans_are_refused_whatever_was_made_of_them():
    assert calibrate(scans(FEWEST_CASES - 1), VOLUMES) is None
    assert calibrate([replace(e, degraded=True) for e in scans(30)], VOLUMES) is None
    assert calibrate([], VOLUMES) is None
    assert calibrate(scans(FEWEST_CASES), VOLUMES) is not None


def test_organs_that_were_not_found_teach_nothing():
    lost = [replace(planted(case, "liver"), signs=OrganSigns(0), dice=0.0) for case in range(40, 60)]
    assert calibrate([*scans(10), *lost], VOLUMES) == calibrate(scans(10), VOLUMES)
    assert calibrate(lost, VOLUMES) is None


def test_the_same_scans_give_the_same_calibration():
    assert calibrate(scans(10), VOLUMES) == calibrate(scans(10), VOLUMES)


def test_signs_that_were_never_measured_count_for_nothing():
    """A model without discriminator has no typicality, a student alone nobody to disagree with."""
    bare = [replace(e, signs=replace(e.signs, typicality=None, distance=None, disagreement=None)) for e in scans(12)]
    calibration = calibrate(bare, VOLUMES)
    assert calibration is not None
    found = calibration.predict({"liver": bare[0].signs})["liver"]
    assert abs(found.value - bare[0].dice) < 0.1


def test_an_organ_without_any_sound_label_has_no_usual_size():
    calibration = calibrate(scans(10), {"liver": [0, 0], "kidney": [900, 1000]})
    assert calibration is not None and set(calibration.volumes) == {"kidney"}
    assert set(calibration.intercepts) == {"liver", "kidney"} and set(calibration.weights) == set(SIGNS)
