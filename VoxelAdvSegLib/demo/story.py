"""All that the demonstration has to tell: what was trained, what came out, on which scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from VoxelAdvSegLib.data.manifest import Manifest
from VoxelAdvSegLib.data.volume import Volume
from VoxelAdvSegLib.demo.comparison import History, read_history
from VoxelAdvSegLib.evaluation.verdict import Verdict, judge

SUPERVISED, SEMI = METHODS = ("supervised", "voxel_adversarial")


@dataclass(frozen=True)
class Trained:
    """A method after its training; report: evaluation.report on the test scans; events: its diary."""

    method: str
    report: dict[str, Any]
    events: Sequence[dict[str, Any]]
    seconds: float

    @cached_property
    def history(self) -> History:
        return read_history(self.events)


@dataclass(frozen=True)
class Scan:
    """A held-out scan on its own grid; predictions: class indices (z, y, x) by method.

    looks_labeled: discriminator map 0 to 1; looks_means: its mean by organ of the prediction.
    """

    name: str
    volume: Volume
    reference: np.ndarray
    predictions: dict[str, np.ndarray]
    looks_labeled: np.ndarray
    looks_means: dict[str, float | None]


@dataclass(frozen=True)
class Preview:
    """One unlabeled scan at a step of the training, (z, y, x) on the working grid (R, A, S)."""

    step: int
    image: np.ndarray
    label: np.ndarray
    looks_labeled: np.ndarray | None


@dataclass(frozen=True)
class Story:
    """seconds: from the first phantom to the page; plan: what the training planned, in sentences."""

    manifest: Manifest
    supervised: Trained
    semi: Trained
    scans: Sequence[Scan]
    previews: Sequence[Preview]
    working_spacing_xyz_mm: tuple[float, float, float]
    plan: Sequence[str]
    steps: int
    seed: int
    seconds: float

    @cached_property
    def verdict(self) -> Verdict:
        """Semi-supervised against supervised, on the held-out scans."""
        return judge(self.supervised.report, self.semi.report)
