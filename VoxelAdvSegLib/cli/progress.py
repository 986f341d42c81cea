"""How far long work has come: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

BAR_WIDTH = 24
SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows done-of-total on a stream (standard error unless told otherwise); clears its bar at the end."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.clock = clock
        self.started = self.last_line = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Takes the bar off the terminal, so that other text can be printed."""
        if self.terminal:
            self._write("\r\x1b[K")

    def __call__(self, done: int, total: int, name: str) -> None:
        """`name` is about to be worked on, `done` of `total` are behind."""
        now = self.clock()
        left = (now - self.started) / done * (total - done) if done else None
        status = f"{done}/{total}" + (f", {_duration(left)} left" if left is not None else "") + f"  {name}"
        if self.terminal:
            filled = BAR_WIDTH * done // max(total, 1)
            self._write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {status}\x1b[K")
        elif now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self._write(status + "\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
