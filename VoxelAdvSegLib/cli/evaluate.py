"""`evaluate`: a model, or a folder of segmentations, against the reference labels of a split."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.data.manifest import ENDINGS, LabeledCase, case_name, read_manifest
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.pseudonyms import KEY, Pseudonyms
from VoxelAdvSegLib.data.reading import read_label
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.evaluation.metrics import EMPTY_DISTANCES
from VoxelAdvSegLib.evaluation.report import check_writable, format_report, write_report
from VoxelAdvSegLib.evaluation.scoring import Predict, evaluate, labeled_cases, predictions_of

# The second files of pairs whose first one names them.
DATA_OF_PAIRS = {".img": ".hdr"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="M.json", help="the list of cases")
    parser.add_argument("--anywhere", action="store_true", help="the manifest may name files outside its folder")
    parser.add_argument(
        "--split", required=True, choices=("validation", "test", "training"), help="cases to measure on"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, metavar="RUN_OR_BUNDLE", help="segment the cases with this model")
    source.add_argument(
        "--predictions", type=Path, metavar="DIR", help="segmentations named like the images of the cases"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="report.json", help="where to write")
    parser.add_argument(
        "--empty-distance", choices=EMPTY_DISTANCES, default="diagonal",
        help="what a missed organ costs in distances: the diagonal of the volume (default), nothing, "
        "or zero as in published scripts",
    )  # fmt: skip
    parser.add_argument(
        "--names", action="store_true",
        help="call the cases in the report by their files' names, not by pseudonyms that a key beside it explains",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu or cuda:N")


def run(arguments: argparse.Namespace) -> int:
    """Evaluates, writes the report and prints its table."""
    manifest = read_manifest(arguments.data, anywhere=arguments.anywhere)
    cases = labeled_cases(manifest, arguments.split)
    check_writable(arguments.output)
    if arguments.predictions:
        predict = predictions_in(arguments.predictions, cases, manifest.organs)
    else:
        predict = predictions_of(arguments.model, arguments.device, manifest)
    with Progress() as progress:
        report = evaluate(cases, manifest.organs, predict, arguments.empty_distance, progress)
    report["about"] = {
        "data": manifest.path.name,
        "split": arguments.split,
        "predicted_by": (arguments.predictions or arguments.model).resolve().name,
        "empty_distance": arguments.empty_distance,
    }
    table = format_report(report)  # the person at the screen knows the cases by their names
    if not arguments.names:
        names = Pseudonyms(manifest, arguments.output.parent)
        by_name = {case.name: names[case] for case in cases}
        report["cases"] = [{**case, "name": by_name[case["name"]]} for case in report["cases"]]
        names.write(arguments.output.with_suffix(f".{KEY}"), {})
    write_report(report, arguments.output)
    print(table)
    print(f"\nwritten to {arguments.output}")
    return 0


def predictions_in(folder: Path, cases: Sequence[LabeledCase], organs: Sequence[Organ]) -> Predict:
    """Reads segmentations from a folder, matched to cases by file name without ending.

    Raises InputError when the folder, or the segmentation of a case, is missing or ambiguous.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such folder of predictions", file=folder, expected="a folder with segmentations",
            found="a file" if folder.exists() else "nothing", do="check the path after --predictions",
        )  # fmt: skip
    files = defaultdict(list)
    for file in sorted(folder.iterdir()):
        if _is_segmentation(file):
            files[case_name(file)].append(file)
    for case in cases:
        found = files.get(case.name, [])
        if len(found) != 1:
            raise InputError(
                f"{case.name} has {'several predictions' if found else 'no prediction'}", file=folder,
                expected=f"one file {case.name}.nii.gz, .nrrd, .seg.nrrd, ...",
                found=", ".join(file.name for file in found) or f"{len(files)} other segmentations",
                do="remove all but one" if found else "segment this case too, or correct the file's name",
            )  # fmt: skip
    return lambda case, geometry: read_label(files[case.name][0], organs, geometry, allow_empty=True)


def _is_segmentation(file: Path) -> bool:
    if file.name.startswith(".") or not file.is_file():
        return False
    first = DATA_OF_PAIRS.get(file.suffix.lower())
    if first and file.with_suffix(first).exists():
        return False
    return file.name.lower().endswith(ENDINGS)
