"""What a child process predicted, as read from its files; knows nothing of a scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.data.organs import PALETTE, Organ
from VoxelAdvSegLib.data.segments import read_seg_nrrd
from VoxelAdvSegLib.data.volume import Geometry, read_header
from VoxelAdvSegLib.errors import InputError


@dataclass(frozen=True)
class Prediction:
    """Label values (z, y, x) on a scan's grid. Voxels of an organ have the value organ.value.

    uncertain: names of organs that a person should look at first.
    """

    array: np.ndarray
    geometry: Geometry
    organs: tuple[Organ, ...]
    uncertain: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class MadeBy:
    """Where a prediction comes from: the model's name for people, its checksum or other fixed id, and when."""

    model: str
    model_id: str
    date: str

    @property
    def day(self) -> str:
        """The date without its time."""
        return self.date.partition("T")[0]


def read_prediction(path: str | Path, uncertain: frozenset[str] = frozenset()) -> Prediction:
    """The segments of a .seg.nrrd with names, colours and codes, numbered 1, 2 ... in their order in the file.

    Index by index as the file has them, unlike Slicer's own reader, which turns left-handed files.
    Where segments overlap, the later one has the voxel. Raises InputError when the file cannot be read.
    """
    path = Path(path)
    header = read_header(path)
    geometry, segments = read_seg_nrrd(header, path)
    if not segments:
        raise InputError("the file holds no segments", file=path, expected="a segmentation (.seg.nrrd)")
    array = np.zeros(geometry.shape_zyx, np.min_scalar_type(len(segments)))
    organs = []
    for index, segment in enumerate(segments):
        array[segment.mask()] = index + 1
        color = segment.color_rgb or PALETTE[index % len(PALETTE)]
        organs.append(Organ(segment.name, index + 1, color, segment.terminology))
    return Prediction(array, geometry, tuple(organs), uncertain)
