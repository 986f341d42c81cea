"""Headers that keep their voxels in other files: which files those are, and that they lie beside the header.

NRRD and MetaImage may name any file of the computer. What comes from elsewhere must not make the
reader open a device, a pipe, or a file that was never meant to be handed out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from VoxelAdvSegLib.errors import InputError

LARGEST_HEADER = 1 << 20
MOST_FILES = 100_000
METAIMAGE_ENDINGS = (".mha", ".mhd")
# A name with a number in it, as slice_%03d.raw, followed by first, last and step.
PATTERN = re.compile(r"(\S*%0?\d{0,2}[di]\S*)\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+\d+)?")


def data_files(path: Path) -> list[Path]:
    """The files that hold the voxels: the header's own, or those that it names.

    Raises InputError when one of them lies outside the header's folder or is no plain file.
    """
    names = _names(path)
    if not names:
        return [path]
    folder = path.absolute().parent
    return [_beside(folder, name, path) for name in names]


def _names(path: Path) -> list[str]:
    """What an NRRD or MetaImage header says after `data file:` or `ElementDataFile =`; [] where nothing."""
    with path.open("rb") as file:
        head = file.read(LARGEST_HEADER)
    if head.startswith(b"NRRD"):
        head = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
        is_ours = re.compile(rb"data ?file *: *(.*)", re.IGNORECASE).fullmatch
    elif path.name.lower().endswith(METAIMAGE_ENDINGS):
        is_ours = re.compile(rb"ElementDataFile\s*[=:]\s*(.*)", re.IGNORECASE).fullmatch
    else:
        return []
    lines = [line.strip() for line in head.splitlines()]
    for number, line in enumerate(lines):
        if match := is_ours(line):
            return _listed(os.fsdecode(match[1].strip()), lines[number + 1 :], path)
    return []


def _listed(text: str, rest: list[bytes], path: Path) -> list[str]:
    if text.upper() == "LOCAL" or not text:
        return []
    if re.fullmatch(r"LIST(\s+\d+D?)?", text, re.IGNORECASE):
        return [os.fsdecode(line) for line in rest if line]
    pattern = PATTERN.fullmatch(text)
    if pattern is None:
        return [text]
    first, last, step = (int(pattern[number]) for number in (2, 3, 4))
    count = (last - first) // step + 1 if step else 0
    if not 0 < count <= MOST_FILES:
        raise InputError(
            "the header names no files that could hold its voxels", file=path,
            expected="a first number, a last number and a step", found=text[:200], do="export the image again",
        )  # fmt: skip
    return [pattern[1] % number for number in range(first, last + step, step)][:count]


def _beside(folder: Path, name: str, header: Path) -> Path:
    # Of Windows, too: a header made there may be looked at here, and the other way round.
    file = Path(os.path.normpath(folder / name.replace("\\", "/")))
    if "\0" in name or re.match(r"[A-Za-z]:", name) or not file.is_relative_to(folder) or file == folder:
        raise InputError(
            "the header refers to a file outside its folder", file=header,
            expected="voxels in the same file, or in a file beside or below it", found=name[:200],
            do="save the image as one file (.nrrd or .mha), or put its data beside the header",
        )  # fmt: skip
    try:
        found = "something else than a file" if file.exists() else "nothing"
        plain = file.is_file()
    except OSError as error:
        found, plain = error.strerror or str(error), False
    if not plain:
        raise InputError(
            "the file that holds the image's voxels is not there", file=header, expected=name[:200],
            found=found, do="copy it beside the header, or save the image as one file (.nrrd or .mha)",
        )  # fmt: skip
    return file
