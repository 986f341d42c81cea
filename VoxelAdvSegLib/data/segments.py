"""Segmentations that name their segments, and how Slicer's .seg.nrrd keeps them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.volume import Geometry, header_geometry, read_pixels
from VoxelAdvSegLib.errors import InputError

# Overlapping segments need a layer each; Slicer merges what does not overlap.
MOST_LAYERS = 256


@dataclass(frozen=True)
class Segment:
    """A named segment. mask() gives its voxels, bool (z, y, x), on the segmentation's own grid.

    color_rgb (0 to 255), terminology and status ("inprogress", "completed", ...) as Slicer keeps
    them; None and "" where the file says nothing.
    """

    name: str
    mask: Callable[[], np.ndarray]
    color_rgb: tuple[int, int, int] | None = None
    terminology: str = ""
    status: str = ""


def names_segments(header: sitk.ImageFileReader) -> bool:
    """Whether an image file's header is a Slicer segmentation's."""
    return bool(_segment_numbers(header))


def list_segments(header: sitk.ImageFileReader) -> list[tuple[str, str]]:
    """Name and terminology of each segment, from the header alone."""
    keys = [f"Segment{number}_" for number in _segment_numbers(header)]
    return [
        (
            _text(header, key + "Name") or _text(header, key + "ID"),
            _tags(_text(header, key + "Tags")).get("TerminologyEntry", ""),
        )
        for key in keys
    ]


def read_seg_nrrd(header: sitk.ImageFileReader, path: Path) -> tuple[Geometry, list[Segment]]:
    """Segments of a Slicer segmentation, and the box of voxels they are stored on.

    A segment is the voxels of its layer with its label value; files from before Slicer 4.11 say
    neither, there each segment is a layer of its own. Raises InputError when the file is damaged.
    """
    layers_count = header.GetNumberOfComponents()
    geometry = header_geometry(header, path, components=layers_count)
    if layers_count > MOST_LAYERS:
        raise InputError(
            "the segmentation has more layers than can be", file=path, expected=f"at most {MOST_LAYERS}",
            found=str(layers_count), do="open the segmentation in Slicer and save it again",
        )  # fmt: skip
    array = read_pixels(path, sitk.sitkUnknown, header)
    layers = array.reshape(*geometry.shape_zyx, layers_count)
    segments = []
    for number in _segment_numbers(header):
        key = f"Segment{number}_"
        name = _text(header, key + "Name") or _text(header, key + "ID")
        try:
            layer = int(_text(header, key + "Layer") or number)
            value = int(_text(header, key + "LabelValue") or 1)
            voxels = layers[..., layer]
            np.equal(voxels[:1, :1, :1], value)  # a value that the voxels' type cannot hold
        except (ValueError, IndexError, OverflowError) as error:
            raise InputError(
                f"the segment '{name}' has no voxels of its own", file=path,
                expected=f"a label value, and a layer below {layers_count}", found=str(error),
                do="open the segmentation in Slicer and save it again",
            ) from error  # fmt: skip
        tags = _tags(_text(header, key + "Tags"))
        segments.append(
            Segment(
                name,
                partial(np.equal, voxels, value),
                _color(_text(header, key + "Color")),
                tags.get("TerminologyEntry", ""),
                tags.get("Segmentation.Status", ""),
            )
        )
    return geometry, segments


def _tags(text: str) -> dict[str, str]:
    """Tags of Slicer's "key:value|key:value|"; values may hold colons, not bars."""
    pairs = (tag.partition(":") for tag in text.split("|"))
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _color(text: str) -> tuple[int, int, int] | None:
    """0 to 255 from Slicer's three parts of 1; None where there are no such."""
    try:
        red, green, blue = (round(255 * min(max(float(part), 0.0), 1.0)) for part in text.split())
    except (ValueError, OverflowError):
        return None
    return red, green, blue


def _segment_numbers(header: sitk.ImageFileReader) -> list[int]:
    found = {re.fullmatch(r"Segment(\d+)_(?:Name|ID)", key) for key in header.GetMetaDataKeys()}
    return sorted({int(match[1]) for match in found if match})


def _text(header: sitk.ImageFileReader, key: str) -> str:
    return header.GetMetaData(key).strip() if header.HasMetaDataKey(key) else ""
