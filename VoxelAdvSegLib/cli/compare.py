"""The command `compare`: did the unlabeled scans help?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.data.manifest import Manifest, read_manifest
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.evaluation.report import check_writable, write_report
from VoxelAdvSegLib.evaluation.scoring import evaluate, labeled_cases, predictions_of
from VoxelAdvSegLib.evaluation.statistics import Difference
from VoxelAdvSegLib.evaluation.verdict import ALL_ORGANS, VERDICT, Verdict, judge
from VoxelAdvSegLib.table import align

COMPARISON = "comparison.json"
FOLDS = "cross_validation"
KEYS_ALIKE = {
    "steps": "steps", "labeled_scans": "labeled scans", "preset": "preset", "ended": "how they ended", "seed": "seed",
}  # fmt: skip
Facts = Mapping[str, Any]  # of a training: bundle.Bundle.provenance
UNLABELED_WORDS = ("without the unlabeled scans", "with them")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", type=Path, required=True, action="append", metavar="RUN",
        help="run or model folder; given twice: what is compared with, and what may be better",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, metavar="M.json", help="the list of cases")
    parser.add_argument("--anywhere", action="store_true", help="the manifest may name files outside its folder")
    parser.add_argument(
        "--split", choices=("validation", "test"), default="validation",
        help="cases to measure on (default: validation; without such cases, cross-validation over the labeled ones)",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="F.json", help="default: in the second run folder")
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu or cuda:N")


def run(arguments: argparse.Namespace) -> int:
    """Measures both, prints the verdict and writes it."""
    if len(arguments.run) != 2:
        raise ConfigError(
            "two runs are needed to compare", expected="--run A --run B", found=f"{len(arguments.run)}",
            do="give --run twice",
        )  # fmt: skip
    manifest = read_manifest(arguments.data, anywhere=arguments.anywhere)
    runs, facts = _in_order(arguments.run)
    output = arguments.output or _own_place(runs, facts, arguments.split)
    check_writable(output)
    verdict = compare(runs, facts, manifest, arguments.split, arguments.device, output.parent / FOLDS)
    write_report(verdict.to_dict(), output)
    show(verdict)
    print(f"\nwritten to {output}")
    return 0


def _in_order(runs: list[Path]) -> tuple[list[Path], list[Facts]]:
    """The runs with the facts of their trainings; a supervised one first, for the other is asked about."""
    from VoxelAdvSegLib.bundle import read_bundle
    from VoxelAdvSegLib.inference.segment import find_bundle

    facts = [read_bundle(find_bundle(run)).provenance for run in runs]
    if facts[1]["method"] == "supervised" != facts[0]["method"]:
        return runs[::-1], facts[::-1]
    return runs, facts


def _own_place(runs: list[Path], facts: list[Facts], split: str) -> Path:
    """In the second run's folder; as its verdict only where the unlabeled scans are the question."""
    if not (runs[1] / "config.json").is_file():
        raise ConfigError(
            "it is not said where the answer goes", expected="--output F.json, for a model without its run folder",
            found=f"{runs[1]}", do="add --output",
        )  # fmt: skip
    is_verdict = _words(facts) == UNLABELED_WORDS and split == "validation"
    return runs[1] / (VERDICT if is_verdict else COMPARISON)


def compare(runs: list[Path], facts: list[Facts], manifest: Manifest, split: str, device: str, folds: Path) -> Verdict:
    """The verdict on two models, measured on the split or, where validation cases lack, by cross-validation."""
    if split == "validation" and not manifest.validation:
        reports = _cross_validated(runs, manifest, folds, device)
    else:
        cases = labeled_cases(manifest, split)
        reports = []
        for path in runs:
            predict = predictions_of(path, device, manifest)
            with Progress() as progress:
                reports.append(evaluate(cases, manifest.organs, predict, watch=progress))
    for line in _caveats(facts):
        print(line)
    return judge(*reports, words=_words(facts))


def _cross_validated(runs: list[Path], manifest: Manifest, folder: Path, device: str) -> list[dict[str, Any]]:
    from VoxelAdvSegLib.cli.train import Screen
    from VoxelAdvSegLib.training.again import cross_validate

    screen = Screen()

    def watch(event: dict[str, Any]) -> None:
        if event["type"] in ("step", "progress"):
            screen.show(event)

    reports = cross_validate(runs, manifest, folder, device, screen.tell, watch)
    screen.close()
    return reports


def _words(facts: list[Facts]) -> tuple[str, str]:
    if facts[0]["method"] == "supervised" != facts[1]["method"]:
        return UNLABELED_WORDS
    return "with the first model", "with the second"


def _caveats(facts: list[Facts]) -> list[str]:
    """What makes the comparison unfair, where something does."""
    lines = []
    for key, what in KEYS_ALIKE.items():
        if facts[0][key] != facts[1][key]:
            lines.append(f"They were not trained alike ({what}: {facts[0][key]} and {facts[1][key]}).")
    return lines


def show(verdict: Verdict) -> None:
    """The sentence, and the differences of every organ."""
    print(verdict.sentence)
    rows = [["Dice", "first", "second", "difference", "95 % interval", "better in"]]
    rows += [_row(name, difference) for name, difference in verdict.organs.items()]
    if len(verdict.organs) > 1:
        rows.append(_row(ALL_ORGANS, verdict.overall))
    print(align(rows))
    if verdict.overall.seeds == 1:
        print("One training of each: another seed may move the difference, which the interval leaves out.")


def _row(name: str, d: Difference) -> list[str]:
    numbers = [
        "-" if v is None else f"{v:{form}}" for v, form in ((d.before, ".4f"), (d.after, ".4f"), (d.mean, "+.4f"))
    ]
    interval = "-" if d.low is None or d.high is None else f"{d.low:+.4f} to {d.high:+.4f}"
    return [name, *numbers, interval, f"{d.better} of {d.cases}"]
