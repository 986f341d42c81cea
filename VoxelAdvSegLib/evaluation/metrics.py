"""Overlap and surface distances of one organ (method.md 2.3), checked against medpy in the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

EmptyDistance = Literal["diagonal", "null", "zero"]
Outcome = Literal["both_present", "true_absent", "false_present", "missed"]
EMPTY_DISTANCES: tuple[EmptyDistance, ...] = ("diagonal", "null", "zero")
OVERLAPS = ("dice", "jaccard")
DISTANCES = ("hd95", "asd", "reverse_asd", "assd")
UNITS = ("voxel", "mm")
# In the order in which a report lists them.
METRICS = (*OVERLAPS, *(f"{distance}_{unit}" for distance in DISTANCES for unit in UNITS))

_FACES = ndimage.generate_binary_structure(3, 1)  # the 6-neighborhood


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of every surface voxel to the other mask's surface, in the unit of the spacing."""

    to_reference: np.ndarray  # (n,) one per surface voxel of the prediction
    to_prediction: np.ndarray  # (m,) one per surface voxel of the reference

    @property
    def hd95(self) -> float:
        """95th percentile of the pooled distances: not the larger of two directed percentiles."""
        return float(np.percentile(np.concatenate([self.to_reference, self.to_prediction]), 95))

    @property
    def asd(self) -> float:
        """Mean distance from prediction to reference (directed; the benchmark scripts print this one)."""
        return float(self.to_reference.mean())

    @property
    def reverse_asd(self) -> float:
        """Mean distance from reference to prediction."""
        return float(self.to_prediction.mean())

    @property
    def assd(self) -> float:
        """Mean of the pooled distances: not the mean of the two directed means."""
        return float(np.concatenate([self.to_reference, self.to_prediction]).mean())


@dataclass(frozen=True)
class OrganScore:
    """All metrics of one organ in one case.

    outcome: which of the two masks is empty; values: one entry per name in METRICS, None where the
    metric says nothing (and is left out of means).
    """

    outcome: Outcome
    values: dict[str, float | None]


def dice(prediction: np.ndarray, reference: np.ndarray) -> float | None:
    """2|A and B| / (|A| + |B|) of two boolean masks, 0 to 1; None when both are empty."""
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    return None if total == 0 else 2 * int(np.count_nonzero(prediction & reference)) / total


def jaccard(prediction: np.ndarray, reference: np.ndarray) -> float | None:
    """|A and B| / |A or B| of two boolean masks, 0 to 1; None when both are empty."""
    union = int(np.count_nonzero(prediction | reference))
    return None if union == 0 else int(np.count_nonzero(prediction & reference)) / union


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask (z, y, x) lost by one erosion with the 6-neighborhood; outside is background."""
    return mask & np.logical_not(ndimage.binary_erosion(mask, _FACES))


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing_zyx: Sequence[float] = (1.0, 1.0, 1.0)
) -> SurfaceDistances:
    """Distances between voxel centers of two surfaces, in the unit of `spacing_zyx`.

    Both masks are boolean (z, y, x) and not empty.
    """
    prediction, reference = _crop_to_union(prediction, reference)
    return _distances(surface(prediction), surface(reference), spacing_zyx)


def score_organ(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing_zyx_mm: Sequence[float],
    empty_distance: EmptyDistance = "diagonal",
) -> OrganScore:
    """Every metric of two boolean masks (z, y, x) of the same shape.

    empty_distance says what a missed organ costs: the diagonal of the volume, nothing (None), or
    zero as in the benchmark's published scripts (which rewards an empty prediction).
    Raises ValueError when the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, reference {reference.shape}")
    shape_zyx = prediction.shape
    prediction, reference = _crop_to_union(prediction.astype(bool), reference.astype(bool))
    outcome = _outcome(prediction, reference)
    values: dict[str, float | None] = dict.fromkeys(METRICS)
    values["dice"] = dice(prediction, reference)
    values["jaccard"] = jaccard(prediction, reference)
    if outcome == "both_present":
        values |= _distance_values(surface(prediction), surface(reference), spacing_zyx_mm)
    elif outcome == "missed" and empty_distance != "null":
        for unit, spacing_zyx in (("voxel", (1.0, 1.0, 1.0)), ("mm", spacing_zyx_mm)):
            diagonal = float(np.linalg.norm(np.multiply(shape_zyx, spacing_zyx)))
            cost = diagonal if empty_distance == "diagonal" else 0.0
            values |= {f"{name}_{unit}": cost for name in DISTANCES}
    return OrganScore(outcome, values)


def _outcome(prediction: np.ndarray, reference: np.ndarray) -> Outcome:
    if reference.any():
        return "both_present" if prediction.any() else "missed"
    return "false_present" if prediction.any() else "true_absent"


def _distance_values(
    prediction_surface: np.ndarray, reference_surface: np.ndarray, spacing_zyx_mm: Sequence[float]
) -> dict[str, float | None]:
    in_voxels = _distances(prediction_surface, reference_surface, (1.0, 1.0, 1.0))
    if len(set(spacing_zyx_mm)) == 1:  # a second transform would only rescale
        scale = spacing_zyx_mm[0]
        in_mm = SurfaceDistances(in_voxels.to_reference * scale, in_voxels.to_prediction * scale)
    else:
        in_mm = _distances(prediction_surface, reference_surface, spacing_zyx_mm)
    return {
        f"{name}_{unit}": getattr(distances, name)
        for unit, distances in (("voxel", in_voxels), ("mm", in_mm))
        for name in DISTANCES
    }


def _distances(
    prediction_surface: np.ndarray, reference_surface: np.ndarray, spacing_zyx: Sequence[float]
) -> SurfaceDistances:
    from_reference = np.asarray(ndimage.distance_transform_edt(~reference_surface, spacing_zyx))
    from_prediction = np.asarray(ndimage.distance_transform_edt(~prediction_surface, spacing_zyx))
    return SurfaceDistances(from_reference[prediction_surface], from_prediction[reference_surface])


def _crop_to_union(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cut to the bounding box of their union; needs no margin, as outside is background."""
    union = prediction | reference
    box = []
    for axis in range(union.ndim):
        others = tuple(other for other in range(union.ndim) if other != axis)
        filled = np.flatnonzero(union.any(axis=others))
        box.append(slice(filled[0], filled[-1] + 1) if filled.size else slice(0, 0))
    return prediction[tuple(box)], reference[tuple(box)]
