"""The methods by name. A new one is a file beside this one and a line in METHODS (docs/method.md 3)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PAPER_PRESETS = ("la-paper", "mo-paper")
CE = {"supervision.ce_weight": 1.0}  # 1/2 (cross-entropy + Dice), as the benchmark's code has it
DROPOUT = {"network.dropout": True}


@dataclass(frozen=True)
class Entry:
    """What is known of a method without loading torch.

    file: module of this folder; name: its class, made with (config, network, classes, steps,
    labeled_cases); published: settings under the paper's presets, which are made to be compared with
    publications; needs: settings under every preset. Both give way to what a person sets. left_out:
    what a shipped model does without.
    """

    file: str
    name: str
    summary: str
    citation: str
    published: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, Any] = field(default_factory=dict)
    left_out: str = ""


METHODS = {
    "voxel_adversarial": Entry(
        "voxel_adversarial",
        "VoxelAdversarial",
        "voxel-wise adversarial and representation learning, with a mean teacher",
        "Lee et al., Voxel-wise Adversarial Semi-supervised Learning",
    ),
    "supervised": Entry(
        "supervised",
        "Supervised",
        "V-Net on the labeled scans alone",
        "Milletari et al., 3DV 2016; as in Yu et al., MICCAI 2019",
    ),
    "mean_teacher": Entry(
        "mean_teacher",
        "MeanTeacher",
        "predictions follow those of a slow average",
        "Tarvainen & Valpola, NeurIPS 2017",
        CE,
    ),
    "ua_mt": Entry(
        "ua_mt",
        "UncertaintyAwareMeanTeacher",
        "mean teacher, followed where it is sure",
        "Yu et al., MICCAI 2019",
        CE,
        DROPOUT,
    ),
    "sassnet": Entry(
        "sassnet",
        "ShapeAware",
        "distance maps that a discriminator cannot tell apart",
        "Li et al., MICCAI 2020",
        left_out="the distance maps' head and the discriminator of maps",
    ),
    "dtc": Entry(
        "dtc",
        "DualTask",
        "distance map and segmentation agree",
        "Luo et al., AAAI 2021",
        left_out="the distance maps' head",
    ),
    "lg_er_mt": Entry(
        "lg_er_mt",
        "LocalGlobalMeanTeacher",
        "mean teacher with local and global structure and entropy minimization",
        "Hang et al., MICCAI 2020",
        CE,
    ),
    "mc_net": Entry(
        "mc_net",
        "MutualConsistency",
        "decoders follow each other's sharpened predictions",
        "Wu et al., MICCAI 2021 and Medical Image Analysis 2022",
        left_out="every decoder but the first",
    ),
    "dap": Entry(
        "dap",
        "DeepAtlasPrior",
        "reconstruction: atlas-weighted loss and a discriminator of class maps",
        "after Zheng et al., MICCAI 2019",
        left_out="the atlas and the discriminator of class maps",
    ),
    "duwm": Entry(
        "duwm",
        "DoubleUncertainty",
        "reconstruction: mean teacher weighted by uncertainty of classes and features",
        "after Wang et al., MICCAI 2020",
        needs=DROPOUT,
    ),
    "cvrl": Entry(
        "cvrl",
        "ContrastiveVoxels",
        "reconstruction: mean teacher with contrast between voxels",
        "after You et al., 2021",
        CE,
        left_out="the projection and the queue of voxels",
    ),
}


def method_class(name: str) -> Any:
    """The class of a method of METHODS; loads torch."""
    entry = METHODS[name]
    return getattr(importlib.import_module(f"{__name__}.{entry.file}"), entry.name)


def with_own_settings(preset: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A person's settings on top of what the chosen method brings along under this preset."""
    chosen = overrides.get("training.method", overrides.get("method", "voxel_adversarial"))
    entry = METHODS.get(str(chosen))
    if entry is None:
        return dict(overrides)
    return {**entry.needs, **(entry.published if preset in PAPER_PRESETS else {}), **overrides}
