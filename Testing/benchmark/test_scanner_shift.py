"""A simulated change of scanner changes grey values as it says, and nothing else."""

import json

import numpy as np
import pytest

from VoxelAdvSegLib.benchmark.scanner_shift import bias_field, shift_scanner, write_shifted
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.phantoms import SCANNERS, make_phantom
from VoxelAdvSegLib.data.volume import read_volume


@pytest.fixture(scope="module")
def volume():
    return make_phantom(0, 0, SCANNERS[0], 1.5).volume


def test_it_follows_from_seed_and_name(volume):
    first = shift_scanner(volume, "a")
    assert np.array_equal(first.array, shift_scanner(volume, "a").array)
    assert not np.array_equal(first.array, shift_scanner(volume, "b").array)
    assert not np.array_equal(first.array, shift_scanner(volume, "a", seed=1).array)
    assert first.geometry == volume.geometry and first.array.dtype == np.float32


def test_no_strength_is_no_shift(volume):
    assert shift_scanner(volume, "a", 0) is volume


def test_contrast_bends_the_same_way_in_every_scan(volume):
    """Grey values in the middle of the range fall, at either end they stay, whatever the scan is called."""
    low, high = np.percentile(volume.array, (0.5, 99.5))
    unit = (volume.array - low) / (high - low)
    for name in "abcdef":
        found = (shift_scanner(volume, name).array - low) / (high - low)
        middle, dark = (unit > 0.3) & (unit < 0.6), unit < 0.03
        assert found[middle].mean() < unit[middle].mean() - 0.05
        assert abs(found[dark].mean() - unit[dark].mean()) < 0.03


def test_stronger_is_farther(volume):
    distances = [np.abs(shift_scanner(volume, "a", s).array - volume.array).mean() for s in (0.25, 0.5, 1.0, 2.0)]
    assert distances == sorted(distances) and distances[0] > 0


def test_the_bias_field_is_smooth_and_bounded():
    field = bias_field((20, 24, 28), np.random.default_rng(0))
    assert np.abs(field).max() == pytest.approx(1) and field.mean() == pytest.approx(0, abs=1e-6)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.2
    assert np.isfinite(bias_field((1, 4, 4), np.random.default_rng(0))).all()


def test_labels_and_training_scans_stay_where_they_are(data, tmp_path):
    original = read_manifest(data)
    path = write_shifted(original, tmp_path / "shifted", 1.0)
    shifted = read_manifest(path, anywhere=True)
    assert [c.image for c in shifted.training] == [c.image for c in original.training]
    assert [c.name for c in shifted.validation] == [c.name for c in original.validation]
    assert [c.label for c in shifted.validation] == [c.label for c in original.validation]
    assert [o.name for o in shifted.organs] == [o.name for o in original.organs]
    for before, after in zip(original.unlabeled, shifted.unlabeled, strict=True):
        assert not np.allclose(read_volume(before.image).array, read_volume(after.image).array, atol=0.01)
        assert read_volume(before.image).geometry == read_volume(after.image).geometry
    assert all("label" not in entry for entry in json.loads(path.read_text())["unlabeled"])
    stamp = shifted.unlabeled[0].image.stat().st_mtime_ns
    assert write_shifted(original, tmp_path / "shifted", 1.0) == path
    assert shifted.unlabeled[0].image.stat().st_mtime_ns == stamp  # not made anew
