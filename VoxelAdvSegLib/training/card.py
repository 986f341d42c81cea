"""What a model says of itself: facts for programs, a card for people. No patient is named."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.bundle import Bundle
from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.data.components import one_part_classes
from VoxelAdvSegLib.methods import METHODS


def provenance(
    config: Config,
    organs: int,
    labeled: Sequence[LabeledArrays],
    unlabeled: Sequence[UnlabeledArrays],
    validation: Sequence[LabeledArrays],
    steps: int,
    seconds: float,
    reason: str,
    weights_of_step: int | None,
    dice: Mapping[str, float | None],
) -> dict[str, Any]:
    """Numbers of the training. Names of cases, files and folders are left out on purpose.

    organs: how many; one_part_organs are class indices.
    """
    return {
        "method": config.training.method,
        "preset": config.preset,
        "labeled_scans": len(labeled),
        "unlabeled_scans": len(unlabeled),
        "validation_scans": len(validation),
        "steps": steps,
        "weights_of_step": weights_of_step,
        "ended": reason,
        "minutes": round(seconds / 60, 1),
        "seed": config.training.seed,
        "validation_dice": dict(dice),
        "one_part_organs": one_part_classes([case.label for case in labeled], organs),
        "date": datetime.date.today().isoformat(),
        "versions": {
            "VoxelAdvSeg": __version__, "torch": torch.__version__, "python": platform.python_version(),
        },
    }  # fmt: skip


def model_card(bundle: Bundle) -> str:
    """Markdown: what the model finds, how it was trained, how good it was, what it is not for."""
    facts = bundle.provenance
    organs = "\n".join(
        f"| {o.name} | {o.value} | {o.terminology.split('~')[1].replace('^', ' ') if '~' in o.terminology else ''} |"
        for o in bundle.organs
    )
    scores = facts["validation_dice"]
    if scores:
        rows = "\n".join(f"| {n} | {'-' if d is None else format(d, '.3f')} |" for n, d in scores.items())
        quality = (
            f"Dice on {facts['validation_scans']} validation scans, on the working grid. These scans may have "
            "been used to choose settings, so expect a little less on new scans.\n\n"
            f"| organ | Dice |\n|---|---|\n{rows}"
        )
    else:
        quality = "There were no validation scans: how good this model is has not been measured."
    c, r = bundle.config, bundle.recipe
    entry = METHODS.get(facts["method"])
    left_out = f" Left out, as only training needs it: {entry.left_out}." if entry and entry.left_out else ""
    grid = (
        "x".join(f"{s:.3g}" for s in r.spacing_xyz_mm) + " mm" if r.spacing_xyz_mm
        else "x".join(map(str, r.shape_xyz)) + " voxels" if r.shape_xyz else "the scan's own voxels"
    )  # fmt: skip
    return f"""# Segmentation model

| organ | label value | code |
|---|---|---|
{organs}

## Training

Method `{facts["method"]}`, preset `{facts["preset"]}`: {facts["labeled_scans"]} labeled and {facts["unlabeled_scans"]}
unlabeled scans, {facts["steps"]} steps in {facts["minutes"]} minutes ({facts["ended"]}), seed {facts["seed"]},
{facts["date"]}. The weights are those of step {facts["weights_of_step"]}.

V-Net with {c.network.filters} filters ({c.network.norm} norm), patches of {"x".join(map(str, c.patches.patch or ()))}
voxels on {grid}. Intensities: {r.intensity}. Segments with the {bundle.segmenter}.{left_out}

## Quality

{quality}

## Limits

Trained on few scans, most likely of one site and scanner. For research; not a medical device. Look at
every result before use. Scans of another kind, orientation or body part give nonsense without a warning.
"""
