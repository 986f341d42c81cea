"""`evaluate`: a model, or a folder of segmentations, against the reference labels of a split."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.data.labels import read_label
from VoxelAdvSegLib.data.manifest import ENDINGS, LabeledCase, Manifest, case_name, read_manifest
from VoxelAdvSegLib.data.organs import Organ, same_name
from VoxelAdvSegLib.data.volume import Geometry, read_geometry, read_volume
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.evaluation.metrics import EMPTY_DISTANCES, EmptyDistance
from VoxelAdvSegLib.evaluation.report import (
    check_writable,
    format_report,
    score_case,
    summarize,
    write_report,
)

# Class-index array in the manifest's order of organs, on the grid of the case's image.
Predict = Callable[[LabeledCase, Geometry], np.ndarray]
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
    report = evaluate(cases, manifest.organs, predict, arguments.empty_distance)
    report["about"] = {
        "data": manifest.path.name,
        "split": arguments.split,
        "predicted_by": (arguments.predictions or arguments.model).resolve().name,
        "empty_distance": arguments.empty_distance,
    }
    write_report(report, arguments.output)
    print(format_report(report))
    print(f"\nwritten to {arguments.output}")
    return 0


def evaluate(
    cases: Sequence[LabeledCase],
    organs: Sequence[Organ],
    predict: Predict,
    empty_distance: EmptyDistance = "diagonal",
) -> dict:
    """Report (evaluation.report.summarize) over the cases, one after the other."""
    scores = []
    with Progress() as progress:
        for done, case in enumerate(cases):
            progress(done, len(cases), case.name)
            geometry = read_geometry(case.image)
            reference = read_label(case.label, organs, geometry)
            prediction = predict(case, geometry)
            scores.append(score_case(case.name, prediction, reference, organs, geometry.spacing_zyx_mm, empty_distance))
    return summarize(scores)


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


def _is_segmentation(file: Path) -> bool:
    if file.name.startswith(".") or not file.is_file():
        return False
    first = DATA_OF_PAIRS.get(file.suffix.lower())
    if first and file.with_suffix(first).exists():
        return False
    return file.name.lower().endswith(ENDINGS)
