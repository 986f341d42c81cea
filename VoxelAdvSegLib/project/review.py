"""Which case a person should look at next, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from VoxelAdvSegLib.project.records import Case


@dataclass(frozen=True)
class Queue:
    """Cases to review: half-done ones first, then those whose correction would teach most, or else the least
    certain; text: how it stands, a sentence."""

    cases: tuple[Case, ...]
    skipped: int
    text: str


def order_queue(cases: Sequence[Case]) -> Queue:
    """Excluded, completed and flagged cases are no work; skipped ones wait until they are taken back."""
    wanted = [case for case in cases if case.role != "excluded" and case.state in ("in progress", "predicted")]
    waiting = [case for case in wanted if not case.skipped]
    last = len(cases) + 1
    waiting.sort(key=lambda c: (c.state != "in progress", c.place or last, 1.0 if c.score is None else c.score, c.id))
    skipped = len(wanted) - len(waiting)
    return Queue(tuple(waiting), skipped, _sentence(cases, waiting, skipped))


def _sentence(cases: Sequence[Case], waiting: list[Case], skipped: int) -> str:
    put_back = f" {_count(skipped)} put back for later." if skipped else ""
    if waiting:
        begun = sum(case.state == "in progress" for case in waiting)
        half_done = f", {begun} of them begun" if begun else ""
        return f"{_cases(len(waiting))} to review{half_done}.{put_back}"
    if skipped:
        return f"Nothing else to review.{put_back}"
    open_cases = [case for case in cases if case.role != "excluded" and case.state == "not started"]
    if open_cases:
        return f"Nothing to review: {_count(len(open_cases))} not yet segmented. Segment all unlabeled cases first."
    flagged = sum(case.state == "flagged" and case.role != "excluded" for case in cases)
    if flagged:
        return f"Nothing left to review; {_count(flagged)} flagged."
    return "Nothing left to review: all cases are completed." if cases else "The project has no cases yet."


def _count(number: int) -> str:
    return f"{number} case is" if number == 1 else f"{number} cases are"


def _cases(number: int) -> str:
    return f"{number} case{'s' * (number != 1)}"
