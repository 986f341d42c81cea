"""The command `calibrate`: learn anew how good a model's segmentations are."""

from __future__ import annotations

import argparse
from pathlib import Path

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.data.manifest import read_manifest

PHASES = {
    "judge": "training the judge", "references": "looking at the scans of the training",
    "calibration": "looking at the validation cases",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder of a finished training")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="M.json",
        help="the list of cases of the training; its validation cases may have become more",
    )  # fmt: skip
    parser.add_argument(
        "--leave-out", action="store_true",
        help="also on the labeled cases, which take turns: up to five further trainings, in RUN/calibration",
    )  # fmt: skip
    parser.add_argument("--anywhere", action="store_true", help="the manifest may name files outside its folder")
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu or cuda:N")


def run(arguments: argparse.Namespace) -> int:
    """Replaces what the model knows of its quality, and says what that is."""
    from VoxelAdvSegLib.training.afterwards import calibrate_run
    from VoxelAdvSegLib.training.second_phase import what_is_known

    manifest = read_manifest(arguments.data, anywhere=arguments.anywhere)
    progress = Progress()
    bundle = calibrate_run(
        arguments.run, manifest, arguments.device, arguments.leave_out, lambda text: print(text, flush=True),
        lambda phase, done, total: progress(done, total, PHASES[phase]),
    )  # fmt: skip
    progress.clear()
    print(what_is_known(bundle))
    return 0
