"""Segmentation of a queue of scans as a job."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from VoxelAdvSegLib.jobs.explain import Failure, explain_error
from VoxelAdvSegLib.jobs.job import Event, Job, JobState
from VoxelAdvSegLib.jobs.protocol import CONTROL, SegmentRequest, replace_text

WAITING, STARTED, DONE, SKIPPED, FAILED = "waiting", "started", "done", "skipped", "failed"


@dataclass
class CaseProgress:
    """One scan of the queue.

    state: waiting, started, done, skipped or failed; fraction: 0 to 1; output: the folder of its
    results. When done: volumes_ml, looks_labeled_mean (by organ, and "all organs"), confidence (by
    organ: voxels, inside, boundary, peak), score (0 least to 1 most certain) and reason; assessment: how good
    it probably is (inference.quality.Assessment.to_dict), None where the model has not learned that.
    """

    id: str
    output: Path
    state: str = WAITING
    phase: str = ""
    fraction: float = 0.0
    seconds: float | None = None
    volumes_ml: dict[str, float] = field(default_factory=dict)
    looks_labeled_mean: dict[str, float | None] = field(default_factory=dict)
    confidence: dict[str, dict[str, Any]] = field(default_factory=dict)
    organ_scores: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    reason: str = ""
    assessment: dict[str, Any] | None = None
    failure: Failure | None = None

    @property
    def is_over(self) -> bool:
        return self.state in (DONE, SKIPPED, FAILED)


class SegmentJob(Job):
    """A queue; `cases` by id, in its order. `request_stop` ends it at once and keeps what is done."""

    kind: ClassVar[str] = "segment"
    WORKING: ClassVar[tuple[str, ...]] = ("case",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        request = self.order.request
        assert isinstance(request, SegmentRequest)
        self.cases = {case.id: CaseProgress(case.id, Path(case.output)) for case in request.cases}
        self.device = ""
        self.current: str | None = None

    def skip(self, case_ids: Iterable[str]) -> None:
        """Leaves cases out, also the one that is being worked on. Raises RunError when the disk refuses."""
        skips = set(_read_skips(self.folder)) | set(case_ids)
        replace_text(self.folder / CONTROL, json.dumps({"skip": sorted(skips)}, ensure_ascii=False))

    def follow(self, event: Event) -> None:
        kind = event["type"]
        if kind == "job":
            self.phase = "loading the libraries"
        elif kind == "start":
            self.phase, self.device = "loading the model", str(event["device"])
        elif kind == "message" and event["level"] == "warning":
            self._warn(str(event["text"]))
        elif kind == "case":
            self._follow_case(event)
        elif kind == "progress":
            case = self.cases[event["case"]]
            case.phase, case.fraction = str(event["phase"]), float(event["fraction"])
            self.phase = case.phase
            self._count()

    def _follow_case(self, event: Event) -> None:
        case = self.cases[event["case"]]
        case.state = str(event["state"])
        self.current = case.id if case.state == STARTED else None
        if case.state == DONE:
            case.fraction = 1.0
            for name in ("volumes_ml", "looks_labeled_mean", "confidence", "organ_scores"):
                setattr(case, name, dict(event[name]))
            case.seconds, case.score = float(event["seconds"]), float(event["score"])
            case.reason = str(event["reason"])
            case.assessment = event.get("assessment")
        elif case.state == FAILED:
            case.failure = explain_error(event)
        self._count()

    def _count(self) -> None:
        """Progress of the whole queue, and the time left by what the done cases took."""
        rows = self.cases.values()
        over = sum(row.is_over for row in rows)
        running = sum(row.fraction for row in rows if row.state == STARTED)
        self.progress = (over + running) / max(len(self.cases), 1)
        times = [row.seconds for row in rows if row.seconds is not None]
        if times:
            left = (len(self.cases) - over - running) * sum(times) / len(times)
            self._seconds_left = (left, self._clock())

    def _finish(self, state: JobState) -> None:
        super()._finish(state)
        self.current = None
        for row in self.cases.values():
            if state in (JobState.FINISHED, JobState.CANCELLED) and not row.is_over:
                row.state, row.phase = SKIPPED, ""
            elif row.state == STARTED:
                row.state, row.failure = FAILED, self.failure


def _read_skips(folder: Path) -> list[str]:
    try:
        return list(map(str, json.loads((folder / CONTROL).read_text(encoding="utf-8"))["skip"]))
    except (OSError, ValueError, KeyError, TypeError):
        return []
