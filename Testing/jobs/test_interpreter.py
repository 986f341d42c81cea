"""Which Python is started, and what it finds around it."""

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from VoxelAdvSegLib.errors import ConfigError, RunError
from VoxelAdvSegLib.jobs.interpreter import LIBRARY, Interpreter, find_python_slicer, launch, own_interpreter

NAME = "PythonSlicer" + (".exe" if os.name == "nt" else "")


def nowhere(name: str) -> None:
    return None


def test_python_slicer_is_found_on_the_path_and_below_slicers_home(tmp_path: Path):
    home = tmp_path / "Slicer"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / NAME).touch()
    on_path = tmp_path / NAME
    on_path.touch()
    assert find_python_slicer(home, {}, nowhere).path == home / "bin" / NAME
    assert find_python_slicer(home, {}, lambda name: str(on_path)).path == on_path
    assert find_python_slicer(str(home), {}, lambda name: str(tmp_path / "gone")).path == home / "bin" / NAME


def test_without_it_the_person_is_told(tmp_path: Path):
    for home in (tmp_path, None):
        with pytest.raises(ConfigError, match="own Python was not found"):
            find_python_slicer(home, {}, nowhere)


def test_slicers_environment_is_passed_on_to_its_own_python(tmp_path: Path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / NAME).touch()
    given = {"PYTHONHOME": "/slicer/python", "PYTHONPATH": "/slicer/modules", "LD_LIBRARY_PATH": "/slicer/lib"}
    around = find_python_slicer(tmp_path, given, nowhere).surroundings()
    assert around["PYTHONHOME"] == "/slicer/python" and around["LD_LIBRARY_PATH"] == "/slicer/lib"
    assert around["PYTHONPATH"] == os.pathsep.join([str(LIBRARY), "/slicer/modules"])
    assert {around[k] for k in ("PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONNOUSERSITE")} == {"1"}
    assert "PYTHONUTF8" not in given  # the caller's own is left alone


def test_another_python_does_not_see_slicers_modules():
    given = {"PYTHONHOME": "/slicer/python", "PYTHONPATH": "/slicer/modules", "HOME": "/h"}
    around = own_interpreter(sys.executable, given).surroundings()
    assert "PYTHONHOME" not in around and around["PYTHONPATH"] == str(LIBRARY) and around["HOME"] == "/h"


def test_a_system_wide_cuda_can_be_left_out():
    paths = os.pathsep.join(["/usr/local/cuda-12/lib64", "/opt/lib", "/opt/cuDNN8"])
    given = {"LD_LIBRARY_PATH": paths, "PATH": paths}
    around = own_interpreter(sys.executable, given, without_cuda=True).surroundings()
    assert around["LD_LIBRARY_PATH"] == around["PATH"] == "/opt/lib"
    assert own_interpreter(sys.executable, given).surroundings()["PATH"] == paths


@pytest.mark.parametrize("make", [lambda p: p / "none", lambda p: p, lambda p: p / "text"])
def test_what_is_no_program_is_refused(tmp_path: Path, make):
    (tmp_path / "text").write_text("")
    with pytest.raises(ConfigError, match="no Python interpreter"):
        own_interpreter(make(tmp_path), {})


def test_a_link_of_a_venv_stays_a_link(tmp_path: Path):
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert own_interpreter(link, {}).path == link  # resolved, it would be the Python without the venv's packages


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path):
    with pytest.raises(RunError, match="cannot be started"):
        launch(Interpreter(tmp_path / "none", {}), tmp_path, tmp_path / "log.txt")


PRINTER = (
    "import json, os, sys, VoxelAdvSegLib; print(json.dumps([VoxelAdvSegLib.__file__, sys.stdin.read(), "
    "os.getpid() == os.getsid(0), sys.argv[1:], sys.flags.utf8_mode, sys.flags.no_user_site]))"
)


@pytest.mark.skipif(os.name != "posix", reason="sessions")
def test_a_child_has_a_session_of_its_own_no_input_and_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From whatever folder, without the library on anybody's path, into a folder of any name."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "Jöb eins"
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    log = folder / "log.txt"
    log.write_text("earlier\n")
    child = launch(Interpreter(Path(sys.executable), environment, ("-c", PRINTER)), folder, log)
    assert child.wait(60) == 0
    first, told = log.read_text(encoding="utf-8").splitlines()
    assert first == "earlier"
    assert json.loads(told) == [str(LIBRARY / "VoxelAdvSegLib" / "__init__.py"), "", True, [str(folder)], 1, 1]


def test_the_library_is_found_though_a_launcher_sets_its_own_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """-E: the child does not look at PYTHONPATH."""
    monkeypatch.chdir(tmp_path)
    interpreter = Interpreter(Path(sys.executable), os.environ, ("-E", "-m", "VoxelAdvSegLib", "--version"))
    child = launch(interpreter, tmp_path, tmp_path / "log.txt")
    assert child.wait(60) == 0 and "VoxelAdvSegLib" in (tmp_path / "log.txt").read_text()


@pytest.mark.skipif(os.name != "posix", reason="file descriptors")
def test_to_let_a_child_go_is_no_mistake(tmp_path: Path):
    """Warnings are errors here: none may come from a child that is forgotten while it runs."""
    interpreter = Interpreter(Path(sys.executable), os.environ, ("-c", "import time; time.sleep(600)"))
    pid = launch(interpreter, tmp_path, tmp_path / "log.txt").pid
    gc.collect()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.skipif(os.name != "posix", reason="file descriptors")
def test_a_child_holds_no_file_of_its_parent(tmp_path: Path):
    """A pipe of the parent ends when the parent closes it, though the child lives on."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    interpreter = Interpreter(Path(sys.executable), os.environ, ("-c", "import time; time.sleep(600)"))
    child = launch(interpreter, tmp_path, tmp_path / "log.txt")
    try:
        os.close(writing)
        assert os.read(reading, 1) == b""
        assert child.poll() is None
    finally:
        os.close(reading)
        child.kill()
        child.wait()
    assert isinstance(child, subprocess.Popen)
