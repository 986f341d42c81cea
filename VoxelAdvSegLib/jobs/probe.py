"""Is the installation fit to train? Asked of a child process, answered as verdict, cause and cure."""

from __future__ import annotations

from typing import Any, ClassVar

from VoxelAdvSegLib.jobs.installation import Installation
from VoxelAdvSegLib.jobs.job import Event, Job, JobState
from VoxelAdvSegLib.jobs.verdict import Verdict, judge


class ProbeJob(Job):
    """A probe; `installation` holds the facts so far, `verdict` what they mean once it is over."""

    kind: ClassVar[str] = "probe"
    WORKING: ClassVar[tuple[str, ...]] = ("python",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.installation = Installation()

    @property
    def verdict(self) -> Verdict | None:
        """None while the probe runs; also there when the child crashed, with what it told before."""
        if not self.state.is_over or self.state is JobState.CANCELLED:
            return None
        return judge(self.installation, self.failure)

    def follow(self, event: Event) -> None:
        if event["type"] == "progress":
            self.phase = str(event["phase"])
        elif event["type"] == "job":
            self.phase = "loading Python"
            self.installation = Installation()
        self.installation.take(event)
