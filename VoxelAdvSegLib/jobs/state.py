"""Where a job stands."""

from __future__ import annotations

from enum import Enum


class JobState(str, Enum):
    """The last four are ends, of which a failed or interrupted training may be resumed."""

    PREPARING = "preparing"
    RUNNING = "running"
    STOPPING = "stopping"
    UNRESPONSIVE = "unresponsive"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        return self in (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)
