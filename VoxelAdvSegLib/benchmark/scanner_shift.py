"""A simulated change of scanner: other contrast, more noise, a bias field (a data option of the benchmark).

The clinic's daily case, and the one in which bringing features of unlabeled scans near those of
labeled ones should pay most: labels from one scanner, unlabeled scans and patients from another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.manifest import Manifest, manifest_content
from VoxelAdvSegLib.data.reading import read_volume
from VoxelAdvSegLib.data.volume import Volume
from VoxelAdvSegLib.inference.output import write_map
from VoxelAdvSegLib.training.run_folder import write_text

SHIFTED_SPLITS = ("unlabeled", "validation", "test")  # labels come from the first scanner
GAMMA = 0.45  # ln of the exponent at strength 1: contrast as between sequences of one field strength
BIAS = 0.35  # ln of the largest gain over that of the middle at strength 1
NOISE = 0.05  # of the range of grey values at strength 1
JITTER = 0.25  # part of each amount that differs from scan to scan
RANGE_PERCENTILES = (0.5, 99.5)


def shift_scanner(volume: Volume, name: str, strength: float = 1.0, seed: int = 0) -> Volume:
    """The scan as another scanner might have shown it, on the same grid and within the same range of grey values.

    With u the grey values scaled by their 0.5 and 99.5 percentiles to 0..1:

        u' = (u^g) b + n,   g = exp(0.45 s),   ln b a smooth field up to +-0.35 s,   n ~ N(0, (0.05 s)^2),

    s the strength, each amount a quarter up or down from scan to scan. The direction of the contrast is
    the same for all scans, being a scanner's; the bias field is the sum of a tilt and a bowl in the
    body's own coordinates, and the noise is white. Values outside the percentiles are kept linear.
    Everything follows from seed and name; strength 0 returns the scan as it is.
    """
    if strength == 0:
        return volume
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")])
    low, high = np.percentile(volume.array, RANGE_PERCENTILES)
    span = max(float(high - low), 1e-6)
    unit = (volume.array - low) / span
    amounts = strength * (1 + JITTER * rng.uniform(-1, 1, 3))
    inside = np.clip(unit, 0, 1)
    contrast = inside ** np.exp(GAMMA * amounts[0]) + (unit - inside)
    shifted = contrast * np.exp(BIAS * amounts[1] * bias_field(volume.array.shape, rng))
    shifted += NOISE * amounts[2] * rng.standard_normal(volume.array.shape)
    return Volume((shifted * span + low).astype(np.float32), volume.geometry, volume.modality)


def bias_field(shape_zyx: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """A smooth field (z, y, x) between -1 and 1: a random tilt and a bowl, as of a coil at one side."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape_zyx]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    tilt = rng.standard_normal(3)
    tilt /= np.linalg.norm(tilt)
    center = rng.uniform(-0.5, 0.5, 3)
    field = tilt[0] * z + tilt[1] * y + tilt[2] * x
    field -= 0.5 * ((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2)
    field -= field.mean()
    return field / max(float(np.abs(field).max()), 1e-6)


def write_shifted(manifest: Manifest, folder: Path, strength: float, seed: int = 0) -> Path:
    """A manifest whose unlabeled, validation and test scans come from the other scanner; returns its path.

    Shifted scans lie under `folder`; training scans and all labels stay where they are. Scans that
    are there already are not made anew: the manifest is written last.
    """
    path = folder / "dataset.json"
    if path.exists():
        return path
    shifted = replace(
        manifest, **{split: _shift_cases(manifest, split, folder, strength, seed) for split in SHIFTED_SPLITS}
    )
    content = manifest_content(shifted) | {
        "name": "scanner shift",
        "description": f"simulated scanner shift of strength {strength:g}, seed {seed}, of {manifest.path.name}",
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))
    return path


def _shift_cases(manifest: Manifest, split: str, folder: Path, strength: float, seed: int) -> tuple:
    cases = []
    for case in manifest.split(split):
        image = folder / "images" / split / f"{case.name}.nii.gz"
        if not image.exists():
            shifted = shift_scanner(read_volume(case.image), case.name, strength, seed)
            write_map(shifted.array, shifted.geometry, image)
        cases.append(replace(case, image=image))
    return tuple(cases)
