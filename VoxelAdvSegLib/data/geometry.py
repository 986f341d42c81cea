"""Between a scan's own grid and the working grid: the only place that knows of frames and axes.

ITK's world is LPS and its index order x, y, z; arrays are z, y, x. The working grid runs
along the scan's own axes, permuted and flipped to the nearest of RAS; oblique directions stay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from VoxelAdvSegLib.data.volume import Geometry

# Growing coordinate of the axes R, A, S, told in ITK's LPS world.
RAS_SIGNS_LPS = (-1, -1, 1)


@dataclass(frozen=True)
class Reorientation:
    """How index axes of a scan become those of the working grid.

    axes_xyz[a]: the scan's index axis that becomes axis a; flipped_xyz[a]: whether it is reversed.
    """

    axes_xyz: tuple[int, int, int]
    flipped_xyz: tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The array (..., z, y, x) with its last three axes brought to the working order."""
        lead = array.ndim - 3
        order = [lead + 2 - self.axes_xyz[2 - axis] for axis in range(3)]
        turned = array.transpose([*range(lead), *order])
        flips = tuple(lead + 2 - a for a in range(3) if self.flipped_xyz[a])
        return np.ascontiguousarray(np.flip(turned, flips))

    def undo(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `apply`."""
        lead = array.ndim - 3
        flips = tuple(lead + 2 - a for a in range(3) if self.flipped_xyz[a])
        order = [lead + 2 - self.axes_xyz[2 - axis] for axis in range(3)]
        back = np.argsort([*range(lead), *order])
        return np.ascontiguousarray(np.flip(array, flips).transpose(back))


def reorientation(geometry: Geometry) -> Reorientation:
    """Permutation and flips that bring the scan's axes nearest to R, A, S."""
    direction = np.asarray(geometry.direction, float).reshape(3, 3)
    _, (x, y, z) = linear_sum_assignment(-np.abs(direction))
    signs = np.sign([direction[0, x], direction[1, y], direction[2, z]])
    r, a, s = (bool(own != wanted) for own, wanted in zip(signs, RAS_SIGNS_LPS, strict=True))
    return Reorientation((int(x), int(y), int(z)), (r, a, s))


def reorient_geometry(geometry: Geometry, turn: Reorientation) -> Geometry:
    """Geometry of `turn.apply(array)`: the same voxels in space."""
    direction = np.asarray(geometry.direction, float).reshape(3, 3)
    shape_xyz = geometry.shape_zyx[::-1]
    spacing = np.asarray(geometry.spacing_xyz_mm)
    origin = np.asarray(geometry.origin_lps_mm, float)
    columns = []
    for a in range(3):
        source = turn.axes_xyz[a]
        axis = direction[:, source]
        if turn.flipped_xyz[a]:
            origin = origin + axis * spacing[source] * (shape_xyz[source] - 1)
            axis = -axis
        columns.append(axis)
    x, y, z = turn.axes_xyz
    return Geometry(
        shape_zyx=(int(shape_xyz[z]), int(shape_xyz[y]), int(shape_xyz[x])),
        spacing_xyz_mm=(float(spacing[x]), float(spacing[y]), float(spacing[z])),
        origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(d) for d in np.stack(columns, 1).ravel()),
    )


def rescaled_geometry(
    geometry: Geometry,
    spacing_xyz_mm: tuple[float, float, float] | None = None,
    shape_xyz: tuple[int, int, int] | None = None,
) -> Geometry:
    """The grid with another spacing, or another number of voxels, that covers the same box in space.

    With a spacing, the number of voxels is rounded, and both ends share what that adds or takes.
    """
    old_shape = np.asarray(geometry.shape_zyx[::-1], float)
    old_spacing = np.asarray(geometry.spacing_xyz_mm)
    if shape_xyz is not None:
        shape = np.asarray(shape_xyz)
        spacing = old_shape * old_spacing / shape
    elif spacing_xyz_mm is not None:
        spacing = np.asarray(spacing_xyz_mm, float)
        # Equal within a thousandth means equal: then nothing is resampled.
        spacing = np.where(np.abs(spacing - old_spacing) < 1e-3 * old_spacing, old_spacing, spacing)
        shape = np.maximum(1, np.round(old_shape * old_spacing / spacing)).astype(int)
    else:
        return geometry
    direction = np.asarray(geometry.direction).reshape(3, 3)
    margin = (shape * spacing - old_shape * old_spacing) / 2  # rounding, shared by both ends
    shift = (spacing - old_spacing) / 2 - margin
    origin = np.asarray(geometry.origin_lps_mm) + direction @ shift
    return Geometry(
        shape_zyx=(int(shape[2]), int(shape[1]), int(shape[0])),
        spacing_xyz_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=geometry.direction,
    )


def resample(array: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """Linear interpolation of float32 (z, y, x) at the target's voxels, smoothed before it is thinned.

    Thinning by a factor f keeps what a mean over f voxels would: a Gaussian of variance
    (f^2 - 1)/12 voxels. Beyond the source's outermost voxel centres the nearest value counts.
    """
    if same_grid(source, target):
        return np.asarray(array, np.float32)
    smooth = ndimage.gaussian_filter(np.asarray(array, np.float32), _smoothing(source, target), mode="nearest")
    return sitk.GetArrayFromImage(_interpolate(to_image(smooth, source), target))


def _smoothing(source: Geometry, target: Geometry) -> np.ndarray:
    """Standard deviation along z, y, x, in voxels of the source."""
    factors = np.maximum(1.0, np.asarray(target.spacing_zyx_mm) / np.asarray(source.spacing_zyx_mm))
    return np.sqrt((factors**2 - 1) / 12)


def smoothing_reach(source: Geometry, target: Geometry) -> int:
    """Slices beyond the neighbours of a target's slice that `resample` looks at."""
    return int(4 * _smoothing(source, target)[0] + 0.5) + 1  # where scipy's Gaussian ends, and one for rounding


def slices_in(source: Geometry, target: Geometry) -> np.ndarray:
    """Where the target's slices lie along z, in slices of the source; both have the same directions."""
    along = np.asarray(source.direction).reshape(3, 3)[:, 2]
    offset = float(np.subtract(target.origin_lps_mm, source.origin_lps_mm) @ along)
    return (offset + np.arange(target.shape_zyx[0]) * target.spacing_xyz_mm[2]) / source.spacing_xyz_mm[2]


def slices_of(geometry: Geometry, start: int, stop: int) -> Geometry:
    """The grid of some of its slices."""
    along = np.asarray(geometry.direction).reshape(3, 3)[:, 2]
    origin = np.asarray(geometry.origin_lps_mm) + along * geometry.spacing_xyz_mm[2] * start
    x, y, z = map(float, origin)
    return replace(geometry, shape_zyx=(stop - start, *geometry.shape_zyx[1:]), origin_lps_mm=(x, y, z))


def resample_labels(array: np.ndarray, source: Geometry, target: Geometry, classes: int) -> np.ndarray:
    """Class indices (z, y, x) uint8 at the target's voxels: the class with the largest share."""
    if same_grid(source, target):
        return np.asarray(array, np.uint8)
    return strongest_class(
        (resample((array == index).astype(np.float32), source, target) for index in range(classes)),
        target.shape_zyx,
    )


def restore_labels(probabilities: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """Argmax at the target's voxels of probabilities (K, z, y, x), linearly interpolated.

    One class at a time: memory does not grow with K times the target.
    """
    return strongest_class((resample(p, source, target) for p in probabilities), target.shape_zyx)


def strongest_class(shares, shape_zyx: tuple[int, int, int]) -> np.ndarray:
    """Index of the largest of a sequence of arrays, the first where equal; uint8."""
    best = np.full(shape_zyx, -np.inf, np.float32)
    index = np.zeros(shape_zyx, np.uint8)
    for c, share in enumerate(shares):
        larger = share > best
        best[larger] = share[larger]
        index[larger] = c
    return index


def same_grid(first: Geometry, second: Geometry) -> bool:
    """Whether the voxels are the same points, to a thousandth of a voxel."""
    if first.shape_zyx != second.shape_zyx:
        return False
    spacing = np.asarray(first.spacing_xyz_mm)
    return bool(
        np.allclose(spacing, second.spacing_xyz_mm, rtol=1e-4)
        and np.all(np.abs(np.subtract(first.origin_lps_mm, second.origin_lps_mm)) < 1e-3 * spacing.min())
        and np.allclose(first.direction, second.direction, atol=1e-4)
    )


def to_image(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_xyz_mm)
    image.SetOrigin(geometry.origin_lps_mm)
    image.SetDirection(geometry.direction)
    return image


def _interpolate(image: sitk.Image, target: Geometry) -> sitk.Image:
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.shape_zyx[::-1])
    resampler.SetOutputSpacing(target.spacing_xyz_mm)
    resampler.SetOutputOrigin(target.origin_lps_mm)
    resampler.SetOutputDirection(target.direction)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return resampler.Execute(image)
