"""The command `demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="new folder, or one of an earlier demo"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=5.0, metavar="M", help="time for everything (default: 5)")
    budget.add_argument("--steps", type=int, metavar="N", help="train each method for N steps instead")
    parser.add_argument("--seed", type=int, default=0, help="of phantoms and trainings (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Makes the demonstration and says what it showed."""
    _check(arguments)
    from VoxelAdvSegLib.cli.train import Screen
    from VoxelAdvSegLib.demo.build import PAGE, Wish, make_demo

    screen = Screen()

    def watch(event: dict[str, Any]) -> None:
        if event["type"] in ("step", "progress"):  # the rest is on the page
            screen.show(event)

    wish = Wish(arguments.output, arguments.minutes, arguments.seed, arguments.steps)
    story = make_demo(wish, screen.tell, watch)
    screen.close()
    print(f"Did the unlabeled scans help? {story.verdict.sentence}")
    print(f"{story.seconds / 60:.1f} minutes. Open {arguments.output / PAGE}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    for name in ("minutes", "steps"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise ConfigError(
                f"--{name} is not positive", expected="more than 0", found=f"{value:g}", do=f"correct --{name}"
            )
