"""What is known of each case of a data set, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from VoxelAdvSegLib.data.volume import Geometry

Severity = Literal["error", "warning", "note"]

# A case that differs is worth a line of its own only where most cases agree.
RARE_FRACTION = 0.25
FEWEST_TO_COMPARE = 4


@dataclass(frozen=True)
class Finding:
    """One thing to know about the data; case and role are "" where it concerns all of it."""

    severity: Severity
    message: str
    do: str
    case: str = ""
    role: str = ""


@dataclass(frozen=True)
class OrganFacts:
    volume_ml: float
    center_lps_mm: tuple[float, float, float]
    at_border: bool


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What a case that could be read is like.

    grid: with axes nearest to R, A, S; orientation: as stored, three letters of the patient's
    directions that the axes x, y, z point to; content: hash of the voxels; intensity_range: lowest,
    0.5 and 99.5 percentile, highest; organs: those the label has, none where there is no label.
    """

    name: str
    role: str
    image: Path
    grid: Geometry
    orientation: str
    content: str
    modality: str
    intensity_range: tuple[float, float, float, float]
    organs: Mapping[str, OrganFacts]


def list_names(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def outliers(values: Mapping[CaseFacts, float], factor: float) -> list[CaseFacts]:
    """Cases more than `factor` above or below the median, if they are few."""
    odd = far_from_median(values, factor)
    return odd if len(values) >= FEWEST_TO_COMPARE and len(odd) <= RARE_FRACTION * len(values) else []


def far_from_median(values: Mapping[CaseFacts, float], factor: float) -> list[CaseFacts]:
    """Cases more than `factor` above or below the median."""
    usual = median(values)
    return [case for case, value in values.items() if not usual / factor <= value <= usual * factor]


def median(values: Mapping[CaseFacts, float]) -> float:
    return float(np.median(list(values.values()))) if values else 0.0
