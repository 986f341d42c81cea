"""Killed at any moment, a training goes on as if nothing had happened, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from Testing.conftest import REPOSITORY
from Testing.faults.conftest import KILLED, ForkServer, quick
from Testing.soak_record import record
from Testing.training.conftest import TINY
from VoxelAdvSegLib.bundle import read_bundle
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.jobs.protocol import TrainRequest, read_order
from VoxelAdvSegLib.training.checkpoint import read_tensors
from VoxelAdvSegLib.training.events import read_events

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9")
PROMISE = "A training that is killed goes on from its last checkpoint, bit for bit as if it had not been."
LONGEST = 60.0  # seconds; a training of `quick` takes about two


class Killed:
    """A training that is started and killed until it gets through; looks at what each kill left.

    Moments: "random" is any time in a training's life; "saving" is when a checkpoint lies there half
    written; "touch" is just before some change on the disk.
    """

    def __init__(self, server: ForkServer, data: Path, run: Path, settings: dict, seed: int) -> None:
        self.server, self.data, self.run, self.settings = server, data, run, settings
        self.draw = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.step = 0
        self.takes = 2.0

    def once(self, moment: str) -> bool:
        """Starts it, or goes on, and kills it; False when it came to its end before."""
        resume = (self.run / "config.json").exists()
        pid = self.server.begin(
            self.data, self.run, (self.draw.randint(1, 80), "", "SIGKILL") if moment == "touch" else None,
            overrides={} if resume else self.settings, resume=resume,
        )  # fmt: skip
        if moment == "random":
            time.sleep(self.draw.uniform(0, self.takes))
        elif moment == "saving":
            wait_for_half_a_file(self.run / "checkpoints", pid)
        if moment != "touch":
            with contextlib.suppress(ProcessLookupError):  # it came to its end
                os.kill(pid, signal.SIGKILL)
        code = self.server.wait()
        if code != KILLED:
            assert code == 0, self.server.log.read_text()[-3000:]
            return False
        self.kills["while saving" if is_being_written(self.run / "checkpoints") else "elsewhere"] += 1
        self.look(pid)
        return True

    def look(self, pid: int) -> None:
        """What every kill must leave: whole files, no living process, and no step that was saved and is lost."""
        assert processes_of_session(pid) == []
        for name in ("last", "best"):
            file = self.run / "checkpoints" / f"{name}.safetensors"
            if file.exists():
                tensors, about = read_tensors(file)
                assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
                if name == "last":
                    assert about["progress"]["step"] >= self.step
                    self.step = about["progress"]["step"]
        if (self.run / "config.json").exists():
            json.loads((self.run / "config.json").read_text())
        if (self.run / "model").exists():
            read_bundle(self.run / "model")
        diary = self.run / "events.jsonl"
        if diary.exists():
            for line in diary.read_bytes().splitlines(keepends=True):
                assert line.endswith(b"\n")
                json.loads(line)

    def go_on(self) -> None:
        """To its end, without a kill."""
        resume = (self.run / "config.json").exists()
        self.server.begin(self.data, self.run, overrides={} if resume else self.settings, resume=resume)
        assert self.server.wait() == 0, self.server.log.read_text()[-3000:]

    def total(self) -> int:
        return sum(self.kills.values())


def is_being_written(folder: Path) -> bool:
    """Whether a file lies in the folder that has not got its name yet."""
    try:
        return any(path.name.startswith(".") for path in folder.iterdir())
    except FileNotFoundError:
        return False


def wait_for_half_a_file(folder: Path, pid: int) -> None:
    """Until a checkpoint is being written; a tight loop, for it takes a millisecond."""
    deadline = time.monotonic() + LONGEST
    while not is_being_written(folder):
        if time.monotonic() > deadline or not Path(f"/proc/{pid}").exists():
            return


def processes_of_session(leader: int) -> list[int]:
    """Living processes that a training, the leader of its session, has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(words[3]) == leader and words[0] != b"Z":
                found.append(int(entry.name))
    return found


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / "last.safetensors")[0]


def assert_same_training(one: Path, other: Path) -> None:
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
    models = read_bundle(one / "model").weights, read_bundle(other / "model").weights
    for name in models[0]:
        assert all(torch.equal(models[0][name][k], models[1][name][k]) for k in models[0][name])


def assert_nothing_left_over(run: Path) -> None:
    """A run that came to its end holds no file that a killed process had begun."""
    assert [p.relative_to(run).as_posix() for p in run.rglob("*") if p.name.startswith(".") and p.name != ".lock"] == []
    assert [p.name for p in run.rglob("*partial*")] == []


def survive(server: ForkServer, scans: Path, folder: Path, settings: dict, moments: list[str], seed: int) -> Counter:
    """Kills a training at these moments, as often as it takes; asserts that nothing came of it."""
    straight = folder / "straight"
    begin = time.monotonic()
    server.begin(scans, straight, overrides=settings)
    assert server.wait() == 0, server.log.read_text()[-3000:]
    takes = time.monotonic() - begin
    kills: Counter[str] = Counter()
    waiting = list(moments)
    for number in itertools.count(seed):
        if not waiting:
            break
        # One that gets through in spite of all is followed by another.
        killed = Killed(server, scans, folder / f"killed_{number}", settings, number)
        killed.takes = takes
        while waiting and killed.once(waiting[-1]):
            waiting.pop()
        killed.go_on()
        assert_same_training(straight, killed.run)
        assert_nothing_left_over(killed.run)
        kills += killed.kills
    return kills


def told(kills: Counter) -> str:
    saving = kills["while saving"]
    return (
        f"{kills.total()} kills, {saving} of them while a file was half written; 0 bits differ, 0 files are left over"
    )


def test_a_handful_of_kills_change_nothing(fork_server: ForkServer, scans: Path, tmp_path: Path):
    moments = ["random", "saving", "touch", "saving"]
    kills = survive(fork_server, scans, tmp_path, quick(steps=8), moments, seed=5)
    assert kills.total() == len(moments)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", ["voxel_adversarial", "supervised"])
def test_more_than_a_hundred_kills_change_nothing(fork_server: ForkServer, scans: Path, tmp_path: Path, method: str):
    moments = ["random", "saving", "touch"] * 25
    random.Random(1).shuffle(moments)
    settings = quick(steps=25, method=method, adv_gate="held_out")
    kills = survive(fork_server, scans, tmp_path, settings, moments, seed=100)
    assert kills.total() == len(moments)
    assert kills["while saving"] >= len(moments) / 4
    record(PROMISE, f"{method}: {told(kills)}")


PARENT = """
import os, sys, time
from pathlib import Path
from Testing.jobs.conftest import tiny_training
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.train import TrainJob
folder, data, locks, steps = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
python = Interpreter(Path(sys.executable), dict(os.environ))
if (folder / "job.json").exists():
    job = TrainJob.attach(folder)
    while not job.state.is_over:
        job.poll()
    job = job.resume(python, locks)
else:
    job = TrainJob.start(folder, tiny_training(data, steps, checkpoint_every=1), python, locks)
print(job.worker.child.pid, flush=True)
while not job.state.is_over:
    job.poll()
    time.sleep(0.02)
print(job.state.value, flush=True)
"""


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killed_parents_and_children_change_nothing(fork_server: ForkServer, scans: Path, tmp_path: Path):
    """The process that started a training is killed, then the training itself, in turns."""
    run, straight, steps, draw, rounds = tmp_path / "run", tmp_path / "straight", 150, random.Random(3), 4
    words = [sys.executable, "-c", PARENT, str(run), str(scans), str(tmp_path / "locks"), str(steps)]
    for _ in range(rounds):
        parent = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert parent.stdout
        child = int(parent.stdout.readline())
        reached = saved_step(run)
        wait_until(lambda: saved_step(run) > reached)  # noqa: B023
        time.sleep(draw.uniform(0, 0.5))
        parent.kill()
        parent.wait()
        parent.stdout.close()
        reached = saved_step(run)
        wait_until(lambda: saved_step(run) > reached)  # noqa: B023 - it goes on without its parent
        time.sleep(draw.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: processes_of_session(child) == [])  # noqa: B023
    assert saved_step(run) < steps
    done = subprocess.run(words, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.split()[-1] == "finished"
    request = read_order(run).request
    assert isinstance(request, TrainRequest)
    fork_server.begin(scans, straight, overrides={**request.settings, "steps": steps}, anywhere=True)
    assert fork_server.wait() == 0
    assert_same_training(straight, run)
    assert_nothing_left_over(run)
    record(PROMISE, f"{rounds} kills of the parent and {rounds} of the training that it had started: 0 bits differ")


@pytest.mark.soak
def test_a_killed_benchmark_leaves_no_training_behind(scans: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "VoxelAdvSegLib", "benchmark", "run", "--data", str(scans), "--output", str(out)]
    words += ["--methods", "supervised", "--device", "cpu", "--steps", "100000"]
    words += [f"--set={key}={value}" for key, value in {**TINY, "bn_recalibrate": 0}.items()]
    parent = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, cwd=REPOSITORY, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    run = out / "runs" / "supervised" / "seed_0"
    wait_until(lambda: any(event["type"] == "step" for event, _ in read_events(run / "events.jsonl")))
    parent.kill()
    parent.wait()
    wait_until(lambda: processes_of_session(parent.pid) == [])
    assert saved_step(run) > 0  # it stopped gracefully, and can be gone on with
    record("A program that is killed leaves no work behind that keeps the computer busy.", "1 benchmark")


def saved_step(run: Path) -> int:
    try:
        return read_tensors(run / "checkpoints" / "last.safetensors")[1]["progress"]["step"]
    except RunError:
        return 0


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
