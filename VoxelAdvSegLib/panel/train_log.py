"""The log of a training: lines are added at the end, and none is changed afterwards."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from VoxelAdvSegLib.jobs.protocol import LOG
from VoxelAdvSegLib.jobs.train import TrainJob

MOST_LINES = 5000
MOST_BYTES = 2**16  # of the child's own output, each time


class TrainLog:
    """Gathers what a job says: its plan, phases, validations, messages, warnings and own output."""

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        widget.maximumBlockCount = MOST_LINES
        self._job: TrainJob | None = None
        self._begin()

    def _begin(self) -> None:
        self._said: set[str] = set()
        self._phase = ""
        self._validated = -1
        self._read = 0
        self._rest = b""

    def refresh(self, job: TrainJob | None) -> None:
        """Adds what is new; a new job begins a new log."""
        if job is not self._job:
            self._job = job
            self._begin()
            self.widget.clear()
        if job is None:
            return
        lines = [*self._new_sentences(job), *self._new_phase(job), *self._new_validation(job), *self._new_output(job)]
        if lines:
            self.widget.appendPlainText("\n".join(lines))

    def _new_sentences(self, job: TrainJob) -> list[str]:
        view = job.view
        told = [*view.plan, *view.messages]
        told += [_("Warning: {text}").format(text=text) for text in [*view.warnings, *job.warnings]]
        new = [text for text in dict.fromkeys(told) if text not in self._said]
        self._said.update(new)
        return new

    def _new_phase(self, job: TrainJob) -> list[str]:
        if job.phase == self._phase:
            return []
        self._phase = job.phase
        return [f"[{job.phase}]"]

    def _new_validation(self, job: TrainJob) -> list[str]:
        mean = job.view.dice.get("mean")
        if mean is None:
            return []
        new = [(step, dice) for step, dice in zip(*mean.points(), strict=True) if step > self._validated]
        if new:
            self._validated = new[-1][0]
        words = _("Step {step}: mean Dice {dice} on the validation scans")
        return [words.format(step=int(step), dice=f"{dice:.3f}") for step, dice in new]

    def _new_output(self, job: TrainJob) -> list[str]:
        """Whole lines of the child's output since the last time."""
        try:
            with (job.folder / LOG).open("rb") as file:
                size = file.seek(0, 2)
                if size < self._read:  # a training that was gone on with writes it anew
                    self._read, self._rest = 0, b""
                file.seek(self._read)
                piece = file.read(MOST_BYTES)
        except FileNotFoundError:
            return []
        self._read += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if job.state.is_over and self._read >= size and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode("utf-8", "replace").rstrip() for line in lines if line.strip()]
