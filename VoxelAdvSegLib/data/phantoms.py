"""Made-up scans: tiny shapes for tests, and a multi-organ set from two scanners for the demo.

Anatomy is written in millimetres of the patient (LPS), so one patient can be scanned on any grid.
Every number follows from the seed. The organs are phantoms: named after organs for their places,
with left and right, but measured on nobody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from VoxelAdvSegLib.data.geometry import rescaled_geometry, to_image
from VoxelAdvSegLib.data.volume import Geometry, Volume

# --- shapes of a few thousand voxels ----------------------------------------------------------


def sphere(shape_zyx: Sequence[int], center_zyx: Sequence[float], radius: float) -> np.ndarray:
    """Mask (z, y, x) of the voxels whose centres lie within `radius` voxels of the centre."""
    offsets = np.moveaxis(np.indices(shape_zyx), 0, -1) - np.asarray(center_zyx, float)
    return np.sum(offsets**2, -1) <= radius**2


def box(shape_zyx: Sequence[int], start_zyx: Sequence[int], stop_zyx: Sequence[int]) -> np.ndarray:
    """Mask (z, y, x) of the voxels from `start` up to, and without, `stop`."""
    mask = np.zeros(shape_zyx, bool)
    mask[tuple(slice(a, b) for a, b in zip(start_zyx, stop_zyx, strict=True))] = True
    return mask


def touching_organs(shape_zyx: Sequence[int] = (16, 16, 20)) -> np.ndarray:
    """Classes uint8 (z, y, x) of two boxes that share a face in the middle of x: 1 below it, 2 above."""
    z, y, x = shape_zyx
    label = np.zeros(shape_zyx, np.uint8)
    label[box(shape_zyx, (z // 4, y // 4, x // 4), (z - z // 4, y - y // 4, x // 2))] = 1
    label[box(shape_zyx, (z // 4, y // 4, x // 2), (z - z // 4, y - y // 4, x - x // 4))] = 2
    return label


def paint(label: np.ndarray, seed: int = 0, noise_sd: float = 0.1) -> np.ndarray:
    """An image float32 (z, y, x) in which class c has grey level c + 1, with noise."""
    rng = np.random.default_rng(seed)
    return (label + 1.0 + noise_sd * rng.standard_normal(label.shape)).astype(np.float32)


# --- the patient ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blob:
    """An ellipsoid: centre and half axes in mm (LPS, from the body's middle), and grey level from 0 to 1."""

    name: str
    center_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    grey: float


FAT, MUSCLE = 0.85, 0.42
BODY_RADII_MM = (122.0, 90.0, 400.0)
FAT_MM = 13.0
ORGANS = (
    Blob("phantom liver", (-50, -10, 28), (56, 48, 42), 0.60),
    Blob("phantom spleen", (72, 18, 36), (28, 38, 40), 0.52),
    Blob("phantom right kidney", (-52, 40, -32), (25, 22, 42), 0.68),
    Blob("phantom left kidney", (52, 40, -24), (25, 22, 42), 0.68),
)
# What else a body holds, with greys near those of the organs: places have to be learned, too.
SURROUNDINGS = (
    Blob("spine", (0, 52, 0), (20, 18, 400), 0.30),
    Blob("aorta", (8, 24, 0), (9, 9, 400), 0.75),
    Blob("stomach", (40, -32, 30), (34, 26, 32), 0.53),
    Blob("bowel", (-30, -25, -52), (26, 24, 26), 0.64),
    Blob("bowel", (28, -20, -55), (28, 24, 28), 0.56),
)
EDGE_MM = 1.5  # width over which one tissue becomes the next


@dataclass(frozen=True)
class Scanner:
    """How a patient becomes an image.

    geometry: the grid in its middle position; gamma, gain: grey levels in file = gain * grey ** gamma;
    bias, noise_sd: parts of the grey levels; blur_mm: sd of the point spread.
    """

    name: str
    geometry: Geometry
    gain: float
    gamma: float
    bias: float
    noise_sd: float
    blur_mm: float


SCANNERS = (
    # Axial slices, stored from right to left and from front to back (LPS).
    Scanner(
        "a", Geometry((28, 37, 40), (6.5, 6.0, 6.2), (-126.75, -108.0, -83.7)),
        gain=900, gamma=1.0, bias=0.10, noise_sd=0.03, blur_mm=2.0,
    ),
    # Thicker slices, stored the other way round in x and y (RAS), of another contrast.
    Scanner(
        "b", Geometry((24, 35, 38), (6.8, 6.4, 7.2), (125.8, 108.8, -82.8), (-1, 0, 0, 0, -1, 0, 0, 0, 1)),
        gain=240, gamma=1.5, bias=0.25, noise_sd=0.045, blur_mm=3.0,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Phantom:
    """A scan with the truth about it; label: class indices uint8 (z, y, x), i + 1 = ORGANS[i]."""

    volume: Volume
    label: np.ndarray


def make_phantom(seed: int, number: int, scanner: Scanner, voxel_factor: float = 1.0) -> Phantom:
    """Patient `number` of a seed in a scanner; voxel_factor: coarser voxels (above 1) for quick tests."""
    anatomy, texture, acquisition = (np.random.default_rng([seed, number, part]) for part in range(3))
    geometry = _place(acquisition, scanner.geometry, voxel_factor)
    points = _voxel_points(geometry)
    tissue, label = _look_inside(anatomy, points)
    tissue *= 1 + _waves(texture, points, 40, 0.05, (14, 45))
    grey = np.clip(tissue, 0, None) ** scanner.gamma
    grey = ndimage.gaussian_filter(grey, scanner.blur_mm / np.asarray(geometry.spacing_zyx_mm))
    grey *= np.exp(_waves(acquisition, points, 4, scanner.bias, (300, 600)))
    real, imaginary = scanner.noise_sd * acquisition.standard_normal((2, *grey.shape))
    image = scanner.gain * np.hypot(grey + real, imaginary)  # magnitude images, as in MR
    return Phantom(Volume(np.round(image).astype(np.float32), geometry), label)


def _look_inside(rng: np.random.Generator, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels and classes (z, y, x) of a patient at points (z, y, x, 3)."""
    size = rng.normal(1, 0.06)
    bend = [_waves(rng, points_mm, 6, 4.0, (90, 240)) for _ in range(3)]
    points = points_mm / size + np.stack(bend, -1)
    body = _radius(points, np.zeros(3), np.asarray(BODY_RADII_MM))
    cavity = _radius(points, np.zeros(3), np.asarray(BODY_RADII_MM) - FAT_MM * rng.uniform(0.6, 1.5))
    grey = FAT * _inside(body, 90.0)
    grey += (MUSCLE - grey) * _inside(cavity, 80.0)
    label = np.zeros(body.shape, np.uint8)
    for blob in (*SURROUNDINGS, *ORGANS):
        radii = np.asarray(blob.radii_mm) * np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.07, 3))
        tilt = Rotation.from_rotvec(rng.normal(0, np.deg2rad(8), 3)).as_matrix()
        center = np.asarray(blob.center_mm) + rng.normal(0, 5, 3)
        radius = np.maximum(_radius(points, center, radii, tilt), cavity)
        share = _inside(radius, float(np.prod(np.minimum(radii, 60)) ** (1 / 3)))
        grey += (blob.grey + rng.normal(0, 0.025) - grey) * share
        label[radius < 1] = ORGANS.index(blob) + 1 if blob in ORGANS else 0
    return grey, label


def _radius(
    points_mm: np.ndarray, center_mm: np.ndarray, radii_mm: np.ndarray, tilt: np.ndarray | None = None
) -> np.ndarray:
    """Distance from an ellipsoid's middle, 1 on its surface."""
    offsets = points_mm - center_mm
    return np.linalg.norm((offsets if tilt is None else offsets @ tilt) / radii_mm, axis=-1)


def _inside(radius: np.ndarray, size_mm: float) -> np.ndarray:
    """1 inside, 0 outside, with a soft edge; size_mm: how many mm make a radius of 1."""
    return 1 / (1 + np.exp(np.clip((radius - 1) * size_mm / EDGE_MM, -50, 50)))


def _waves(
    rng: np.random.Generator, points_mm: np.ndarray, count: int, sd: float, lengths_mm: tuple[float, float]
) -> np.ndarray:
    """A smooth random field (z, y, x) of a standard deviation: plane waves in random directions."""
    field = np.zeros(points_mm.shape[:-1])
    for _ in range(count):
        direction = rng.standard_normal(3)
        direction *= 2 * np.pi / (np.linalg.norm(direction) * rng.uniform(*lengths_mm))
        field += np.cos(points_mm @ direction + rng.uniform(0, 2 * np.pi))
    return sd * np.sqrt(2 / count) * field


def _place(rng: np.random.Generator, geometry: Geometry, voxel_factor: float) -> Geometry:
    """The scanner's grid around a patient who lies a little askew."""
    if voxel_factor != 1:
        x, y, z = geometry.spacing_xyz_mm
        geometry = rescaled_geometry(geometry, (x * voxel_factor, y * voxel_factor, z * voxel_factor))
    turn = Rotation.from_rotvec(rng.normal(0, np.deg2rad(4), 3)).as_matrix()
    direction = turn @ np.reshape(geometry.direction, (3, 3))
    origin = turn @ geometry.origin_lps_mm + rng.normal(0, 4, 3)
    return replace(
        geometry,
        origin_lps_mm=tuple(map(float, origin)),
        direction=tuple(map(float, direction.ravel())),
    )


def _voxel_points(geometry: Geometry) -> np.ndarray:
    """LPS position in mm of every voxel (z, y, x, 3)."""
    index_xyz = np.moveaxis(np.indices(geometry.shape_zyx)[::-1], 0, -1)
    direction = np.reshape(geometry.direction, (3, 3))
    return index_xyz * np.asarray(geometry.spacing_xyz_mm) @ direction.T + np.asarray(geometry.origin_lps_mm)


# --- the set ----------------------------------------------------------------------------------

# Patients by role, as (scanner a, scanner b): labels come mostly from one scanner.
COUNTS = {"training": (3, 1), "unlabeled": (4, 8), "validation": (1, 1), "test": (4, 4)}


def write_phantoms(
    folder: Path,
    seed: int = 0,
    counts: dict[str, tuple[int, int]] | None = None,
    voxel_factor: float = 1.0,
) -> Path:
    """Images, labels and the manifest of a phantom set; returns the manifest's path.

    Labels of the unlabeled phantoms are not written anywhere.
    """
    manifest: dict = {
        "name": "phantoms",
        "description": f"made-up abdomens from two made-up scanners, seed {seed}",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", **{str(i): organ.name for i, organ in enumerate(ORGANS, 1)}},
    }
    number = 0
    for role, by_scanner in (COUNTS if counts is None else counts).items():
        manifest[role] = []
        for scanner, count in zip(SCANNERS, by_scanner, strict=True):
            for _ in range(count):
                phantom = make_phantom(seed, number, scanner, voxel_factor)
                name = f"phantom_{number:02}_scanner_{scanner.name}.nii.gz"
                manifest[role].append(_write_case(folder, name, phantom, role))
                number += 1
    path = folder / "dataset.json"
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return path


def _write_case(folder: Path, name: str, phantom: Phantom, role: str) -> str | dict[str, str]:
    """The manifest's entry of a case whose files are written."""
    geometry = phantom.volume.geometry
    files = {"image": phantom.volume.array.astype(np.int16)}
    if role != "unlabeled":
        files["label"] = phantom.label
    for kind, array in files.items():
        (folder / f"{kind}s").mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(to_image(array, geometry), str(folder / f"{kind}s" / name), useCompression=True)
    return f"images/{name}" if role == "unlabeled" else {kind: f"{kind}s/{name}" for kind in files}
