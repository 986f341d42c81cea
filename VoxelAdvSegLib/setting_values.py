"""What a setting's value may be: parsed from text, of the field's type, within its bounds."""

from __future__ import annotations

import math
import sys
import types
import typing
from typing import Any

from VoxelAdvSegLib.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

# Words a setting may be; checked when the tree is made, so that a typing error ends at once.
CHOICES: dict[str, tuple[str, ...]] = {
    "recipe": ("la", "mo", "auto"),
    "augment": ("uamt", "d4", "mild", "strong", "none"),
    "norm": ("batch", "instance", "group", "none"),
    "dice_denominator": ("squared", "linear"),
    "dice_pool": ("batch", "sample"),
    "dice_absent": ("skip", "smooth"),
    "copy_paste": ("none", "labeled", "bidirectional"),
    "adv_weight_mode": ("fixed", "balanced"),
    "adv_form": ("nonsaturating", "saturating", "lsgan", "hinge"),
    "adv_target": ("unlabeled", "both"),
    "adv_reduction": ("class_mean", "voxel_mean", "sum"),
    "adv_gate": ("off", "held_out"),
    "fusion_sharing": ("separate", "shared"),
    "fusion_path": ("sampled", "dense"),
    "disc_heads": ("per_class", "single"),
    "disc_norm": ("none", "spectral", "layer"),
    "disc_lr_schedule": ("constant", "follow"),
    "disc_order": ("first", "last"),
    "pseudo_below": ("ignore", "background"),
    "pseudo_source": ("teacher", "student"),
    "feature_reduction": ("sum", "mean_dim"),
    "feature_pairing": ("same_class_random", "same_voxel", "class_mean"),
    "feature_mlp_norm": ("batch", "layer", "none"),
    "consistency_noise_on": ("teacher", "both"),
    "consistency_on": ("all", "unlabeled"),
    "consistency_loss": ("mse", "mse_sum", "kl", "ce"),
    "teacher_norm": ("batch", "buffers"),
    "teacher_buffers": ("ema", "copy", "own"),
    "batch_norm_mix": ("joint", "split"),
    "optimizer": ("sgd", "adam", "adamw"),
    "lr_schedule": ("step", "poly", "cosine", "constant"),
    "amp": ("auto", "bf16", "fp16", "off"),
    "eval_model": ("student", "teacher"),
    "checkpoint": ("last", "best"),
    "window_weight": ("constant", "gaussian"),
}
POSITIVE = """
    spacing_mm shape patch batch_labeled filters steps minutes accumulate memory_gb checkpoint_every
    validate_every preview_every feature_dim disc_voxels_per_class disc_points_max feature_voxels_per_class
    stride ema_every lr disc_lr consistency_quantum copy_paste_box disc_steps disc_hidden_layers
    min_class_voxels grad_clip uamt_passes lger_blocks lger_points opponent_lr duwm_passes cvrl_voxels
    cvrl_queue
""".split()
NOT_NEGATIVE = """
    ce_weight pseudo_weight adv_weight adv_balance_target adv_seam_margin disc_input_noise pseudo_erosion
    real_label_erosion feature_weight consistency_weight consistency_noise consistency_noise_clip momentum
    weight_decay bn_recalibrate gradient_ratio_every validation_cases seed mt_weight mt_noise mt_noise_clip sdm_weight
    sassnet_adv_weight dtc_weight lger_weight mcnet_weight dap_adv_weight_labeled dap_adv_weight_unlabeled
    dap_self_weight cvrl_weight
""".split()
# Beyond these no computer follows: what asks for more is a slip of the hand, or a hostile file.
LARGEST = {
    "filters": 256, "patch": 1024, "shape": 4096, "batch_labeled": 1024, "feature_dim": 4096, "disc_hidden_layers": 64,
    "disc_steps": 1000, "uamt_passes": 1000, "duwm_passes": 1000, "lger_blocks": 1000, "cvrl_queue": 10**7,
    "disc_voxels_per_class": 10**7, "disc_points_max": 10**7, "feature_voxels_per_class": 10**7, "cvrl_voxels": 10**7,
    "lger_points": 10**7, "steps": 10**9,
}  # fmt: skip
FRACTIONS = """
    foreground_patches copy_paste_box copy_paste_warmup adv_start adv_ramp disc_start pseudo_threshold
    pseudo_quantile pseudo_rampup consistency_rampup ema_decay overlap disc_acc_ceiling disc_label_smoothing
    dap_trust
""".split()


def convert(value: Any, hint: Any, key: str) -> Any:
    """The value as the type that `hint` names, parsed as TOML where it is text (and "48,32,32" as a list).

    Raises ConfigError when it is of another type.
    """
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if isinstance(value, str) and str not in options:
        value = _parse(value)
    if value is None or (isinstance(value, str) and value.lower() in ("none", "auto") and type(None) in options):
        if type(None) in options:
            return None
        raise _wrong_type(key, hint, value)
    for option in options:
        origin = typing.get_origin(option)
        if origin is tuple and isinstance(value, list | tuple):
            items = typing.get_args(option)
            count = len(value) if items[-1] is Ellipsis else len(items)
            if len(value) != count:
                raise _wrong_type(key, hint, value)
            return tuple(convert(v, items[0] if items[-1] is Ellipsis else items[i], key) for i, v in enumerate(value))
        if origin is tuple and isinstance(value, int | float | str) and not isinstance(value, bool):
            items = typing.get_args(option)
            if items[-1] is Ellipsis:  # one level, one axis
                return (convert(value, items[0], key),)
            if key.endswith("spacing_mm"):  # the same along every axis
                return tuple(convert(value, item, key) for item in items)
        if option is bool and isinstance(value, bool):
            return value
        if option is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if option is str and isinstance(value, str):
            return value
    raise _wrong_type(key, hint, value)


def _parse(text: str) -> Any:
    for candidate in (text, f"[{text}]" if "," in text else f'"{text}"'):
        try:
            return tomllib.loads(f"value = {candidate}")["value"]
        except tomllib.TOMLDecodeError:
            continue
    return [part.strip() for part in text.split(",")] if "," in text else text


def _wrong_type(key: str, hint: Any, value: Any) -> ConfigError:
    expected = str(hint).replace("typing.", "") if typing.get_origin(hint) else hint.__name__
    return ConfigError(f"the setting '{key}' has a wrong value", expected=expected, found=repr(value), do="correct it")


def check(name: str, value: Any) -> Any:
    """The value of the setting `name`, when it may be that; raises ConfigError."""
    numbers = value if isinstance(value, tuple) else (value,)
    problem = None
    if any(isinstance(n, float) and not math.isfinite(n) for n in numbers):
        problem = "a finite number"
    elif name in CHOICES and value not in CHOICES[name]:
        problem = " | ".join(CHOICES[name])
    elif name in POSITIVE and any(n is not None and not n > 0 for n in numbers):
        problem = "more than 0"
    elif name in LARGEST and any(n is not None and n > LARGEST[name] for n in numbers):
        problem = f"at most {LARGEST[name]}"
    elif name in NOT_NEGATIVE and any(n is not None and n < 0 for n in numbers):
        problem = "0 or more"
    elif name in FRACTIONS and any(n is not None and not 0 <= n <= 1 for n in numbers):
        problem = "from 0 to 1"
    elif name == "patch" and value is not None and any(n % 16 for n in value):
        problem = "three multiples of 16 (the network halves four times)"
    elif name in ("feature_levels", "adv_detach_levels") and not set(numbers) <= set(range(1, 10)):
        problem = "levels from 1 to 9"
    elif name == "feature_levels" and not value:
        problem = "at least one level"
    elif name == "mirror_axes" and value is not None and not set(value) <= set("xyz"):
        problem = "some of x, y, z"
    elif name == "fusion_kernel" and value not in (1, 3):
        problem = "1 or 3"
    elif name == "mcnet_decoders" and value not in (2, 3):
        problem = "2 or 3"
    if problem:
        raise ConfigError(
            f"the setting '{name}' has a wrong value", expected=problem, found=repr(value), do="correct it"
        )
    return value
