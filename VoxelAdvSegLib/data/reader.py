"""The child's side of reading apart: `python -m VoxelAdvSegLib.data.reader MEMORY_BYTES` (data/readers.py).

For each line of JSON on standard input it reads one file and answers with a line of JSON, followed by
the bytes of the voxels where there are some. It ends at the end of its input, so never outlives its parent.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.labels import read_label_map
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.volume import Geometry, is_dicom, read_geometry, read_header, read_volume
from VoxelAdvSegLib.errors import InputError, VoxelAdvSegError

LIBRARIES_BYTES = 1 << 30  # address space of Python, numpy and SimpleITK, besides what a file takes
# Of each voxel in memory besides as it is stored: as float32, and once more on its way into an array.
WORKING_BYTES = 8
GRACE_SECONDS = 5.0  # after which a child whose parent is gone ends itself

Answer = tuple[dict[str, Any], np.ndarray | None]


def main() -> None:
    memory_bytes = int(sys.argv[1])
    _cap_memory(memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's matter
    orders, answers = _own_pipes()
    for line in orders:
        order = json.loads(line)
        _set_alarm(order.pop("seconds") + GRACE_SECONDS)
        head, array = _answer(order, memory_bytes)
        if array is not None:
            head["array"] = {"shape": array.shape, "dtype": array.dtype.name}
        answers.write(json.dumps(head).encode("ascii") + b"\n")
        if array is not None:
            answers.write(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
        answers.flush()
        _set_alarm(0)


def _answer(order: dict[str, Any], memory_bytes: int) -> Answer:
    try:
        return _read(Path(order.pop("path")), order.pop("kind"), order, memory_bytes)
    except VoxelAdvSegError as error:
        told = {"what": error.what, "file": error.file, "expected": error.expected, "found": error.found}
        return {"error": {"kind": type(error).__name__, **told, "do": error.do}}, None
    except MemoryError:
        return {
            "fault": {"found": "one that takes more than " + _room(memory_bytes), "traceback": traceback.format_exc()}
        }, None
    except Exception as error:
        return {"fault": {"found": type(error).__name__, "traceback": traceback.format_exc()}}, None


def _read(path: Path, kind: str, order: dict[str, Any], memory_bytes: int) -> Answer:
    if not is_dicom(path):
        _check_affordable(read_header(path), path, memory_bytes)
    if kind == "geometry":
        return {"geometry": asdict(read_geometry(path))}, None
    if kind == "volume":
        volume = read_volume(path)
        return {"geometry": asdict(volume.geometry), "modality": volume.modality}, volume.array
    organs = [Organ(**{**fields, "color_rgb": tuple(fields["color_rgb"])}) for fields in order["organs"]]
    image = Geometry(**{name: tuple(value) for name, value in order["image"].items()})
    label = read_label_map(path, organs, image, order["allow_empty"])
    return {
        "label": {
            "overlap_voxels": label.overlap_voxels,
            "ignored_segments": label.ignored_segments,
            "missing_segments": label.missing_segments,
        }
    }, label.array


def _check_affordable(header: sitk.ImageFileReader, path: Path, memory_bytes: int) -> None:
    """Raises InputError when the voxels that a header claims would not fit; also where memory has no cap."""
    stored = sitk.Image(1, 1, header.GetPixelID()).GetSizeOfPixelComponent() * header.GetNumberOfComponents()
    needed = math.prod(header.GetSize()) * (stored + WORKING_BYTES)
    if needed > memory_bytes:
        raise InputError(
            "the volume is too large for this computer", file=path, expected=f"one for {_room(memory_bytes)}",
            found=" x ".join(map(str, header.GetSize())) + f" voxels, for which it takes {needed / 1e9:.1f} GB",
            do="check the header, crop or resample the volume, or use a computer with more memory",
        )  # fmt: skip


def _room(memory_bytes: int) -> str:
    return f"{memory_bytes / 1e9:.1f} GB of memory"


def _cap_memory(memory_bytes: int) -> None:
    """On Linux; elsewhere the check of the header alone stands between a file and the memory."""
    with contextlib.suppress(ImportError):
        import resource

        if sys.platform.startswith("linux"):
            limit = memory_bytes + LIBRARIES_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would be a copy of a patient's scan


def _set_alarm(seconds: float) -> None:
    """Ends this process by a signal after some seconds, whatever C code it is in; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Orders and answers; what C libraries print, or would read, is kept away from both."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    return orders, answers


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
