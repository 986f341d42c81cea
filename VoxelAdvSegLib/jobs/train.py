"""A training as a job: the job folder is the run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.jobs.explain import Failure
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import Event, Job, JobState
from VoxelAdvSegLib.jobs.protocol import TrainRequest
from VoxelAdvSegLib.jobs.training_view import TrainingView

PHASES = {
    "labeled scans": "preparing labeled scans",
    "unlabeled scans": "preparing unlabeled scans",
    "validation scans": "preparing validation scans",
    "validation": "validation",
    "judge": "learning how labeled scans look",
    "references": "looking at the scans of the training",
    "calibration": "learning how good the segmentations are",
}


class TrainJob(Job):
    """A training; `view` holds what a panel shows of it."""

    kind: ClassVar[str] = "train"
    WORKING: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.view = TrainingView(self.folder)
        self.step: int | None = None
        self.steps: int | None = None
        self._began: float | None = None  # the child's clock at the start of this sitting
        self._planned = False  # whether steps are known that fit into a time budget

    @property
    def model(self) -> Path | None:
        """Folder of the trained model, once it is there."""
        path = self.folder / "model"
        return path if (path / "model.json").is_file() else None

    @property
    def can_resume(self) -> bool:
        """Whether a checkpoint waits to be gone on from."""
        over = self.state in (JobState.FAILED, JobState.INTERRUPTED, JobState.CANCELLED)
        return over and (self.folder / "checkpoints" / "last.safetensors").is_file()

    def resume(self, interpreter: Interpreter, locks: Path | None = None) -> TrainJob:
        """A new child that goes on from the last checkpoint, or begins anew where there is none yet.

        Raises RunError while this job is not over, and as `start`.
        """
        if not self.state.is_over:
            raise RunError(
                "the training still runs", file=self.folder, expected="a training that has ended",
                found=f"one that is {self.state.value}", do="wait for its end, or stop it",
            )  # fmt: skip
        request = self.order.request
        assert isinstance(request, TrainRequest)
        going_on = (self.folder / "config.json").is_file()
        return TrainJob.start(self.folder, replace(request, resume=going_on), interpreter, locks)

    def follow(self, event: Event) -> None:
        kind = event["type"]
        self.view.take(event)
        if kind == "job":
            self.phase, self.progress = "loading the libraries", None
        elif kind == "start":
            self.phase = "checking the data"
            self._began, self._planned = float(event["time"]), False
        elif kind == "plan":
            self._planned = True
        elif kind == "progress":
            self.phase = PHASES.get(event["phase"], event["phase"])
            if event["phase"] != "validation":
                self.progress = event["done"] / max(event["total"], 1)
        elif kind == "step":
            self._note_step(event)
            self.phase = "training"
            self._note_time(event)
        elif kind == "validation" and event.get("final"):
            self.phase = "writing the model"
        elif kind == "end":
            self._note_step(event)

    def _note_time(self, event: Event) -> None:
        """Progress and time left: by steps, and under a budget of time by the clock until steps are planned."""
        self.progress = event["step"] / max(event["steps"], 1)
        left = event.get("seconds_left")
        request = self.order.request
        minutes = request.minutes if isinstance(request, TrainRequest) else None
        if minutes is not None and self._began is not None:
            spent = max(0.0, float(event["time"]) - self._began)
            rest = max(0.0, 60 * minutes - spent)
            if not self._planned:
                self.progress = min(1.0, spent / (60 * minutes))
            left = rest if left is None or not self._planned else min(float(left), rest)
        self._seconds_left = None if left is None else (float(left), self._clock())

    def _foresee(self, event: Event) -> None:
        if event["type"] in ("step", "checkpoint"):
            self._note_step(event)

    def _note_step(self, event: Event) -> None:
        self.step = int(event["step"])
        self.steps = int(event.get("steps") or self.steps or 0) or None

    def _interruption(self) -> Failure:
        reached = "before its first step" if self.step is None else f"at step {self.step}"
        return Failure(
            f"The training was interrupted {reached}.",
            "Its process ended without a word: the computer was switched off, or the process was killed.",
            "Resume it: it goes on from the last checkpoint." if self.step else "Start it again.",
        )
