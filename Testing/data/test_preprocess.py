"""From a scan to the network's array and back: values by hand, grids by property."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from Testing.data.test_geometry import DIRECTIONS, grid
from VoxelAdvSegLib.data.geometry import reorient_geometry, reorientation, restore_labels
from VoxelAdvSegLib.data.phantoms import sphere
from VoxelAdvSegLib.data.preprocess import (
    LabelOnOwnGrid,
    Recipe,
    normalize,
    prepare,
    prepare_label,
    restore,
    restore_map,
)
from VoxelAdvSegLib.data.volume import Geometry, Volume


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
    return np.stack([label == index for index in range(classes)]).astype(np.float32)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("orient", [True, False])
def test_without_resampling_the_way_back_is_exact(direction: np.ndarray, orient: bool):
    rng = np.random.default_rng(0)
    geometry = grid(direction)
    volume = Volume(rng.random(geometry.shape_zyx, np.float32), geometry)
    label = rng.integers(0, 4, geometry.shape_zyx).astype(np.uint8)
    recipe = Recipe(orient=orient, intensity="scan")
    prepared = prepare(volume, recipe)
    working = prepare_label(label, prepared, recipe, 4)
    assert working.shape == prepared.array.shape == prepared.grid.shape_zyx
    assert np.array_equal(restore(one_hot(working, 4), prepared, recipe), label)
    assert prepared.original is geometry
    back = restore_map(prepared.array, prepared, recipe)
    assert np.array_equal(back, normalize(volume.array, recipe))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 14)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 6.0)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    mirrored=st.booleans(),
    grid_wish=st.one_of(
        st.fixed_dictionaries({"spacing_xyz_mm": st.tuples(*[st.floats(0.5, 8.0)] * 3)}),
        st.fixed_dictionaries({"shape_xyz": st.tuples(*[st.integers(2, 12)] * 3)}),
    ),
    orient=st.booleans(),
)
def test_the_result_is_always_on_the_scans_own_grid(shape, spacing, angles, mirrored, grid_wish, orient):
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    if mirrored:
        direction[:, 0] *= -1
    geometry = Geometry(shape, spacing, (10.0, -20.0, 30.0), tuple(direction.ravel()))
    volume = Volume(np.random.default_rng(0).random(shape, np.float32), geometry)
    recipe = Recipe(orient=orient, **grid_wish)
    prepared = prepare(volume, recipe)
    assert prepared.array.shape == prepared.grid.shape_zyx and np.isfinite(prepared.array).all()
    ones = np.stack([np.zeros_like(prepared.array), np.ones_like(prepared.array)])
    found = restore(ones, prepared, recipe)
    assert found.shape == shape and found.dtype == np.uint8 and (found == 1).all()
    assert restore_map(ones[1], prepared, recipe).shape == shape


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_image_and_label_stay_together(direction: np.ndarray):
    """The bright ball of the working image is the ball of the working label."""
    geometry = grid(direction, (10, 40, 44))
    ball = sphere((70, 40, 44), (35, 20, 22), 17)[3::7]
    recipe = Recipe(spacing_xyz_mm=(1.0, 1.0, 2.5), intensity="fixed")
    prepared = prepare(Volume(ball.astype(np.float32), geometry), recipe)
    label = prepare_label(ball.astype(np.uint8), prepared, recipe, 2)
    bright = prepared.array > 0.5
    assert 2 * (bright & (label == 1)).sum() / (bright.sum() + label.sum()) > 0.99


def test_ct_is_clipped_shifted_and_divided():
    recipe = Recipe(intensity="fixed", clip=(-100.0, 200.0), mean=50.0, sd=25.0)
    assert normalize(np.array([-1000.0, 50.0, 75.0, 3000.0]), recipe).tolist() == [-6, 0, 1, 6]


def test_la_is_scored_over_the_whole_scan():
    # mean 2, sd sqrt(2): 0, 2, 2, 4
    assert np.allclose(normalize(np.array([0.0, 2, 2, 4]), Recipe(intensity="scan")), [-(2**0.5), 0, 0, 2**0.5])


def test_mr_is_scored_over_what_is_not_zero():
    inside = np.arange(1.0, 1001.0)
    inside[-1] = 1e6  # a spike, which must not set the scale
    out = normalize(np.concatenate([np.zeros(5000), inside]), Recipe(intensity="nonzero"))
    assert abs(out[5000:].mean()) < 0.01 and abs(out[5000:].std() - 1) < 0.01
    assert out.max() < 2 and np.ptp(out[:5000]) == 0 and out[0] < out[5000]


@pytest.mark.parametrize("few", [3.0, -3.0])
def test_a_scan_of_nearly_one_grey_level_keeps_a_scale(few: float):
    """Percentiles that coincide would divide by nothing: 1e8 in the network."""
    array = np.zeros(100_000, np.float32)
    array[:50_000] = 7.0
    array[:20] = few
    out = normalize(array, Recipe(intensity="nonzero"))
    assert np.isfinite(out).all() and len(np.unique(out)) == 3 and np.abs(out).max() < 1000


def test_a_mask_as_a_scan_is_scored_too():
    out = normalize(np.array([0.0, 0, 1, 1], np.float32), Recipe(intensity="nonzero"))
    assert np.allclose(out, [-1, -1, 1, 1])


def test_grey_values_are_measured_before_resampling():
    rng = np.random.default_rng(0)
    geometry = Geometry((12, 12, 12), (1.0, 1.0, 1.0))
    volume = Volume(rng.normal(100, 10, (12, 12, 12)).astype(np.float32), geometry)
    coarse = prepare(volume, Recipe(spacing_xyz_mm=(3.0, 3.0, 3.0), intensity="scan"))
    # noise averaged over 27 voxels keeps about a fifth of its deviation, and is not blown up to 1 again
    assert coarse.array.std() < 0.5


def test_a_recipe_survives_json():
    recipe = Recipe(False, (0.5, 0.5, 2.0), (8, 9, 10), "fixed", (-200.0, 250.0), 3.5, 2.0)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(Recipe().to_dict()))) == Recipe()


@pytest.mark.parametrize("depths", ["whole", "ones", "mixed"])
@pytest.mark.parametrize("spacing", [None, (1.0, 1.3, 0.7), (2.0, 1.0, 3.1), (1.5, 1.5, 9.0)])
def test_slices_come_back_as_the_whole_does(spacing: tuple[float, float, float] | None, depths: str):
    """On a slanted scan with a turned axis, whose own slices are thinner or thicker than the working grid's."""
    turned = (0.0, 1.0, 0.0, 0.6, 0.0, 0.8, -0.8, 0.0, 0.6)
    geometry = Geometry((21, 8, 9), (1.1, 1.2, 2.0), (3.0, -4.0, 5.0), turned)
    recipe = Recipe(spacing_xyz_mm=spacing)
    prepared = prepare(Volume(np.random.default_rng(0).normal(size=(21, 8, 9)).astype(np.float32), geometry), recipe)
    depth = prepared.grid.shape_zyx[0]
    guess = np.random.default_rng(1).random((4, *prepared.grid.shape_zyx)).astype(np.float32)
    guess /= guess.sum(0)
    ends = {"whole": [depth], "ones": range(1, depth + 1), "mixed": sorted({1, depth // 3, depth // 2, depth})}[depths]
    label, start = LabelOnOwnGrid(prepared, recipe), 0
    for end in ends:
        label.add(guess[:, start:end])
        start = end
    assert np.array_equal(label.result(), restore(guess, prepared, recipe))
    if spacing is not None:
        turn = reorientation(geometry)
        whole = restore_labels(guess, prepared.grid, reorient_geometry(geometry, turn))
        assert np.array_equal(label.result(), turn.undo(whole))
