"""Prepared scans on disk: made once, made again when a file changes, mapped and not loaded."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.data.cache import prepare_labeled, prepare_unlabeled
from VoxelAdvSegLib.data.manifest import LabeledCase, UnlabeledCase
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.errors import InputError

ORGANS = organs_of({"liver": 3, "spleen": 5})
RECIPE = Recipe(intensity="scan")


@pytest.fixture
def case(tmp_path: Path) -> LabeledCase:
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.normal(100, 20, (6, 7, 8)).astype(np.float32))
    label = sitk.GetImageFromArray(rng.choice([0, 3, 5], (6, 7, 8)).astype(np.uint8))
    for one, name in ((image, "image"), (label, "label")):
        one.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # already R, A, S: the working axes
        sitk.WriteImage(one, tmp_path / f"{name}.nrrd")
    return LabeledCase("a", tmp_path / "image.nrrd", tmp_path / "label.nrrd")


def test_a_prepared_case_is_the_scan_and_its_label(case: LabeledCase, tmp_path: Path):
    (arrays,) = prepare_labeled([case], ORGANS, RECIPE, tmp_path / "cache")
    own = sitk.GetArrayFromImage(sitk.ReadImage(case.image))
    values = sitk.GetArrayFromImage(sitk.ReadImage(case.label))
    assert isinstance(arrays.image, np.memmap) and arrays.image.dtype == np.float16
    assert np.allclose(arrays.image, (own - own.mean()) / own.std(), atol=2e-3)
    assert np.array_equal(np.array([0, 3, 5])[arrays.label], values)  # class i + 1 is organ i
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".npy"] * 3  # nothing half-written is left


def test_what_is_there_is_used_until_a_file_changes(case: LabeledCase, tmp_path: Path):
    folder = tmp_path / "cache"
    (first,) = prepare_labeled([case], ORGANS, RECIPE, folder)
    file = Path(str(first.image.filename))
    np.save(file, np.zeros_like(first.image))  # a mark
    assert not prepare_labeled([case], ORGANS, RECIPE, folder)[0].image.any()
    assert prepare_labeled([case], ORGANS, Recipe(intensity="nonzero"), folder)[0].image.any()
    assert prepare_labeled([case], tuple(reversed(ORGANS)), RECIPE, folder)[0].image.any()
    os.utime(case.label, ns=(1, 1))  # edited by hand in between
    assert prepare_labeled([case], ORGANS, RECIPE, folder)[0].image.any()


def test_a_lost_file_is_made_again(case: LabeledCase, tmp_path: Path):
    (first,) = prepare_labeled([case], ORGANS, RECIPE, tmp_path / "cache")
    label = np.array(first.label)
    Path(str(first.label.filename)).unlink()
    assert np.array_equal(prepare_labeled([case], ORGANS, RECIPE, tmp_path / "cache")[0].label, label)


def test_one_scan_stored_two_ways_has_one_fingerprint(case: LabeledCase, tmp_path: Path):
    sitk.WriteImage(sitk.PermuteAxes(sitk.ReadImage(case.image), (2, 0, 1)), tmp_path / "sideways.nrrd")
    cases = [UnlabeledCase("a", case.image), UnlabeledCase("b", tmp_path / "sideways.nrrd")]
    told = []
    first, second = prepare_unlabeled(cases, RECIPE, tmp_path / "cache", lambda done, total: told.append((done, total)))
    assert first.content == second.content and (first.name, second.name) == ("a", "b")
    assert np.array_equal(first.image, second.image)
    assert told == [(1, 2), (2, 2)]
    assert prepare_labeled([case], ORGANS, RECIPE, tmp_path / "cache")[0].content == first.content


def test_far_values_stay_finite_in_half_precision(tmp_path: Path):
    array = np.zeros((40, 40, 40), np.float32)
    array[0, 0, 0], array[0, 0, 1] = 1e9, -1.0
    sitk.WriteImage(sitk.GetImageFromArray(array), tmp_path / "spike.nrrd")
    recipe = Recipe(intensity="fixed")
    (arrays,) = prepare_unlabeled([UnlabeledCase("spike", tmp_path / "spike.nrrd")], recipe, tmp_path / "cache")
    assert np.isfinite(arrays.image).all() and arrays.image.max() > 5e4


def test_a_case_that_cannot_be_used_is_named(case: LabeledCase, tmp_path: Path):
    (tmp_path / "bad.nrrd").write_bytes(b"NRRD0004\n")
    bad = LabeledCase("b", tmp_path / "bad.nrrd", case.label)
    with pytest.raises(InputError) as caught:
        prepare_labeled([case, bad, case], ORGANS, RECIPE, tmp_path / "cache")
    assert "bad.nrrd" in str(caught.value)


def test_headers_are_read_one_at_a_time(case: LabeledCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """CPython 3.11's parser, which numpy reads headers with, fails now and then in two threads at once."""
    real, inside, together = np.load, [], []

    def load(*arguments, **named):
        inside.append(1)
        together.append(len(inside))
        time.sleep(0.01)
        try:
            return real(*arguments, **named)
        finally:
            inside.pop()

    monkeypatch.setattr("VoxelAdvSegLib.data.cache.os.cpu_count", lambda: 4)
    monkeypatch.setattr(np, "load", load)
    cases = [UnlabeledCase(f"case {number}", case.image) for number in range(8)]
    assert len(prepare_unlabeled(cases, RECIPE, tmp_path / "cache")) == 8
    assert len(together) >= 8 and max(together) == 1


def test_scans_that_an_earlier_run_has_prepared_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases = [UnlabeledCase("a", tmp_path / "a.nii.gz")]
    sitk.WriteImage(
        sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(5, 6, 7)).astype("f4")), cases[0].image
    )
    recipe = Recipe(orient=False, spacing_xyz_mm=None, intensity="scan")
    first, second = tmp_path / "first" / "cache", tmp_path / "second" / "cache"
    before = prepare_unlabeled(cases, recipe, first)
    monkeypatch.setattr("VoxelAdvSegLib.data.cache.read_volume", lambda path: pytest.fail("read again"))
    again = prepare_unlabeled(cases, recipe, second, earlier=[tmp_path / "none", first])
    assert np.array_equal(before[0].image, again[0].image)
    # The earlier run may be deleted.
    for file in first.iterdir():
        file.unlink()
    assert np.array_equal(prepare_unlabeled(cases, recipe, second)[0].image, again[0].image)


@pytest.mark.skipif(os.name != "posix", reason="the limit of open files")
def test_more_cases_than_a_process_may_have_files_open(tmp_path: Path):
    """Each mapped array keeps its file open."""
    import resource

    cases = []
    for number in range(40):
        image = sitk.GetImageFromArray(np.full((4, 4, 4), number, np.float32) + np.arange(4, dtype=np.float32))
        sitk.WriteImage(image, tmp_path / f"{number}.nrrd")
        cases.append(UnlabeledCase(str(number), tmp_path / f"{number}.nrrd"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/dev/fd").iterdir()))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, before[1]))
        arrays = prepare_unlabeled(cases, RECIPE, tmp_path / "cache")
        assert len(arrays) == 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
