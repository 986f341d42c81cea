"""Scans in a folder and the labels that belong to them, found by names and places alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from VoxelAdvSegLib.data.manifest import ENDINGS, case_name, read_manifest
from VoxelAdvSegLib.data.volume import is_dicom
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.project.store import FILE

# Folders whose images are labels, and words at the end of a label's name.
LABEL_FOLDER = re.compile(r"(labels?|masks?|segs?|segmentations?|annotations?)(tr|ts|va|val)?", re.IGNORECASE)
IMAGE_FOLDER = re.compile(r"(images?|scans?|volumes?)(tr|ts|va|val)?", re.IGNORECASE)
LABEL_WORD = re.compile(r"[ _.\-](labels?|labelmap|masks?|segs?|segmentations?)$", re.IGNORECASE)
FIRST_CHANNEL = "_0000"  # nnU-Net's addition to the image's name
DICOM_ENDINGS = (".dcm", ".ima", "")


@dataclass(frozen=True)
class FoundScan:
    """values: name by voxel value for a label map whose data set names them."""

    name: str
    image: Path
    label: Path | None = None
    values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class FoundScans:
    """scans: in order of their paths; alone: labels that no scan belongs to."""

    scans: tuple[FoundScan, ...]
    alone: tuple[Path, ...]


def find_scans(folder: Path) -> FoundScans:
    """What is in a folder and below it; files are not read beyond their first bytes.

    Links to folders, hidden folders and other projects are not entered. Raises InputError when
    there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such folder", file=folder, expected="a folder with scans",
            found="a file" if folder.exists() else "nothing", do="choose another folder",
        )  # fmt: skip
    images, labels = [], []
    for path in _candidates(folder):
        (labels if _is_label(path, folder) else images).append(path)
    by_key: dict[tuple[str, str], list[Path]] = {}
    for label in labels:
        by_key.setdefault(_key(label, folder), []).append(label)
    names = {place: _values(place) for place in {_set_folder(label, folder) for label in labels}}
    scans, used = [], set()
    for image in images:
        label = _label_of(image, folder, by_key)
        used.add(label)
        values = names[_set_folder(label, folder)] if label else ()
        scans.append(FoundScan(case_name(image), image, label, values))
    return FoundScans(tuple(scans), tuple(label for label in labels if label not in used))


def _candidates(folder: Path) -> Iterator[Path]:
    """Image files and folders of DICOM series, in order."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if FILE in files and here != folder:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        slices = []
        for name in sorted(files):
            path = here / name
            if name.startswith("."):
                continue
            if path.suffix.lower() in DICOM_ENDINGS or name.isdigit() or path.suffix[1:].isdigit():
                if is_dicom(path):
                    slices.append(path)
            elif _is_image(path, files):
                yield path
        if slices and all(_is_segmentation(file) for file in slices):
            yield from slices
        elif len(slices) == 1 and len([name for name in files if not name.startswith(".")]) > 1:
            yield slices[0]
        elif slices:
            yield here


def _is_image(path: Path, beside: Iterable[str]) -> bool:
    name = path.name.lower()
    if not name.endswith(ENDINGS):
        return False
    # Of an Analyze pair the header stands for both; ITK finds the voxels.
    return not (name.endswith(".img") and f"{path.stem}.hdr" in beside)


def _is_segmentation(file: Path) -> bool:
    from VoxelAdvSegLib.data.dicom import read_dicom_file  # loads pydicom for DICOM only

    try:
        header = read_dicom_file(file)
    except InputError:
        return False  # told when the scan is read
    return header is not None and header.get("Modality") == "SEG"


def _is_label(path: Path, root: Path) -> bool:
    inside = path.relative_to(root).parts[:-1]
    if path.name.lower().endswith((".seg.nrrd", ".seg.nhdr")) or LABEL_WORD.search(case_name(path)):
        return True
    if path.is_file() and path.suffix.lower() == ".dcm" and _is_segmentation(path):
        return True
    return any(LABEL_FOLDER.fullmatch(name) for name in inside) or bool(LABEL_FOLDER.fullmatch(root.name))


def _key(path: Path, root: Path) -> tuple[str, str]:
    """What scan and label have in common: the place of their data set, and the name without its additions."""
    return str(_set_folder(path, root)), LABEL_WORD.sub("", case_name(path)).casefold()


def _set_folder(path: Path | None, root: Path) -> Path:
    """The folder above imagesTr and labelsTr, or the folder of the file itself."""
    assert path is not None
    for folder in (path, *path.parents):
        if folder == root:
            break
        if LABEL_FOLDER.fullmatch(folder.name) or IMAGE_FOLDER.fullmatch(folder.name):
            return folder.parent
    return path.parent


def _label_of(image: Path, root: Path, by_key: dict[tuple[str, str], list[Path]]) -> Path | None:
    place, name = _key(image, root)
    found = by_key.get((place, name)) or by_key.get((place, name.removesuffix(FIRST_CHANNEL)), [])
    # A segmentation that names its segments says more than a label map beside it.
    return min(found, key=lambda path: (".seg." not in path.name.lower(), str(path)), default=None)


def _values(folder: Path) -> tuple[tuple[str, int], ...]:
    """Names of label values from the manifests in a folder, where they all agree."""
    told = set()
    for path in sorted(folder.glob("*.json")):
        try:
            manifest = read_manifest(path, [])
        except InputError:
            continue  # some other JSON file
        told.add(tuple((organ.name, organ.value) for organ in manifest.organs))
    return told.pop() if len(told) == 1 else ()
