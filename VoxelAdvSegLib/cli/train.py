"""The command `train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.config import PRESETS
from VoxelAdvSegLib.errors import ConfigError

if TYPE_CHECKING:
    from VoxelAdvSegLib.training.course import Outcome
    from VoxelAdvSegLib.training.session import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="manifest of the cases (JSON)")
    parser.add_argument("--anywhere", action="store_true", help="the manifest may name files outside its folder")
    parser.add_argument("--run", type=Path, required=True, help="folder of this training; new, or one to --resume")
    parser.add_argument("--preset", default="auto", help=f"{' | '.join(PRESETS)} (default: auto)")
    parser.add_argument("--method", help="one of the command 'methods' (default: voxel_adversarial)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, help="length of the training in steps")
    budget.add_argument("--minutes", type=float, help="length of the training in minutes, all included")
    parser.add_argument("--init", type=Path, metavar="BUNDLE", help="go on from an earlier run or model")
    parser.add_argument("--device", help="auto | cpu | cuda:N (default: auto)")
    parser.add_argument("--seed", type=int, help="of every random draw (default: 0)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting (docs/config.md)"
    )
    parser.add_argument(
        "--verdict", action="store_true",
        help="also train without the unlabeled scans, and say whether they helped; --minutes is for both together",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with the training in --run")


def run(arguments: argparse.Namespace) -> int:
    from VoxelAdvSegLib.training.session import Request, train

    request = Request(
        data=arguments.data,
        anywhere=arguments.anywhere,
        run=arguments.run,
        preset=arguments.preset,
        overrides=overrides(arguments),
        init=arguments.init,
        resume=arguments.resume,
    )
    if arguments.verdict:
        return _with_verdict(request)
    screen = Screen()
    outcome = train(request, watch=screen.show)
    screen.close()
    if outcome.leads:
        _show_outcome(outcome)
    return 0


def _show_outcome(outcome: Outcome) -> None:
    for organ, score in outcome.dice.items():
        print(f"validation Dice of {organ}: {'-' if score is None else format(score, '.4f')}")
    print(f"model: {outcome.model}")


def _with_verdict(request: Request) -> int:
    """Both trainings, the one that was asked for first, then the verdict on the validation cases."""
    from VoxelAdvSegLib.cli.compare import show
    from VoxelAdvSegLib.evaluation.report import write_report
    from VoxelAdvSegLib.evaluation.verdict import VERDICT
    from VoxelAdvSegLib.training.again import train_with_verdict
    from VoxelAdvSegLib.training.parallel import refuse_several

    refuse_several("--verdict")
    screen = Screen()
    verdict = train_with_verdict(request, screen.tell, screen.show)
    screen.close()
    write_report(verdict.to_dict(), request.run / VERDICT)
    show(verdict)
    print(f"model: {request.run / 'model'}")
    return 0


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings from --set and from the options that have a name of their own.

    Raises ConfigError for a --set without "=".
    """
    settings: dict[str, Any] = {}
    for word in arguments.set:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set {word} has no value", expected="--set key=value", found=word, do="add =value")
        settings[key.strip()] = value.strip()
    if arguments.minutes is not None:
        settings |= {"steps": None, "minutes": arguments.minutes}
    if arguments.steps is not None:
        settings |= {"steps": arguments.steps, "minutes": None}
    for name in ("method", "device", "seed"):
        value = getattr(arguments, name)
        if value is not None:
            settings[name] = value
    return settings


class Screen:
    """Shows the events of a training: the plan as sentences, work as a bar with the time left."""

    def __init__(self) -> None:
        self.phase = ""
        self.bar = Progress()

    def show(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "start":
            self._say("\n".join(event["plan"]))
        elif kind in ("plan", "message"):
            self._say(event["text"])
        elif kind == "progress":
            self._advance(event["phase"], event["done"], event["total"], event["phase"])
        elif kind == "step":
            student = event["terms"].get("student", {})
            loss = sum(event["weights"].get(name, 0) * (value or 0) for name, value in student.items())
            self._advance("training", event["step"], event["steps"], f"steps, loss {loss:.3f}")
        elif kind == "validation":
            scores = ", ".join(f"{o} {d:.3f}" for o, d in event["dice"].items() if d is not None)
            best = " (best so far)" if event["best"] else ""
            self._say(f"step {event['step']}: validation Dice {scores}{best}")

    def tell(self, text: str) -> None:
        """A sentence between two trainings: what comes then has a bar of its own."""
        self.phase = ""
        self._say(text)

    def _advance(self, phase: str, done: int, total: int, text: str) -> None:
        if phase != self.phase and phase != "validation":
            self.phase, self.bar = phase, Progress()
        if phase == self.phase:
            self.bar(done, total, text)

    def _say(self, text: str) -> None:
        self.bar.clear()
        print(text, flush=True)

    def close(self) -> None:
        self.bar.clear()
