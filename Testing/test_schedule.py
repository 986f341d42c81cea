"""Rates and ramps at the steps that the paper and method.md name."""

import pytest

from VoxelAdvSegLib.schedule import gaussian_ramp, learning_rate, linear_ramp


def test_ramp_of_the_consistency_weight():
    gamma = [0.001 * gaussian_ramp(step, 6000) for step in (0, 3000, 6000, 12_000)]
    assert gamma == pytest.approx([6.7379e-6, 2.86505e-4, 1e-3, 1e-3], rel=1e-5)


def test_no_ramp_is_full_weight_at_once():
    assert gaussian_ramp(0, 0) == 1.0


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 1e-2), (2499, 1e-2), (2500, 1e-3), (4999, 1e-3), (5000, 1e-4), (5999, 1e-4)],
)
def test_paper_divides_by_ten_every_2500(step, rate):
    assert learning_rate(step, 6000, 0.01, "step") == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(249, 1e-2), (250, 1e-3), (499, 1e-3), (500, 1e-4)])
def test_other_lengths_stretch_the_interval(step, rate):
    assert learning_rate(step, 600, 0.01, "step") == pytest.approx(rate)


@pytest.mark.parametrize(("step", "share"), [(0, 1.0), (50, 0.535887), (100, 0.0), (120, 0.0)])
def test_poly(step, share):
    assert learning_rate(step, 100, 0.2, "poly") == pytest.approx(0.2 * share, abs=1e-6)


@pytest.mark.parametrize(("step", "share"), [(0, 1.0), (25, 0.853553), (50, 0.5), (100, 0.0)])
def test_cosine(step, share):
    assert learning_rate(step, 100, 0.2, "cosine") == pytest.approx(0.2 * share, abs=1e-6)


def test_constant():
    assert learning_rate(99, 100, 0.2, "constant") == 0.2


@pytest.mark.parametrize(("step", "share"), [(0, 0), (9, 0), (10, 0), (15, 0.5), (20, 1), (99, 1)])
def test_linear_ramp(step, share):
    assert linear_ramp(step, 10, 10) == share


def test_linear_ramp_without_length_is_a_step():
    assert [linear_ramp(step, 10, 0) for step in (9, 10)] == [0.0, 1.0]
