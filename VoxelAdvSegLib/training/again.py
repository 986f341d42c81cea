"""Trainings like another one: the supervised twin that a verdict needs, and the folds of a cross-validation."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.bundle import read_bundle
from VoxelAdvSegLib.config import resolve, to_dict
from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, manifest_content, read_manifest
from VoxelAdvSegLib.data.pseudonyms import write_private
from VoxelAdvSegLib.errors import ConfigError, InputError, RunError
from VoxelAdvSegLib.evaluation.report import CaseScore, summarize
from VoxelAdvSegLib.evaluation.scoring import evaluate, labeled_cases, predictions_of, score_cases
from VoxelAdvSegLib.evaluation.verdict import Verdict, judge
from VoxelAdvSegLib.methods import with_own_settings
from VoxelAdvSegLib.model_folder import ABOUT
from VoxelAdvSegLib.training.run_folder import RunFolder, data_checksum, read_description, share_cache, write_text
from VoxelAdvSegLib.training.session import Request, train

WHOLE_RUNS = ("finished", "out of time")
SUPERVISED = "supervised"
TWIN = "supervised_twin"  # folder of the twin in a run's own
MOST_FOLDS = 5
FEWEST_LABELED = 3  # for folds that still have two labeled cases to train with

Tell = Callable[[str], None]
Watch = Callable[[dict[str, Any]], None]


def is_whole(run: Path) -> bool:
    """Whether a training came to its end and left its model."""
    about = RunFolder(run).model / ABOUT
    if not about.exists():
        return False
    return json.loads(about.read_text(encoding="utf-8"))["provenance"]["ended"] in WHOLE_RUNS


def train_with_verdict(request: Request, tell: Tell, watch: Watch = lambda event: None) -> Verdict:
    """The training that was asked for, its supervised twin, and whether the unlabeled scans helped.

    A budget in minutes is halved between the two. With `resume`, what is whole is kept. Raises
    ConfigError for a supervised training, InputError when there are no validation cases.
    """
    asked = resolve(request.preset, with_own_settings(request.preset, request.overrides)).training
    if request.resume:
        asked = read_description(RunFolder(Path(request.run))).config.training
    if asked.method == SUPERVISED:
        raise ConfigError(
            "a supervised training has no verdict on unlabeled scans", expected="a method that uses unlabeled scans",
            found=f"method {SUPERVISED}", do="leave out --verdict, or choose another --method",
        )  # fmt: skip
    manifest = read_manifest(request.data, anywhere=request.anywhere)
    labeled_cases(manifest, "validation")  # or nothing could be said in the end
    run = Path(request.run).absolute()
    if asked.minutes is not None and not request.resume:
        rest = {key: value for key, value in request.overrides.items() if key.rpartition(".")[2] != "minutes"}
        request = replace(request, overrides={**rest, "minutes": asked.minutes / 2})
    tell("Training with the unlabeled scans.")
    _to_its_end(request, watch)
    tell("Training without them, for the verdict.")
    device = str(request.overrides.get("device") or asked.device)

    def watch_twin(event: dict[str, Any]) -> None:
        if RunFolder(run).stop.exists():  # a person knows of this folder alone
            RunFolder(run / TWIN).stop.touch()
        watch(event)

    train_twin(run, manifest, device, watch_twin)
    return judge_twins(run, manifest, device)


def train_twin(run: Path, manifest: Manifest, device: str, watch: Watch = lambda event: None) -> None:
    """Trains what a finished training would have been without the unlabeled scans, in a folder of that run.

    It has the same settings, beginning and number of steps. One that is whole is kept, and one that was
    interrupted goes on. Raises RunError when a person stopped it, InputError when the manifest is not
    the one that the training was made from.
    """
    _check_data(run, manifest)
    preset, settings, _ = _settings(run)
    settings |= {"training.method": SUPERVISED, "device": device}
    init = read_description(RunFolder(run)).init
    if init is not None:  # the preprocessing is that model's
        settings = {key: value for key, value in settings.items() if not key.startswith("preprocessing.")}
    twin = Path(run).absolute() / TWIN
    if is_whole(twin) and _settings(twin)[1]["training.steps"] != settings["training.steps"]:
        shutil.rmtree(twin)  # the training has gone on since
    share_cache(twin, RunFolder(Path(run)).cache)
    _to_its_end(
        Request(
            data=manifest.path, run=twin, preset=preset, overrides=settings, init=None if init is None else Path(init),
            resume=RunFolder(twin).config.exists(), anywhere=True,
        ),
        watch,
    )  # fmt: skip


def _check_data(run: Path, manifest: Manifest) -> None:
    known = read_description(RunFolder(run)).data_sha256
    if known and known != data_checksum(manifest.path):
        raise InputError(
            "the cases have changed since the training", file=manifest.path,
            expected="the labels, unlabeled scans and validation cases that it was made with",
            found="another list of cases", do="train again, then find out",
        )  # fmt: skip


def judge_twins(
    run: Path, manifest: Manifest, device: str, watch: Callable[[int, int, str], None] = lambda done, total, name: None
) -> Verdict:
    """Whether a training is better than its supervised twin on the validation cases."""
    cases = labeled_cases(manifest, "validation")
    reports = [
        evaluate(cases, manifest.organs, predictions_of(of, device, manifest), watch=watch) for of in (run / TWIN, run)
    ]
    return judge(reports[0], reports[1])


def cross_validate(
    runs: Sequence[Path], manifest: Manifest, folder: Path, device: str, tell: Tell, watch: Watch = lambda event: None
) -> list[dict[str, Any]]:
    """For each run a report on all labeled cases, each case scored by a model that was trained without it.

    runs: run folders; each is trained again, with its settings and as many steps, on the labeled cases of
    all folds but one. Trainings lie in `folder`; the same call goes on where it was interrupted. What it
    will take is told first. Raises InputError for fewer than three labeled cases, and when a run is none.
    """
    cases = manifest.training
    if len(cases) < FEWEST_LABELED:
        raise InputError(
            "there are too few labeled cases for a cross-validation", file=manifest.path,
            expected=f"at least {FEWEST_LABELED}, or cases in the list 'validation'", found=str(len(cases)),
            do="label more cases",
        )  # fmt: skip
    for run in runs:
        if not RunFolder(run).config.exists():
            raise InputError(
                "cross-validation trains again, and this is no run folder", file=run, expected="the folder after --run",
                found="a model alone", do="give the run folders, or add cases to the list 'validation'",
            )  # fmt: skip
    folds = make_folds(cases)
    minutes = len(folds) * sum(_settings(run)[2] for run in runs)
    tell(
        f"There are no validation cases, so the {len(cases)} labeled ones take turns: {len(folds)} trainings of each "
        f"of the {len(runs)} kinds, about {minutes:.0f} minutes on the machine that trained the first ones."
    )
    reports: list[dict[str, Any]] = []
    for number, run in enumerate(runs, 1):
        scores = []
        for k in range(len(folds)):
            scores += _one_fold(run, manifest, folder / f"model_{number}", k, folds, device, tell, watch)
        reports.append(summarize(scores))
    return reports


def make_folds(cases: Sequence[LabeledCase]) -> list[tuple[LabeledCase, ...]]:
    """Every case in one of at most five folds of nearly equal size, in the order of the list."""
    count = min(MOST_FOLDS, len(cases))
    return [tuple(cases[k::count]) for k in range(count)]


def _one_fold(
    run: Path, manifest: Manifest, folder: Path, k: int, folds: Sequence[tuple[LabeledCase, ...]], device: str,
    tell: Tell, watch: Watch,
) -> list[CaseScore]:  # fmt: skip
    target, _ = train_fold(run, manifest, folder, k, folds, device, tell, watch)
    return score_cases(folds[k], manifest.organs, predictions_of(target, device, manifest))


def train_fold(
    run: Path, manifest: Manifest, folder: Path, k: int, folds: Sequence[tuple[LabeledCase, ...]], device: str,
    tell: Tell, watch: Watch,
) -> tuple[Path, Path]:  # fmt: skip
    """Trains as in `run` without the cases of fold k, in a folder of `folder`; that run, and its manifest.

    One that is whole and of the same cases and settings is kept, and one that was interrupted goes on.
    """
    held_out = folds[k]
    there = folder / f"fold_{k + 1}"
    data = there / "dataset.json"
    others = tuple(case for fold in folds for case in fold if case not in held_out)
    content = json.dumps(manifest_content(replace(manifest, training=others, validation=(), test=())), indent=1)
    preset, settings, _ = _settings(run)
    settings |= {"training.checkpoint": "last"}
    identity = hashlib.sha256(f"{content}{preset}{sorted(settings.items())}".encode()).hexdigest()
    mark = there / "made_of.txt"
    if not mark.exists() or mark.read_text(encoding="utf-8") != identity:  # of another run, or of other cases
        shutil.rmtree(there, ignore_errors=True)
    there.mkdir(parents=True, exist_ok=True)
    write_private(data, content)  # names and paths of the scans, for this computer alone
    write_text(mark, identity)
    settings |= {"device": device}
    tell(f"{folder.name}, fold {k + 1} of {len(folds)}: training without {len(held_out)} of the labeled cases.")
    target = there / "run"
    share_cache(target, folder.parent / "cache")
    resume = RunFolder(target).config.exists()
    _to_its_end(Request(data, target, preset, settings, resume=resume, anywhere=True), watch)
    return target, data


def _settings(run: Path) -> tuple[str, dict[str, Any], float]:
    """Preset, all settings by name, and minutes of an earlier training."""
    config = read_description(RunFolder(run)).config
    provenance = read_bundle(RunFolder(run).model).provenance
    settings = {
        f"{s}.{key}": value for s, part in to_dict(config).items() if s != "preset" for key, value in part.items()
    }
    # What is compared is the Dice; a second phase would not change it.
    settings |= {"training.steps": provenance["steps"], "training.minutes": None, "training.quality": False}
    del settings["training.device"]  # where it is computed is asked for anew
    return config.preset, settings, float(provenance["minutes"])


def _to_its_end(request: Request, watch: Watch) -> None:
    """Trains, or goes on; one that is whole already is kept. Raises RunError when a person stopped it."""
    if request.resume and is_whole(request.run):
        return
    outcome = train(request, watch)
    if outcome.reason not in WHOLE_RUNS:
        raise RunError(
            "the training was stopped before its end", file=request.run, expected="a training to its last step",
            found=f"{outcome.reason} at step {outcome.step}",
            do="run the command again (train: with --resume): it goes on from there",
        )  # fmt: skip
