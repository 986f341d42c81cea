"""What stands for cases and paths in everything that a training leaves, and the local file that tells them.

File names are often patients' names. So a run folder, its diary and its model speak of "case-0001"; which
scan that is stands in key.json beside them, for its owner alone, and in nothing that is handed on.
A name that the manifest gives and that is not the file's is the user's own pseudonym, and is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.data.manifest import SPLITS, LabeledCase, Manifest, UnlabeledCase, case_name

KEY = "key.json"
NOTE = "Tells which patient's scan a pseudonym stands for. Keep it where the scans are kept, and hand it to nobody."
SHORTEST_NAME = 3  # shorter ones name nobody, and would be found in every sentence


class Pseudonyms:
    """Pseudonyms of the cases of a manifest, in its order, with those that an earlier key has given.

    Names of the slices of DICOM count as names, too: archives call them by numbers of the study.
    """

    def __init__(self, manifest: Manifest, run: Path) -> None:
        self.cases: dict[str, dict[str, str]] = _read_key(run).get("cases", {})
        by_image = {case["image"]: pseudonym for pseudonym, case in self.cases.items()}
        by_name = {case["name"]: pseudonym for pseudonym, case in self.cases.items()}  # of scans that were moved
        self._of: dict[Path, str] = {}
        for split in SPLITS:
            for case in manifest.split(split):
                known = by_image.get(str(case.image)) or by_name.get(case.name)
                if case.image not in self._of:
                    self._of[case.image] = self._new(case) if known in (None, *self._of.values()) else str(known)
        self._manifest, self._run = manifest, run

    def __getitem__(self, case: LabeledCase | UnlabeledCase) -> str:
        return self._of[case.image]

    def _new(self, case: LabeledCase | UnlabeledCase) -> str:
        pseudonym, number = case.name, len(self.cases)
        if case.name == case_name(case.image) or pseudonym in self.cases:
            while (pseudonym := f"case-{number + 1:04}") in self.cases:
                number += 1
        self.cases[pseudonym] = {"name": case.name, "image": str(case.image)}
        return pseudonym

    @cached_property
    def _hidden(self) -> dict[str, str]:
        """What must not be told, with what stands for it; by length, so that a path goes before its parts."""
        manifest, run = self._manifest, self._run
        hidden = {
            str(manifest.path): "the list of cases", str(manifest.path.parent): "the folder of the list",
            str(run): "the run folder", str(run.parent): "the folder of the run",
        }  # fmt: skip
        for split in SPLITS:
            for case in manifest.split(split):
                files = {case.image: f"the scan of {self[case]}"}
                if isinstance(case, LabeledCase):
                    files[case.label] = f"the label of {self[case]}"
                for file, words in files.items():
                    hidden |= {str(file): words, file.name: words}
                    hidden.setdefault(str(file.parent), "the folder of the scans")
                    with contextlib.suppress(OSError):
                        hidden |= {own.name: "a slice" for own in file.iterdir()}
                if case.name != self[case] and len(case.name) >= SHORTEST_NAME:
                    hidden[case.name] = self[case]
        hidden.pop(os.sep, None)
        return dict(sorted(hidden.items(), key=lambda item: -len(item[0])))

    def hide(self, value: Any) -> Any:
        """A text, or the texts of a table or list, without names and paths of the cases."""
        if isinstance(value, str):
            # Slices are files of a folder: what follows its path goes, too.
            for text, instead in self._hidden.items():
                if text in value:
                    value = re.sub(rf"(?<!\w){re.escape(text)}(?:{re.escape(os.sep)}[^\s,;]+)?(?!\w)", instead, value)
            return value
        if isinstance(value, Mapping):
            return {name: self.hide(one) for name, one in value.items()}
        return [self.hide(one) for one in value] if isinstance(value, list | tuple) else value

    def save(self, run: Path, data: str, init: str | None) -> None:
        """key.json of a run, for its owner alone."""
        self.write(run / KEY, {"data": data, "init": init})

    def write(self, path: Path, more: Mapping[str, Any]) -> None:
        """A key of another name, for its owner alone."""
        write_private(path, json.dumps({"note": NOTE, **more, "cases": self.cases}, indent=1))


def read_paths(run: Path) -> tuple[str, str | None]:
    """The manifest and the model that a run was begun with; "" and None where its key is gone."""
    key = _read_key(run)
    return str(key.get("data", "")), key.get("init")


def real_names(run: Path) -> dict[str, str]:
    """The name of each pseudonym, for the person at this computer; {} where the key is gone."""
    return {pseudonym: case["name"] for pseudonym, case in _read_key(run).get("cases", {}).items()}


def reveal(run: Path, value: Any) -> Any:
    """A text, or the texts of a table, of a run's diary as the person at this computer knows the cases."""
    cases = _read_key(run).get("cases", {})
    if isinstance(value, Mapping):
        return {name: reveal(run, one) for name, one in value.items()} if cases else value
    if isinstance(value, str):
        for pseudonym, case in cases.items():
            value = value.replace(f"the scan of {pseudonym}", case["image"])
            value = re.sub(rf"(?<!\w){re.escape(pseudonym)}(?!\w)", lambda match, case=case: case["name"], value)
    return value


def write_private(path: Path, text: str) -> None:
    """A file that no other user of the computer may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _read_key(run: Path) -> dict[str, Any]:
    """What the key of a run tells; {} where there is none, or none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((run / KEY).read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("cases"), dict):
            return content
    return {}
