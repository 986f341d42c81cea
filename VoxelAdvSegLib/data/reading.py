"""Scans and labels, read in this process, or in child processes that may crash in its place.

ITK's and GDCM's readers are written in C and were not made for hostile files. Within `reading_apart`,
the functions here have another process do it: capped in memory and time, used for one file after the
other. What ends or stops it is an InputError that names the file. Voxels come back through the child's
pipe, so none of them ever lies on a disk. Without `reading_apart`, as inside 3D Slicer, whose Python
starts no plain children, they read as data/volume.py and data/labels.py do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data import labels, volume
from VoxelAdvSegLib.data.labels import LabelMap
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.readers import Limits, Readers
from VoxelAdvSegLib.data.volume import Geometry, Volume

_readers: list[Readers] = []  # the innermost `reading_apart` of this process is the last


@contextmanager
def reading_apart(limits: Limits | None = None) -> Iterator[None]:
    """Foreign files are read by child processes until it ends; within another one, by the same children."""
    if _readers and limits is None:
        yield
        return
    with Readers(limits or Limits()) as readers:
        _readers.append(readers)
        try:
            yield
        finally:
            _readers.remove(readers)


def read_volume(path: str | Path) -> Volume:
    """As data.volume.read_volume."""
    if not _readers:
        return volume.read_volume(path)
    answer, array = _readers[-1].ask(Path(path), "volume")
    assert array is not None
    return Volume(array, Geometry(**_tuples(answer["geometry"])), answer["modality"])


def read_geometry(path: str | Path) -> Geometry:
    """As data.volume.read_geometry."""
    if not _readers:
        return volume.read_geometry(path)
    answer, _ = _readers[-1].ask(Path(path), "geometry")
    return Geometry(**_tuples(answer["geometry"]))


def read_label_map(path: str | Path, organs: Sequence[Organ], image: Geometry, allow_empty: bool = False) -> LabelMap:
    """As data.labels.read_label_map."""
    if not _readers:
        return labels.read_label_map(path, organs, image, allow_empty)
    answer, array = _readers[-1].ask(
        Path(path), "label", organs=[asdict(o) for o in organs], image=asdict(image), allow_empty=allow_empty
    )
    assert array is not None
    return LabelMap(array, **_tuples(answer["label"]))


def read_label(path: str | Path, organs: Sequence[Organ], image: Geometry, allow_empty: bool = False) -> np.ndarray:
    """As data.labels.read_label."""
    return read_label_map(path, organs, image, allow_empty).array


def _tuples(fields: dict) -> dict:
    """JSON's lists as the tuples that dataclasses hold."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
