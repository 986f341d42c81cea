"""The command `segment`."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.data.manifest import case_name
from VoxelAdvSegLib.errors import InputError

MAPS = ("post", "training")
FORMATS = ("seg.nrrd", "nii.gz", "nrrd", "dcm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="run folder or model folder")
    parser.add_argument("--input", type=Path, nargs="+", required=True, help="scans, or folders of a DICOM series")
    parser.add_argument("--output", type=Path, required=True, help="folder for the segmentations")
    parser.add_argument("--format", choices=FORMATS, default="seg.nrrd", help="default: seg.nrrd")
    parser.add_argument(
        "--discriminator-map", nargs="?", const="post", choices=MAPS, default=None,
        help="also how much each voxel looks labeled, by the discriminator that was trained afterwards (post, the "
        "default) or by that of the training",
    )  # fmt: skip
    parser.add_argument(
        "--no-quality", action="store_true", help="leave out how good the result probably is, which takes half the time"
    )
    parser.add_argument(
        "--largest-component", action=argparse.BooleanOptionalAction, default=None,
        help="keep each organ's largest part, or all (default: the largest of organs that are one part in every label)",
    )  # fmt: skip
    parser.add_argument(
        "--flips", action="store_true", default=None, help="average over the mirrorings the model allows"
    )
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda:N (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Segments every scan; wrong paths are found before the first one is worked on."""
    from VoxelAdvSegLib.bundle import OPPONENT
    from VoxelAdvSegLib.data.reading import read_geometry, read_volume
    from VoxelAdvSegLib.inference.output import organ_volumes_ml, write_map, write_segmentation
    from VoxelAdvSegLib.inference.segment import Segmenter

    names = _names(arguments.input)
    for path in arguments.input:
        read_geometry(path)  # a wrong path ends the command before hours of work
    segmenter = Segmenter.open(arguments.model, arguments.device)
    arguments.output.mkdir(parents=True, exist_ok=True)
    report = []
    progress = Progress()
    for done, (path, name) in enumerate(zip(arguments.input, names, strict=True)):
        progress(done, len(names), name)
        volume = read_volume(path)
        try:
            found = segmenter.segment(
                volume, OPPONENT if arguments.discriminator_map == "training" else bool(arguments.discriminator_map),
                arguments.largest_component, arguments.flips, quality=not arguments.no_quality,
            )  # fmt: skip
        except InputError as error:
            error.file = error.file or str(path)
            raise
        file = arguments.output / f"{name}.{arguments.format}"
        write_segmentation(found.array, found.geometry, segmenter.organs, file, source=path)
        entry = {
            "input": path.name,
            "segmentation": file.name,
            "volume_ml": organ_volumes_ml(found.array, found.geometry, segmenter.organs),
            "confidence": {name: asdict(value) for name, value in found.confidence.items()},
        }
        certainty = found.certainty()
        entry |= {"score": certainty.score, "reason": certainty.reason}
        if found.assessment is not None:
            entry |= found.assessment.to_dict()
        if found.looks_labeled is not None:
            entry["discriminator_map"] = f"{name}_looks_labeled.nii.gz"
            write_map(found.looks_labeled, found.geometry, arguments.output / entry["discriminator_map"])
            entry["looks_labeled"] = found.looks_labeled_by_organ()
        report.append(entry)
    progress.clear()
    _write_report(arguments.output / "segmentation.json", report)
    print(_table(report))
    return 0


def _names(paths: list[Path]) -> list[str]:
    names = [case_name(Path(os.path.abspath(path))) for path in paths]  # noqa: PTH100 - a link keeps its own name
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two inputs are called {name}", expected="inputs of different names", found=name,
                do="segment them into different output folders",
            )  # fmt: skip
    return names


def _write_report(file: Path, report: list[dict]) -> None:
    temporary = file.with_name(f".{file.name}.partial")
    temporary.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    temporary.replace(file)


def _table(report: list[dict]) -> str:
    lines = []
    for entry in report:
        volumes = ", ".join(f"{organ} {ml:.2f} ml" for organ, ml in entry["volume_ml"].items())
        lines.append(f"{entry['segmentation']}: {volumes}")
        if "looks_labeled" in entry:
            means = [f"{o} {v:.2f}" for o, v in entry["looks_labeled"].items() if v is not None]
            lines.append(f"  looks labeled (0 to 1): {', '.join(means)}")
        lines.append(f"  certainty {entry['score']:.2f} of 1: {entry['reason']}")
        if entry.get("predicted_dice"):
            parts = [
                f"{o} {d['value']:.2f} ({d['low']:.2f} to {d['high']:.2f})" if d else f"{o} -"
                for o, d in entry["predicted_dice"].items()
            ]
            lines.append(f"  probable Dice, with 90 % interval: {', '.join(parts)}")
        if entry.get("warning"):
            lines.append(f"  {entry['warning']}")
    return "\n".join(lines)
