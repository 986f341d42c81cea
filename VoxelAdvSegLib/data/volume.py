"""A volume: an array that never travels without its geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Grid of a volume in ITK's terms (world frame LPS, millimetres).

    shape_zyx: voxels; spacing_xyz_mm; origin_lps_mm: centre of voxel (0, 0, 0);
    direction: nine numbers, row-major, whose columns are the axes x, y, z.
    """

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    origin_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def spacing_zyx_mm(self) -> tuple[float, float, float]:
        x, y, z = self.spacing_xyz_mm
        return (z, y, x)


@dataclass(frozen=True)
class Volume:
    """Intensities (z, y, x) float32 and where they are; modality as DICOM writes it, or ""."""

    array: np.ndarray
    geometry: Geometry
    modality: str = ""
