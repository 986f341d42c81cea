"""Reads the previews of a training, without torch (written by training/previews.py)."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.volume import Geometry, check_geometry
from VoxelAdvSegLib.errors import InputError

OF_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError)
MOST_BYTES = 8 * 2**30  # of the arrays together: beyond any working grid, but not beyond a hostile file


@dataclass(frozen=True)
class Preview:
    """The training at work on one unlabeled scan, all (z, y, x) on the working grid.

    image: float16, normalized; label: uint8 class index; looks_labeled: uint8, 0 to 255 for 0 to 1,
    None for a method without discriminator; grid: where it lies, None in files of earlier versions.
    """

    image: np.ndarray
    label: np.ndarray
    looks_labeled: np.ndarray | None
    grid: Geometry | None
    case: str
    step: int | None

    def looks_labeled_float(self) -> np.ndarray | None:
        """The map as float32 from 0 to 1."""
        return None if self.looks_labeled is None else self.looks_labeled.astype(np.float32) / 255


def read_preview(path: Path) -> Preview:
    """Raises InputError when the file is missing, damaged, or not a preview. Loads no pickled object."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST_BYTES:
            raise ValueError(f"{size / 2**30:.0f} GB of arrays")
        with np.load(path, allow_pickle=False) as content:
            image, label = content["image"], content["label"]
            looks = content.get("looks_labeled")
            preview = Preview(
                image, label, looks, _grid(content, image.shape, path),
                str(content["case"]) if "case" in content else "",
                int(content["step"]) if "step" in content else None,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, *OF_ZIP) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    for name, array, kind in (("image", image, "f"), ("label", label, "u"), ("looks_labeled", looks, "u")):
        if array is not None and (array.ndim != 3 or array.shape != image.shape or array.dtype.kind != kind):
            raise _damaged(path, f"{name} of {array.dtype} and shape {array.shape}")
    return preview


def _grid(content: np.lib.npyio.NpzFile, shape: tuple[int, ...], path: Path) -> Geometry | None:
    if "spacing_xyz_mm" not in content:
        return None
    a, b, c = map(float, content["spacing_xyz_mm"])
    x, y, z = map(float, content["origin_lps_mm"])
    direction = tuple(map(float, content["direction"]))
    if len(direction) != 9 or len(shape) != 3:
        raise ValueError(f"direction of {len(direction)} numbers, shape {shape}")
    geometry = Geometry((shape[0], shape[1], shape[2]), (a, b, c), (x, y, z), direction)
    check_geometry(geometry, path)
    return geometry


def _damaged(path: Path, found: str) -> InputError:
    return InputError(
        "the preview cannot be read", file=path, expected="a preview as the training writes it", found=found[:300],
        do="wait for the next one",
    )  # fmt: skip
