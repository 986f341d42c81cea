"""Learns, from scans whose true Dice is known, how signs of quality and Dice go together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear
from scipy.stats import t

from VoxelAdvSegLib.inference.quality import FEWEST_CASES, SIGNS, Calibration, badness, error_of
from VoxelAdvSegLib.inference.signs import OrganSigns

# What each sign is worth against the others, in its deviations; from how they went with the true Dice on the scans
# of docs/results.md. Nine weights cannot be learned from ten scans, but what their mixture is worth can.
MIXTURE = {
    "agreement": 0.5, "disagreement": 1.0, "overlap": 0.5, "entropy": 0.2, "typicality": 0.3, "distance": 1.0,
    "small": 0.5, "volume": 0.3, "scattered": 0.3,
}  # fmt: skip
SHRINKAGE = 3.0  # of the mixture's factor and of the organs' own intercepts, in scans
COVERAGE = 0.9
LEAST_SPREAD = 0.05  # deviation of log(1 - Dice): nothing is known better than that
DEGRADED = 0.3  # weight of a scan made worse on purpose, against 1 of a scan as it is
LEAST_SCALE = 1e-6
FEWEST_OF_AN_ORGAN = 4  # scans with the organ, below which nothing is said of it
LEAST_DEVIATION = 0.15  # of the logarithm of an organ's volume: bodies differ


@dataclass(frozen=True)
class Example:
    """An organ in a scan that the model was not trained with: its signs, its true Dice; case: number of the scan;
    degraded: the scan was made worse on purpose."""

    case: int
    organ: str
    signs: OrganSigns
    dice: float
    degraded: bool = False


def calibrate(examples: Sequence[Example], label_voxels: Mapping[str, Sequence[int]]) -> Calibration | None:
    """The calibration; None when there are fewer than eight scans, degraded ones not counted.

    label_voxels: by organ, its voxels in each labeled scan of the training. A known mixture of the signs gets a
    factor of 0 or more, so the prediction is monotone in every sign; organs share it and have intercepts that
    are shrunk towards the common one. The interval is that of a t distribution of the errors of left-out
    scans as they are.
    """
    known = [e for e in examples if e.signs.voxels]
    cases = sorted({e.case for e in known if not e.degraded})
    if len(cases) < FEWEST_CASES:
        return None
    volumes = {name: _volume(voxels) for name, voxels in label_voxels.items() if any(voxels)}
    table = _Table(known, list(label_voxels), volumes)
    residuals, of_organ = table.left_out(cases)
    factor, common, *own = table.solve(np.ones(len(known), bool)).tolist()
    return Calibration(
        cases=len(cases),
        weights={sign: factor * MIXTURE[sign] for sign in SIGNS},
        centers=dict(zip(SIGNS, table.centers.tolist(), strict=True)),
        scales=dict(zip(SIGNS, table.scales.tolist(), strict=True)),
        intercepts={
            name: common + of_it
            for index, (name, of_it) in enumerate(zip(table.organs, own, strict=True))
            if len(set(table.case[(table.organ == index) & ~table.degraded])) >= FEWEST_OF_AN_ORGAN
        },
        spread=_spread(residuals, of_organ, table.organs),
        reach=float(t.ppf((1 + COVERAGE) / 2, len(cases) - 1) * math.sqrt(1 + 1 / len(cases))),
        volumes=volumes,
    )


class _Table:
    """The mixture of standardized signs of every example, and what its error is."""

    def __init__(
        self, examples: Sequence[Example], organs: Sequence[str], volumes: Mapping[str, tuple[float, float]]
    ) -> None:
        self.organs = list(organs)
        self.case = np.array([e.case for e in examples])
        self.degraded = np.array([e.degraded for e in examples])
        self.organ = np.array([self.organs.index(e.organ) for e in examples])
        self.target = np.array([error_of(e.dice) for e in examples])
        rows = [badness(e.signs, volumes.get(e.organ)) for e in examples]
        raw = np.array([[row[sign] for sign in SIGNS] for row in rows], float)  # None becomes NaN
        measured = np.isfinite(raw)
        counts = np.maximum(measured.sum(0), 1)
        self.centers = np.where(measured, raw, 0).sum(0) / counts
        spread = np.sqrt((np.where(measured, raw - self.centers, 0) ** 2).sum(0) / counts)
        self.scales = np.where(spread > LEAST_SCALE, spread, 1.0)
        standardized = np.where(measured, (raw - self.centers) / self.scales, 0.0)
        self.mixture = standardized @ np.array([MIXTURE[sign] for sign in SIGNS])
        own = np.eye(len(self.organs))[self.organ]
        self.design = np.concatenate([self.mixture[:, None], np.ones((len(raw), 1)), own], 1)
        self.weight = np.where(self.degraded, DEGRADED, 1.0)

    def solve(self, rows: np.ndarray) -> np.ndarray:
        """Factor of the mixture, not negative, the common intercept, and each organ's own."""
        columns = self.design.shape[1]
        root = np.sqrt(self.weight[rows])[:, None]
        penalty = np.sqrt(SHRINKAGE) * np.eye(columns)
        penalty[1, 1] = 1e-6  # the common intercept is free
        matrix = np.concatenate([self.design[rows] * root, penalty])
        right = np.concatenate([self.target[rows] * root[:, 0], np.zeros(columns)])
        low = np.full(columns, -np.inf)
        low[0] = 0
        return lsq_linear(matrix, right, (low, np.full(columns, np.inf))).x

    def left_out(self, cases: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Errors of scans as they are, each predicted without it, and their organs."""
        errors, organs = [], []
        for case in cases:
            asked = (self.case == case) & ~self.degraded
            errors.append(self.target[asked] - self.design[asked] @ self.solve(self.case != case))
            organs.append(self.organ[asked])
        return np.concatenate(errors), np.concatenate(organs)


def _spread(residuals: np.ndarray, organ: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Root mean square per organ, with all organs' counted as eight further scans of it."""
    common = float((residuals**2).mean())
    spread = {}
    for index, name in enumerate(names):
        own = residuals[organ == index]
        mean_square = (float((own**2).sum()) + FEWEST_CASES * common) / (len(own) + FEWEST_CASES)
        spread[name] = max(math.sqrt(mean_square), LEAST_SPREAD)
    return spread


def _volume(voxels: Sequence[int]) -> tuple[float, float]:
    logs = np.log([v for v in voxels if v])
    return float(logs.mean()), max(float(logs.std(ddof=1)) if len(logs) > 1 else 0.0, LEAST_DEVIATION)
