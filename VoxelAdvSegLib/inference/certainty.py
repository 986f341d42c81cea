"""How certain a segmented case is, as one number with its reason: what a review queue sorts by. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

MISSING = 0.5  # an organ that was not found is at most this certain: a person should look
# Where the discriminator cannot tell origins it says one half, so a half already looks labeled.
UNDECIDED = 0.5
WORST_SHARE = 0.75  # of the score; the rest is the mean over organs, which orders cases of equal worst organs


class Confidence(Protocol):
    """What the score needs of inference.confidence.OrganConfidence."""

    @property
    def voxels(self) -> int: ...
    @property
    def inside(self) -> float | None: ...
    @property
    def boundary(self) -> float | None: ...
    @property
    def peak(self) -> float: ...


@dataclass(frozen=True)
class Certainty:
    """score: 0 least to 1 most certain; organ and measure (missing, confidence, boundary, looks labeled)
    that lower it most; reason: that in plain words; organs: score of each."""

    score: float
    organ: str
    measure: str
    reason: str
    organs: dict[str, float]


def case_certainty(
    confidence: Mapping[str, Confidence], looks_labeled: Mapping[str, float | None] | None, classes: int
) -> Certainty:
    """The certainty of a case.

    Per organ three measures from 0 to 1:
      confidence     (p - 1/K) / (1 - 1/K), p the mean probability of the winning class inside, K classes;
      boundary       the same with the mean on both sides of the organ's surface;
      looks labeled  min(1, m / 0.5), m the mean of the discriminator map over the organ; left out without map.
    The organ's score is their geometric mean. An organ that was not found scores 0.5 (1 - min(1, 2 q)),
    q its highest probability anywhere. The case's score is 0.75 times the lowest organ's score and
    0.25 times the mean of all: one bad organ makes a case worth a look.
    """
    scores: dict[str, float] = {}
    lowest: dict[str, tuple[str, float]] = {}
    for organ, found in confidence.items():
        measures = _measures(found, (looks_labeled or {}).get(organ), classes)
        scores[organ] = math.prod(measures.values()) ** (1 / len(measures))
        lowest[organ] = min(measures.items(), key=lambda item: item[1])
    if not scores:
        return Certainty(0.0, "", "missing", "The model knows no organs.", {})
    organ = min(scores, key=lambda name: scores[name])
    measure = lowest[organ][0]
    score = WORST_SHARE * scores[organ] + (1 - WORST_SHARE) * sum(scores.values()) / len(scores)
    reason = _reason(organ, measure, confidence[organ], (looks_labeled or {}).get(organ))
    return Certainty(round(score, 4), organ, measure, reason, {k: round(v, 4) for k, v in scores.items()})


def _measures(found: Confidence, looks: float | None, classes: int) -> dict[str, float]:
    if not found.voxels or found.inside is None:
        return {"missing": MISSING * (1 - min(1.0, 2 * found.peak))}
    measures = {"confidence": _above_chance(found.inside, classes)}
    if found.boundary is not None:
        measures["boundary"] = _above_chance(found.boundary, classes)
    if looks is not None:
        measures["looks labeled"] = min(1.0, max(0.0, looks) / UNDECIDED)
    return measures


def _above_chance(probability: float, classes: int) -> float:
    return min(1.0, max(0.0, (probability - 1 / classes) / (1 - 1 / classes)))


def _reason(organ: str, measure: str, found: Confidence, looks: float | None) -> str:
    if measure == "missing":
        return f"{organ} was not found."
    if measure == "looks labeled":
        return f"{organ} looks unlike the labeled scans (looks labeled {looks:.2f}, where about 0.5 is alike)."
    if measure == "boundary":
        return f"The boundary of {organ} is unsure (mean probability {found.boundary:.0%} there)."
    return f"The network is unsure of {organ} (mean probability {found.inside:.0%})."
