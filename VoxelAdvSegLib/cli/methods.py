"""The command `methods`."""

from __future__ import annotations

import argparse

from VoxelAdvSegLib.methods import METHODS
from VoxelAdvSegLib.table import align


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Train with one of them: train --method NAME; compare them: benchmark run --methods NAME,NAME,..."


def run(arguments: argparse.Namespace) -> int:
    print(align([[name, entry.summary, entry.citation] for name, entry in METHODS.items()], left=(0, 1, 2)))
    return 0
