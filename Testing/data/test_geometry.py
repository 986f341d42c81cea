"""Orientation and resampling: where a voxel is in the patient never changes."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from VoxelAdvSegLib.data.geometry import (
    reorient_geometry,
    reorientation,
    resample,
    resample_labels,
    rescaled_geometry,
    restore_labels,
    same_grid,
    strongest_class,
    to_image,
)
from VoxelAdvSegLib.data.phantoms import sphere
from VoxelAdvSegLib.data.volume import Geometry

OBLIQUE = Rotation.from_euler("xy", [17, 17], degrees=True).as_matrix()  # 17 degrees about two axes
FLIPPED = np.diag([-1.0, 1.0, -1.0])
PERMUTED = np.eye(3)[:, [2, 0, 1]]
LEFT_HANDED = np.diag([1.0, 1.0, -1.0])
DIRECTIONS = {
    "oblique": OBLIQUE,
    "flipped": FLIPPED,
    "permuted": PERMUTED,
    "left-handed": LEFT_HANDED,
    "all of it": OBLIQUE @ FLIPPED @ PERMUTED @ LEFT_HANDED,
}


def grid(direction: np.ndarray, shape_zyx=(9, 11, 13), spacing_xyz_mm=(0.7, 0.7, 5.0)) -> Geometry:
    return Geometry(shape_zyx, spacing_xyz_mm, (-31.5, 12.25, 107.0), tuple(direction.ravel()))


def place_of(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The point (LPS, mm) of the one voxel that is not 0, told by ITK."""
    (index,) = np.argwhere(array)
    return np.array(to_image(array, geometry).TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]))


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_corner_voxels_stay_where_they_are(direction: np.ndarray):
    geometry = grid(direction)
    turn = reorientation(geometry)
    for corner in product((0, -1), repeat=3):
        marked = np.zeros(geometry.shape_zyx, np.uint8)
        marked[corner] = 1
        turned = turn.apply(marked)
        assert np.abs(place_of(turned, reorient_geometry(geometry, turn)) - place_of(marked, geometry)).max() < 1e-3
        assert np.array_equal(turn.undo(turned), marked)


def test_working_axes_point_right_to_left_back_to_front_and_up():
    """All 48 ways to store a scan, oblique as well, come to R, A, S: in ITK's LPS world -x, -y, +z."""
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            for tilt in (np.eye(3), OBLIQUE):
                geometry = grid((tilt * signs)[:, list(order)])
                working = np.reshape(reorient_geometry(geometry, reorientation(geometry)).direction, (3, 3))
                assert np.allclose(working @ np.diag([-1, -1, 1]), tilt)


def test_channels_in_front_travel_along():
    geometry = grid(PERMUTED)
    turn = reorientation(geometry)
    stack = np.random.default_rng(0).random((2, *geometry.shape_zyx))
    assert np.array_equal(turn.apply(stack)[1], turn.apply(stack[1]))
    assert np.array_equal(turn.undo(turn.apply(stack)), stack)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    wanted=st.tuples(*[st.floats(0.3, 6.0)] * 3),
)
def test_a_rescaled_grid_covers_the_same_box(shape, spacing, wanted):
    """Centre of the box unchanged; edges move by less than half a new voxel (rounding)."""
    geometry = Geometry(shape, spacing, (5.0, -3.0, 8.0), tuple(OBLIQUE.ravel()))
    scaled = rescaled_geometry(geometry, spacing_xyz_mm=wanted)
    for known, made in zip(_faces(geometry), _faces(scaled), strict=True):
        assert np.abs(known - made).max() <= 0.5 * max(scaled.spacing_xyz_mm) + 1e-6
    assert np.allclose(np.add(*_faces(geometry)), np.add(*_faces(scaled)), atol=1e-6)
    reshaped = rescaled_geometry(geometry, shape_xyz=(16, 8, 5))
    assert reshaped.shape_zyx == (5, 8, 16)
    assert np.allclose(_faces(geometry), _faces(reshaped), atol=1e-6)


def _faces(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Outer corners of the first and the last voxel, mm along the scan's own axes."""
    axes = np.reshape(geometry.direction, (3, 3))
    first = axes.T @ np.asarray(geometry.origin_lps_mm) - np.asarray(geometry.spacing_xyz_mm) / 2
    return first, first + np.multiply(geometry.shape_zyx[::-1], geometry.spacing_xyz_mm)


@pytest.mark.parametrize("wanted", [(0.9, 0.9, 0.9), (0.4, 1.7, 2.0), (3.0, 3.0, 3.0)])
def test_resampled_values_stay_where_they_are(wanted: tuple[float, float, float]):
    """An image of each voxel's own place (mm along one axis) still tells the place after resampling."""
    geometry = grid(OBLIQUE, (30, 40, 32), (1.1, 0.8, 1.6))
    target = rescaled_geometry(geometry, wanted)
    middle = tuple(slice(n // 4, n - n // 4) for n in target.shape_zyx)  # the smoothing sees no border there
    for axis in range(3):
        told = resample(_places(geometry)[axis].astype(np.float32), geometry, target)
        assert np.abs(told - _places(target)[axis])[middle].max() < 1e-3


def _places(geometry: Geometry) -> np.ndarray:
    indices = np.indices(geometry.shape_zyx)[::-1].reshape(3, -1)
    axes = np.reshape(geometry.direction, (3, 3))
    places = axes @ (np.asarray(geometry.spacing_xyz_mm)[:, None] * indices)
    return (places + np.asarray(geometry.origin_lps_mm)[:, None]).reshape(3, *geometry.shape_zyx)


def test_thinning_averages_instead_of_picking():
    """Stripes of 0 and 2 along x, thinned four times, are their mean; single voxels would be 0 or 2."""
    stripes = np.zeros((6, 6, 48), np.float32)
    stripes[..., ::2] = 2
    geometry = Geometry(stripes.shape, (1.0, 1.0, 1.0))
    thin = resample(stripes, geometry, rescaled_geometry(geometry, (4.0, 1.0, 1.0)))
    assert thin.shape == (6, 6, 12)
    assert np.abs(thin[:, :, 2:-2] - 1).max() < 0.05


def test_the_same_grid_is_not_resampled_at_all():
    geometry = grid(OBLIQUE)
    array = np.random.default_rng(0).random(geometry.shape_zyx).astype(np.float32)
    almost = rescaled_geometry(geometry, (0.70001, 0.69999, 5.0001))
    assert almost == rescaled_geometry(geometry) == geometry
    assert np.array_equal(resample(array, geometry, almost), array)
    assert not same_grid(geometry, grid(FLIPPED))
    assert not same_grid(geometry, grid(OBLIQUE, spacing_xyz_mm=(0.7, 0.7, 5.01)))


def test_labels_are_thinned_by_share():
    # along x: three voxels of organ 2 and one of organ 1 in each new voxel of four
    label = np.tile(np.array([2, 2, 1, 2], np.uint8), (4, 4, 6))
    geometry = Geometry(label.shape, (1.0, 1.0, 1.0))
    thin = resample_labels(label, geometry, rescaled_geometry(geometry, (4.0, 1.0, 1.0)), 3)
    assert thin.shape == (4, 4, 6) and (thin == 2).all()


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("wanted", [(0.7, 0.7, 2.5), (0.5, 0.5, 5.0)])
def test_labels_survive_the_way_there_and_back(direction: np.ndarray, wanted: tuple[float, float, float]):
    geometry = grid(direction, (12, 56, 60))
    ball = sphere((12 * 7, 56, 60), (41.5, 27, 30), 22)[3::7].astype(np.uint8)  # round in millimetres
    working = rescaled_geometry(geometry, wanted)
    there = resample_labels(ball, geometry, working, 2)
    shares = np.stack([there == 0, there == 1]).astype(np.float32)
    back = restore_labels(shares, working, geometry)
    assert back.shape == ball.shape
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) >= 0.98


def test_equal_shares_go_to_the_first_class():
    shares = [np.array([[[0.4, 0.2]]]), np.array([[[0.4, 0.4]]]), np.array([[[0.2, 0.4]]])]
    assert strongest_class(shares, (1, 1, 2)).tolist() == [[[0, 1]]]


def test_images_carry_the_geometry_bit_for_bit():
    geometry = grid(OBLIQUE @ PERMUTED)
    image: sitk.Image = to_image(np.zeros(geometry.shape_zyx, np.uint8), geometry)
    assert image.GetSize() == (13, 11, 9)
    assert image.GetSpacing() == geometry.spacing_xyz_mm and image.GetOrigin() == geometry.origin_lps_mm
    assert image.GetDirection() == geometry.direction
