"""Which Python runs a job, and in what surroundings it is started."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import VoxelAdvSegLib
from VoxelAdvSegLib.errors import ConfigError, RunError

LIBRARY = Path(VoxelAdvSegLib.__file__).resolve().parents[1]  # the folder that holds the package
SLICER_PYTHON = "PythonSlicer"
# Set by Slicer's launcher for its own Python; another interpreter would look for its modules there.
OF_SLICERS_PYTHON = ("PYTHONHOME", "PYTHONPATH")
LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH")


@dataclass(frozen=True)
class Interpreter:
    """A Python and the environment it starts in; program: what comes before the job's folder."""

    path: Path
    environment: Mapping[str, str]
    program: tuple[str, ...] = ("-m", "VoxelAdvSegLib", "job")

    def command(self, folder: Path) -> list[str]:
        return [str(self.path), *self.program, str(folder)]

    def surroundings(self) -> dict[str, str]:
        """Environment variables of a child: the library is found, output is UTF-8 and not held back."""
        own = dict(self.environment)
        own["PYTHONPATH"] = os.pathsep.join([str(LIBRARY), *filter(None, [own.get("PYTHONPATH")])])
        own |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1"}
        return own


def find_python_slicer(
    slicer_home: Path | str | None,
    environment: Mapping[str, str],
    which: Callable[[str], str | None] = shutil.which,
) -> Interpreter:
    """PythonSlicer, from the PATH or below Slicer's home; it sets up its libraries by itself.

    environment: that of the running Slicer (os.environ). Raises ConfigError when it is not there.
    """
    name = SLICER_PYTHON + (".exe" if os.name == "nt" else "")
    found = which(SLICER_PYTHON)
    candidates = [Path(found)] if found else []
    if slicer_home is not None:
        candidates.append(Path(slicer_home) / "bin" / name)
    for candidate in candidates:
        if candidate.is_file():
            return Interpreter(candidate, environment)
    raise ConfigError(
        "Slicer's own Python was not found", file=candidates[-1] if candidates else None,
        expected=f"{name} in the folder bin of Slicer", found="nothing",
        do="choose another Python with torch under Installation, or repair the installation of Slicer",
    )  # fmt: skip


def own_interpreter(
    path: Path | str, startup_environment: Mapping[str, str], without_cuda: bool = False
) -> Interpreter:
    """Another Python that a person names, for instance of a virtual environment with torch.

    startup_environment: the variables from before Slicer's launcher changed them
    (slicer.util.startupEnvironment()). without_cuda: folders of a system-wide CUDA are taken off the
    library paths; they can clash with the CUDA that torch brings. Raises ConfigError when there is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file() or (os.name == "posix" and not os.access(path, os.X_OK)):
        raise ConfigError(
            "this is no Python interpreter", file=path, expected="the program python of an installation or venv",
            found="a file that cannot be run" if path.is_file() else "no such file", do="choose the program itself",
        )  # fmt: skip
    environment = {key: value for key, value in startup_environment.items() if key not in OF_SLICERS_PYTHON}
    if without_cuda:
        for key in LIBRARY_PATHS:
            if key in environment:
                folders = environment[key].split(os.pathsep)
                kept = [f for f in folders if "cuda" not in f.lower() and "cudnn" not in f.lower()]
                environment[key] = os.pathsep.join(kept)
    return Interpreter(path.absolute(), environment)


class Child(subprocess.Popen[bytes]):
    """A process that may outlive this one: to let it go while it runs is no mistake to be warned of."""

    def __del__(self) -> None:
        super().__del__(_warn=_nothing)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]


def _nothing(*_: Any, **__: Any) -> None:
    """In place of a warning."""


def launch(interpreter: Interpreter, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts the job of a folder; it outlives this process and holds none of its files or consoles.

    Output goes to `log`, after what is there. Raises RunError when the program cannot be started.
    """
    options: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        options = {
            "creationflags": subprocess.CREATE_NO_WINDOW  # type: ignore[attr-defined]
            | subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
            | subprocess.BELOW_NORMAL_PRIORITY_CLASS  # type: ignore[attr-defined]
        }
    try:
        with log.open("ab") as output:
            return Child(
                interpreter.command(folder), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=LIBRARY, env=interpreter.surroundings(), close_fds=True, **options,
            )  # fmt: skip
    except OSError as error:
        raise RunError(
            "the program for the work cannot be started", file=interpreter.path, expected="a Python that runs",
            found=str(error), do="check the installation, or choose another Python under Installation",
        ) from error  # fmt: skip
