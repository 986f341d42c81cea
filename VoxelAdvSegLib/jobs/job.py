"""A job as its parent sees it: started, followed, stopped, found again after a restart.

Nothing here waits: a pump (a timer of the panel, a loop of a test) calls `poll`, which reads what
is new and looks whether the child lives, within a few hundredths of a second.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from VoxelAdvSegLib.data.pseudonyms import reveal
from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.jobs.explain import Failure, explain_error, explain_exit
from VoxelAdvSegLib.jobs.interpreter import Interpreter, launch
from VoxelAdvSegLib.jobs.process import is_alive
from VoxelAdvSegLib.jobs.protocol import (
    CANCELLED,
    CONTROL,
    EVENTS,
    LOG,
    PULSE,
    STOP,
    Order,
    Request,
    read_order,
    write_order,
)
from VoxelAdvSegLib.jobs.pulse import read_pulse
from VoxelAdvSegLib.jobs.state import JobState
from VoxelAdvSegLib.jobs.worker import Worker
from VoxelAdvSegLib.training.events import PROTOCOL, Follower

POLL_SECONDS = 0.02  # of reading per call
MOST_BYTES = 4 * 2**20  # per call
MOST_EVENTS = 200  # per call: thousands of them at once would set off long garbage collections
MOST_WARNINGS = 50
LEAST_FREE_BYTES = 200 * 2**20
TAIL_BYTES = 2**16

Event = dict[str, Any]
J = TypeVar("J", bound="Job")


class Job:
    """One job folder and the child that works on it. Use `start` or `attach`."""

    kind: ClassVar[str]
    WORKING: ClassVar[tuple[str, ...]] = ()  # event types that say that preparations are over

    def __init__(
        self,
        folder: Path,
        order: Order,
        child: subprocess.Popen[bytes] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.order = order
        self.state = JobState.PREPARING
        self.phase = "starting"
        self.progress: float | None = None  # 0 to 1
        self.failure: Failure | None = None  # cause and next step, when it failed or was interrupted
        self.warnings: list[str] = []
        self.longest_poll = 0.0  # seconds
        self.worker = Worker(folder, order.sitting, child, clock)
        self._clock = clock
        self._follower = Follower(folder / EVENTS)
        self._ours = False  # the events read are of this sitting
        self._working = False
        self._end: Event | None = None
        self._stop_asked = False
        self._cancel_asked = (folder / CANCELLED).exists()
        if self._cancel_asked:  # by someone who may have left before the grace time was over
            self.worker.kill_at = clock()
        self._seconds_left: tuple[float, float] | None = None  # and the clock when it was told

    # --- beginnings ---------------------------------------------------------------------------

    @classmethod
    def start(
        cls: type[J],
        folder: Path | str,
        request: Request,
        interpreter: Interpreter,
        locks: Path | None = None,
        free_bytes: int = LEAST_FREE_BYTES,
    ) -> J:
        """Starts a child for a request in a job folder, which is made where it is not there.

        locks: folder of the device locks, else the user's own. Raises RunError when a live child has the
        folder, when less than free_bytes are free there, or when the child cannot be started.
        """
        folder = Path(folder).absolute()
        _make_room(folder, free_bytes)
        order = write_order(folder, request, locks)
        return cls(folder, order, launch(interpreter, folder, folder / LOG))

    @classmethod
    def attach(cls: type[J], folder: Path | str) -> J:
        """The job of a folder that another process started, whatever became of it since.

        Its state is known after the first poll, long before all its events are read. Raises
        InputError when the folder holds no job of this kind.
        """
        folder = Path(folder).absolute()
        order = read_order(folder)
        if order.request.kind != cls.kind:
            raise InputError(
                "the folder holds a job of another kind", file=folder, expected=cls.kind, found=order.request.kind,
                do="choose another folder",
            )  # fmt: skip
        return cls(folder, order, None)

    # --- following ----------------------------------------------------------------------------

    def poll(self, seconds: float = POLL_SECONDS) -> list[Event]:
        """New events, and the state as of now. Returns in little more than `seconds`."""
        begin = time.perf_counter()
        gone = self.worker.is_gone()  # looked at before reading: what it wrote last is then there
        events = []
        # One by one, so that what is made of an event counts towards the time.
        for event, _ in self._follower.take(seconds, MOST_BYTES):
            self._take(event)
            events.append(event)
            if len(events) == MOST_EVENTS:
                break
        self.worker.look()
        self._settle(gone)
        self.longest_poll = max(self.longest_poll, time.perf_counter() - begin)
        return events

    @property
    def behind(self) -> int:
        """Bytes of events that wait to be read; poll more often while there are many."""
        return self._follower.behind

    @property
    def seconds_left(self) -> float | None:
        if self._seconds_left is None or self.state.is_over:
            return None
        seconds, told = self._seconds_left
        return max(0.0, seconds - (self._clock() - told))

    @property
    def heartbeat_age(self) -> float | None:
        """Seconds since the child's last sign of life; None before the first."""
        return self.worker.heartbeat_age

    @property
    def started(self) -> float | None:
        """When the child began, in seconds since 1970; None before its first sign of life."""
        return None if self.worker.pulse is None else self.worker.pulse.started

    def log_tail(self, most_bytes: int = TAIL_BYTES) -> str:
        """The last lines of the child's output."""
        return read_tail(self.folder / LOG, most_bytes)

    # --- asking -------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Asks for a graceful end: what was reached is kept. Raises RunError when the disk refuses."""
        self._touch(STOP)
        self._stop_asked = True

    def cancel(self, grace_seconds: float = 10.0) -> None:
        """Ends the job whatever it does: politely now, and by killing all its processes after the grace time."""
        if self.state.is_over:
            return
        self._touch(CANCELLED)
        self._cancel_asked = True
        self._touch(STOP)
        self.worker.end(grace_seconds)

    def _touch(self, name: str) -> None:
        try:
            (self.folder / name).touch()
        except OSError as error:
            raise RunError(
                "the job cannot be told to stop", file=self.folder / name, expected="a folder that may be written to",
                found=str(error), do="make room, or end the process by hand",
            ) from error  # fmt: skip

    # --- events -------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        """Follows one event. Events of earlier sittings in the same folder change no state."""
        if event.get("sitting") is not None:
            self._ours = event["sitting"] == self.order.sitting
            if self._ours and event["type"] == "job":
                self._end, self._working, self.failure = None, False, None
        kind = event["type"]
        try:
            self.follow(event)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            self._warn(f"An event of the type '{kind[:40]}' is not as this version knows it and was passed over.")
            return
        if not self._ours:
            return
        if kind in ("job", "start") and _newer(event):
            self._warn("The work is done by a newer version; what this one does not know is not shown.")
        if kind in self.WORKING:
            self._working = True
        if kind == "end":
            self._end = event
        elif kind == "error":
            self._end, self.failure = event, explain_error(reveal(self.folder, event))

    def follow(self, event: Event) -> None:
        """What an event means for phase, progress and view; of earlier sittings, too."""

    def _warn(self, text: str) -> None:
        if text not in self.warnings and len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(text)

    # --- the state ----------------------------------------------------------------------------

    def _settle(self, gone: bool) -> None:
        if self.state.is_over:
            return
        if gone and self._end is None and self.behind:
            self._look_ahead()
        if self._cancel_asked:
            if gone:
                self._finish(JobState.CANCELLED)
            else:
                self.state = JobState.STOPPING
        elif self._end is not None:
            self._finish(JobState.FAILED if self._end["type"] == "error" else JobState.FINISHED)
        elif gone and self.worker.child is None:
            self.failure = self._interruption()
            self._finish(JobState.INTERRUPTED)
        elif gone:
            self.failure = explain_exit(self.worker.exit_code, self.log_tail(), self.phase)
            self._finish(JobState.FAILED)
        else:
            self.state = self._state_while_alive()
        self.worker.kill_when_due()

    def _state_while_alive(self) -> JobState:
        if self.worker.is_silent:
            return JobState.UNRESPONSIVE
        if self._stop_asked or self._cancel_asked or (self.folder / STOP).exists():
            return JobState.STOPPING
        return JobState.RUNNING if self._working else JobState.PREPARING

    def _finish(self, state: JobState) -> None:
        self.state = state
        if state is JobState.FINISHED:
            self.progress = 1.0

    def _look_ahead(self) -> None:
        """How the diary ends, before all of it is read: that is worth knowing first."""
        # By place in the file and not by the child's clock, which may have been set back.
        for line in read_tail(self.folder / EVENTS, after=self.order.diary).splitlines()[1:]:
            try:
                event = json.loads(line)
                self._foresee(event)
                if event["type"] == "end":
                    self._end = event
                elif event["type"] == "error":
                    self._end, self.failure = event, explain_error(reveal(self.folder, event))
            except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
                continue  # torn or junk; the follower counts it

    def _foresee(self, event: Event) -> None:
        """An event near the end of a diary whose beginning is still unread."""

    def _interruption(self) -> Failure:
        return Failure(
            what="The work was interrupted.",
            why="Its process ended without a word: the computer was switched off or the process was killed.",
            do="Start it again.",
        )


def _make_room(folder: Path, free_bytes: int) -> None:
    """The folder, made and cleared of what is left of an earlier start. Raises RunError as `Job.start`."""
    pulse = read_pulse(folder)
    if pulse is not None and is_alive(pulse.process):
        raise RunError(
            "the folder is in use", file=folder, expected="one job at a time in a folder",
            found="another process that works on it", do="wait for it, or stop it",
        )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        half_written = folder.glob(".*.json.*.partial")  # by a process that was killed
        for path in (*(folder / name for name in (STOP, CANCELLED, CONTROL, PULSE)), *half_written):
            path.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise RunError(
            "the folder cannot be written", file=folder, expected="a folder with the right to write",
            found=str(error), do="choose another project folder",
        ) from error  # fmt: skip
    if free < free_bytes:
        raise RunError(
            "there is too little room on the disk", file=folder, expected=f"{free_bytes / 2**20:.0f} MB free",
            found=f"{free / 2**20:.0f} MB", do="make room, or put the project on another disk",
        )  # fmt: skip


def read_tail(path: Path, most_bytes: int = TAIL_BYTES, after: int = 0) -> str:
    """The last bytes of a text file, of those after a place in it; "" when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(after, file.tell() - most_bytes))
            return file.read(most_bytes).decode("utf-8", "replace")
    except OSError:
        return ""


def _newer(event: Mapping[str, Any]) -> bool:
    protocol = event.get("protocol")
    return isinstance(protocol, int) and protocol > PROTOCOL
