"""Children of every kind: the real ones, and one that does what its script says."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import Job, JobState
from VoxelAdvSegLib.jobs.process import kill_tree
from VoxelAdvSegLib.jobs.protocol import Request, TrainRequest
from VoxelAdvSegLib.jobs.train import TrainJob

PYTHON = Path(sys.executable)
FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
PATIENCE = 120.0  # seconds until a test gives up; no test waits that long when all is well


@pytest.fixture
def real() -> Interpreter:
    """This Python, as PythonSlicer would be."""
    return Interpreter(PYTHON, dict(os.environ))


@pytest.fixture
def fake() -> Interpreter:
    return Interpreter(PYTHON, dict(os.environ), (str(FAKE_WORKER),))


def pump(job: Job, until: Callable[[], Any], pause: float = 0.01) -> list[dict[str, Any]]:
    """Polls as a timer would, until the condition holds; all events that came."""
    events, deadline = [], time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, f"{job.state}, {job.phase}, {job.log_tail()}"
        events += job.poll()
        time.sleep(0 if job.behind else pause)
    return events


def pump_to_end(job: Job) -> list[dict[str, Any]]:
    events = pump(job, lambda: job.state.is_over)
    while job.behind:
        events += job.poll()
    return events + job.poll()


@dataclass
class Bench:
    """Starts children and makes sure that none is left."""

    folder: Path
    fake: Interpreter
    jobs: list[Job] = field(default_factory=list)

    def start(self, kind: type[Job], request: Request, interpreter: Interpreter, name: str = "job") -> Any:
        job = kind.start(self.folder / name, request, interpreter, locks=self.folder / "locks")
        self.jobs.append(job)
        return job

    def play(self, *script: list[Any], kind: type[Job] = TrainJob, request: Request | None = None) -> Any:
        """A child that plays a script."""
        folder = self.folder / "job"
        folder.mkdir(exist_ok=True)
        (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
        return self.start(kind, request or TrainRequest(data="none.json"), self.fake)

    def clear(self) -> None:
        for job in self.jobs:
            kill_tree(job.worker.pids())
            if job.worker.child is not None:
                job.worker.child.wait(PATIENCE)


@pytest.fixture
def bench(tmp_path: Path, fake: Interpreter) -> Iterator[Bench]:
    made = Bench(tmp_path, fake)
    yield made
    made.clear()


def step_event(step: int, steps: int = 100, **changes: Any) -> dict[str, Any]:
    """As a training writes it."""
    return {
        "type": "step", "step": step, "steps": steps,
        "terms": {"student": {"dice": 1 / step, "adversarial": 0.7}, "discriminator": {"discriminator": 0.69}},
        "weights": {"dice": 1.0, "adversarial": 0.01, "discriminator": 1.0}, "lr": {"student": 0.01},
        "observed": {
            "accuracy_labeled": [None, 0.9, 0.6], "accuracy_unlabeled": [None, 0.8, 0.5], "moving_accuracy": 0.7,
        },
        "gradient_ratios": {}, "seconds_per_step": 0.5, "seconds_left": (steps - step) * 0.5, **changes,
    }  # fmt: skip


JOB_EVENT = {"type": "job", "protocol": 1, "version": "0.1.0", "kind": "train"}
START_EVENT = {
    "type": "start", "protocol": 1, "version": "0.1.0", "method": "voxel_adversarial", "preset": "auto",
    "organs": [{"name": "ball", "color_rgb": [1, 2, 3]}, {"name": "pebble", "color_rgb": [4, 5, 6]}], "device": "cpu",
    "steps": 100, "minutes": None, "resumed": False, "plan": ["A sentence."], "run": "/somewhere",
}  # fmt: skip
END_EVENT = {"type": "end", "reason": "finished", "step": 100, "steps": 100, "model": "model", "dice": {"ball": 0.9}}


@pytest.fixture(scope="session")
def tiny_scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of two labeled, three unlabeled and one validation scan of 20 x 18 x 16 voxels."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate("abcdef"):
        write_scan(folder, name, seed, labeled=name in "abf")
    return write_manifest(folder)


def tiny_training(manifest: Path, steps: int = 6, **settings: Any) -> TrainRequest:
    rarely = {"validate_every": 3, "preview_every": 3, "bn_recalibrate": 2}
    return TrainRequest(data=str(manifest), settings={**TINY, **rarely, **settings}, threads=1, steps=steps)


@dataclass(frozen=True)
class Trained:
    """A training that was driven to its end by a pump."""

    job: TrainJob
    events: list[dict[str, Any]]
    states: list[JobState]
    phases: list[str]


@pytest.fixture(scope="session")
def trained(tiny_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    job = TrainJob.start(
        folder / "Läuf 1", tiny_training(tiny_scans), Interpreter(PYTHON, dict(os.environ)), locks=folder / "locks"
    )
    states, phases = [job.state], [job.phase]

    def note() -> bool:
        if states[-1] is not job.state:
            states.append(job.state)
        if phases[-1] != job.phase:
            phases.append(job.phase)
        return job.state.is_over

    events = pump(job, note)
    assert job.worker.child is not None
    job.worker.child.wait(PATIENCE)
    return Trained(job, events + job.poll(), states, phases)
