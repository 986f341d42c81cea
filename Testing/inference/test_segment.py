"""From a model and a scan to classes on the scan's own grid, however it is stored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.data.test_geometry import DIRECTIONS, OBLIQUE, PERMUTED, grid
from Testing.test_bundle import make_bundle
from VoxelAdvSegLib.bundle import Bundle, write_bundle
from VoxelAdvSegLib.data.components import keep_largest
from VoxelAdvSegLib.data.geometry import reorient_geometry, reorientation
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.data.volume import Geometry, Volume
from VoxelAdvSegLib.errors import BundleError, ConfigError
from VoxelAdvSegLib.inference.segment import Segmenter, find_bundle
from VoxelAdvSegLib.networks.device import choose_device, describe_machine

CPU = torch.device("cpu")


def thresholding(recipe: Recipe, **settings: object) -> Bundle:
    """A model that calls dark voxels background, grey ones liver (1) and bright ones kidney (2).

    Only the path of the image past all blocks is left: block 1 hands it to block 9 over the first skip.
    """
    bundle = make_bundle(norm="none", stride="16,16,16", **settings)
    weights = {key: torch.zeros_like(value) for key, value in bundle.weights["student"].items()}
    for level in (0, 8):
        weights[f"blocks.{level}.0.weight"][0, 0, 1, 1, 1] = 1  # channel 0: the image where it is above 0
    # logits 0, 4 v - 2, 8 v - 8 change places at v = 0.5 and v = 1.5
    weights["head.weight"][1, 0], weights["head.bias"][1] = 4, -2
    weights["head.weight"][2, 0], weights["head.bias"][2] = 8, -8
    return replace(bundle, recipe=recipe, weights={**bundle.weights, "student": weights}, segmenter="student")


def steps_of_grey(shape_zyx: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Classes in boxes, and the image of grey levels 0, 1, 2 that shows them."""
    label = np.zeros(shape_zyx, np.uint8)
    z, y, x = shape_zyx
    label[2 : z - 2, 2 : y // 2, 3 : x - 1] = 1
    label[1 : z - 3, y // 2 + 1 : y - 1, x // 3 :] = 2
    return label, label.astype(np.float32)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("orient", [True, False])
def test_classes_come_back_on_the_scans_own_grid(direction: np.ndarray, orient: bool):
    geometry = grid(direction, (11, 19, 37), (0.7, 0.7, 5.0))
    label, image = steps_of_grey(geometry.shape_zyx)
    segmenter = Segmenter(thresholding(Recipe(orient=orient, intensity="fixed")), CPU)
    found = segmenter.segment(Volume(image, geometry))
    assert np.array_equal(found.array, label) and found.array.dtype == np.uint8
    assert found.geometry is geometry and found.looks_labeled is None


def test_a_coarser_working_grid_is_undone():
    geometry = Geometry((20, 40, 60), (1.0, 1.0, 1.5))
    label, image = steps_of_grey(geometry.shape_zyx)
    recipe = Recipe(spacing_xyz_mm=(1.5, 1.5, 1.5), intensity="fixed")
    found = Segmenter(thresholding(recipe), CPU).segment(Volume(image, geometry)).array
    assert found.shape == label.shape
    # Liver cannot be judged: a blurred edge of the kidney passes through its grey level.
    kidney, truth = found == 2, label == 2
    assert 2 * (kidney & truth).sum() / (kidney.sum() + truth.sum()) > 0.9


def test_a_scan_stored_another_way_gets_the_same_classes():
    """A real (random) network, which knows left from right: only the storing differs, not the patient."""
    geometry = grid(OBLIQUE, (18, 20, 34), (1.0, 1.1, 1.2))
    volume = Volume(np.random.default_rng(0).normal(0, 1, geometry.shape_zyx).astype(np.float32), geometry)
    turn = reorientation(grid(PERMUTED @ np.diag([-1.0, 1.0, 1.0])))
    other = Volume(turn.apply(volume.array), reorient_geometry(geometry, turn))
    segmenter = Segmenter(replace(make_bundle(), recipe=Recipe(intensity="scan")), CPU)
    one, two = (segmenter.segment(v, looks_labeled=True) for v in (volume, other))
    assert len(np.unique(one.array)) > 1
    assert np.array_equal(turn.apply(one.array), two.array)
    assert one.looks_labeled is not None and two.looks_labeled is not None
    assert np.allclose(turn.apply(one.looks_labeled), two.looks_labeled, atol=1e-4)
    assert one.looks_labeled.shape == volume.array.shape and one.looks_labeled.dtype == np.float32
    assert one.looks_labeled.min() >= 0 and one.looks_labeled.max() <= 1
    # The map changes no class; windows come one by one with it, and so round otherwise.
    assert (one.array == segmenter.segment(volume).array).mean() > 0.999


def test_flips_are_those_the_model_allows():
    volume = Volume(
        np.random.default_rng(0).normal(0, 1, (16, 16, 32)).astype(np.float32), Geometry((16, 16, 32), (1, 1, 1))
    )
    recipe = Recipe(orient=False, intensity="scan")
    flipped = Volume(volume.array[..., ::-1].copy(), volume.geometry)
    allowed = Segmenter(replace(make_bundle(mirror_axes="x"), recipe=recipe), CPU)
    one, two = allowed.segment(volume, flips=True).array, allowed.segment(flipped, flips=True).array
    assert (one == two[..., ::-1]).mean() > 0.999  # the average does not know left from right
    assert not np.array_equal(one, allowed.segment(volume).array)
    forbidden = Segmenter(replace(make_bundle(mirror_axes=[]), recipe=recipe), CPU)
    assert np.array_equal(forbidden.segment(volume, flips=True).array, forbidden.segment(volume).array)


def test_only_the_largest_part_of_each_organ_is_kept():
    label = np.zeros((8, 8, 12), np.uint8)
    label[1:4, 1:4, 1:4] = 1
    label[4, 4, 4] = 1  # touches by a corner: the same part
    label[6, 6, 10] = 1
    label[6, 1:3, 8] = 2
    label[1, 6, 8:11] = 2
    kept = keep_largest(label, 3)
    expected = label.copy()
    expected[6, 6, 10] = 0
    expected[6, 1:3, 8] = 0
    assert np.array_equal(kept, expected) and label[6, 6, 10] == 1


def test_the_largest_part_can_be_asked_for():
    geometry = Geometry((16, 16, 32), (1.0, 1.0, 1.0))
    image = np.zeros(geometry.shape_zyx, np.float32)
    image[2:8, 2:8, 2:8] = 1
    image[12, 12, 28] = 1
    recipe = Recipe(orient=False, intensity="fixed")
    for own, asked, voxels in [(False, None, 217), (False, True, 216), (True, None, 216), (True, False, 217)]:
        segmenter = Segmenter(thresholding(recipe, largest_component=own), CPU)
        found = segmenter.segment(Volume(image, geometry), largest_component=asked)
        assert np.count_nonzero(found.array) == voxels


@pytest.mark.parametrize(
    ("one_part", "organs", "asked", "voxels"),
    [
        (True, [1], None, 216),
        (True, [], None, 217),
        (True, [7], None, 217),
        (True, [1], False, 217),
        (False, [1], None, 217),
    ],
)
def test_organs_that_are_one_part_in_every_label_keep_their_largest(one_part, organs, asked, voxels):
    geometry = Geometry((16, 16, 32), (1.0, 1.0, 1.0))
    image = np.zeros(geometry.shape_zyx, np.float32)
    image[2:8, 2:8, 2:8] = 1
    image[12, 12, 28] = 1
    bundle = thresholding(Recipe(orient=False, intensity="fixed"), one_part=one_part)
    bundle = replace(bundle, provenance={**bundle.provenance, "one_part_organs": organs})
    found = Segmenter(bundle, CPU).segment(Volume(image, geometry), largest_component=asked)
    assert np.count_nonzero(found.array) == voxels


def test_a_map_of_a_model_without_discriminator_is_refused():
    bundle = make_bundle()
    segmenter = Segmenter(replace(bundle, weights={"teacher": bundle.weights["teacher"]}), CPU)
    volume = Volume(np.random.default_rng(0).random((16, 16, 32), np.float32), Geometry((16, 16, 32), (1, 1, 1)))
    with pytest.raises(BundleError, match="no discriminator"):
        segmenter.segment(volume, looks_labeled=True)


def test_run_folders_and_model_folders_are_found(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="has not left a model yet"):
        Segmenter.open(run, "cpu")
    write_bundle(run / "model", make_bundle(), "")
    assert find_bundle(run) == find_bundle(run / "model") == run / "model"
    assert [organ.name for organ in Segmenter.open(run, "cpu").organs] == ["liver", "Left_Kidney"]
    with pytest.raises(BundleError, match="no model"):
        Segmenter.open(tmp_path, "cpu")


@pytest.mark.parametrize("wish", ["gpu", "", "mps", "cuda:99", "cuda:x"])
def test_devices_that_are_not_there_are_told(wish: str):
    with pytest.raises(ConfigError) as caught:
        choose_device(wish)
    assert "device" in caught.value.what


def test_the_cpu_is_always_there():
    assert choose_device("cpu") == CPU and choose_device("auto").type in ("cpu", "cuda")
    machine = describe_machine(CPU)
    assert machine.kind == "cpu" and machine.cores >= 1 and machine.memory_bytes > 2**20


@pytest.mark.parametrize("looks, flips", [(False, False), (True, False), (True, True), (False, True)])
def test_the_work_is_told_as_it_goes(looks: bool, flips: bool):
    volume = Volume(np.random.default_rng(0).random((16, 20, 70), np.float32), Geometry((16, 20, 70), (1, 1, 1)))
    parts: list[float] = []
    bundle = replace(make_bundle(mirror_axes="x", stride="16,16,16"), recipe=Recipe(orient=False, intensity="scan"))
    found = Segmenter(bundle, CPU).segment(volume, looks, flips=flips, watch=parts.append)
    assert parts == sorted(parts) and len(parts) >= 2 and parts[-1] == 1.0 and parts[-2] < 1
    assert set(found.confidence) == {"liver", "Left_Kidney"} and 0 <= found.certainty().score <= 1


def test_confidence_is_that_of_the_probabilities():
    """Logits 0, 4 v - 2, 8 v - 8 at grey levels 0, 1, 2: the winner's probability is known."""
    geometry = Geometry((16, 16, 32), (1.0, 1.0, 1.0))
    label, image = steps_of_grey(geometry.shape_zyx)
    found = Segmenter(thresholding(Recipe(orient=False, intensity="fixed")), CPU).segment(Volume(image, geometry))
    liver, kidney = found.confidence.values()
    assert (liver.voxels, kidney.voxels) == (np.sum(label == 1), np.sum(label == 2))
    at_one, at_two = np.exp([0, 2, 0]), np.exp([0, 6, 8])
    assert liver.inside == pytest.approx(at_one.max() / at_one.sum(), rel=1e-4)
    assert kidney.inside == pytest.approx(at_two.max() / at_two.sum(), rel=1e-4)
