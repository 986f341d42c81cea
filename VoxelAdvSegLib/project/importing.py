"""Labels of any format as segmentations with names: a voxel value has a meaning only in its own file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.labels import SEGMENTATION_ENDINGS, read_label_map
from VoxelAdvSegLib.data.organs import BACKGROUND, PALETTE, Organ, normalized_name
from VoxelAdvSegLib.data.segments import Segment, names_segments
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.data.volume import Geometry, is_dicom, read_geometry, read_header, read_pixels
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.inference.output import write_segmentation
from VoxelAdvSegLib.project.disk import PARTIAL, remove, written_or_told
from VoxelAdvSegLib.project.records import Case, ProjectOrgan
from VoxelAdvSegLib.project.segmentation import find_organ, match_segments, read_segments

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

MOST_VALUES = 64  # more are no label map without names, but an image taken for one


@dataclass(frozen=True)
class ImportedLabel:
    """A label that was read. status: "flagged" or "inprogress" where a segment is so marked, else ""."""

    file: Path
    status: str
    array: np.ndarray | None = None  # class indices (z, y, x) of a label that is no .seg.nrrd
    geometry: Geometry | None = None
    organs: tuple[Organ, ...] = ()

    @contextlib.contextmanager
    def as_segmentation(self, project: Project, case: Case) -> Iterator[Path]:
        """The label as a .seg.nrrd: the file itself, or one that is there for the while."""
        if self.array is None or self.geometry is None:
            yield self.file
            return
        file = project.case_folder(case.id) / f".import{PARTIAL}.seg.nrrd"
        try:
            write_segmentation(self.array, self.geometry, self.organs, file)
            yield file
        finally:
            with written_or_told(file):
                remove(file)


def read_label_file(project: Project, file: Path, image: Path, values: Sequence[tuple[str, int]]) -> ImportedLabel:
    """A label of any format; organs that the project does not know yet are taken into it.

    values: names of the voxel values of a label map; without them they are "label 1", "label 2".
    Raises InputError when it cannot be read or lies on another grid.
    """
    if not file.exists():
        raise InputError(
            "there is no such label", file=file, expected="a label map or segmentation", found="nothing",
            do="check the path",
        )  # fmt: skip
    geometry = read_geometry(image)
    if is_dicom(file) or _has_names(file):
        _, segments = read_segments(file, geometry)
        _learn_segments(project, segments, file)
        if file.name.lower().endswith(".seg.nrrd"):
            return ImportedLabel(file, _status(segments))
        matched = match_segments(file, project.organs, geometry)
        array = matched.class_indices(project.organs, geometry.shape_zyx)
        return ImportedLabel(file, _status(segments), array, geometry, project.training_organs)
    organs = _map_organs(project, file, values)
    array = read_label_map(file, organs, geometry).array
    for index, organ in enumerate(organs, 1):
        if (array == index).any():
            learn_organ(project, organ.name, None, organ.terminology)
    return ImportedLabel(file, "", array, geometry, organs)


def learn_organ(project: Project, name: str, color_rgb: tuple[int, int, int] | None, terminology: str) -> ProjectOrgan:
    """The organ that a segment means; a new one where the project has none."""
    known = find_organ(project.organs, name, terminology)
    if known is not None:
        return known
    color = color_rgb or PALETTE[len(project.organs) % len(PALETTE)]
    organ = ProjectOrgan(name.strip(), color, terminology or terminology_of(name))
    project.content.organs.append(organ)
    project.save()
    return organ


def _learn_segments(project: Project, segments: Sequence[Segment], file: Path) -> None:
    """Takes the names of a file's segments for organs, as long as the project has no organs that it names.

    A file with one known organ is of this project: its other segments are helpers of the drawer.
    """
    if any(find_organ(project.organs, s.name, s.terminology) for s in segments):
        return
    for segment in segments:
        if normalized_name(segment.name) not in ("", BACKGROUND):
            learn_organ(project, segment.name, segment.color_rgb, segment.terminology)


def _map_organs(project: Project, file: Path, values: Sequence[tuple[str, int]]) -> tuple[Organ, ...]:
    named = {value: name for name, value in values}
    if not named:
        found = np.unique(read_pixels(file, sitk.sitkUnknown, read_header(file)))
        if found.size > MOST_VALUES or not np.array_equal(found, found.astype(np.uint8)):
            raise InputError(
                "this is no label map", file=file, expected=f"at most {MOST_VALUES} whole numbers from 0 to 255",
                found=f"{found.size} values from {found.min():g} to {found.max():g}",
                do="take the file out of the labels, or save it as a label map",
            )  # fmt: skip
        named = {int(value): f"label {int(value)}" for value in found if value}
    organs = []
    for value, name in sorted(named.items()):
        known = find_organ(project.organs, name)
        color = known.color_rgb if known else PALETTE[(value - 1) % len(PALETTE)]
        organs.append(Organ(name, value, color, known.terminology if known else terminology_of(name)))
    return tuple(organs)


def _has_names(file: Path) -> bool:
    return file.name.lower().endswith(SEGMENTATION_ENDINGS) or names_segments(read_header(file))


def _status(segments: Sequence[Segment]) -> str:
    statuses = {segment.status for segment in segments}
    return next((status for status in ("flagged", "inprogress") if status in statuses), "")
