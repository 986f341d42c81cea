"""Draws: where patches lie and how they are turned, as properties of the numbers alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from VoxelAdvSegLib.data.sampling import PatchDraw, PatchPlan, cases_at, draw_patch

SIZES = st.tuples(*[st.sampled_from([16, 32, 48])] * 3)
KINDS = ["uamt", "d4", "none", "mild", "strong"]


def plan(shape=(16, 32, 48), augment="none", spacing=(1.0, 1.0, 1.0), mirror=(False, False, False)) -> PatchPlan:
    return PatchPlan(shape, augment, spacing, mirror)


def span(draw: PatchDraw, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """First and last voxel of the volume that an unturned, or quarter-turned, patch shows."""
    reach = np.abs(draw.matrix) @ ((np.asarray(shape) - 1) / 2)
    return draw.centre_zyx - reach, draw.centre_zyx + reach


@settings(max_examples=60, deadline=None)
@given(
    shape=SIZES,
    more=st.tuples(*[st.integers(0, 9)] * 3),
    augment=st.sampled_from(["uamt", "d4", "none"]),
    seed=st.integers(0, 2**31),
    around=st.one_of(st.none(), st.tuples(*[st.floats(0, 1)] * 3)),
)
def test_a_patch_is_made_of_voxels_of_its_volume(shape, more, augment, seed, around):
    square = (shape[0], shape[1], shape[1])  # a quarter turn swaps y and x
    volume = np.add(square, more)
    place = None if around is None else np.floor(np.multiply(around, volume - 1))
    draw = draw_patch(np.random.default_rng(seed), plan(square, augment), volume, place)
    first, last = span(draw, square)
    assert np.array_equal(first, np.round(first))  # on the grid: nothing is interpolated
    assert (first >= 0).all() and (last <= volume - 1).all()
    if place is not None:
        assert (first <= place).all() and (place <= last).all()


@given(seed=st.integers(0, 2**31), augment=st.sampled_from(KINDS))
@settings(max_examples=40, deadline=None)
def test_a_smaller_volume_lies_in_the_middle_of_the_patch(seed, augment):
    draw = draw_patch(np.random.default_rng(seed), plan((16, 32, 32), augment), (9, 31, 20))
    assert np.abs(draw.centre_zyx - [4, 15, 9.5]).max() <= 0.5


def test_uneven_quarter_turns_stay_inside():
    for seed in range(50):
        draw = draw_patch(np.random.default_rng(seed), plan((16, 32, 48), "uamt"), (20, 50, 50))
        first, last = span(draw, (16, 32, 48))
        assert (first >= 0).all() and (last <= [19, 49, 49]).all()


def test_every_place_of_a_patch_is_drawn():
    # a volume two voxels longer along z: three places
    draws = [draw_patch(np.random.default_rng(s), plan((16, 16, 16)), (18, 16, 16)) for s in range(60)]
    assert {draw.centre_zyx[0] for draw in draws} == {7.5, 8.5, 9.5}


@pytest.mark.parametrize("augment, count", [("uamt", 4), ("d4", 8), ("none", 1)])
def test_turns_of_the_benchmark(augment: str, count: int):
    made = {
        draw_patch(np.random.default_rng(s), plan((16, 16, 16), augment), (16, 16, 16)).matrix.tobytes()
        for s in range(200)
    }
    matrices = [np.frombuffer(m).reshape(3, 3) + 0.0 for m in made]
    distinct = {m.tobytes() for m in matrices}
    assert len(distinct) == count
    assert all(m[0].tolist() == [1, 0, 0] for m in matrices)  # slices stay slices
    if augment == "uamt":  # mirror images only; identity and turns never occur
        assert all(np.linalg.det(m) == pytest.approx(-1) for m in matrices)


@pytest.mark.parametrize("augment", ["mild", "strong"])
@pytest.mark.parametrize("mirror", [(False, False, False), (False, False, True), (True, True, False)])
def test_only_allowed_axes_are_mirrored(augment: str, mirror: tuple[bool, bool, bool]):
    # rotations of at most 15 degrees leave the sign of the diagonal alone
    signs = np.array(
        [
            np.sign(
                np.diag(draw_patch(np.random.default_rng(s), plan(augment=augment, mirror=mirror), (60,) * 3).matrix)
            )
            for s in range(60)
        ]
    )
    for axis in range(3):
        assert set(signs[:, axis]) == ({-1.0, 1.0} if mirror[axis] else {1.0})


def test_none_is_none_also_where_mirroring_is_allowed():
    draws = [draw_patch(np.random.default_rng(s), plan(mirror=(True,) * 3), (60,) * 3) for s in range(20)]
    assert all(np.array_equal(draw.matrix, np.eye(3)) for draw in draws)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 1.0, 1.2), (6.0, 0.5, 0.5)])
def test_scans_are_turned_and_zoomed_in_millimetres(spacing: tuple[float, float, float]):
    thick = max(spacing) >= 3 * min(spacing)
    zooms = []
    for seed in range(60):
        draw = draw_patch(np.random.default_rng(seed), plan(augment="mild", spacing=spacing), (60,) * 3)
        in_mm = np.diag(spacing) @ draw.matrix @ np.diag(1 / np.asarray(spacing))
        zoom = np.linalg.det(in_mm) ** (-1 / 3)
        assert np.allclose(in_mm @ in_mm.T * zoom**2, np.eye(3))  # a rotation: no shear, one zoom
        zooms.append(zoom)
        if thick:  # only within the slices
            assert np.allclose(in_mm[0] * zoom, [1, 0, 0])
    assert min(zooms) >= 0.85 and max(zooms) <= 1.2 and max(zooms) > 1.1 and min(zooms) < 0.95


def test_every_case_comes_once_before_any_comes_again():
    seen = [case for step in range(15) for case in cases_at(3, step, 2, 5)]
    for epoch in range(6):
        assert sorted(seen[5 * epoch : 5 * epoch + 5]) == [0, 1, 2, 3, 4]
    assert len({tuple(seen[5 * e : 5 * e + 5]) for e in range(6)}) > 1
    assert cases_at(3, 7, 2, 5) == cases_at(3, 7, 2, 5)
    assert cases_at(0, 4, 3, 1) == [0, 0, 0]


def test_mild_is_gentle_and_strong_is_more():
    def gains(augment: str) -> np.ndarray:
        return np.array(
            [draw_patch(np.random.default_rng(s), plan(augment=augment), (60,) * 3).gain for s in range(100)]
        )

    assert np.abs(gains("mild") - 1).max() <= 0.1 < np.abs(gains("strong") - 1).max() <= 0.25
    draw = draw_patch(np.random.default_rng(0), plan(augment="uamt"), (60,) * 3)
    assert (draw.gain, draw.offset, draw.gamma, draw.noise_sd, draw.blur_sd) == (1, 0, 1, 0, 0)
