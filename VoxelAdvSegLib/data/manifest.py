"""The list of cases and their roles, in the form of the Medical Segmentation Decathlon."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from VoxelAdvSegLib.data.organs import (
    Organ,
    name_problem,
    normalized_name,
    organs_of,
    terminology_problem,
)
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.errors import InputError

SPLITS = ("training", "unlabeled", "validation", "test")
# Keys of the Decathlon and of nnU-Net that say something, and keys that only describe.
KNOWN_KEYS = frozenset(
    ("labels", "modality", "channel_names", "mirror_axes", "terminology", "name", "description",
     "reference", "licence", "license", "release", "tensorImageSize", "numTraining", "numTest",
     "file_ending", *SPLITS)
)  # fmt: skip
LARGEST_MANIFEST = 1 << 28
ENDINGS = (
    ".seg.nrrd",
    ".seg.nhdr",
    ".nii.gz",
    ".nrrd",
    ".nhdr",
    ".nii",
    ".mha",
    ".mhd",
    ".dcm",
    ".img",
    ".hdr",
)


@dataclass(frozen=True)
class UnlabeledCase:
    """A case known by its image alone. It has no field that could hold a label."""

    name: str
    image: Path


@dataclass(frozen=True)
class LabeledCase:
    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Manifest:
    path: Path
    organs: tuple[Organ, ...]
    modality: str
    mirror_axes: tuple[str, ...]
    training: tuple[LabeledCase, ...]
    unlabeled: tuple[UnlabeledCase, ...]
    validation: tuple[LabeledCase, ...]
    test: tuple[LabeledCase | UnlabeledCase, ...]

    def split(self, name: str) -> tuple[LabeledCase | UnlabeledCase, ...]:
        return getattr(self, name)


@dataclass(frozen=True)
class Problem:
    """What is wrong with one entry; case and split are "" where it concerns the manifest itself."""

    case: str
    split: str
    error: InputError


class Tell(Protocol):
    """Raises or collects an error."""

    def __call__(self, error: InputError, split: str = "", case: str = "") -> None: ...


def case_name(path: Path) -> str:
    """File name without its ending; for a DICOM folder the folder's name."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def read_manifest(path: Path, problems: list[Problem] | None = None, anywhere: bool = False) -> Manifest:
    """The cases of a manifest, with paths made absolute.

    An entry may give its case a "name"; otherwise the image's file name is taken. Labels of
    unlabeled entries are not looked at: no path to them is kept. anywhere: paths may lead out of
    the manifest's folder, for manifests that were written on this machine and not handed over.
    Raises InputError when the file or its 'labels' are unreadable. What else can be wrong (an
    unknown key, a path that leaves the manifest's folder or leads nowhere, an entry without
    image or label, two cases of one name) is raised too, or collected in `problems` if given:
    then entries that cannot be understood are left out, and those whose files are missing stay.
    """

    def tell(error: InputError, split: str = "", case: str = "") -> None:
        if problems is None:
            raise error
        problems.append(Problem(case, split, error))

    path = Path(path).absolute()
    if ".." in path.parts:  # as in ../data/dataset.json: entries are judged by the folder that it means
        path = path.parent.resolve() / path.name
    content = _read_json(path)
    for key in sorted(set(content) - KNOWN_KEYS):
        meant = difflib.get_close_matches(key, KNOWN_KEYS, n=1)
        tell(
            InputError(
                f"the manifest has an unknown key '{key}'",
                file=path,
                expected="labels, training, unlabeled, validation, test, or a key that describes",
                found=key,
                do=f"write '{meant[0]}', or remove the key" if meant else "remove the key",
            )
        )
    return Manifest(
        path=path,
        organs=_organs(content, path, tell),
        modality=_modality(content),
        mirror_axes=_mirror_axes(content, path, tell),
        training=_cases(content, "training", path, tell, anywhere),
        unlabeled=_cases(content, "unlabeled", path, tell, anywhere),
        validation=_cases(content, "validation", path, tell, anywhere),
        test=_cases(content, "test", path, tell, anywhere),
    )


def manifest_content(manifest: Manifest) -> dict:
    """What its file has to hold, ready for JSON, with full paths (to be read with `anywhere`)."""
    return {
        "labels": {"0": "background", **{str(organ.value): organ.name for organ in manifest.organs}},
        "terminology": {organ.name: organ.terminology for organ in manifest.organs},
        "modality": {"0": manifest.modality},
        "mirror_axes": list(manifest.mirror_axes),
        **{split: [_entry(case) for case in manifest.split(split)] for split in SPLITS},
    }


def _entry(case: LabeledCase | UnlabeledCase) -> dict[str, str]:
    entry = {"name": case.name, "image": str(case.image)}
    return entry | {"label": str(case.label)} if isinstance(case, LabeledCase) else entry


def check_roles(manifest: Manifest) -> None:
    """Raises InputError when a case stands in two roles, by path."""
    roles: dict[str, str] = {}
    for split in SPLITS:
        for case in manifest.split(split):
            key = os.path.realpath(case.image)
            if key in roles:
                first = roles[key]
                where = f"twice in '{split}'" if first == split else f"in '{first}' and in '{split}'"
                raise InputError(
                    f"{case.name} stands {where}",
                    file=case.image,
                    expected="each scan in one list, once",
                    found=where,
                    do=f"remove it from one of the lists of {manifest.path.name}",
                )
            roles[key] = split


def _read_json(path: Path) -> dict:
    if not path.is_file():
        raise InputError(
            "there is no such manifest",
            file=path,
            expected="a JSON file that lists the cases",
            found="a folder" if path.is_dir() else "nothing",
            do="check the path after --data",
        )
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise ValueError(f"{path.stat().st_size} bytes, more than any list of cases")
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors put a mark in front
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            "the manifest is not readable JSON",
            file=path,
            expected="JSON text in UTF-8",
            found=str(error),
            do="repair the file",
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            "the manifest is not a table",
            file=path,
            expected='{"labels": {...}, "training": [...], ...}',
            found=type(content).__name__,
            do="see README.md, section on data",
        )
    return content


def _label_values(content: dict, path: Path) -> dict[str, int]:
    """Name-to-value, from the Decathlon's {"1": "name"} or nnU-Net's {"name": 1}."""

    def wrong(found: object, do: str = "correct 'labels'") -> InputError:
        return InputError(
            "'labels' does not name the organs",
            file=path,
            expected='{"0": "background", "1": "liver"} or {"background": 0, "liver": 1}',
            found=str(found)[:200],
            do=do,
        )

    labels = content.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise wrong("nothing" if labels is None else labels, "add the key 'labels'")
    values: dict[str, int] = {}
    for key, value in labels.items():
        name_first = isinstance(value, int) and not isinstance(value, bool)
        name, number = (key, value) if name_first else (value, key)
        try:
            number = int(number)
        except (TypeError, ValueError):
            raise wrong(f"{key!r}: {value!r}") from None
        if not isinstance(name, str) or not 0 <= number <= 255:
            raise wrong(f"{key!r}: {value!r}")
        if number and (problem := name_problem(name)):
            raise wrong(f"an organ with {problem}", "give it a short name of characters that can be seen")
        if number in values.values():
            raise wrong(f"the value {number} twice")
        if normalized_name(name) in map(normalized_name, values):
            raise wrong(f"the name {name!r} twice")
        values[name] = number
    if not any(values.values()):
        raise wrong("only background", "add at least one organ")
    return values


def _cases(content: dict, split: str, path: Path, tell: Tell, anywhere: bool) -> tuple:
    entries = content.get(split, [])
    if not isinstance(entries, list):
        tell(
            InputError(
                f"'{split}' is not a list", file=path, expected="a list of cases",
                found=type(entries).__name__, do="write [ ... ] after the key",
            ),
            split,
        )  # fmt: skip
        return ()
    cases = []
    seen: dict[str, Path] = {}
    for entry in entries:
        try:
            case = _case(entry, split, path, anywhere)
        except InputError as error:
            tell(error, split, _name_of(entry))
            continue
        for file in (case.image, case.label) if isinstance(case, LabeledCase) else (case.image,):
            if problem := _missing(file, case.name, path):
                tell(problem, split, case.name)
        if seen.setdefault(case.name, case.image) != case.image:
            tell(
                InputError(
                    f"two cases of '{split}' are called {case.name}", file=path,
                    expected="different names", found=f"{seen[case.name]} and {case.image}",
                    do='rename one of the files, or give the entries different "name"s',
                ),
                split,
                case.name,
            )  # fmt: skip
        cases.append(case)
    return tuple(cases)


def _case(entry: object, split: str, path: Path, anywhere: bool) -> LabeledCase | UnlabeledCase:
    """The case of an entry, its files not yet looked at. Test cases may be without label."""
    fields = {"image": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict) or not isinstance(fields.get("image"), str):
        raise InputError(
            f"an entry of '{split}' names no image", file=path, expected='"image.nii.gz" or {"image": "..."}',
            found=str(entry)[:200], do="correct the entry",
        )  # fmt: skip
    image = _path(fields["image"], path, anywhere)
    name = fields.get("name", case_name(image))
    if not isinstance(name, str) or not name.strip() or set(name) & set("/\\:"):
        raise InputError(
            f"an entry of '{split}' has a strange name", file=path, expected="a text without / \\ and :",
            found=repr(name)[:200], do='correct "name", or leave it out',
        )  # fmt: skip
    if split == "unlabeled" or (split == "test" and "label" not in fields):
        return UnlabeledCase(name, image)
    if not isinstance(fields.get("label"), str):
        raise InputError(
            f"{name} in '{split}' has no label", file=path, expected='{"image": "...", "label": "..."}',
            found=str(entry)[:200], do="add the label, or move the case to 'unlabeled'",
        )  # fmt: skip
    return LabeledCase(name, image, _path(fields["label"], path, anywhere))


def _name_of(entry: object) -> str:
    """Name of the case an entry was meant to be, or "" where it names none."""
    name = entry.get("name") if isinstance(entry, dict) else None
    if isinstance(name, str):
        return name
    image = entry.get("image") if isinstance(entry, dict) else entry
    return case_name(Path(image)) if isinstance(image, str) else ""


def _path(text: str, manifest: Path, anywhere: bool) -> Path:
    """Absolute path of an entry. Links are the user's own and are not followed to judge."""
    folder = manifest.parent
    path = Path(os.path.normpath(folder / text))
    if path == folder or not (anywhere or path.is_relative_to(folder)):
        raise InputError(
            "a path leaves the folder of the manifest", file=manifest, expected=f"a path inside {folder}",
            found=text or "an empty path",
            do="put the scans beside or below the manifest, or add --anywhere if the manifest is your own",
        )  # fmt: skip
    try:
        str(path).encode()  # half a letter, which JSON may hold and no file's name
        if "\0" in text:
            raise ValueError("a zero in a name")
        path.exists()
    except (OSError, ValueError) as error:  # too long for the system, or no right to look
        raise InputError(
            "a path of the manifest cannot be followed", file=manifest, expected="a path that the system knows",
            found=(error.strerror if isinstance(error, OSError) else None) or str(error)[:200],
            do=f"correct {text[:100]!r} and its rights",
        ) from error  # fmt: skip
    return path


def _missing(path: Path, name: str, manifest: Path) -> InputError | None:
    """What is wrong with a path that leads to no file and no folder; None where it leads to one."""
    if path.is_file() or path.is_dir():
        return None
    return InputError(
        f"{name}: the file does not exist", file=path, expected="a scan or label",
        found="something else than a file or folder" if path.exists() else "nothing",
        do=f"correct the path in {manifest.name}",
    )  # fmt: skip


def _organs(content: dict, path: Path, tell: Tell) -> tuple[Organ, ...]:
    """The organs with the codes that the manifest gives, or that their names are known by."""
    values = _label_values(content, path)
    known = {name: terminology_of(name) for name in values}
    return organs_of(values, known | _terminology(content, path, tell))


def _terminology(content: dict, path: Path, tell: Tell) -> dict[str, str]:
    codes = content.get("terminology", {})
    if isinstance(codes, dict) and not any(
        terminology_problem(code) if isinstance(code, str) else True for code in codes.values()
    ):
        return codes
    tell(
        InputError(
            "'terminology' is not a table of texts", file=path, expected='{"liver": "..."}',
            found=str(codes)[:200], do="correct or remove the key",
        )
    )  # fmt: skip
    return {}


def _modality(content: dict) -> str:
    """First channel's modality in DICOM's spelling where known ("CT", "MR"), else ""."""
    channels = content.get("modality", content.get("channel_names", {}))
    first = next(iter(channels.values()), "") if isinstance(channels, dict) else str(channels)
    first = str(first).upper()
    return {"CT": "CT", "MRI": "MR", "MR": "MR", "LGE MRI": "MR"}.get(first, "")


def _mirror_axes(content: dict, path: Path, tell: Tell) -> tuple[str, ...]:
    axes = content.get("mirror_axes", [])
    if isinstance(axes, list) and all(axis in ("x", "y", "z") for axis in axes):
        return tuple(axes)
    tell(
        InputError(
            "'mirror_axes' is not a list of axes", file=path, expected='some of ["x", "y", "z"]',
            found=str(axes)[:100], do="correct the key",
        )
    )  # fmt: skip
    return ()
