"""Finding out whether the unlabeled scans of a training helped, as a job."""

from __future__ import annotations

from typing import Any, ClassVar

from VoxelAdvSegLib.jobs.job import Event, Job

PHASES = {
    "labeled scans": "preparing labeled scans",
    "validation scans": "preparing validation scans",
    "training": "training without the unlabeled scans",
    "scoring": "segmenting the validation scans with both models",
}
SCORING_SHARE = 0.1  # of the progress; the rest is the training


class CompareJob(Job):
    """The supervised twin of a training, and the verdict; `answer` and `sentence` once it has ended."""

    kind: ClassVar[str] = "compare"
    WORKING: ClassVar[tuple[str, ...]] = ("progress",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.answer = ""
        self.sentence = ""

    def follow(self, event: Event) -> None:
        kind = event["type"]
        if kind == "job":
            self.phase, self.progress = "loading the libraries", None
        elif kind == "message" and event["level"] == "warning":
            self._warn(str(event["text"]))
        elif kind == "progress":
            self._follow_progress(event)
        elif kind == "end" and event["reason"] == "finished":
            self.answer, self.sentence = str(event["answer"]), str(event["sentence"])
            self.progress = 1.0

    def _follow_progress(self, event: Event) -> None:
        phase, part = event["phase"], event["done"] / max(event["total"], 1)
        self.phase = PHASES.get(phase, str(phase))
        if phase == "training":
            self.progress = (1 - SCORING_SHARE) * part
            left = event.get("seconds_left")
            self._seconds_left = None if left is None else (float(left), self._clock())
        elif phase == "scoring":
            self.progress = 1 - SCORING_SHARE * (1 - part)
