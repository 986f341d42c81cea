"""The plan: fake case lists against numbers worked out from the rules of method.md 1.6."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.memory import GIB, one_size_smaller, step_need
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.plan import (
    Machine,
    Plan,
    Statistics,
    gather_statistics,
    make_plan,
)
from VoxelAdvSegLib.errors import ConfigError

ORGANS = organs_of({"liver": 1, "spleen": 2})
CT = Statistics(((512, 512, 600),) * 3, ((0.8, 0.8, 1.0),) * 3, 1, 2, ct=(-120.0, 240.0, 98.7, 41.2))
MR = Statistics(((36, 50, 35),) * 3, ((1.0, 1.0, 1.0),) * 3, 1, 2)
THICK = Statistics(((320, 320, 20),) * 3, ((0.5, 0.5, 6.0),) * 3, 1, 2)


def plan(facts: Statistics, machine: Machine, mirror_axes=(), organs=ORGANS, **overrides: object) -> Plan:
    return make_plan(resolve("auto", overrides), facts, machine, organs, mirror_axes)


def gpu(gigabytes: float) -> Machine:
    return Machine("cuda", gigabytes * GIB, 8, "a GPU")


@pytest.mark.parametrize("gigabytes", [4, 12, 80])
@pytest.mark.parametrize("kind", ["cuda", "cpu"])
@pytest.mark.parametrize("facts", [CT, MR, THICK], ids=["ct", "mr", "thick"])
def test_every_plan_fits_and_can_be_trained(facts: Statistics, kind: str, gigabytes: int):
    machine = Machine(kind, gigabytes * GIB, 8, "this machine")
    made = plan(facts, machine)
    patch, filters = made.config.patches.patch, made.config.network.filters
    labeled, unlabeled = made.config.patches.batch_labeled, made.config.patches.batch_unlabeled
    assert patch and filters and labeled and unlabeled
    assert all(p % 16 == 0 and p >= 16 for p in patch) and max(patch) >= 32
    voxels = int(np.prod(patch))
    assert step_need(made.config, kind, 2) <= 0.85 * gigabytes * GIB
    assert voxels <= (1_048_576 if kind == "cuda" else 262_144)
    text = "\n".join(made.sentences)
    assert " x ".join(map(str, patch)) in text and f"{voxels:,}" in text
    assert f"{filters} filters" in text and f"{gigabytes}.0 GiB" in text and "this machine" in text
    assert f"{labeled} labeled and {unlabeled} unlabeled patches" in text
    assert "2000 steps" in text  # 150 * 1 + 50 * 2 = 250, but at least 2000


def test_full_precision_on_a_graphics_card_is_planned_for():
    """With amp=off a step keeps whole floats: the plan must leave room for them."""
    machine = Machine("cuda", 4 * GIB, 8)
    made = plan(CT, machine, amp="off").config
    patches = made.patches
    assert patches.patch and patches.batch_labeled and patches.batch_unlabeled and made.network.filters
    voxels, count = int(np.prod(patches.patch)), patches.batch_labeled + patches.batch_unlabeled
    assert step_need(made, "cuda", 2) <= 0.85 * 4 * GIB
    half = plan(CT, machine).config.patches
    assert half.patch and voxels * count < np.prod(half.patch) * 2 * (half.batch_labeled or 0)


@pytest.mark.parametrize("gigabytes", [0.6, 0.8, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("cores", [1, 64])
def test_a_small_computer_is_not_filled_by_more_filters(gigabytes: float, cores: int):
    """Many cores have time for 16 filters; the memory must have room for them, too."""
    made = plan(CT, Machine("cpu", gigabytes * GIB, cores))
    patches = made.config.patches
    assert patches.patch and patches.batch_labeled and made.config.network.filters
    assert step_need(made.config, "cpu", 2) <= 0.85 * gigabytes * GIB


def test_ct_is_coarsened_until_a_patch_sees_a_24th():
    # 512 * 512 * 600 / (24 * 1,048,576) = 6.25, and 6.25 ** (1/3) = 1.842
    made = plan(CT, gpu(80))
    assert made.recipe.spacing_xyz_mm == pytest.approx((1.4736, 1.4736, 1.842), rel=1e-4)
    assert made.recipe.intensity == "fixed" and made.recipe.clip == (-120, 240)
    assert (made.recipe.mean, made.recipe.sd) == (98.7, 41.2)
    text = "\n".join(made.sentences)
    assert "1.47 x 1.47 x 1.84 mm" in text and "0.8 x 0.8 x 1 mm" in text
    assert "-120 to 240 HU, minus 98.7, divided by 41.2" in text


def test_small_mr_is_seen_whole():
    # 36 / 16 = 2.25, 50 / 16 = 3.1, 35 / 16 = 2.2: the nearest multiples
    made = plan(MR, gpu(12))
    assert made.config.patches.patch == (32, 48, 32)
    assert made.recipe.spacing_xyz_mm == (1, 1, 1) and made.recipe.intensity == "nonzero"
    assert made.config.patches.batch_labeled == made.config.patches.batch_unlabeled == 4  # 1,003,520 // 49,152 = 20
    assert plan(MR, Machine("cpu", 12 * GIB, 8)).config.patches.batch_labeled == 2


def test_thick_slices_stay_thick():
    # 320 x 320 x 16 is above 1,048,576, so x and y shrink to 256
    made = plan(THICK, gpu(80))
    assert made.recipe.spacing_xyz_mm == (0.5, 0.5, 6.0)
    assert made.config.patches.patch == (256, 256, 16)


def test_of_mixed_slices_the_thin_ones_count_but_not_below_the_plane():
    # z from 2 to 12 mm: median 7, 10th percentile 3
    def scans(y: float) -> Statistics:
        return Statistics(((64, 64, 16),) * 11, tuple((1.0, y, float(z)) for z in range(2, 13)), 11, 0)

    assert plan(scans(1.0), gpu(12)).recipe.spacing_xyz_mm == (1, 1, 3)
    assert plan(scans(3.5), gpu(12)).recipe.spacing_xyz_mm == (1, 3.5, 3.5)


def test_steps_grow_with_the_scans_within_bounds():
    many = Statistics(MR.shapes_xyz, MR.spacings_xyz_mm, 40, 20)
    assert plan(many, gpu(12)).config.training.steps == 7000  # 150 * 40 + 50 * 20
    most = Statistics(MR.shapes_xyz, MR.spacings_xyz_mm, 400, 20)
    assert plan(most, gpu(12)).config.training.steps == 15000
    budget = plan(MR, gpu(12), minutes=7.5)
    assert budget.config.training.steps is None and "7.5 minutes" in "\n".join(budget.sentences)


@pytest.mark.parametrize("names", [("left kidney", "right kidney"), ("Anterior", "Posterior"), ("Kidney_L",)])
def test_organs_with_a_side_are_never_mirrored(names: tuple[str, ...]):
    organs = organs_of({name: i for i, name in enumerate(names, 1)})
    made = plan(MR, gpu(12), ("x", "y"), organs)
    assert made.config.patches.mirror_axes == ()
    assert "never mirrored" in "\n".join(made.sentences) and names[0] in "\n".join(made.sentences)


def test_others_are_mirrored_only_where_the_data_set_says_so():
    assert plan(MR, gpu(12)).config.patches.mirror_axes == ()
    made = plan(MR, gpu(12), ("x", "y"))
    assert made.config.patches.mirror_axes == ("x", "y")
    assert "mirrored along x, y" in "\n".join(made.sentences)


def test_the_benchmarks_mirroring_is_not_denied():
    """uamt always mirrors: the report may not say that nothing is, and warns where a side has a name."""
    made = plan(MR, gpu(12), organs=organs_of({"left kidney": 1}), augment="uamt")
    text = "\n".join(made.sentences)
    assert "never mirrored:" not in text and "WARNING" in text and "left kidney" in text
    text = "\n".join(plan(MR, gpu(12), augment="d4").sentences)
    assert "not mirrored" not in text and "mirrored within the slices" in text


def test_settings_win_over_rules():
    made = plan(MR, gpu(12), patch="64,32,16", filters=12, batch_labeled=1, steps=77, spacing_mm=2, mirror_axes="z")
    assert made.config.patches.patch == (64, 32, 16) and made.config.network.filters == 12
    assert made.config.patches.batch_labeled == 1 and made.config.training.steps == 77
    assert made.recipe.spacing_xyz_mm == (2, 2, 2) and made.config.patches.mirror_axes == ("z",)


def test_the_paper_settings_keep_their_grids():
    la = make_plan(resolve("la-paper", {}), MR, gpu(12), ORGANS, ("x", "y"))
    assert la.recipe.spacing_xyz_mm is None and not la.recipe.orient and la.recipe.intensity == "scan"
    assert la.config.patches.patch == (112, 112, 80) and la.config.training.steps == 6000
    mo = make_plan(resolve("mo-paper", {}), CT, gpu(12), ORGANS, ())
    assert mo.recipe.shape_xyz == (128, 128, 64) and mo.recipe.spacing_xyz_mm is None


def test_too_little_memory_says_how_much_it_takes():
    with pytest.raises(ConfigError, match="too little memory") as caught:
        plan(MR, gpu(0.5))
    assert "0.5 GiB" in str(caught.value) and "at least" in str(caught.value)
    with pytest.raises(ConfigError, match="too small for instance norm"):
        plan(MR, gpu(12), patch="16,16,16")


def test_statistics_come_from_training_scans_alone_in_working_order(tmp_path: Path):
    """Two CT scans, one stored sideways; the validation scan and the label of the unlabeled one are junk."""
    rng = np.random.default_rng(0)
    body = rng.integers(-1000, 60, (8, 20, 30)).astype(np.int16)
    label = np.zeros(body.shape, np.uint8)
    label[2:6, 5:15, 5:25] = 1
    body[label == 1] = rng.integers(0, 101, (label == 1).sum())
    image = sitk.GetImageFromArray(body)
    image.SetSpacing((0.5, 0.6, 3.0))
    sideways = sitk.PermuteAxes(image, (2, 0, 1))
    for name, one in (("a", image), ("b", sideways), ("a_label", sitk.GetImageFromArray(label))):
        if name == "a_label":
            one.CopyInformation(image)
        sitk.WriteImage(one, tmp_path / f"{name}.nii.gz")
    for name in ("c", "c_label", "b_label"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"junk")
    path = tmp_path / "dataset.json"
    path.write_text(
        json.dumps(
            {
                "labels": {"background": 0, "organ": 1},
                "training": [{"image": "a.nii.gz", "label": "a_label.nii.gz"}],
                "unlabeled": [{"image": "b.nii.gz", "label": "b_label.nii.gz"}],
                "validation": [{"image": "c.nii.gz", "label": "c_label.nii.gz"}],
            }
        )
    )
    facts = gather_statistics(read_manifest(path), resolve("auto", {}))
    assert facts.shapes_xyz == ((30, 20, 8), (30, 20, 8))
    assert facts.spacings_xyz_mm == (pytest.approx((0.5, 0.6, 3.0)),) * 2
    assert (facts.labeled, facts.unlabeled) == (1, 1)
    inside = body[label == 1].astype(float)
    low, high = np.percentile(inside, (0.5, 99.5))
    clipped = inside.clip(low, high)
    assert facts.ct == pytest.approx((low, high, clipped.mean(), clipped.std()))
    assert gather_statistics(read_manifest(path), resolve("la-paper", {})).ct is None


CARDS = (4, 6, 8, 12, 24)  # GiB


def saving(made: Plan) -> tuple[bool, int]:
    training = made.config.training
    return bool(training.recompute), training.accumulate or 1


def test_every_card_gets_what_fits_and_a_larger_one_never_less():
    patches = []
    for gigabytes in CARDS:
        made = plan(CT, gpu(gigabytes))
        p = made.config.patches
        assert p.patch and p.batch_labeled and step_need(made.config, "cuda", 2) <= 0.85 * gigabytes * GIB
        patches.append(np.prod(p.patch) * p.batch_labeled)
    assert patches == sorted(patches) and saving(plan(CT, gpu(24))) == (False, 1)


def test_the_patches_of_the_paper_fit_small_cards_by_saving():
    """112 x 112 x 80 twice a side: the plan saves memory before it takes away patches."""
    facts = replace(MR, shapes_xyz=((180, 180, 88),) * 3)
    found = {}
    for gigabytes in CARDS:
        made = plan(facts, gpu(gigabytes), patch=[112, 112, 80], batch_labeled=2, batch_unlabeled=2)
        found[gigabytes] = saving(made)
        assert step_need(made.config, "cuda", 2) <= 0.85 * gigabytes * GIB
    assert found[4] == (True, 2) and found[24] == (False, 1)
    assert sorted(found.values(), reverse=True) == [found[n] for n in CARDS]
    # Batch norm takes the statistics of the whole batch: it is not cut in parts unasked, but the person is told.
    text = " ".join(
        plan(facts, gpu(4), patch=[112, 112, 80], batch_labeled=2, batch_unlabeled=2, norm="batch").sentences
    )
    assert "WARNING: that may be too much" in text and "parts" not in text


def test_memory_can_be_set_by_hand():
    assert plan(CT, gpu(80), memory_gb=6).config.patches == plan(CT, gpu(6)).config.patches
    assert saving(plan(CT, gpu(80), recompute=True, accumulate=2)) == (True, 2)


def test_smaller_sizes_end():
    config, steps = plan(CT, gpu(4)).config, []
    while (smaller := one_size_smaller(config)) is not None:
        assert step_need(smaller[0], "cuda", 2) < step_need(config, "cuda", 2)
        config, what = smaller
        steps.append(what)
        assert config.training.steps == plan(CT, gpu(4)).config.training.steps
    assert config.patches.patch and max(config.patches.patch) == 32
    assert "patches have" in steps[-1]
