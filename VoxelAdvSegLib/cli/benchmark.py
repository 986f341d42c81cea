"""The command `benchmark`: run methods side by side, report, and time every stage."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from VoxelAdvSegLib.benchmark.published import PUBLISHED
from VoxelAdvSegLib.benchmark.rows import ABLATION
from VoxelAdvSegLib.config import PRESETS
from VoxelAdvSegLib.errors import ConfigError, InputError

SOME_FAILED = 1
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(
        title="parts", metavar="run | report | speed | quality | loop", dest="part", required=True
    )
    _add_run(parts.add_parser("run", help="train and score what is not done yet", allow_abbrev=False))
    _add_report(parts.add_parser("report", help="write tables and figures of what is done", allow_abbrev=False))
    _add_loop(parts.add_parser("loop", help="simulate rounds of corrections", allow_abbrev=False))
    _add_quality(parts.add_parser("quality", help="measure how well a model knows its quality", allow_abbrev=False))
    _add_speed(parts.add_parser("speed", help="time every stage against what it costs at least", allow_abbrev=False))


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Every method with every seed in a child process of its own, scored with its last weights. "
        "The same command goes on where it was interrupted; methods and seeds may be added."
    )
    parser.add_argument("--data", type=Path, required=True, metavar="M.json", help="manifest of the cases")
    parser.add_argument(
        "--methods", required=True, metavar="A,B,C",
        help="names of the command 'methods', also with settings ('voxel_adversarial[adv_weight=0]', in quotes); "
        f"'ablation' for all of {', '.join(ABLATION)}",
    )  # fmt: skip
    parser.add_argument("--seeds", default="0", metavar="0,1,2", help="default: 0")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="length of every training in steps")
    budget.add_argument("--minutes", type=float, help="length of every training in minutes")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of this benchmark")
    parser.add_argument("--preset", default="auto", help=f"{' | '.join(PRESETS)} (default: auto)")
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="default: validation")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every run")
    parser.add_argument(
        "--scanner-shift", type=float, default=0.0, metavar="STRENGTH",
        help="show unlabeled and scored scans as by another scanner (contrast, noise, bias field); 1 is a usual one",
    )  # fmt: skip
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="runs at the same time (default: 1)")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda:N (default: auto)")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = "Writes report.md, cases.csv, summary.csv and figures."
    parser.add_argument(
        "--output", type=Path, required=True, nargs="+", metavar="DIR",
        help="folder of the benchmark; of several, each becomes a section",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, metavar="FILE.md", help="write the page there, figures beside it")
    parser.add_argument(
        "--published", choices=("none", *PUBLISHED), default="none", help="published figures beside the measured ones"
    )
    parser.add_argument(
        "--figures", choices=("all", "charts", "none"), default="all",
        help="charts: without those that show scans; none: needs no further package (default: all)",
    )  # fmt: skip


def _add_speed(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Times steps, data, segmenting and metrics side by side, with made-up scans: ratios to the bare network, to "
        "MONAI and to medpy, each with its target. Minutes on a GPU; on the CPU a quarter of an hour or more."
    )
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda:N (default: auto)")
    parser.add_argument("--output", type=Path, metavar="F.json", help="write all figures there")
    parser.add_argument("--page", type=Path, metavar="FILE.md", help="write them there as a page")
    parser.add_argument("--reduced", action="store_true", help="small patches alone: minutes on the CPU, too")


def _add_quality(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Holds the predicted Dice against the true one, and faulty scans against good ones, on labeled cases that the "
        "model was not trained with: half of them calibrate, the others are measured, in 50 random ways."
    )
    parser.add_argument("--model", type=Path, required=True, metavar="RUN", help="run folder or model folder")
    parser.add_argument("--data", type=Path, required=True, metavar="M.json", help="manifest of the cases")
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="default: validation")
    parser.add_argument(
        "--other", type=Path, nargs="*", default=[], metavar="SCAN", help="scans of another kind, to be told from these"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="F.json", help="file for the report")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda:N (default: auto)")


def _add_loop(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Rounds of corrections by a simulated person who knows the labels: the cases that `rank` names, against cases "
        "drawn at random. The same command goes on where it was interrupted."
    )
    parser.add_argument("--data", type=Path, required=True, metavar="M.json", help="manifest of the cases")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the simulation")
    parser.add_argument("--seeds", default="0,1,2", metavar="0,1,2", help="default: 0,1,2")
    for name, number, about in (
        ("start", 4, "labeled cases at first"), ("rounds", 5, "rounds of corrections"),
        ("per-round", 2, "corrections of a round"), ("pool", 20, "cases to choose from"),
        ("steps", 300, "length of every training"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=number, metavar="N", help=f"{about} (default: {number})")
    parser.add_argument("--preset", default="auto", help=f"{' | '.join(PRESETS)} (default: auto)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every training")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda:N (default: auto)")


def _loop(arguments: argparse.Namespace) -> int:
    from VoxelAdvSegLib.benchmark.rounds import Loop, simulate

    loop = Loop(
        arguments.data, arguments.output.absolute(), arguments.start, arguments.rounds, arguments.per_round,
        arguments.pool, arguments.steps, arguments.preset, arguments.device, parse_settings(arguments.set),
    )  # fmt: skip
    report = simulate(loop, parse_seeds(arguments.seeds), lambda text: print(text, flush=True))
    print("labeled  rank    random  difference")
    for number, found in enumerate(report["difference"]):
        means = [sum(row[number] for row in report["dice"][c]) / len(report["seeds"]) for c in ("rank", "random")]
        labeled = loop.start + number * loop.per_round
        print(f"{labeled:7}  {means[0]:.4f}  {means[1]:.4f}  {found['mean']:+.4f} ({found['standard_error']:.4f})")
    print(f"written to {arguments.output / 'loop.json'}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    parts = {"run": _run, "report": _report, "speed": _speed, "quality": _quality, "loop": _loop}
    return parts[arguments.part](arguments)


def _quality(arguments: argparse.Namespace) -> int:
    from VoxelAdvSegLib.benchmark.quality import measure_quality
    from VoxelAdvSegLib.data.manifest import read_manifest
    from VoxelAdvSegLib.evaluation.report import check_writable, write_report

    manifest = read_manifest(arguments.data, anywhere=True)
    check_writable(arguments.output)
    cache = arguments.output.with_name(f"{arguments.output.stem}_cache")
    report = measure_quality(
        arguments.model, manifest, arguments.split, arguments.other, arguments.device, cache,
        lambda text: print(text, flush=True),
    )  # fmt: skip
    write_report(report, arguments.output)
    for name, value in report.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    print(f"written to {arguments.output}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from VoxelAdvSegLib.benchmark.harness import check_length, run_benchmark
    from VoxelAdvSegLib.benchmark.plan import Benchmark
    from VoxelAdvSegLib.benchmark.rows import parse_rows

    check_length(arguments.steps, arguments.minutes)
    benchmark = Benchmark(
        folder=arguments.output, data=arguments.data, rows=parse_rows(arguments.methods),
        seeds=parse_seeds(arguments.seeds), preset=arguments.preset, steps=arguments.steps,
        minutes=arguments.minutes, split=arguments.split, settings=parse_settings(arguments.set),
        device=arguments.device, scanner_shift=arguments.scanner_shift,
    )  # fmt: skip
    tally = run_benchmark(benchmark, lambda text: print(text, flush=True), arguments.parallel)
    print(f"{len(tally.done)} runs done, {len(tally.skipped)} done before, {len(tally.failed)} failed")
    if tally.interrupted:
        return INTERRUPTED
    return SOME_FAILED if tally.failed else 0


def _report(arguments: argparse.Namespace) -> int:
    from VoxelAdvSegLib.benchmark.report import write_page

    page = write_page(arguments.output, arguments.page, arguments.published, arguments.figures, print)
    print(f"written to {page}")
    return 0


def _speed(arguments: argparse.Namespace) -> int:
    from VoxelAdvSegLib.benchmark.speed import measure_speed, scales
    from VoxelAdvSegLib.benchmark.speed_page import speed_page, summary
    from VoxelAdvSegLib.networks.device import choose_device

    for file in (arguments.output, arguments.page):
        if file is not None and not file.absolute().parent.is_dir():
            raise InputError(
                "the folder for the figures is not there", file=file, expected="a folder that exists",
                found="none", do="make it, or write elsewhere",
            )  # fmt: skip
    device = choose_device(arguments.device)
    report = measure_speed(device, scales(device, arguments.reduced), tell=lambda text: print(text, flush=True))
    for line in summary(report):
        print(line)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.page is not None:
        words = f"python -m VoxelAdvSegLib benchmark speed{' --reduced' if arguments.reduced else ''}"
        arguments.page.write_text(speed_page(report, f"{words} --page {arguments.page.name}"), encoding="utf-8")
    return 0


def parse_seeds(text: str) -> list[int]:
    """Raises ConfigError unless the text is a list of different whole numbers of 0 or more."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ConfigError(
            "the seeds are not a list of numbers", expected="different numbers, as 0,1,2", found=text,
            do="correct --seeds",
        )  # fmt: skip
    return [int(part) for part in parts]


def parse_settings(words: list[str]) -> dict[str, str]:
    """Raises ConfigError for a word without "="."""
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set {word} has no value", expected="--set key=value", found=word, do="add =value")
        settings[key.strip()] = value.strip()
    return settings
