"""Every setting, in one frozen tree, resolved once: defaults, then preset, then --set.

Defaults are the paper's left-atrium configuration; rows are those of method.md 1.5. A setting
that is None is planned from the data (data/plan.py) before the first step.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.setting_values import check, convert

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

PRESETS = ("auto", "best", "la-paper", "mo-paper", "mo")


@dataclass(frozen=True)
class Preprocessing:
    """How a scan becomes an array on the working grid (method.md 1.6, 2)."""

    recipe: str = "la"  # la | mo | auto
    spacing_mm: tuple[float, float, float] | None = None  # x, y, z; None: planned (la: the scan's own)
    shape: tuple[int, int, int] | None = None  # x, y, z voxels of the whole scan (mo: 128, 128, 64)
    window: tuple[float, float] | None = None  # Hounsfield units scaled to 0..1 (mo: -200, 250)


@dataclass(frozen=True)
class Patches:
    """What one step sees."""

    patch: tuple[int, int, int] | None = (112, 112, 80)  # x, y, z voxels; benchmark
    batch_labeled: int | None = 2  # Section IV-B
    batch_unlabeled: int | None = 2  # Section IV-B
    # False: a supervised step has batch_labeled patches (the paper's); True: as many as a
    # semi-supervised step, so that a comparison is of information and not of batch size.
    supervised_equal_patches: bool = False
    foreground_patches: float = 0.0  # row 60: chance that a labeled patch is centred on a random class
    augment: str = "uamt"  # row 61: uamt | d4 | mild | strong | none
    mirror_axes: tuple[str, ...] | None = None  # axes that may be flipped; None: by the mirror rule


@dataclass(frozen=True)
class Network:
    filters: int | None = 16  # benchmark
    norm: str = "batch"  # batch | instance | group | none
    sync_batch_norm: bool = True  # batch norm over the patches of all processes, as one process would have it
    dropout: bool = True
    init_output_prior: bool = False  # row 64


@dataclass(frozen=True)
class Supervision:
    """Dice of equation 4, and cross-entropy."""

    dice_denominator: str = "squared"  # row 51: squared | linear
    dice_pool: str = "batch"  # row 52: batch | sample
    dice_absent: str = "skip"  # row 53: skip | smooth
    ce_weight: float = 0.0  # row 54
    copy_paste: str = "none"  # row 66: none | labeled | bidirectional
    copy_paste_box: float = 2 / 3  # edge of the pasted box, as part of the patch (Bai et al., CVPR 2023)
    copy_paste_warmup: float = 0.12  # part of T with labeled patches only (method.md 4.3, row 5)
    pseudo_weight: float = 0.5  # weight of pseudo-labeled voxels in mixed patches
    pseudo_rampup: float = 0.3  # part of T over which that weight rises
    pseudo_largest_component: bool = False  # pasted pseudo-labels keep each organ's largest part (as BCP)


@dataclass(frozen=True)
class Adversarial:
    """Voxel-wise adversarial learning, equations 1 and 2."""

    adv_weight: float = 0.01  # alpha, Section IV-B
    adv_weight_mode: str = "fixed"  # row 22: fixed | balanced
    adv_balance_target: float = 0.1  # gradient ratio that `balanced` aims at
    adv_start: float = 0.0  # row 23, part of T
    adv_ramp: float = 0.0  # row 23, part of T
    adv_form: str = "nonsaturating"  # row 18: nonsaturating | saturating | lsgan | hinge
    adv_target: str = "unlabeled"  # row 19: unlabeled | both
    adv_reduction: str = "class_mean"  # row 20: class_mean | voxel_mean | sum
    adv_detach_levels: tuple[int, ...] = ()  # row 24
    adv_gate: str = "off"  # row 67: off | held_out
    adv_seam_margin: int = 0  # voxels next to the seam of a mixed patch that the discriminator ignores
    feature_levels: tuple[int, ...] = (1, 2, 3, 4)  # row 1
    feature_dim: int = 64  # row 2, Section IV-B
    fusion_kernel: int = 1  # row 3: 1 | 3
    fusion_align_corners: bool = False  # row 4
    fusion_sharing: str = "separate"  # row 5: separate | shared
    fusion_path: str = "sampled"  # row 6: sampled | dense
    disc_hidden_layers: int = 2  # row 7
    disc_heads: str = "per_class"  # row 8: per_class | single
    disc_norm: str = "none"  # row 9: none | spectral | layer
    disc_lr: float = 2e-4  # row 10, Section IV-B
    disc_betas: tuple[float, float] = (0.5, 0.999)  # Section IV-B
    disc_lr_schedule: str = "constant"  # row 11: constant | follow
    disc_steps: float = 1.0  # row 12: 0.5 | 1 | 2
    disc_order: str = "first"  # row 13: first | last
    disc_start: float = 0.0  # part of T before which the discriminator rests (row 23)
    disc_acc_ceiling: float = 1.0  # row 14
    disc_label_smoothing: float = 0.0  # row 15
    disc_input_noise: float = 0.0  # row 16: sd at the start, falling to 0
    disc_include_background: bool = True  # row 26
    disc_voxels_per_class: int = 512  # row 25
    disc_points_max: int = 16384  # row 25b, per side
    min_class_voxels: int = 16  # row 25b
    pseudo_threshold: float = 0.7  # row 27, Section IV-B
    pseudo_quantile: float = 0.0  # row 27: in place of the threshold, this quantile of each class
    pseudo_below: str = "ignore"  # row 28: ignore | background
    pseudo_erosion: int = 0  # row 29
    pseudo_source: str = "teacher"  # row 30: teacher | student
    real_label_erosion: int = 0  # row 31


@dataclass(frozen=True)
class Representation:
    """Voxel-wise representation learning, equation 3."""

    feature_weight: float = 0.1  # beta, Section IV-B
    feature_voxels_per_class: int = 256  # row 25b
    feature_reduction: str = "sum"  # row 44: sum | mean_dim
    feature_pairing: str = "same_class_random"  # row 45: same_class_random | same_voxel | class_mean
    feature_cross_sample: bool = True  # row 46
    feature_mlp_norm: str = "batch"  # row 47: batch | layer | none
    feature_symmetric: bool = False  # row 48
    feature_include_background: bool = True  # row 49
    feature_on_unlabeled: bool = False  # row 50


@dataclass(frozen=True)
class Consistency:
    """Equation 5, its teacher, and its ramp."""

    consistency_weight: float = 0.001  # gamma, Section IV-B
    consistency_rampup: float = 1.0  # row 42, part of T
    consistency_quantum: int = 1  # row 42: steps by which t is floored
    consistency_noise: float = 0.1  # row 38
    consistency_noise_clip: float = 0.2  # row 38
    consistency_noise_on: str = "teacher"  # row 38: teacher | both
    consistency_on: str = "all"  # row 39: all | unlabeled
    consistency_loss: str = "mse"  # row 40: mse | mse_sum | kl | ce
    teacher_norm: str = "batch"  # row 32: batch | buffers
    teacher_dropout: bool = False  # row 33
    teacher_buffers: str = "ema"  # row 34: ema | copy | own
    batch_norm_mix: str = "joint"  # row 35: joint | split
    ema_decay: float = 0.99  # row 36
    ema_every: int = 1  # row 37


@dataclass(frozen=True)
class Comparison:
    """What the comparison methods do not share with the paper's; as published (method.md 3)."""

    mt_weight: float = 0.1  # consistency of mean_teacher, ua_mt, lg_er_mt, duwm and cvrl, after the ramp
    mt_noise: float = 0.1  # sd of the noise on the teacher's input
    mt_noise_clip: float = 0.2
    uamt_passes: int = 8  # stochastic passes of the teacher
    sdm_weight: float = 0.3  # error of the signed distance maps of sassnet and dtc
    sassnet_adv_weight: float | None = None  # None: as published, 0.015 up to 8 labeled cases, else 0.01
    dtc_weight: float = 1.0  # agreement of the two heads, after the ramp
    lger_weight: float = 0.01  # of each of the three structure and entropy terms, after the ramp
    lger_blocks: int = 4  # in which pairs of voxels are compared
    lger_points: int = 512  # voxels of a block of 16 a side; the original takes all 4096
    mcnet_decoders: int = 2  # 2 | 3 (MC-Net+)
    mcnet_weight: float = 0.1  # first paper; its public code has 1
    mcnet_stop_gradient: bool = False  # the public code lets gradient pass through the sharpened side
    opponent_lr: float = 1e-4  # of the discriminators of sassnet and dap
    opponent_betas: tuple[float, float] = (0.9, 0.99)
    dap_adv_weight_labeled: float = 0.01
    dap_adv_weight_unlabeled: float = 0.001
    dap_self_weight: float = 0.1  # of unlabeled voxels that teach themselves, after the ramp
    dap_trust: float = 0.2  # least output of the discriminator for that
    duwm_passes: int = 4  # stochastic passes of the teacher
    cvrl_weight: float = 0.1
    cvrl_voxels: int = 256  # per patch
    cvrl_queue: int = 2048  # earlier voxels that serve as negatives


@dataclass(frozen=True)
class Training:
    method: str = "voxel_adversarial"
    steps: int | None = 6000  # Section IV-B; None: planned
    minutes: float | None = None  # a budget of time instead of steps
    seed: int = 0
    device: str = "auto"
    optimizer: str = "sgd"  # row 55: sgd | adam | adamw
    lr: float = 0.01  # Section IV-B
    momentum: float = 0.9  # Section IV-B
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4  # Section IV-B
    lr_schedule: str = "step"  # row 56: step | poly | cosine | constant
    grad_clip: float | None = None  # row 57
    amp: str = "auto"  # row 58: auto | bf16 | fp16 | off
    eval_model: str = "student"  # row 62: student | teacher
    bn_recalibrate: int = 0  # row 65
    quality: bool = True  # a second phase learns how good a segmentation probably is (method.md 4.4)
    checkpoint: str = "last"  # row 63: last | best
    checkpoint_every: int | None = None  # steps; None: a twentieth of the run
    validate_every: int | None = None  # steps; None: a tenth of the run
    validation_cases: int = 10  # cases scored during training; all of them count at the end
    preview_every: int | None = None  # steps; None: a twentieth of the run
    # Less memory for the same patches; None: planned (docs/memory.md).
    recompute: bool | None = None  # blocks are computed again on the way back: the same result, a third more time
    accumulate: int | None = None  # parts of a batch one after the other, their gradients averaged
    memory_gb: float | None = None  # to plan for; None: what is free on the device
    gradient_ratio_every: int = 100  # steps; 0 switches the measurement off


@dataclass(frozen=True)
class Inference:
    overlap: float = 0.5  # of neighbouring windows; the benchmark's stride is 18, 18, 4 voxels
    stride: tuple[int, int, int] | None = (18, 18, 4)  # x, y, z voxels; takes the place of overlap
    window_weight: str = "constant"  # constant | gaussian
    flips: bool = False  # average over the allowed mirror axes
    largest_component: bool = False
    one_part: bool = False  # organs that are one part in every label of the training keep their largest part


@dataclass(frozen=True)
class Config:
    preset: str = "la-paper"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    patches: Patches = field(default_factory=Patches)
    network: Network = field(default_factory=Network)
    supervision: Supervision = field(default_factory=Supervision)
    adversarial: Adversarial = field(default_factory=Adversarial)
    representation: Representation = field(default_factory=Representation)
    consistency: Consistency = field(default_factory=Consistency)
    comparison: Comparison = field(default_factory=Comparison)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)


SECTIONS = tuple(f.name for f in dataclasses.fields(Config) if f.name != "preset")


def resolve(preset: str, overrides: Mapping[str, Any]) -> Config:
    """Config of a preset with `section.key` or bare `key` overrides applied.

    Values may be of the field's type or text, parsed as TOML (and "48,32,32" as a list).
    Raises ConfigError for an unknown preset, key, type or value.
    """
    if preset not in PRESETS:
        raise ConfigError(
            "unknown preset", expected=" | ".join(PRESETS), found=preset, do=_did_you_mean(preset, PRESETS)
        )
    file = Path(__file__).parent / "presets" / f"{preset}.toml"
    tree = tomllib.loads(file.read_text(encoding="utf-8"))
    config = Config(preset=preset)
    for section, values in tree.items():
        for key, value in values.items():
            config = with_setting(config, f"{section}.{key}", value)
    for key, value in overrides.items():
        config = with_setting(config, key, value)
    _check_together(config)
    return config


def with_setting(config: Config, key: str, value: Any) -> Config:
    """The same tree with one setting changed; raises ConfigError as `resolve`."""
    section, name = _find(config, key)
    part = getattr(config, section)
    hint = typing.get_type_hints(type(part))[name]
    parsed = check(name, convert(value, hint, key))
    return dataclasses.replace(config, **{section: dataclasses.replace(part, **{name: parsed})})


def to_dict(config: Config) -> dict[str, Any]:
    return dataclasses.asdict(config)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """The tree written by `to_dict`; raises ConfigError when it has other keys."""
    config = Config(preset=str(tree.get("preset", "auto")))
    for section, settings in tree.items():
        if section == "preset":
            continue
        if section not in SECTIONS or not isinstance(settings, Mapping):
            raise ConfigError(f"unknown section '{section}'", expected=", ".join(SECTIONS), found=section)
        for key, value in settings.items():
            config = with_setting(config, f"{section}.{key}", value)
    return config


def _find(config: Config, key: str) -> tuple[str, str]:
    names = {s: {f.name for f in dataclasses.fields(getattr(config, s))} for s in SECTIONS}
    section, _, name = key.rpartition(".")
    sections = [section] if section else [s for s in SECTIONS if name in names[s]]
    if len(sections) == 1 and name in names.get(sections[0], ()):
        return sections[0], name
    known = [f"{s}.{n}" for s in SECTIONS for n in names[s]] + [n for s in SECTIONS for n in names[s]]
    raise ConfigError(f"unknown setting '{key}'", found=key, do=_did_you_mean(key, known))


def _did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else "see docs/config.md for the settings"


def _check_together(config: Config) -> None:
    """Raises ConfigError for settings that undo each other."""
    consistency, features = config.consistency, config.representation
    problem = None
    if config.adversarial.adv_weight_mode == "balanced" and not config.training.gradient_ratio_every:
        problem = "adv_weight_mode=balanced", "gradient_ratio_every > 0, for it follows that measurement"
    elif consistency.teacher_buffers == "own" and consistency.teacher_norm == "buffers":
        problem = "teacher_buffers=own", "teacher_norm=batch, or nothing ever fills the buffers"
    elif (config.training.accumulate or 1) > 1 and config.adversarial.disc_steps > 1:
        problem = "disc_steps=2", "accumulate=1: with parts, every player moves once a step"
    elif features.feature_on_unlabeled and features.feature_pairing == "same_voxel":
        problem = "feature_on_unlabeled=true", "another feature_pairing: the target is a labeled voxel"
    elif features.feature_on_unlabeled and not features.feature_cross_sample:
        problem = "feature_on_unlabeled=true", "feature_cross_sample=true: the target is in another scan"
    if problem:
        raise ConfigError(
            "two settings exclude each other", found=problem[0], expected=problem[1], do="change one of them"
        )
