"""A simulated person who corrects cases: does it pay to take those that `rank` names, or would any do?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, UnlabeledCase, manifest_content, read_manifest
from VoxelAdvSegLib.data.reading import read_volume
from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.evaluation.ranking import Candidate, rank
from VoxelAdvSegLib.evaluation.report import write_report
from VoxelAdvSegLib.evaluation.scoring import evaluate, predictions_of
from VoxelAdvSegLib.inference.segment import Segmenter
from VoxelAdvSegLib.training.again import WHOLE_RUNS
from VoxelAdvSegLib.training.run_folder import RunFolder, share_cache, write_text
from VoxelAdvSegLib.training.session import Request, train

CHOICES = ("rank", "random")
RESULT = "round.json"
FEWEST_SCORED = 5

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Loop:
    """start: labeled cases at first; rounds, per_round: corrections after that; pool: cases to choose from, of
    which the simulated person knows the labels; steps: of every training, each from the last one's model."""

    data: Path
    folder: Path
    start: int = 4
    rounds: int = 5
    per_round: int = 2
    pool: int = 20
    steps: int = 300
    preset: str = "auto"
    device: str = "auto"
    settings: Mapping[str, str] = field(default_factory=dict)


def simulate(loop: Loop, seeds: Sequence[int], tell: Tell) -> dict[str, Any]:
    """Dice of every round, by choice and seed; what is done already is kept.

    Labeled and validation cases of the manifest are shuffled by the seed into those that are labeled at first,
    the pool, and those that score. Both choices begin with the same model. Raises InputError when there are too
    few cases, RunError when a training is stopped.
    """
    manifest = read_manifest(loop.data, anywhere=True)
    known = [*manifest.training, *manifest.validation]
    wanted = loop.start + loop.pool + FEWEST_SCORED
    if len(known) < wanted or loop.pool < loop.rounds * loop.per_round:
        raise InputError(
            "there are too few cases with labels for the simulation", file=manifest.path,
            expected=f"{wanted} labeled and validation cases, and a pool of {loop.rounds * loop.per_round} or more",
            found=f"{len(known)} cases, a pool of {loop.pool}", do="choose a smaller --pool, or fewer --rounds",
        )  # fmt: skip
    results: dict[str, list[list[float]]] = {choice: [] for choice in CHOICES}
    for seed in seeds:
        order = [known[i] for i in np.random.default_rng([seed, 7]).permutation(len(known))]
        for choice in CHOICES:
            results[choice].append(_one_course(loop, manifest, order, seed, choice, tell))
    report = {
        "start": loop.start, "rounds": loop.rounds, "per_round": loop.per_round, "pool": loop.pool,
        "steps": loop.steps, "seeds": list(seeds), "dice": results, "difference": _difference(results),
    }  # fmt: skip
    write_report(report, loop.folder / "loop.json")
    return report


def _one_course(
    loop: Loop, manifest: Manifest, order: Sequence[LabeledCase], seed: int, choice: str, tell: Tell
) -> list[float]:
    """Dice after each round, the first without any correction."""
    labeled, rest = list(order[: loop.start]), order[loop.start :]
    pool, scored = list(rest[: loop.pool]), tuple(rest[loop.pool :])
    rng = np.random.default_rng([seed, 8])
    dice, before = [], None
    for number in range(loop.rounds + 1):
        # The first training is the same for both.
        folder = loop.folder / f"seed_{seed}" / ("start" if number == 0 else f"{choice}_{number}")
        done = _read_result(folder)
        if done is None:
            done = _one_round(loop, manifest, labeled, pool, scored, folder, before, seed)
        tell(f"seed {seed}, {choice}, round {number} ({len(labeled)} labeled): Dice {done['dice']:.4f}")
        dice.append(float(done["dice"]))
        names = done["order"] if choice == "rank" else [pool[i].name for i in rng.permutation(len(pool))]
        chosen = names[: loop.per_round]
        labeled += [case for case in pool if case.name in chosen]
        pool = [case for case in pool if case.name not in chosen]
        before = folder / "run"
    return dice


def _one_round(
    loop: Loop, manifest: Manifest, labeled: Sequence[LabeledCase], pool: Sequence[LabeledCase],
    scored: tuple[LabeledCase, ...], folder: Path, before: Path | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Trains, scores, and orders what is left; written as it ends."""
    waiting = tuple(UnlabeledCase(case.name, case.image) for case in pool)
    now = replace(manifest, training=tuple(labeled), unlabeled=waiting, validation=(), test=())
    data = folder / "dataset.json"
    write_text(data, json.dumps(manifest_content(now), indent=1))
    run = folder / "run"
    share_cache(run, loop.folder / "cache")
    own = {"steps": loop.steps, "seed": seed, "device": loop.device}
    outcome = train(
        Request(
            data=data, run=run, preset=loop.preset, overrides={**loop.settings, **own}, init=before,
            resume=RunFolder(run).config.exists(), anywhere=True,
        )
    )  # fmt: skip
    if outcome.reason not in WHOLE_RUNS:
        raise RunError(
            "a training was stopped before its end", file=run, expected="a training to its last step",
            found=f"{outcome.reason} at step {outcome.step}", do="run the same command again",
        )  # fmt: skip
    report = evaluate(scored, manifest.organs, predictions_of(run, loop.device, manifest))
    result = {"dice": report["mean"]["dice"], "order": _order(run, now, loop.device)}
    write_report(result, folder / RESULT)
    return result


def _order(run: Path, manifest: Manifest, device: str) -> list[str]:
    """The unlabeled cases as the command `rank` would name them."""
    segmenter = Segmenter.open(run, device)
    candidates = []
    for case in manifest.unlabeled:
        found = segmenter.segment(read_volume(case.image), quality=True)
        assert found.assessment is not None and found.signs is not None
        candidates.append(Candidate(case.name, found.assessment.need, "", found.signs.means))
    anchors = None if segmenter.quality is None else segmenter.quality.anchors
    return [ranked.name for ranked in rank(candidates, [] if anchors is None else list(anchors.means))]


def _read_result(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _difference(results: Mapping[str, Sequence[Sequence[float]]]) -> list[dict[str, float]]:
    """Of each round: mean over seeds of rank minus random, and its standard error."""
    table = np.array(results["rank"]) - np.array(results["random"])
    error = table.std(0, ddof=1) / np.sqrt(len(table)) if len(table) > 1 else np.full(table.shape[1], 0.0)
    return [{"mean": float(m), "standard_error": float(e)} for m, e in zip(table.mean(0), error, strict=True)]
