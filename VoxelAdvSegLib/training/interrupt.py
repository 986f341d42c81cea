"""Ctrl-C, and the end that a system asks for: a training saves and ends."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from VoxelAdvSegLib.training.parallel import Team

ECHO_SECONDS = 3.0  # in which a launcher passes on the signal that the keyboard has sent already


class Interrupt:
    """Ctrl-C asks for a graceful end; a second one ends at once. Only the main thread can listen.

    Of several processes the leader listens. It hears one Ctrl-C twice, from the keyboard and from the launcher.
    """

    def __init__(self, team: Team) -> None:
        self.seen = False
        self._team = team
        self._deaf_until = 0.0

    def __enter__(self) -> Interrupt:
        self._main = threading.current_thread() is threading.main_thread() and self._team.leads
        if self._main:
            self._before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.seen and time.monotonic() >= self._deaf_until:
            raise KeyboardInterrupt
        if not self.seen and self._team.size > 1:
            self._deaf_until = time.monotonic() + ECHO_SECONDS
        self.seen = True

    def __exit__(self, *error: object) -> None:
        if self._main:
            for number, handler in self._before.items():
                signal.signal(number, handler)
