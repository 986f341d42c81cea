"""A process is known by number and start, and ended with all that it started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from VoxelAdvSegLib.jobs import process
from VoxelAdvSegLib.jobs.process import ask_to_end, is_alive, kill_tree, start_token, this_process

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    child = subprocess.Popen(SLEEPER, start_new_session=True)
    yield child
    child.kill()
    child.wait()


def test_this_process_is_alive_and_no_other_with_its_number():
    me = this_process()
    assert me.pid == os.getpid() and me.token and is_alive(me) is True
    assert is_alive(replace(me, token="another start")) is False
    assert is_alive(replace(me, token="")) is False
    assert start_token(os.getpid()) == me.token


def test_of_another_computer_nothing_is_known():
    assert is_alive(replace(this_process(), host="elsewhere")) is None


def test_two_processes_have_two_tokens(sleeper: subprocess.Popen):
    time.sleep(0.05)  # the clock of start times ticks a hundred times a second
    other = subprocess.Popen(SLEEPER)
    try:
        assert start_token(sleeper.pid) != start_token(other.pid)
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_an_ended_process_that_nobody_fetched_is_not_alive(sleeper: subprocess.Popen):
    assert start_token(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie from here on
    assert Path(f"/proc/{sleeper.pid}").exists() and start_token(sleeper.pid) is None


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_no_process_has_no_token(pid: int):
    assert start_token(pid) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_names_with_blanks_and_parentheses_do_not_confuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "stat").write_text("17 (a ) b) S 5 " + " ".join(map(str, range(5, 30))))
    monkeypatch.setattr(process, "PROC", tmp_path)
    assert start_token(17) == ":22"  # field 22 of the line, counted from 1


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_the_whole_tree_ends_also_those_that_left_the_group(tmp_path: Path):
    """A child, its child, and one of a session of its own."""
    code = (
        "import subprocess, sys, time\n"
        f"s = {SLEEPER!r}\n"
        "a, b = subprocess.Popen(s), subprocess.Popen(s, start_new_session=True)\n"
        "print(a.pid, b.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pids = [child.pid, *map(int, child.stdout.readline().split())]
    assert all(start_token(pid) for pid in pids)
    kill_tree([child.pid])
    assert child.wait(20) == -signal.SIGKILL
    child.stdout.close()
    deadline = time.monotonic() + 20
    while any(start_token(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(start_token(pid) for pid in pids)


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_the_group_ends_where_the_system_tells_no_descendants(monkeypatch: pytest.MonkeyPatch):
    """As on a Mac."""
    monkeypatch.setattr(process, "_descendants", lambda pid: [])
    code = f"import subprocess, time\nprint(subprocess.Popen({SLEEPER!r}).pid, flush=True)\ntime.sleep(600)\n"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    kill_tree([child.pid])
    assert child.wait(20) == -signal.SIGKILL
    child.stdout.close()
    deadline = time.monotonic() + 20
    while start_token(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert start_token(grandchild) is None


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_child_in_our_own_group_is_ended_without_us():
    child = subprocess.Popen(SLEEPER)
    assert os.getpgid(child.pid) == os.getpgrp()
    kill_tree([child.pid])
    assert child.wait(20) == -signal.SIGKILL  # and this test goes on


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_asking_is_polite(sleeper: subprocess.Popen):
    ask_to_end(sleeper.pid)
    assert sleeper.wait(20) == -signal.SIGTERM
    ask_to_end(sleeper.pid)  # gone: nothing happens
    kill_tree([sleeper.pid])
