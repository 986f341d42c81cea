"""What every model folder is, told without loading a weight, or torch.

A model is flat: model.json, README.md and weights in safetensors. model.json tells the checksums of
the weights, and its own. They find what was damaged or changed by hand, not what a forger made anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.errors import BundleError

FORMAT = 2
WITHOUT_SEAL = 1  # the format of 0.1.0 before its description had a checksum of its own; read, no longer written
ABOUT, CARD, WEIGHTS, SEAL = "model.json", "README.md", ".safetensors", "sha256_of_this"
WEIGHTS_NAME = re.compile(r"[A-Za-z0-9_\-]{1,60}\.safetensors")
LARGEST_TEXT = 4 * 2**20
LARGEST_HEADER = 16 * 2**20
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def sealed(about: dict[str, Any]) -> dict[str, Any]:
    """The description with the checksum of all the rest of it."""
    rest = {key: value for key, value in about.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return {**rest, SEAL: hashlib.sha256(text.encode("ascii")).hexdigest()}


def read_about(folder: Path) -> dict[str, Any]:
    """model.json of a model folder.

    Raises BundleError when there is none, it is damaged, or of another version.
    """
    file = folder / ABOUT
    try:
        if file.stat().st_size > LARGEST_TEXT:
            raise ValueError(f"{file.stat().st_size} bytes")
        about = json.loads(file.read_text(encoding="utf-8"))
        found = about["format"]
    except FileNotFoundError as error:
        raise BundleError(
            "there is no model", file=folder, expected=f"a run folder, or a model folder with {ABOUT}",
            found="a folder without it" if folder.is_dir() else "no such folder",
            do="check the path, or choose another model",
        ) from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(folder, f"{ABOUT}: {type(error).__name__}: {error}") from error
    if found not in (FORMAT, WITHOUT_SEAL):
        raise BundleError(
            "the model is from another version", file=folder,
            expected=f"format {FORMAT} (VoxelAdvSeg {__version__})",
            found=f"format {found} (VoxelAdvSeg {about.get('version', '?')})"[:200],
            do="update VoxelAdvSeg, or train the model anew",
        )  # fmt: skip
    if found == FORMAT and sealed(about) != about:
        raise damaged(folder, f"{ABOUT} is not the file that was saved (its checksum differs)")
    checksums, organs = about.get("sha256"), about.get("organs")
    if not isinstance(checksums, dict) or not checksums:
        raise damaged(folder, f"{ABOUT} has no table of weights files")
    for name in checksums:
        if not WEIGHTS_NAME.fullmatch(name):
            raise damaged(folder, f"{ABOUT} tells of weights called {name[:100]}")
    if not isinstance(organs, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in organs):
        raise damaged(folder, f"{ABOUT} names no organs")
    if not isinstance(about.get("provenance"), dict):
        raise damaged(folder, f"{ABOUT} does not say how it was trained")
    return about


def check_model(folder: Path) -> dict[str, Any]:
    """read_about, after the weights were found whole and unaltered. Raises BundleError."""
    about = read_about(folder)
    present = {path.name for path in folder.iterdir() if path.name.endswith(WEIGHTS)}
    for name in sorted(present ^ set(about["sha256"])):
        raise damaged(folder, f"{name} is missing" if name not in present else f"{name} is not told of in {ABOUT}")
    for name, checksum in about["sha256"].items():
        check_safetensors(folder / name)
        if sha256(folder / name) != checksum:
            raise damaged(folder, f"{name} is not the file that was saved (its checksum differs)")
    return about


def check_safetensors(file: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor. Raises BundleError unless the tensors of the header fill the file exactly."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise damaged(file, f"a header of {length} bytes in a file of {size}")
        raw = opened.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        spans = sorted(_span(tensor) for tensor in header.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(file, f"its header: {type(error).__name__}: {error}"[:200]) from error
    end = 0
    for begin, stop in spans:
        if begin != end:
            raise damaged(file, "tensors that overlap or leave gaps")
        end = stop
    if end != size - 8 - length:
        raise damaged(file, f"{size - 8 - length} bytes of tensors where the header tells of {end}")
    return {name: tuple(tensor["shape"]) for name, tensor in header.items()}


def sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _span(tensor: Any) -> tuple[int, int]:
    begin, end = tensor["data_offsets"]
    shape = tensor["shape"]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (begin, end, *shape)):
        raise ValueError("sizes that are no numbers")
    if math.prod(shape) * ITEM_BYTES[tensor["dtype"]] != end - begin:
        raise ValueError(f"a tensor of shape {shape} in {end - begin} bytes")
    return begin, end


def damaged(file: Path, found: str) -> BundleError:
    """A model, or one of its files, that is not as it was saved."""
    return BundleError(
        "the model is damaged", file=file, expected="the files as they were saved", found=found,
        do="copy or export the model again, or train it anew",
    )  # fmt: skip
