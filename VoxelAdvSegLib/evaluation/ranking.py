"""Which unlabeled case a correction would teach most: wrong, and unlike those that are known. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

DIVERSITY = 0.5  # weight of being different, against 1 of being wrong
FAR = 0.75  # of the largest distance there is, from which a reason says so


@dataclass(frozen=True)
class Candidate:
    """need: how wrong its segmentation probably is, on any scale, more is worse; reason: why, a sentence;
    means: class means of the fused features (n,), NaN where a class was not found, None where there are none."""

    name: str
    need: float
    reason: str
    means: np.ndarray | None = None


@dataclass(frozen=True)
class Ranked:
    """score: expected benefit, 0 to 1.5, falling down the list; need and difference: its parts, 0 to 1 each."""

    name: str
    score: float
    need: float
    difference: float
    reason: str


def rank(candidates: Sequence[Candidate], known: Sequence[np.ndarray] = ()) -> list[Ranked]:
    """All candidates, the one whose correction is worth most first.

    Greedy: each next one is the largest sum of need, as part of the range among the candidates, and half its
    distance to the nearest case that is labeled (known, (n,) each) or further up in the list, in class-mean
    features with every dimension in deviations of the candidates (core-set selection: Sener and Savarese, ICLR
    2018, with the need added). Ties go by name, so the order is always the same.
    """
    left = sorted(candidates, key=lambda candidate: candidate.name)
    if not left:
        return []
    needs = np.array([candidate.need for candidate in left], float)
    span = float(np.ptp(needs))
    needs = (needs - needs.min()) / span if span > 0 else np.zeros(len(left))
    points, anchors = _points([candidate.means for candidate in left], known)
    far = _distances(points, anchors) if len(anchors) else np.full(len(left), np.nan)
    if len(points) and not len(anchors):
        far = _distances(points, points.mean(0)[None])  # nothing is known yet: what lies apart
    largest = max(float(np.nanmax(far)), 1e-12) if len(points) else 1.0
    waiting, ranked = list(range(len(left))), []
    while waiting:
        apart = [float(far[i]) / largest if len(points) else 0.0 for i in waiting]
        scores = [needs[i] + DIVERSITY * min(a, 1.0) for i, a in zip(waiting, apart, strict=True)]
        best = int(np.argmax(scores))
        index = waiting.pop(best)
        difference = min(apart[best], 1.0)
        reason = left[index].reason
        if difference >= FAR:
            reason += " It differs most from the cases that are labeled or stand above it."
        ranked.append(
            Ranked(left[index].name, float(scores[best]), float(needs[index]), float(difference), reason.strip())
        )
        if len(points):
            far = np.minimum(far, _distances(points, points[index][None]))
    return ranked


def _points(means: Sequence[np.ndarray | None], known: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Candidates (n, d) and known cases (m, d) in deviations of the candidates; (0, 0) where one has no features."""
    rows = [np.ravel(mean) for mean in means if mean is not None]
    if len(rows) < len(means):
        return np.zeros((0, 0)), np.zeros((0, 0))
    table, anchors = np.stack(rows), np.stack([np.ravel(k) for k in known]) if known else np.zeros((0, len(rows[0])))
    found = np.isfinite(table)
    counts = np.maximum(found.sum(0), 1)
    mean = np.where(found, table, 0).sum(0) / counts
    deviation = np.sqrt(np.where(found, (table - mean) ** 2, 0).sum(0) / counts)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    # A class that was not found says nothing about where a case lies: it gets the mean.
    points, others = (np.where(np.isfinite(rows), (rows - mean) / scale, 0.0) for rows in (table, anchors))
    return points, others


def _distances(points: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Distance (n,) of each point to the nearest anchor, root mean square over dimensions."""
    return cdist(points, anchors).min(1) / np.sqrt(points.shape[1])
