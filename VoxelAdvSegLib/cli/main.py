"""The command line: chooses the command, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.errors import VoxelAdvSegError

# Each command is the module cli/<name>.py with add_arguments(parser) and run(arguments) -> exit code.
COMMANDS = {
    "train": "train a model from labeled and unlabeled scans",
    "segment": "segment scans with a trained model",
    "evaluate": "measure a model or a folder of segmentations against reference labels",
    "compare": "say whether the unlabeled scans helped, or which of two models is better",
    "rank": "put the unlabeled cases first that probably need a correction most, with the reason of each",
    "calibrate": "learn anew how good a model's segmentations are, when more cases were labeled",
    "doctor": "check a data set and list everything that is wrong with it",
    "clean": "say what a training has stored, and remove it",
    "job": "do what a job folder asks for (used by the 3D Slicer module)",
    "methods": "list the training methods with their sources",
    "benchmark": "run methods side by side, and report tables and figures",
    "demo": "generate scans, train on them and show the result on one page",
}
# These must do without numpy and SimpleITK, which reading needs; a job that reads sees to it itself.
READS_NOTHING = ("clean", "job", "methods")
BAD_INPUT = 2
INTERRUPTED = 130  # as shells report Ctrl-C
READER_GONE = 141  # as shells report a closed pipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, the command's own code, 2 for bad input or 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        chosen = make_parser(words[0] if words else "").parse_args(words)
        with contextlib.nullcontext() if words[0] in READS_NOTHING else reading_apart():
            code = chosen.execute(chosen)
        sys.stdout.flush()
        return code
    except VoxelAdvSegError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("VoxelAdvSegLib"):
            raise
        print(f"{words[0]} needs the package {error.name}, which is not installed", file=sys.stderr)
        print("  do        pip install -r VoxelAdvSegLib/requirements.txt", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing more can be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def reading_apart() -> contextlib.AbstractContextManager[None]:
    """Scans and labels are read by child processes, which a broken file may bring down (data/reading.py)."""
    from VoxelAdvSegLib.data import reading

    return reading.reading_apart()


def make_parser(command: str = "") -> argparse.ArgumentParser:
    """Parser of the command line. Only the named command's module is imported and has its options."""
    parser = argparse.ArgumentParser(
        prog="python -m VoxelAdvSegLib",
        description="Voxel-wise adversarial semi-supervised segmentation of medical volumes.",
        epilog="'python -m VoxelAdvSegLib COMMAND --help' explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"VoxelAdvSegLib {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, purpose in COMMANDS.items():
        own = commands.add_parser(
            name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".", allow_abbrev=False
        )
        if name == command:
            module = importlib.import_module(f"VoxelAdvSegLib.cli.{name}")
            module.add_arguments(own)
            own.set_defaults(execute=module.run)
    return parser
