"""The score that a review queue sorts by: its formula by hand, its order, its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from VoxelAdvSegLib.inference.certainty import case_certainty
from VoxelAdvSegLib.inference.confidence import OrganConfidence


def organ(inside: float = 0.95, boundary: float | None = 0.9, voxels: int = 100, peak: float = 1.0) -> OrganConfidence:
    return OrganConfidence(voxels, inside if voxels else None, boundary if voxels else None, peak)


def test_the_formula_by_hand():
    """Two classes: 0.9 is 0.8 above chance, 0.75 is 0.5; a map of 0.25 is half of undecided."""
    found = case_certainty({"liver": organ(0.9, 0.75)}, {"liver": 0.25}, 2)
    assert found.score == pytest.approx((0.8 * 0.5 * 0.5) ** (1 / 3), abs=1e-4)
    assert case_certainty({"liver": organ(0.9, 0.75)}, None, 2).score == pytest.approx((0.8 * 0.5) ** 0.5, abs=1e-4)
    two = case_certainty({"a": organ(0.9, 0.9), "b": organ(0.75, 0.75)}, None, 2)
    assert two.organs == {"a": 0.8, "b": 0.5} and two.score == pytest.approx(0.75 * 0.5 + 0.25 * 0.65)


@pytest.mark.parametrize(
    "spleen, looks, measure, words",
    [
        (organ(0.6, 0.9), 0.6, "confidence", "unsure of spleen (mean probability 60%)"),
        (organ(0.95, 0.55), 0.6, "boundary", "boundary of spleen is unsure (mean probability 55% there)"),
        (organ(), 0.1, "looks labeled", "spleen looks unlike the labeled scans (looks labeled 0.10"),
        (organ(voxels=0, peak=0.4), None, "missing", "spleen was not found"),
    ],
)
def test_the_reason_names_organ_and_measure(spleen: OrganConfidence, looks: float | None, measure: str, words: str):
    found = case_certainty({"liver": organ(), "spleen": spleen}, {"liver": 0.6, "spleen": looks}, 3)
    assert (found.organ, found.measure) == ("spleen", measure) and words in found.reason


def test_a_missing_organ_is_worth_a_look_the_more_so_if_it_was_nearly_found():
    nowhere, nearly = (
        case_certainty({"liver": organ(), "spleen": organ(voxels=0, peak=p)}, None, 3) for p in (0.01, 0.45)
    )
    assert nearly.score < nowhere.score < case_certainty({"liver": organ(), "spleen": organ()}, None, 3).score
    assert nowhere.organs["spleen"] == pytest.approx(0.5 * (1 - 0.02))
    assert nearly.organs["spleen"] == pytest.approx(0.5 * 0.1)


def test_undecided_looks_labeled_enough():
    at, above = (case_certainty({"a": organ()}, {"a": m}, 2).score for m in (0.5, 0.9))
    assert at == above > case_certainty({"a": organ()}, {"a": 0.4}, 2).score


def test_a_network_that_is_sure_of_everything_is_still_ranked_by_what_looks_labeled():
    """Probabilities of 0.0001 and 0.9999 say nothing; then the discriminator tells the cases apart."""
    sure = {"liver": organ(0.9999, 0.9999), "spleen": organ(0.9999, 0.9999)}
    looks = [{"liver": 0.6, "spleen": spleen} for spleen in (0.05, 0.2, 0.45)]
    found = [case_certainty(sure, one, 3) for one in looks]
    scores = [one.score for one in found]
    assert scores == sorted(scores) and scores[0] < 0.6 < scores[2]
    assert {(one.organ, one.measure) for one in found} == {("spleen", "looks labeled")}


probability = st.floats(0, 1)


@given(st.lists(st.tuples(probability, probability, probability, st.booleans()), min_size=1, max_size=5))
def test_the_score_is_always_between_its_worst_organ_and_one(rows: list):
    confidence = {f"o{i}": organ(a, b, 100 * there, a) for i, (a, b, _, there) in enumerate(rows)}
    looks = {f"o{i}": m for i, (_, _, m, _) in enumerate(rows)}
    found = case_certainty(confidence, looks, len(rows) + 1)
    assert 0 <= min(found.organs.values()) <= found.score + 1e-3 <= 1 + 1e-3
    assert found.organs[found.organ] == min(found.organs.values()) and found.reason.endswith(".")


def test_a_model_without_organs_is_not_certain():
    assert case_certainty({}, None, 1).score == 0
