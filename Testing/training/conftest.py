"""A data set of a few thousand voxels on disk, and the settings that train on it in seconds."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

TINY = {"patch": "32,16,16", "filters": 4, "disc_voxels_per_class": 32, "feature_voxels_per_class": 32}


def write_scan(folder: Path, name: str, seed: int, labeled: bool) -> None:
    """A bright ball beside a dimmer one in noise, 20 x 18 x 16 voxels of 1 mm."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((16, 18, 20))
    first = (z - 8) ** 2 + (y - 9) ** 2 + (x - 6 - rng.uniform(-1, 1)) ** 2 < 16
    second = (z - 8) ** 2 + (y - 9) ** 2 + (x - 14 - rng.uniform(-1, 1)) ** 2 < 12
    image = 100 + 80 * first + 40 * second + rng.normal(0, 8, first.shape)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(image.astype(np.float32)), folder / "images" / f"{name}.nii.gz")
    if labeled:
        label = np.where(first, 1, np.where(second, 2, 0)).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(label), folder / "labels" / f"{name}.nii.gz")


def write_manifest(folder: Path, **changes: object) -> Path:
    def labeled(name: str) -> dict[str, str]:
        return {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}

    content = {
        "labels": {"0": "background", "1": "ball", "2": "pebble"},
        "training": [labeled("a"), labeled("b")],
        "unlabeled": ["images/c.nii.gz", "images/d.nii.gz", "images/e.nii.gz"],
        "validation": [labeled("f")],
        **changes,
    }
    path = folder / "dataset.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """Manifest of two labeled, three unlabeled and one validation scan."""
    for seed, name in enumerate("abcdef"):
        write_scan(tmp_path / "data", name, seed, labeled=name in "abf")
    return write_manifest(tmp_path / "data")
