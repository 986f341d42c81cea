"""A model against the reference labels of many cases. torch is loaded only where a model is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest
from VoxelAdvSegLib.data.organs import Organ, same_name
from VoxelAdvSegLib.data.reading import read_geometry, read_label, read_volume
from VoxelAdvSegLib.data.volume import Geometry
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.evaluation.metrics import EmptyDistance
from VoxelAdvSegLib.evaluation.report import CaseScore, score_case, summarize

# Class-index array in the manifest's order of organs, on the grid of the case's image.
Predict = Callable[[LabeledCase, Geometry], np.ndarray]


def evaluate(
    cases: Sequence[LabeledCase],
    organs: Sequence[Organ],
    predict: Predict,
    empty_distance: EmptyDistance = "diagonal",
    watch: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> dict:
    """Report (evaluation.report.summarize) over the cases, as `score_cases`."""
    return summarize(score_cases(cases, organs, predict, empty_distance, watch))


def score_cases(
    cases: Sequence[LabeledCase],
    organs: Sequence[Organ],
    predict: Predict,
    empty_distance: EmptyDistance = "diagonal",
    watch: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> list[CaseScore]:
    """Scores on the cases' own grids, one case after the other; watch is told of each."""
    scores = []
    for done, case in enumerate(cases):
        watch(done, len(cases), case.name)
        geometry = read_geometry(case.image)
        reference = read_label(case.label, organs, geometry)
        prediction = predict(case, geometry)
        scores.append(score_case(case.name, prediction, reference, organs, geometry.spacing_zyx_mm, empty_distance))
    return scores


def labeled_cases(manifest: Manifest, split: str) -> tuple[LabeledCase, ...]:
    """The cases of a split. Raises InputError when there are none, or some have no label."""
    cases = manifest.split(split)
    if not cases:
        raise InputError(
            f"the list '{split}' is empty", file=manifest.path, expected="cases with labels",
            found="none", do="choose another --split, or add cases",
        )  # fmt: skip
    labeled = tuple(case for case in cases if isinstance(case, LabeledCase))
    if len(labeled) < len(cases):
        without = [case.name for case in cases if not isinstance(case, LabeledCase)]
        raise InputError(
            f"cases of '{split}' have no label to measure against", file=manifest.path,
            expected='{"image": "...", "label": "..."}', found=f"no label for {', '.join(without)}",
            do="add their labels, or remove these cases from the list",
        )  # fmt: skip
    return labeled


def predictions_of(model: Path, device: str, manifest: Manifest) -> Predict:
    """Segments with a model. Raises InputError when it lacks an organ of the manifest."""
    from VoxelAdvSegLib.inference.segment import Segmenter  # loads torch

    segmenter = Segmenter.open(model, device=device)
    class_of = _class_table(segmenter.organs, manifest, model)
    return lambda case, geometry: class_of[segmenter.segment(read_volume(case.image)).array]


def _class_table(known: Sequence[Organ], manifest: Manifest, model: Path) -> np.ndarray:
    """The manifest's class index of each of the model's; organs that the manifest lacks become 0."""
    lacking = [organ.name for organ in manifest.organs if not any(same_name(organ.name, own.name) for own in known)]
    if lacking:
        raise InputError(
            "the model does not know every organ of the manifest", file=model,
            expected=", ".join(organ.name for organ in manifest.organs),
            found=", ".join(organ.name for organ in known),
            do=f"remove {', '.join(lacking)} from 'labels' of {manifest.path.name}, or choose another model",
        )  # fmt: skip
    table = np.zeros(len(known) + 1, np.uint8)
    for index, organ in enumerate(manifest.organs, start=1):
        for own_index, own in enumerate(known, start=1):
            if same_name(organ.name, own.name):
                table[own_index] = index
    return table
