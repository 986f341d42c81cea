"""From a scan to the array the network sees, and back (method.md 1.6, 2)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from VoxelAdvSegLib.data.geometry import (
    reorient_geometry,
    reorientation,
    resample,
    resample_labels,
    rescaled_geometry,
    restore_labels,
    same_grid,
    slices_in,
    slices_of,
    smoothing_reach,
)
from VoxelAdvSegLib.data.volume import MAX_VOXELS, SPACINGS_MM, Geometry, Volume
from VoxelAdvSegLib.errors import InputError

INTENSITIES = ("scan", "nonzero", "fixed")
LONGEST_AXIS = 4096  # of a working grid, in voxels
CLIP_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Recipe:
    """All that preprocessing needs to know; part of every model bundle.

    orient: bring the axes to the nearest of RAS. spacing_xyz_mm or shape_xyz: the working
    grid; neither: the scan's own voxels. intensity:
      scan     z-score over the whole scan (left-atrium benchmark);
      nonzero  per scan, clip to the 0.5 and 99.5 percentiles of the voxels that are not
               zero, then z-score over them (MR: grey levels have no unit);
      fixed    clip to `clip`, subtract `mean`, divide by `sd` (CT: Hounsfield units).
    """

    orient: bool = True
    spacing_xyz_mm: tuple[float, float, float] | None = None
    shape_xyz: tuple[int, int, int] | None = None
    intensity: str = "nonzero"
    clip: tuple[float, float] | None = None
    mean: float = 0.0
    sd: float = 1.0

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> Recipe:
        """The recipe written by `to_dict`; raises ValueError or TypeError for what cannot be one."""
        known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(fields).items()}
        recipe = Recipe(**known)
        numbers = (recipe.mean, recipe.sd, *(recipe.clip or ()), *(recipe.spacing_xyz_mm or ()))
        if recipe.intensity not in INTENSITIES or not all(map(math.isfinite, numbers)) or recipe.sd <= 0:
            raise ValueError(f"intensities of {recipe.intensity}, {recipe.clip}, {recipe.mean}, {recipe.sd}")
        for wanted, least, most in ((recipe.spacing_xyz_mm, *SPACINGS_MM), (recipe.shape_xyz, 1, LONGEST_AXIS)):
            if wanted is not None and (len(wanted) != 3 or not all(least <= n <= most for n in wanted)):
                raise ValueError(f"a working grid of {wanted}")
        return recipe


@dataclass(frozen=True)
class Prepared:
    """A scan on the working grid.

    array: (z, y, x) float32, normalized; grid: the working grid; original: the scan's own.
    """

    array: np.ndarray
    grid: Geometry
    original: Geometry


def prepare(volume: Volume, recipe: Recipe) -> Prepared:
    """The scan on the working grid, normalized. Raises InputError where that would be too large to be true."""
    array, geometry = volume.array, volume.geometry
    if recipe.intensity != "fixed":
        # Statistics are of the scan's own voxels: resampling would narrow them.
        array = normalize(array, recipe)
    if recipe.orient:
        turn = reorientation(geometry)
        array, geometry = turn.apply(array), reorient_geometry(geometry, turn)
    grid = rescaled_geometry(geometry, recipe.spacing_xyz_mm, recipe.shape_xyz)
    if math.prod(grid.shape_zyx) > MAX_VOXELS:
        raise InputError(
            "the scan would be too large on the working grid", expected=f"at most {MAX_VOXELS:.2g} voxels",
            found=f"{' x '.join(map(str, grid.shape_zyx[::-1]))} from voxels of "
            f"{' x '.join(f'{step:g}' for step in geometry.spacing_xyz_mm)} mm",
            do="check the spacing in the scan's header, or crop the scan",
        )  # fmt: skip
    array = resample(array, geometry, grid)
    if recipe.intensity == "fixed":
        array = normalize(array, recipe)
    return Prepared(np.ascontiguousarray(array, np.float32), grid, volume.geometry)


def prepare_label(label: np.ndarray, prepared: Prepared, recipe: Recipe, classes: int) -> np.ndarray:
    """Class indices (z, y, x) uint8 on the working grid of the prepared scan."""
    geometry = prepared.original
    if recipe.orient:
        turn = reorientation(geometry)
        label, geometry = turn.apply(label), reorient_geometry(geometry, turn)
    return np.ascontiguousarray(resample_labels(label, geometry, prepared.grid, classes))


class LabelOnOwnGrid:
    """Class indices on the scan's own grid, from probabilities that come a few slices after the other."""

    def __init__(self, prepared: Prepared, recipe: Recipe) -> None:
        self.grid = prepared.grid
        self.target, self.turn = prepared.original, None
        if recipe.orient:
            self.turn = reorientation(self.target)
            self.target = reorient_geometry(self.target, self.turn)
        self.label = np.zeros(self.target.shape_zyx, np.uint8)
        self.same = same_grid(self.grid, self.target)
        self.reach = smoothing_reach(self.grid, self.target)
        self._held = np.zeros((0, 0, *self.grid.shape_zyx[1:]), np.float32)
        self._first = 0  # slice of the working grid that the held ones begin with
        self._done = 0  # slices of the target

    def add(self, probabilities: np.ndarray) -> None:
        """The next slices (K, d, H, W) of the working grid."""
        if self.same:
            for part in probabilities.swapaxes(0, 1):  # slice by slice: numpy's indices take eight bytes a voxel
                self.label[self._done] = part.argmax(0)
                self._done += 1
            return
        held = np.concatenate([self._held, probabilities], 1) if self._held.size else probabilities
        end = self._first + held.shape[1]
        depth, whole = self.target.shape_zyx[0], end == self.grid.shape_zyx[0]
        below = np.floor(slices_in(self.grid, self.target))  # the slice of the grid under each of the target's
        stop = depth if whole else int(np.searchsorted(below, end - 1 - self.reach))
        if stop > self._done:
            self.label[self._done : stop] = restore_labels(
                held, slices_of(self.grid, self._first, end), slices_of(self.target, self._done, stop)
            )
            self._done = stop
        if stop < depth:
            first = max(self._first, min(end, int(below[stop]) - self.reach))
            self._held, self._first = held[:, first - self._first :].copy(), first

    def result(self) -> np.ndarray:
        """(z, y, x) uint8, along the scan's own axes, once all slices are there."""
        return self.label if self.turn is None else self.turn.undo(self.label)


def restore(probabilities: np.ndarray, prepared: Prepared, recipe: Recipe) -> np.ndarray:
    """Class indices (z, y, x) uint8 on the scan's own grid, from probabilities (K, z, y, x)."""
    label = LabelOnOwnGrid(prepared, recipe)
    label.add(probabilities)
    return label.result()


def restore_map(values: np.ndarray, prepared: Prepared, recipe: Recipe) -> np.ndarray:
    """Float map (z, y, x) float32 on the scan's own grid, linearly interpolated."""
    geometry, turn = prepared.original, None
    if recipe.orient:
        turn = reorientation(geometry)
        geometry = reorient_geometry(geometry, turn)
    array = resample(values, prepared.grid, geometry)
    return array if turn is None else turn.undo(array)


def normalize(array: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Intensities of a scan brought to the network's scale, float32."""
    array = np.asarray(array, np.float32)
    if recipe.intensity == "fixed":
        low, high = recipe.clip or (-np.inf, np.inf)
        return (np.clip(array, low, high) - recipe.mean) / recipe.sd
    if recipe.intensity == "scan":
        mean, sd = float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
        return ((array - mean) / max(sd, 1e-8)).astype(np.float32)
    inside = array[array != 0]
    if inside.size == 0 or inside.min() == inside.max():
        inside = array.ravel()  # a mask-like scan: zero is one of its grey levels
    low, high = np.percentile(inside, CLIP_PERCENTILES)
    if low == high:
        low, high = inside.min(), inside.max()  # nearly all voxels are alike: the few others are the image
    clipped = np.clip(inside, low, high)
    mean, sd = float(clipped.mean(dtype=np.float64)), float(clipped.std(dtype=np.float64))
    return ((np.clip(array, min(low, 0.0), high) - mean) / max(sd, 1e-8)).astype(np.float32)
