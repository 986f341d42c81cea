"""How well a model knows its own quality: predicted against true Dice, and strange scans told from good ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from VoxelAdvSegLib.benchmark.faults import FAULTS
from VoxelAdvSegLib.bundle import Bundle, read_bundle
from VoxelAdvSegLib.data.cache import LabeledArrays, prepare_labeled, prepare_unlabeled
from VoxelAdvSegLib.data.manifest import Manifest
from VoxelAdvSegLib.data.preprocess import prepare
from VoxelAdvSegLib.data.reading import read_volume
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.evaluation.calibration import Example, calibrate
from VoxelAdvSegLib.evaluation.scoring import labeled_cases
from VoxelAdvSegLib.inference.quality import FEWEST_CASES, Familiarity, Quality, make_groups
from VoxelAdvSegLib.inference.segment import find_bundle
from VoxelAdvSegLib.inference.signs import CaseSigns, Networks, look_at
from VoxelAdvSegLib.networks.device import choose_device
from VoxelAdvSegLib.training.second_phase import (
    MOST_REFERENCES,
    Looking,
    examine,
    look_and_segment,
    spread_out,
    tensor_of,
)

SPLITS = 50  # random halves: calibrated on one, measured on the other
MOST_OTHERS = 10  # scans of another data set

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """All that was looked at once; examples: of the labeled cases that training never saw, as they are and made
    worse; looks, entropy: of these cases, entropy the mean over the scan; bad: signs by kind of fault."""

    examples: Sequence[Example]
    looks: Sequence[Mapping[str, np.ndarray]]
    entropy: Sequence[float]
    signs: Sequence[CaseSigns]
    bad: Mapping[str, Sequence[CaseSigns]]
    references: Sequence[Mapping[str, np.ndarray]]
    voxels: Mapping[str, Sequence[int]]


def measure_quality(
    model: Path, manifest: Manifest, split: str, others: Sequence[Path], device: str, cache: Path, tell: Tell
) -> dict[str, Any]:
    """A report (JSON) on cases with labels that the model was not trained with.

    Each of 50 random halves of the cases calibrates, the other half is measured: mean absolute error of the
    predicted Dice and part of the true ones in the 90 % interval, over organs and cases; correlation of the
    case means, beside that of the plain signs (mean softmax entropy; disagreement of student and teacher);
    area under the curve by which faulty scans are told from good ones; and how many good ones raise an alarm.
    others: scans of another kind. cache: folder for prepared scans. Raises BundleError or InputError when the
    model has no second phase, or there are fewer than nine cases.
    """
    bundle = read_bundle(find_bundle(model))
    cases = labeled_cases(manifest, split)
    least = FEWEST_CASES + 1
    if len(cases) < least or bundle.quality is None:
        found = f"{len(cases)} cases" if bundle.quality else "a model without a second phase"
        raise InputError(
            "the quality estimate cannot be measured", file=manifest.path,
            expected=f"a model trained with quality=true, and at least {least} cases of '{split}'", found=found,
            do="train the model anew, or name another --split",
        )  # fmt: skip
    measured = _look(bundle, manifest, split, others, choose_device(device), cache, tell)
    names = [organ.name for organ in bundle.organs]
    return {"cases": len(cases), "organs": names, "splits": SPLITS, **_score(measured, names)}


def _look(
    bundle: Bundle,
    manifest: Manifest,
    split: str,
    others: Sequence[Path],
    device: torch.device,
    cache: Path,
    tell: Tell,
) -> Measured:
    recipe = bundle.recipe
    networks = Networks.of(bundle, device)
    assert bundle.quality is not None
    labeled = prepare_labeled(manifest.training, manifest.organs, recipe, cache)
    unlabeled = prepare_unlabeled(manifest.unlabeled, recipe, cache)
    cases = prepare_labeled(labeled_cases(manifest, split), manifest.organs, recipe, cache)
    tell("looking at scans of the training")
    chosen = [*labeled, *spread_out(unlabeled, MOST_REFERENCES - len(labeled))][:MOST_REFERENCES]
    classes = len(bundle.organs) + 1
    references = [look_at(networks, tensor_of(case.image, device), bundle.config, classes)[0] for case in chosen]
    looking = Looking(bundle, networks, None, Quality.from_dict(bundle.quality).anchors, references)
    tell(f"looking at {len(cases)} cases as they are and made worse")
    examples, seen, entropy = examine(looking, cases, device)

    def signs_of(image: np.ndarray) -> CaseSigns:
        return look_and_segment(looking, tensor_of(image, device))[0]

    bad: dict[str, list[CaseSigns]] = {}
    for kind, fault in FAULTS.items():
        tell(f"looking at faulty scans: {kind}")
        bad[kind] = [signs_of(fault(np.asarray(case.image, np.float32))) for case in cases]
    if others:
        tell("looking at scans of another kind")
        bad["another kind"] = [signs_of(prepare(read_volume(path), recipe).array) for path in others[:MOST_OTHERS]]
    return Measured(
        examples, [s.look for s in seen], entropy, seen, bad, references, _label_voxels(labeled, bundle)
    )  # fmt: skip


def _label_voxels(labeled: Sequence[LabeledArrays], bundle: Bundle) -> dict[str, list[int]]:
    return {
        organ.name: [int(np.count_nonzero(np.asarray(case.label) == index)) for case in labeled]
        for index, organ in enumerate(bundle.organs, 1)
    }


def _score(measured: Measured, names: Sequence[str]) -> dict[str, Any]:
    count = len(measured.signs)
    true = {(e.case, e.organ): e.dice for e in measured.examples if not e.degraded}
    mean_dice = np.array([np.mean([true[i, n] for n in names if (i, n) in true] or [np.nan]) for i in range(count)])
    plain = {
        "softmax entropy": -np.array(measured.entropy),
        "student and teacher": -np.array([_disagreement(signs) for signs in measured.signs]),
    }
    rng = np.random.default_rng(0)
    rows: dict[str, list[float]] = {}
    by_fault: dict[str, dict[str, list[float]]] = {}
    for _ in range(SPLITS):
        order = rng.permutation(count)
        half = max(FEWEST_CASES, count // 2)
        known, asked = order[:half], order[half:]
        calibration = calibrate([e for e in measured.examples if e.case in known], measured.voxels)
        if calibration is None:
            continue  # an organ was found in too few of these
        predicted = {i: calibration.predict(measured.signs[i].organs) for i in asked}
        pairs = [(d, true[i, n]) for i in asked for n in names if (i, n) in true and (d := predicted[i][n]) is not None]
        middle = {n: float(np.median([true[i, n] for i in known if (i, n) in true] or [0.0])) for n in names}
        _add(rows, "error", np.mean([abs(found.value - dice) for found, dice in pairs]))
        _add(
            rows,
            "error of a constant",
            np.mean([abs(middle[n] - true[i, n]) for i in asked for n in names if (i, n) in true]),
        )
        _add(rows, "coverage", np.mean([found.low <= dice <= found.high for found, dice in pairs]))
        _add(rows, "width", np.mean([found.high - found.low for found, _ in pairs]))
        if len(asked) > 2:
            means = np.array([_mean([d.value for d in predicted[i].values() if d is not None]) for i in asked])
            _add(rows, "correlation", _correlation(means, mean_dice[asked]))
            for name, values in plain.items():
                _add(rows, f"correlation of {name}", _correlation(values[asked], mean_dice[asked]))
        familiarity = make_groups(measured.references, [measured.looks[i] for i in known])
        good = [_novelty(familiarity, measured.signs[i]) for i in asked]
        _add(rows, "false alarms", np.mean([value >= 1 for value in good]))
        for kind, signs in measured.bad.items():
            # A faulty version of a case that has calibrated is no new one.
            unseen = signs if len(signs) != count else [signs[i] for i in asked]
            found = [_novelty(familiarity, s) for s in unseen]
            into = by_fault.setdefault(kind, {})
            _add(into, "auc", _auc(good, found))
            _add(into, "told", np.mean([value >= 1 for value in found]))
    summary = {name: _mean(values) for name, values in rows.items()}
    faults = {kind: {name: float(np.mean(v)) for name, v in of.items()} for kind, of in by_fault.items()}
    return {**summary, "pooled correlation": _left_out(measured, names, mean_dice), "faults": faults}


def _left_out(measured: Measured, names: Sequence[str], mean_dice: np.ndarray) -> dict[str, float | None]:
    """Correlation over all cases, each predicted by a calibration without it, beside that of the plain signs."""
    found = []
    for i in range(len(measured.signs)):
        calibration = calibrate([e for e in measured.examples if e.case != i], measured.voxels)
        predicted = {} if calibration is None else calibration.predict(measured.signs[i].organs)
        mean = _mean([d.value for d in predicted.values() if d is not None])
        found.append(np.nan if mean is None else mean)
    disagreement = np.array([_disagreement(signs) for signs in measured.signs])
    return {
        "predicted": _mean([_correlation(np.array(found), mean_dice)]),
        "softmax entropy": _mean([_correlation(-np.array(measured.entropy), mean_dice)]),
        "student and teacher": _mean([_correlation(-disagreement, mean_dice)]),
    }  # fmt: skip


def _novelty(familiarity: Familiarity, signs: CaseSigns) -> float:
    return familiarity.novelty(signs.look)[0]


def _disagreement(signs: CaseSigns) -> float:
    return float(np.mean([1.0 if o.disagreement is None else o.disagreement for o in signs.organs.values()]))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 and a.std() > 0 and b.std() > 0 else float("nan")


def _auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """Chance that a bad one is above a good one (Mann and Whitney)."""
    return float(np.mean([(b > g) + 0.5 * (b == g) for b in bad for g in good]))


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _add(rows: dict[str, list[float]], name: str, value: Any) -> None:
    rows.setdefault(name, []).append(float(value))
