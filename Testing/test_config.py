"""Settings: the paper's values, typing errors found at once, and nothing lost on the way to a file."""

import dataclasses
import json

import pytest

from VoxelAdvSegLib.config import (
    PRESETS,
    SECTIONS,
    Config,
    from_dict,
    resolve,
    to_dict,
    with_setting,
)
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.setting_values import CHOICES, FRACTIONS, NOT_NEGATIVE, POSITIVE


def test_la_paper_is_section_iv_b():
    c = resolve("la-paper", {})
    assert c.patches.patch == (112, 112, 80)
    assert (c.patches.batch_labeled, c.patches.batch_unlabeled) == (2, 2)
    assert (c.training.steps, c.training.optimizer, c.training.lr) == (6000, "sgd", 0.01)
    assert (c.training.momentum, c.training.weight_decay, c.training.lr_schedule) == (0.9, 1e-4, "step")
    assert (c.adversarial.adv_weight, c.representation.feature_weight) == (0.01, 0.1)
    assert (c.consistency.consistency_weight, c.consistency.ema_decay) == (0.001, 0.99)
    assert (c.adversarial.disc_lr, c.adversarial.disc_betas) == (2e-4, (0.5, 0.999))
    assert (c.adversarial.pseudo_threshold, c.adversarial.feature_dim) == (0.7, 64)
    assert (c.supervision.copy_paste, c.supervision.ce_weight) == ("none", 0.0)
    assert (c.training.eval_model, c.training.checkpoint) == ("student", "last")


def test_mo_paper_and_mo_differ_as_method_md_says():
    paper, ours = resolve("mo-paper", {}), resolve("mo", {})
    for c in (paper, ours):
        assert c.preprocessing.shape == c.patches.patch == (128, 128, 64)
        assert c.preprocessing.window == (-200.0, 250.0)
        assert (c.training.optimizer, c.training.lr, c.training.weight_decay) == ("adam", 1e-3, 0.0)
        assert c.representation.feature_weight == 100.0
        assert c.network.norm == "batch"
    assert (paper.representation.feature_reduction, ours.representation.feature_reduction) == ("sum", "mean_dim")
    assert (paper.patches.augment, ours.patches.augment) == ("none", "mild")
    assert (paper.training.grad_clip, ours.training.grad_clip) == (None, 12.0)
    assert (paper.consistency.consistency_weight, ours.consistency.consistency_weight) == (0.001, 0.1)
    assert (ours.supervision.ce_weight, ours.training.eval_model) == (1.0, "teacher")
    assert ours.patches.mirror_axes == ()


def test_auto_leaves_to_the_plan_what_depends_on_the_data():
    c = resolve("auto", {})
    assert c.patches.patch is c.patches.batch_labeled is c.network.filters is c.training.steps is None
    assert (c.network.norm, c.training.optimizer, c.training.lr) == ("instance", "adamw", 3e-3)
    assert (c.supervision.copy_paste, c.adversarial.disc_norm) == ("bidirectional", "spectral")
    best = resolve("best", {"steps": "auto"})  # it differs by its length alone
    assert dataclasses.replace(best, preset="auto") == c and resolve("best", {}).training.steps == 15000


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_survives_its_file(preset):
    config = resolve(preset, {"seed": 3, "patch": "48,32,32"})
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("checkpoint_every", "100", 100),
        ("spacing_mm", "2.5,2.5,1.875", (2.5, 2.5, 1.875)),
        ("spacing_mm", "2", (2.0, 2.0, 2.0)),
        ("spacing_mm", "none", None),
        ("patch", "48,32,32", (48, 32, 32)),
        ("patch", "[48, 32, 32]", (48, 32, 32)),
        ("patch", "auto", None),
        ("filters", "8", 8),
        ("adversarial.feature_levels", "9", (9,)),
        ("feature_levels", "2,3,4,5", (2, 3, 4, 5)),
        ("adv_detach_levels", "1", (1,)),
        ("mirror_axes", "x,y", ("x", "y")),
        ("mirror_axes", "x", ("x",)),
        ("mirror_axes", "[]", ()),
        ("augment", "none", "none"),
        ("norm", "none", "none"),
        ("amp", "auto", "auto"),
        ("device", "cuda:1", "cuda:1"),
        ("dropout", "false", False),
        ("lr", "1e-3", 1e-3),
        ("lr", "1", 1.0),
        ("grad_clip", "12", 12.0),
    ],
)
def test_settings_from_the_command_line(key, text, value):
    config = resolve("la-paper", {key: text})
    name = key.rpartition(".")[2]
    (section,) = [s for s in SECTIONS if hasattr(getattr(config, s), name)]
    found = getattr(getattr(config, section), name)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("patch", "50,32,32", "multiples of 16"),
        ("patch", "48,32", "tuple"),
        ("steps", "0", "more than 0"),
        ("steps", "many", "int"),
        ("steps", "1.5", "int"),
        ("dropout", "1", "bool"),
        ("lr", "nan", "finite"),
        ("lr", "inf", "finite"),
        ("adv_weight", "-0.1", "0 or more"),
        ("pseudo_threshold", "1.2", "from 0 to 1"),
        ("disc_steps", "0", "more than 0"),
        ("min_class_voxels", "0", "more than 0"),
        ("feature_levels", "0,1", "levels from 1 to 9"),
        ("feature_levels", "[]", "at least one level"),
        ("fusion_kernel", "2", "1 or 3"),
        ("mirror_axes", "x,w", "some of x, y, z"),
        ("adv_form", "wasserstein", "nonsaturating | saturating | lsgan | hinge"),
        ("seed", "none", "int"),
    ],
)
def test_wrong_values_say_what_was_expected(key, value, says):
    with pytest.raises(ConfigError) as caught:
        resolve("la-paper", {key: value})
    assert key in str(caught.value) and says in str(caught.value)


@pytest.mark.parametrize(
    ("key", "near"),
    [("adv_wieght", "adv_weight"), ("trainig.lr", "training.lr"), ("network.lr", "network")],
)
def test_unknown_settings_are_answered_with_the_nearest(key, near):
    with pytest.raises(ConfigError) as caught:
        resolve("la-paper", {key: "1"})
    assert near in str(caught.value)


def test_unknown_preset_and_section():
    with pytest.raises(ConfigError, match="unknown preset"):
        resolve("la_paper", {})
    with pytest.raises(ConfigError, match="unknown section"):
        from_dict({"preset": "auto", "trainings": {"lr": 1}})


@pytest.mark.parametrize(
    "settings",
    [
        {"adv_weight_mode": "balanced", "gradient_ratio_every": 0},
        {"teacher_buffers": "own", "teacher_norm": "buffers"},
        {"feature_on_unlabeled": True, "feature_pairing": "same_voxel"},
        {"feature_on_unlabeled": True, "feature_cross_sample": False},
    ],
)
def test_settings_that_undo_each_other_are_refused(settings):
    with pytest.raises(ConfigError, match="exclude each other"):
        resolve("la-paper", settings)


def test_one_setting_changes_one_setting():
    config = Config()
    changed = with_setting(config, "adv_weight", 0.5)
    assert changed.adversarial == dataclasses.replace(config.adversarial, adv_weight=0.5)
    assert config == Config() and dataclasses.replace(changed, adversarial=config.adversarial) == config


def test_rules_name_existing_settings_once():
    names = [f.name for s in SECTIONS for f in dataclasses.fields(getattr(Config(), s))]
    assert len(names) == len(set(names))  # so that the bare name is enough
    assert {*CHOICES, *POSITIVE, *NOT_NEGATIVE, *FRACTIONS} <= set(names)


def test_defaults_obey_the_rules():
    config = Config()
    for section in SECTIONS:
        for key, value in dataclasses.asdict(getattr(config, section)).items():
            assert getattr(getattr(with_setting(config, f"{section}.{key}", value), section), key) == value
