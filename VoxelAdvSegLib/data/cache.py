"""Prepared cases on disk, read back as memory-mapped arrays: memory does not grow with the data set."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.doctor import content_hash
from VoxelAdvSegLib.data.geometry import reorientation
from VoxelAdvSegLib.data.manifest import LabeledCase, UnlabeledCase
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.preprocess import Prepared, Recipe, prepare, prepare_label
from VoxelAdvSegLib.data.reading import read_label, read_volume
from VoxelAdvSegLib.data.volume import Geometry, Volume
from VoxelAdvSegLib.errors import InputError

# Half precision holds normalized intensities to one part in a thousand.
LARGEST = 6e4
FILES_OF_A_CASE = 2  # image and label
SMALL_BYTES = 1 << 16
# numpy reads a header with ast.literal_eval, which in CPython 3.11 fails now and then in two threads at once
# ("AST constructor recursion depth mismatch", gh-106905).
_HEADERS = threading.Lock()


@dataclass(frozen=True)
class UnlabeledArrays:
    """image: (z, y, x) float16 on the working grid; content: hash of the scan's own voxels; grid: the working grid."""

    name: str
    image: np.ndarray
    content: str
    grid: Geometry | None = None


@dataclass(frozen=True)
class LabeledArrays:
    """image: (z, y, x) float16; label: (z, y, x) uint8 class indices."""

    name: str
    image: np.ndarray
    label: np.ndarray
    content: str


def prepare_labeled(
    cases: Sequence[LabeledCase],
    organs: Sequence[Organ],
    recipe: Recipe,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    earlier: Sequence[Path] = (),
) -> list[LabeledArrays]:
    """Every case on the working grid, from the cache where it is there already, or in the cache of an earlier run.

    Raises InputError for the first case that cannot be used.
    """

    def one(case: LabeledCase) -> LabeledArrays:
        key = _key(recipe, case.image, case.label, [(o.name, o.value) for o in organs])

        def make() -> dict[str, np.ndarray]:
            volume = read_volume(case.image)
            label = read_label(case.label, organs, volume.geometry)
            prepared = _prepared(volume, recipe, case.image)
            return {
                "image": _half(prepared.array),
                "label": prepare_label(label, prepared, recipe, len(organs) + 1),
                "content": _content(volume),
            }

        arrays = _cached(folder, key, make, ("image", "label"), earlier=earlier)
        return LabeledArrays(case.name, arrays["image"], arrays["label"], str(arrays["content"]))

    return _in_parallel(one, cases, progress)


def prepare_unlabeled(
    cases: Sequence[UnlabeledCase | LabeledCase],
    recipe: Recipe,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    earlier: Sequence[Path] = (),
) -> list[UnlabeledArrays]:
    """Images alone; see prepare_labeled."""

    def one(case: UnlabeledCase | LabeledCase) -> UnlabeledArrays:
        def make() -> dict[str, np.ndarray]:
            volume = read_volume(case.image)
            prepared = _prepared(volume, recipe, case.image)
            return {
                "image": _half(prepared.array),
                "content": _content(volume),
                "grid": _grid_numbers(prepared.grid),
            }

        arrays = _cached(folder, _key(recipe, case.image), make, ("image",), ("content", "grid"), earlier)
        grid = _grid_of(arrays["image"].shape, arrays["grid"])
        return UnlabeledArrays(case.name, arrays["image"], str(arrays["content"]), grid)

    return _in_parallel(one, cases, progress)


def _allow_open_files(more: int) -> None:
    """Each mapped array keeps its file open, and the usual limit of a process is 1024 files, 256 on macOS.

    Raised as far as the system lets a process raise it itself; Windows has no such limit.
    """
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wish = soft + more if hard == resource.RLIM_INFINITY else min(soft + more, hard)
    with contextlib.suppress(OSError, ValueError):  # where the system has another limit besides: it will say so
        resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))


def _in_parallel(one: Callable, cases: Sequence, progress: Callable[[int, int], None]) -> list:
    _allow_open_files(FILES_OF_A_CASE * len(cases))
    prepared = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for arrays in pool.map(one, cases):
            prepared.append(arrays)
            progress(len(prepared), len(cases))
    return prepared


def _prepared(volume: Volume, recipe: Recipe, image: Path) -> Prepared:
    try:
        return prepare(volume, recipe)
    except InputError as error:
        error.file = error.file or str(image)
        raise


def _half(array: np.ndarray) -> np.ndarray:
    return np.clip(array, -LARGEST, LARGEST).astype(np.float16)


def _content(volume: Volume) -> np.ndarray:
    """Fingerprint of the scan, the same along whatever axes it is stored."""
    return np.array(content_hash(reorientation(volume.geometry).apply(volume.array)))


def _grid_numbers(grid: Geometry) -> np.ndarray:
    """Spacing, origin and direction as fifteen numbers."""
    return np.array([*grid.spacing_xyz_mm, *grid.origin_lps_mm, *grid.direction])


def _grid_of(shape: tuple[int, ...], numbers: np.ndarray) -> Geometry:
    a, b, c, x, y, z, *direction = map(float, numbers)
    return Geometry((shape[0], shape[1], shape[2]), (a, b, c), (x, y, z), tuple(direction))


def _key(recipe: Recipe, *parts: object) -> str:
    """Names the result: the recipe, and path, size and time of each file that goes in."""
    described: list[object] = [recipe.to_dict()]
    for part in parts:
        if isinstance(part, Path):
            files = sorted(part.iterdir()) if part.is_dir() else [part]
            described.append([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files])
        else:
            described.append(part)
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _link(file: Path, earlier: Sequence[Path]) -> None:
    """The same bytes under another name, where an earlier run has them: either run may be deleted."""
    for folder in earlier:
        if file.exists():
            return
        with contextlib.suppress(OSError):  # not there, or a disk without links: then it is prepared anew
            os.link(folder / file.name, file)


def _cached(
    folder: Path,
    key: str,
    make: Callable,
    mapped: Sequence[str],
    read: Sequence[str] = ("content",),
    earlier: Sequence[Path] = (),
) -> dict[str, np.ndarray]:
    """Arrays of the cache, made where they are not there or damaged; those named in `mapped` stay on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{key}.{name}.npy" for name in (*mapped, *read)}
    for file in files.values():
        _link(file, earlier)
    if all(file.exists() for file in files.values()):
        with contextlib.suppress(OSError, ValueError, EOFError):  # cut short, or objects in the place of numbers
            return _load(files, mapped)
    for name, array in make().items():
        # The ending .npy keeps numpy from adding its own; a scan that is listed twice is made in two threads.
        temporary = folder / f"{key}.{name}.{os.getpid()}-{threading.get_ident()}.partial.npy"
        np.save(temporary, array)
        temporary.replace(files[name])
    return _load(files, mapped)


def _load(files: dict[str, Path], mapped: Sequence[str]) -> dict[str, np.ndarray]:
    # Beyond a mapping, files are a few numbers; a header may claim any size.
    if any(files[name].stat().st_size > SMALL_BYTES for name in files if name not in mapped):
        raise ValueError("a small array that is large")
    with _HEADERS:
        return {
            name: np.load(file, mmap_mode="r" if name in mapped else None, allow_pickle=False)
            for name, file in files.items()
        }
