"""A curve of any length in bounded memory."""

from __future__ import annotations

from collections import deque

import numpy as np

MOST_POINTS = 5000
RECENT = 40


class Curve:
    """Values over a growing x; beyond MOST_POINTS neighbours are averaged, so it stays whole.

    recent: the last values as they came, for readings that must not be smoothed. A value at or
    before the last x replaces what was there from that x on: a resumed run repeats steps.
    """

    def __init__(self, most_points: int = MOST_POINTS) -> None:
        self.most_points = most_points
        self.stride = 1  # values averaged into one point
        self.recent: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._x: list[float] = []
        self._y: list[float] = []
        self._group: list[tuple[float, float]] = []  # of the point that is being made

    def add(self, x: float, y: float) -> None:
        if self.recent and x <= self.recent[-1][0]:
            self._forget_from(x)
        self.recent.append((x, y))
        self._group.append((x, y))
        if len(self._group) == self.stride:
            self._close_group()

    def __len__(self) -> int:
        return len(self._x) + bool(self._group)

    @property
    def last(self) -> float | None:
        return self.recent[-1][1] if self.recent else None

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y, float64, at most MOST_POINTS; the last x is that of the last value."""
        x, y = list(self._x), list(self._y)
        if self._group:
            x.append(self._group[-1][0])
            y.append(sum(v for _, v in self._group) / len(self._group))
        return np.array(x, np.float64), np.array(y, np.float64)

    def _close_group(self) -> None:
        self._x.append(self._group[-1][0])
        self._y.append(sum(v for _, v in self._group) / len(self._group))
        self._group = []
        if len(self._x) >= self.most_points:
            self._x = self._x[1::2]
            self._y = [(a + b) / 2 for a, b in zip(self._y[::2], self._y[1::2], strict=False)]
            self.stride *= 2

    def _forget_from(self, x: float) -> None:
        while self.recent and self.recent[-1][0] >= x:
            self.recent.pop()
        while self._x and self._x[-1] >= x:
            self._x.pop()
            self._y.pop()
        self._group = [(a, b) for a, b in self._group if a < x]
