"""The child of data/readers.py: `python -m VoxelAdvSegLib.data.reader MEMORY_BYTES IDLE_SECONDS`.

For each line of JSON on standard input it reads one file and answers with a line of JSON, followed by
the bytes of the voxels where there are some. It ends at the end of its input, so never outlives its parent,
and by the system's alarm when a file takes too long or nothing comes, whatever C code it is in then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from VoxelAdvSegLib.data.labels import read_label_map
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.volume import Geometry, memory_room, read_geometry, read_volume
from VoxelAdvSegLib.errors import VoxelAdvSegError

LIBRARIES_BYTES = 1 << 30  # address space of Python, numpy and SimpleITK, besides what a file takes

Answer = tuple[dict[str, Any], np.ndarray | None]


def main() -> None:
    memory_bytes, idle_seconds = int(sys.argv[1]), float(sys.argv[2])
    _cap_memory(memory_bytes)
    memory_room.set(memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's matter
    orders, answers = _own_pipes()
    for line in orders:
        order = json.loads(line)
        _set_alarm(order.pop("seconds"))
        head, array = _answer(order, memory_bytes)
        if array is not None:
            head["array"] = {"shape": array.shape, "dtype": array.dtype.name}
        answers.write(json.dumps(head).encode("ascii") + b"\n")
        if array is not None:
            answers.write(np.ascontiguousarray(array).data.cast("B"))
        answers.flush()
        _set_alarm(idle_seconds)


def _answer(order: dict[str, Any], memory_bytes: int) -> Answer:
    try:
        return _read(Path(order.pop("path")), order.pop("kind"), order)
    except VoxelAdvSegError as error:
        told = {"what": error.what, "file": error.file, "expected": error.expected, "found": error.found}
        return {"error": {"kind": type(error).__name__, **told, "do": error.do}}, None
    except MemoryError:
        found, text = f"one that takes more than {memory_bytes / 1e9:.1f} GB of memory", traceback.format_exc()
    except Exception as error:
        found, text = type(error).__name__, traceback.format_exc()
    return {"fault": {"found": found, "traceback": text}}, None


def _read(path: Path, kind: str, order: dict[str, Any]) -> Answer:
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


def _cap_memory(memory_bytes: int) -> None:
    """On Linux; elsewhere the check of the header alone stands between a file and the memory."""
    with contextlib.suppress(ImportError):
        import resource

        if sys.platform.startswith("linux"):
            _, most = resource.getrlimit(resource.RLIMIT_AS)  # of the parent, where it is capped itself
            limit = memory_bytes + LIBRARIES_BYTES
            limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would be a copy of a patient's scan


def _set_alarm(seconds: float) -> None:
    """Ends this process by a signal after some seconds, instead of at an earlier alarm."""
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
