"""What a model proposed for a case: copied in whole, replaced whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.disk import PARTIAL, copy_file, move, read_json, remove, write_json, written_or_told
from VoxelAdvSegLib.project.records import now

FOLDER = "prediction"
SEGMENTATION = "segmentation.seg.nrrd"
LOOKS_LABELED = "looks_labeled.nii.gz"
ABOUT = "prediction.json"


@dataclass(frozen=True)
class Prediction:
    """segmentation, looks_labeled: files (the discriminator map may be missing); score: 0 to 1, 1 is certain;
    volumes_ml and looks_labeled_mean (0 to 1, None for an organ that was not found) by organ; assessment: how good
    it probably is, as `segment` wrote it; means: features by which cases are told apart."""

    segmentation: Path
    looks_labeled: Path | None
    model: str
    date: str
    score: float | None = None
    reason: str = ""
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    looks_labeled_mean: Mapping[str, float | None] = field(default_factory=dict)
    assessment: Mapping[str, Any] | None = None
    means: tuple[float | None, ...] | None = None


def write_prediction(
    case_folder: Path,
    source: Path,
    model: str,
    score: float | None,
    reason: str,
    volumes_ml: Mapping[str, float],
    looks_labeled_mean: Mapping[str, float | None],
) -> Prediction:
    """Copies segmentation and map from `source`; an earlier prediction stays until the new one is whole.

    Raises ProjectError when there is no segmentation in `source`, the score is not from 0 to 1, or
    the disk refuses.
    """
    if score is not None and not (math.isfinite(score) and 0 <= score <= 1):
        raise ProjectError(
            "the score of a prediction cannot be", expected="a number from 0 to 1, 1 for certain", found=str(score),
            do="segment the case again",
        )  # fmt: skip
    if not (source / SEGMENTATION).is_file():
        raise ProjectError(
            "there is no prediction to keep", file=source, expected=SEGMENTATION,
            found="a folder without it" if source.is_dir() else "no such folder", do="segment the case again",
        )  # fmt: skip
    target, partial = case_folder / FOLDER, case_folder / f".{FOLDER}{PARTIAL}"
    with written_or_told(target):
        case_folder.mkdir(parents=True, exist_ok=True)
        remove(partial)
        partial.mkdir()
        for name in (SEGMENTATION, LOOKS_LABELED):
            if (source / name).is_file():
                copy_file(source / name, partial / name)
    about = {
        "model": model, "date": now(), "score": score, "reason": reason, "volumes_ml": dict(volumes_ml),
        "looks_labeled_mean": dict(looks_labeled_mean), **_learned(source / ABOUT),
    }  # fmt: skip
    write_json(partial / ABOUT, about)
    with written_or_told(target):
        old = case_folder / f".{FOLDER}-old{PARTIAL}"
        remove(old)
        if target.exists():
            move(target, old)
        move(partial, target)
        remove(old)
    prediction = read_prediction(case_folder)
    assert prediction is not None
    return prediction


def read_prediction(case_folder: Path) -> Prediction | None:
    """None when there is none. Raises ProjectError when its description is damaged."""
    folder = case_folder / FOLDER
    old = case_folder / f".{FOLDER}-old{PARTIAL}"
    if not folder.exists() and old.exists():  # killed between the two renames
        with written_or_told(folder):
            move(old, folder)
    if not (folder / ABOUT).is_file() or not (folder / SEGMENTATION).is_file():
        return None
    try:
        fields = read_json(folder / ABOUT)
        looks = folder / LOOKS_LABELED
        return Prediction(
            segmentation=folder / SEGMENTATION, looks_labeled=looks if looks.is_file() else None,
            model=str(fields["model"]), date=str(fields["date"]),
            score=None if fields["score"] is None else float(fields["score"]), reason=str(fields["reason"]),
            volumes_ml={str(k): float(v) for k, v in fields["volumes_ml"].items()},
            looks_labeled_mean={
                str(k): None if v is None else float(v) for k, v in fields["looks_labeled_mean"].items()
            },
            assessment=fields.get("assessment"), means=None if fields.get("means") is None else tuple(fields["means"]),
        )  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProjectError(
            "the description of a prediction is damaged", file=folder / ABOUT,
            expected="the JSON text that was saved", found=f"{type(error).__name__}: {error}",
            do="segment the case again",
        ) from error  # fmt: skip


def _learned(file: Path) -> dict[str, Any]:
    """What the model has learned to say of the case, from its own description; nothing where there is none."""
    try:
        said = read_json(file)
        return {key: said.get(key) for key in ("assessment", "means")}
    except (OSError, ValueError, AttributeError):
        return {}
