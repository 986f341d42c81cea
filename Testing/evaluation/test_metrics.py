"""Overlap and surface distances: values worked out by hand, and medpy as an oracle."""

import warnings

import numpy as np
import pytest
from scipy import ndimage

from VoxelAdvSegLib.evaluation.metrics import (
    DISTANCES,
    METRICS,
    dice,
    jaccard,
    score_organ,
    surface,
    surface_distances,
)

MM = (2.5, 1.3, 0.7)  # z, y, x


@pytest.fixture(scope="module")
def medpy_metric():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # medpy's own imports use what its dependencies deprecated
        binary = pytest.importorskip("medpy.metric.binary")
    return binary


def box(shape_zyx, corner_zyx, size_zyx):
    mask = np.zeros(shape_zyx, bool)
    mask[tuple(slice(start, start + size) for start, size in zip(corner_zyx, size_zyx, strict=True))] = True
    return mask


def blob(rng, shape_zyx, threshold=0.6):
    """A random shape with islands and holes, never empty and never full."""
    field = ndimage.gaussian_filter(rng.normal(size=shape_zyx), 1.5)
    return field > np.quantile(field, threshold)


@pytest.mark.parametrize("spacing_zyx_mm", [(1.0, 1.0, 1.0), (0.625, 0.625, 0.625), MM])
def test_metrics_equal_medpy(medpy_metric, spacing_zyx_mm):
    rng = np.random.default_rng(26)
    for _ in range(50):
        shape_zyx = rng.integers(5, 14, 3)
        prediction, reference = blob(rng, shape_zyx, 0.7), blob(rng, shape_zyx, 0.5)
        score = score_organ(prediction, reference, spacing_zyx_mm)
        expected = {
            "dice": medpy_metric.dc(prediction, reference),
            "jaccard": medpy_metric.jc(prediction, reference),
        }
        for unit, spacing_zyx in (("voxel", None), ("mm", spacing_zyx_mm)):
            expected[f"hd95_{unit}"] = medpy_metric.hd95(prediction, reference, spacing_zyx)
            expected[f"asd_{unit}"] = medpy_metric.asd(prediction, reference, spacing_zyx)
            expected[f"reverse_asd_{unit}"] = medpy_metric.asd(reference, prediction, spacing_zyx)
            expected[f"assd_{unit}"] = medpy_metric.assd(prediction, reference, spacing_zyx)
        assert set(expected) == set(METRICS)
        assert score.outcome == "both_present"
        assert score.values == pytest.approx(expected, abs=1e-9)


def test_single_voxels_two_apart():
    shape_zyx = (5, 5, 5)
    score = score_organ(box(shape_zyx, (1, 1, 1), (1, 1, 1)), box(shape_zyx, (3, 1, 1), (1, 1, 1)), MM)
    assert score.values["dice"] == score.values["jaccard"] == 0
    for name in DISTANCES:
        assert score.values[f"{name}_voxel"] == 2
        assert score.values[f"{name}_mm"] == 5  # slices 2.5 mm apart


def test_cube_against_itself_shifted_by_one():
    shape_zyx = (6, 6, 6)
    score = score_organ(box(shape_zyx, (1, 1, 1), (3, 3, 3)), box(shape_zyx, (1, 1, 2), (3, 3, 3)), (1, 1, 1))
    assert score.values["dice"] == pytest.approx(2 / 3)
    assert score.values["jaccard"] == pytest.approx(1 / 2)
    assert score.values["hd95_voxel"] == 1
    assert score.values["asd_voxel"] == pytest.approx(5 / 13)


def test_cube_against_part_of_it():
    shape_zyx = (6, 6, 6)
    values = score_organ(box(shape_zyx, (1, 1, 1), (3, 3, 3)), box(shape_zyx, (1, 1, 1), (3, 3, 2)), (1, 1, 1)).values
    assert values["dice"] == pytest.approx(0.8)
    assert values["asd_voxel"] == pytest.approx(9 / 26)
    assert values["reverse_asd_voxel"] == pytest.approx(1 / 18)
    assert values["assd_voxel"] == pytest.approx(10 / 44)  # pooled: 9 and 1 over 26 and 18 voxels


def test_hd95_pools_both_directions():
    # prediction: the first nine voxels of a bar of 50, and one voxel 10 away from the bar
    prediction = box((1, 12, 60), (0, 0, 0), (1, 1, 9)) | box((1, 12, 60), (0, 10, 0), (1, 1, 1))
    reference = box((1, 12, 60), (0, 0, 0), (1, 1, 50))
    distances = surface_distances(prediction, reference)
    assert sorted(distances.to_reference) == [0] * 9 + [10]
    assert sorted(distances.to_prediction) == [0] * 9 + list(range(1, 42))
    directed = max(np.percentile(distances.to_reference, 95), np.percentile(distances.to_prediction, 95))
    assert directed == pytest.approx(38.55)  # rank 46.55 of 49; rank 46 is 38
    assert distances.hd95 == pytest.approx(38.05)  # rank 56.05 of 59; rank 56 is 38
    assert distances.assd == pytest.approx((10 + sum(range(42))) / 60)


EMPTY = np.zeros((4, 3, 12), bool)
PRESENT = box((4, 3, 12), (1, 1, 1), (2, 1, 4))


def test_both_empty_says_nothing():
    score = score_organ(EMPTY, EMPTY, MM)
    assert score.outcome == "true_absent"
    assert all(value is None for value in score.values.values())


@pytest.mark.parametrize("empty_distance", ["diagonal", "null", "zero"])
def test_falsely_present_costs_overlap_but_has_no_distance(empty_distance):
    score = score_organ(PRESENT, EMPTY, MM, empty_distance)
    assert score.outcome == "false_present"
    assert score.values["dice"] == score.values["jaccard"] == 0
    assert all(score.values[name] is None for name in METRICS[2:])


def test_missed_costs_the_diagonal_of_the_volume():
    # 4 x 3 x 12 voxels: 13; in mm of 2, 4, 0.5: sqrt(64 + 144 + 36)
    score = score_organ(EMPTY, PRESENT, (2, 4, 0.5))
    assert score.outcome == "missed"
    assert score.values["dice"] == score.values["jaccard"] == 0
    for name in DISTANCES:
        assert score.values[f"{name}_voxel"] == pytest.approx(13)
        assert score.values[f"{name}_mm"] == pytest.approx(244**0.5)


@pytest.mark.parametrize(("empty_distance", "expected"), [("null", None), ("zero", 0)])
def test_missed_under_the_other_rules(empty_distance, expected):
    values = score_organ(EMPTY, PRESENT, MM, empty_distance).values
    assert values["dice"] == 0
    assert all(values[name] == expected for name in METRICS[2:])


def test_mask_at_the_border_of_the_array_has_its_surface_there(medpy_metric):
    prediction, reference = box((5, 5, 5), (0, 0, 0), (5, 5, 3)), box((5, 5, 5), (2, 0, 0), (3, 5, 5))
    score = score_organ(prediction, reference, MM)
    assert score.values["hd95_mm"] == pytest.approx(medpy_metric.hd95(prediction, reference, MM))
    assert score.values["assd_mm"] == pytest.approx(medpy_metric.assd(prediction, reference, MM))


def test_full_array():
    full = np.ones((3, 4, 5), bool)
    assert surface(full).sum() == 60 - 1 * 2 * 3  # all but the inner box
    values = score_organ(full, full, MM).values
    assert values["dice"] == values["jaccard"] == 1
    assert all(values[name] == 0 for name in METRICS[2:])


def test_cropping_changes_nothing():
    rng = np.random.default_rng(0)
    prediction, reference = blob(rng, (6, 7, 8)), blob(rng, (6, 7, 8))
    margin = ((3, 9), (4, 0), (0, 5))
    alone = score_organ(prediction, reference, MM)
    assert score_organ(np.pad(prediction, margin), np.pad(reference, margin), MM) == alone


def test_inputs_are_left_as_they_were():
    prediction, reference = PRESENT.copy(), np.roll(PRESENT, 1, axis=2)
    score_organ(prediction, reference, MM)
    assert np.array_equal(prediction, PRESENT)
    assert np.array_equal(reference, np.roll(PRESENT, 1, axis=2))


def test_overlap_of_class_index_masks():
    prediction, reference = np.array([[[1, 2, 2, 0]]]), np.array([[[1, 2, 0, 2]]])
    assert dice(prediction == 2, reference == 2) == 0.5
    assert jaccard(prediction == 2, reference == 2) == pytest.approx(1 / 3)
    assert dice(prediction == 3, reference == 3) is None


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(4, 3, 12\)"):
        score_organ(EMPTY, np.zeros((1, 3, 12), bool), MM)
