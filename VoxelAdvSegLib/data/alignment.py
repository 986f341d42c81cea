"""Bringing a label onto its image's grid, by headers alone: nothing is ever interpolated here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from VoxelAdvSegLib.data.geometry import Reorientation, reorient_geometry
from VoxelAdvSegLib.data.volume import Geometry
from VoxelAdvSegLib.errors import InputError

# A label belongs to its image when header rounding explains the difference: NIfTI keeps single
# precision (1e-7), DICOM and other text headers six digits or so; a wrong scan differs by far more.
SPACING_TOLERANCE = 1e-3  # of the spacing
ORIGIN_TOLERANCE = 1e-2  # of a voxel
DIRECTION_TOLERANCE = 1e-3  # of a unit vector


def turn_towards(label: Geometry, image: Geometry) -> Reorientation:
    """Permutation and flips of index axes that bring the label's axes nearest to the image's."""
    cosines = np.reshape(image.direction, (3, 3)).T @ np.reshape(label.direction, (3, 3))
    _, (x, y, z) = linear_sum_assignment(-np.abs(cosines))
    flipped = (bool(cosines[0, x] < 0), bool(cosines[1, y] < 0), bool(cosines[2, z] < 0))
    return Reorientation((int(x), int(y), int(z)), flipped)


def align(array: np.ndarray, label: Geometry, image: Geometry, path: Path) -> np.ndarray:
    """The label's array in the image's index order.

    Raises InputError that states the difference when they are not the same points in space.
    """
    turn = turn_towards(label, image)
    turned = reorient_geometry(label, turn)
    if turned.shape_zyx != image.shape_zyx:
        raise _other_grid(path, "size", _size(image), _size(turned))
    check_axes(turned, image, path)
    if np.abs(offset_voxel(turned, image)).max() > ORIGIN_TOLERANCE:
        raise _other_grid(path, "origin", f"{_numbers(image.origin_lps_mm)} mm", f"{_numbers(turned.origin_lps_mm)} mm")
    return turn.apply(array)


def place(array: np.ndarray, label: Geometry, image: Geometry, path: Path) -> np.ndarray:
    """The label's box within an array of the image's size, zero around it.

    The box may lie anywhere on the image's grid, and reach beyond the image where it is zero.
    Raises InputError when it is off the grid, or when something lies outside the image.
    """
    turn = turn_towards(label, image)
    turned = reorient_geometry(label, turn)
    check_axes(turned, image, path)
    offset = offset_voxel(turned, image)
    start_xyz = np.round(offset).astype(int)
    if np.abs(offset - start_xyz).max() > ORIGIN_TOLERANCE:
        raise _other_grid(path, "origin", "a whole number of voxels from the image's", _numbers(offset))
    box = turn.apply(array)
    start, size = start_xyz[::-1], np.asarray(box.shape)
    first = np.clip(start, 0, image.shape_zyx)
    last = np.clip(start + size, first, image.shape_zyx)
    inside = box[tuple(slice(a, b) for a, b in zip(first - start, last - start, strict=True))]
    outside = np.count_nonzero(box) - np.count_nonzero(inside)
    if outside:
        raise InputError(
            "the label reaches beyond the image", file=path, expected="all of it inside the image",
            found=f"{outside} voxels outside", do="check that label and image belong together",
        )  # fmt: skip
    placed = np.zeros(image.shape_zyx, box.dtype)
    placed[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = inside
    return placed


def check_axes(label: Geometry, image: Geometry, path: Path) -> None:
    """Raises InputError when spacing or direction are not the image's."""
    spacing = np.divide(label.spacing_xyz_mm, image.spacing_xyz_mm)
    if np.abs(spacing - 1).max() > SPACING_TOLERANCE:
        raise _other_grid(
            path, "spacing", f"{_numbers(image.spacing_xyz_mm)} mm", f"{_numbers(label.spacing_xyz_mm)} mm"
        )
    if np.abs(np.subtract(label.direction, image.direction)).max() > DIRECTION_TOLERANCE:
        raise _other_grid(path, "direction", _numbers(image.direction), _numbers(label.direction))


def offset_voxel(label: Geometry, image: Geometry) -> np.ndarray:
    """Index (x, y, z) of the label's first voxel on the image's grid."""
    axes = np.reshape(image.direction, (3, 3))
    return axes.T @ np.subtract(label.origin_lps_mm, image.origin_lps_mm) / image.spacing_xyz_mm


def _other_grid(path: Path, what: str, expected: str, found: str) -> InputError:
    return InputError(
        "the label is not on the image's grid", file=path, expected=f"{what} {expected}",
        found=f"{what} {found}", do="resample the label onto the image, or remove the case from the manifest",
    )  # fmt: skip


def _size(geometry: Geometry) -> str:
    return " x ".join(map(str, geometry.shape_zyx[::-1])) + " voxels"


def _numbers(values) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
