"""The command `rank`: which unlabeled case to correct next, and why."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.data.manifest import Manifest, read_manifest
from VoxelAdvSegLib.errors import BundleError, InputError
from VoxelAdvSegLib.table import align

if TYPE_CHECKING:
    from VoxelAdvSegLib.evaluation.ranking import Candidate
    from VoxelAdvSegLib.inference.segment import Segmenter

SHOWN = 20  # lines on the screen; the file has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, metavar="RUN_OR_BUNDLE", help="run folder or model folder")
    parser.add_argument("--data", type=Path, required=True, metavar="M.json", help="the list of cases")
    parser.add_argument("--output", type=Path, required=True, metavar="F.json", help="file for the order")
    parser.add_argument("--anywhere", action="store_true", help="the manifest may name files outside its folder")
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu or cuda:N")


def run(arguments: argparse.Namespace) -> int:
    """Segments every unlabeled case, orders them, prints the first ones and writes all."""
    from VoxelAdvSegLib.evaluation.ranking import rank
    from VoxelAdvSegLib.evaluation.report import check_writable, write_report
    from VoxelAdvSegLib.inference.segment import Segmenter

    manifest = read_manifest(arguments.data, anywhere=arguments.anywhere)
    if not manifest.unlabeled:
        raise InputError(
            "the list 'unlabeled' is empty", file=manifest.path, expected="cases to choose from", found="none",
            do="add unlabeled scans",
        )  # fmt: skip
    check_writable(arguments.output)
    segmenter = Segmenter.open(arguments.model, arguments.device)
    if segmenter.quality is None:
        raise BundleError(
            "this model cannot tell which case to correct", file=arguments.model,
            expected="a model of this version that was trained with quality=true, as is usual",
            found="a model that has not learned how good its segmentations are", do="train the model anew",
        )  # fmt: skip
    progress = Progress()
    candidates, entries = _look(segmenter, manifest, progress)
    progress.clear()
    anchors = segmenter.quality.anchors
    known = [] if anchors is None else list(anchors.means)
    order = []
    for place, ranked in enumerate(rank(candidates, known), 1):
        order.append({"rank": place, **asdict(ranked), **entries[ranked.name]})
    calibration = segmenter.quality.calibration
    report = {
        "model": arguments.model.name, "refused": segmenter.quality.refused,
        "calibrated_on": None if calibration is None else calibration.cases, "cases": order,
    }  # fmt: skip
    write_report(report, arguments.output)
    _show(order, segmenter.quality.refused)
    print(f"\nwritten to {arguments.output}")
    return 0


def _look(
    segmenter: Segmenter, manifest: Manifest, progress: Progress
) -> tuple[list[Candidate], dict[str, dict[str, Any]]]:
    from VoxelAdvSegLib.data.reading import read_volume
    from VoxelAdvSegLib.evaluation.ranking import Candidate

    candidates, entries = [], {}
    for done, case in enumerate(manifest.unlabeled):
        progress(done, len(manifest.unlabeled), case.name)
        found = segmenter.segment(read_volume(case.image), quality=True)
        assert found.assessment is not None  # `run` has looked whether the model has learned it
        reason = found.assessment.reason(found.certainty().reason)
        means = None if found.signs is None else found.signs.means
        candidates.append(Candidate(case.name, found.assessment.need, reason, means))
        entries[case.name] = {
            "image": _place(case.image, manifest.path.parent), **found.assessment.to_dict(),
        }  # fmt: skip
    return candidates, entries


def _place(image: Path, folder: Path) -> str:
    """Relative to the list, where they are on one drive."""
    try:
        return os.path.relpath(image, folder)
    except ValueError:
        return str(image)


def _show(order: list[dict[str, Any]], refused: str) -> None:
    rows = [["", "case", "probable Dice", "reason"]]
    for entry in order[:SHOWN]:
        mean = entry["predicted_dice_mean"]
        dice = "-" if mean is None else f"{mean['value']:.2f} ({mean['low']:.2f} to {mean['high']:.2f})"
        rows.append([str(entry["rank"]), entry["name"], dice, entry["reason"]])
    print(align(rows, left=(1, 3)))
    if len(order) > SHOWN:
        print(f"... and {len(order) - SHOWN} more in the file")
    if refused:
        print(f"\n{refused} The order is by how unsure the network is instead.")
