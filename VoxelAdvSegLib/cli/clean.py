"""The command `clean`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from VoxelAdvSegLib.errors import ProjectError, RunError
from VoxelAdvSegLib.jobs.process import is_alive
from VoxelAdvSegLib.jobs.pulse import read_pulse
from VoxelAdvSegLib.project.disk import written_or_told
from VoxelAdvSegLib.project.project import Project
from VoxelAdvSegLib.project.run_contents import (
    LOCK,
    WORDS,
    Part,
    check_is_run,
    clean_run,
    parts_of_run,
    places_of_work,
)
from VoxelAdvSegLib.table import align, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--run", type=Path, metavar="DIR", help="the folder of a training: all that it has stored goes")
    place.add_argument(
        "--project", type=Path, metavar="DIR",
        help="a project of the 3D Slicer module: what can be made again goes; labels, drafts and models stay",
    )  # fmt: skip
    parser.add_argument("--keep-model", action="store_true", help="with --run: all but the trained model")
    parser.add_argument("--list", action="store_true", help="only say what is stored, and how large it is")


def run(arguments: argparse.Namespace) -> int:
    """Says what is stored and how large it is, and removes it without a question."""
    if arguments.project is not None:
        return _project(arguments.project, arguments.list)
    check_is_run(arguments.run)
    if arguments.list:
        _show([(part, "") for part in parts_of_run(arguments.run)])
        return 0
    with _nobody_at_work(arguments.run):
        ends = clean_run(arguments.run, arguments.keep_model)
    with written_or_told(arguments.run):
        (arguments.run / LOCK).unlink(missing_ok=True)
        if not any(arguments.run.iterdir()):
            arguments.run.rmdir()
    _show(ends)
    return 0


@contextlib.contextmanager
def _nobody_at_work(run: Path) -> Iterator[None]:
    """While it lasts, no training begins in the folder. Raises RunError while one, or a comparison, is at work."""
    from VoxelAdvSegLib.training.run_folder import locked

    with contextlib.ExitStack() as stack:
        for folder in places_of_work(run):
            pulse = read_pulse(folder)
            if pulse is not None and is_alive(pulse.process) is not False:
                raise RunError(
                    "the run folder is in use", file=folder, expected="a training that has ended",
                    found=f"process {pulse.process.pid} on {pulse.process.host}", do="wait for it, or stop it",
                )  # fmt: skip
            if folder == run or (folder / LOCK).exists():
                stack.enter_context(locked(folder))
        yield


def _project(folder: Path, only_list: bool) -> int:
    if not (folder / "project.json").is_file():
        raise ProjectError(
            "this is no folder of a project, and nothing was removed", file=folder, expected="a project.json in it",
            found="none", do="correct the path, or use --run for a single training",
        )  # fmt: skip
    with Project.open(folder) as project:
        stored = project.stored()
        removable = [kind for kind in stored if kind.removable]
        freed = 0 if only_list else project.clean([kind.kind for kind in removable], _is_at_work)
    rows = [[kind.kind, size(kind.size), "can be removed" if kind.removable else "stays", kind.text] for kind in stored]
    print(align(rows, left=(0, 2, 3)))
    if not only_list:
        print(f"freed {size(freed)}")
    return 0


def _is_at_work(folder: Path) -> bool | None:
    pulse = read_pulse(folder)
    return None if pulse is None else is_alive(pulse.process)


def _show(ends: Sequence[tuple[Part, str]]) -> None:
    rows = [[part.path.name, size(part.size), end, f"{part.kind}: {WORDS[part.kind]}"] for part, end in ends]
    print(align(rows, left=(0, 2, 3)) if rows else "nothing is stored")
    freed = sum(part.size for part, end in ends if end == "removed")
    print(f"freed {size(freed)}" if freed else f"{size(sum(part.size for part, _ in ends))} in all")
