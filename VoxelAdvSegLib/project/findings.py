"""What is wrong or remarkable about the cases, kept so that no scan is read twice for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelAdvSegLib.data.doctor import Looked, case_facts, diagnose, examine_case
from VoxelAdvSegLib.data.facts import CaseFacts, Finding, OrganFacts
from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, UnlabeledCase
from VoxelAdvSegLib.data.volume import Geometry, Volume
from VoxelAdvSegLib.project.disk import read_json, write_json
from VoxelAdvSegLib.project.records import CASE_ID

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

FILE = "findings.json"
FORMAT = 1
# The doctor speaks of manifests, of which the person at the panel knows nothing.
PANEL_WORDS = (
    ("add the organ to 'labels' of the manifest", "add the organ to the project"),
    ("or the organs in 'labels' of the manifest", "or the organs of the project"),
    ("the later organ in 'labels'", "the later organ of the list"),
    ("or list the case under 'unlabeled'", "or give the case the role unlabeled"),
    ("remove the case from the manifest", "exclude the case"),
    ("keep it in one list only", "exclude one of the two"),
    ("'training'", "'labeled'"),
    ("the manifest", "the project"),
)

Findings = dict[str, tuple[Finding, ...]]


class Memory:
    """What was found in each case, by what its files were like then.

    entries: by case id, {"key": what the files were, "facts": CaseFacts or None, "findings": [...]};
    a damaged or older file is begun anew, for all of it can be found again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.entries: dict[str, dict[str, Any]] = {}
        self.together: list[dict[str, Any]] = []  # findings of the last full look
        try:
            content = read_json(self._path)
            if content["format"] == FORMAT:
                self.entries, self.together = dict(content["cases"]), list(content["together"])
        except (OSError, ValueError, TypeError, KeyError):
            pass

    def save(self) -> None:
        write_json(self._path, {"format": FORMAT, "cases": self.entries, "together": self.together})

    def recall(self, case_id: str, key: str) -> Looked | None:
        entry = self.entries.get(case_id)
        if not isinstance(entry, dict) or entry.get("key") != key:
            return None
        try:
            facts = None if entry["facts"] is None else _facts(entry["facts"])
            return Looked(facts, tuple(Finding(**finding) for finding in entry["findings"]))
        except (TypeError, KeyError, ValueError, AttributeError):
            return None

    def keep(self, case_id: str, key: str, looked: Looked) -> None:
        self.entries[case_id] = {
            "key": key,
            "facts": None if looked.facts is None else _facts_to_json(looked.facts),
            "findings": [asdict(finding) for finding in looked.findings],
        }


def remember_scan(memory: Memory, case_id: str, image: Path, volume: Volume) -> None:
    """Keeps what a scan is like that was read anyway."""
    case = UnlabeledCase(case_id, image)
    memory.keep(case_id, _key(case, ()), Looked(case_facts(case, "unlabeled", volume, {}), ()))


def examine(project: Project, manifest: Manifest, report: Callable[[int, int, str], None]) -> Findings:
    """Findings by case id, "" for those of all cases together; only what has changed is read."""
    memory = project.memory
    organs = tuple(organ.name for organ in manifest.organs)

    def look(case: LabeledCase | UnlabeledCase, role: str, manifest: Manifest) -> Looked:
        key = _key(case, organs)
        looked = memory.recall(case.name, key) if key else None
        if looked is None:
            looked = examine_case(case, role, manifest) if key else _missing(case, role)
            if key:
                memory.keep(case.name, key, looked)
        facts = None if looked.facts is None else replace(looked.facts, role=role, name=case.name)
        return Looked(facts, tuple(replace(finding, role=role) for finding in looked.findings))

    def named_report(done: int, total: int, case_id: str) -> None:
        report(done, total, project.case(case_id).name)

    try:
        diagnosis = diagnose(manifest, named_report, look)
        memory.together = [asdict(finding) for finding in diagnosis.findings]
    finally:  # also when the report has stopped it: what was read need not be read again
        for gone in set(memory.entries) - set(project.content.cases):
            del memory.entries[gone]
        memory.save()
    return _by_case(project, diagnosis.findings)


def known(project: Project) -> Findings:
    """The findings of the last look; no scan is opened."""
    try:
        found = [Finding(**finding) for finding in project.memory.together]
    except TypeError:
        return {}
    return _by_case(project, tuple(f for f in found if not f.case or f.case in project.content.cases))


def _by_case(project: Project, found: tuple[Finding, ...]) -> Findings:
    by_case: Findings = {}
    for finding in found:
        by_case[finding.case] = (*by_case.get(finding.case, ()), _in_plain_words(project, finding))
    return by_case


def _in_plain_words(project: Project, finding: Finding) -> Finding:
    def name(match: re.Match[str]) -> str:
        case = project.content.cases.get(match[0])
        return case.name if case else match[0]

    message, do = (CASE_ID.sub(name, text) for text in (finding.message, finding.do))
    for words, plain in PANEL_WORDS:
        message, do = message.replace(words, plain), do.replace(words, plain)
    return replace(finding, message=message, do=do)


def _missing(case: LabeledCase | UnlabeledCase, role: str) -> Looked:
    missing = case.image if not case.image.exists() else case.label if isinstance(case, LabeledCase) else case.image
    message = f"the file is no longer at its place: {missing}"
    return Looked(
        None,
        (
            Finding(
                "error",
                message,
                "put it back, find it again by Case under Project, or exclude the case",
                case.name,
                role,
            ),
        ),
    )


def _key(case: LabeledCase | UnlabeledCase, organs: tuple[str, ...]) -> str:
    """What a case's files are like: name, size and time; "" when one is missing."""
    parts: list[Any] = []
    try:
        for path in (case.image, case.label) if isinstance(case, LabeledCase) else (case.image,):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            statuses = [(file.name, file.stat()) for file in files]
            parts.append([str(path), [(name, status.st_size, status.st_mtime_ns) for name, status in statuses]])
    except OSError:
        return ""
    return json.dumps([parts, list(organs) if isinstance(case, LabeledCase) else []], ensure_ascii=False)


def _facts_to_json(facts: CaseFacts) -> dict[str, Any]:
    return {**asdict(facts), "image": str(facts.image)}


def _facts(fields: Mapping[str, Any]) -> CaseFacts:
    grid = {name: tuple(value) for name, value in fields["grid"].items()}
    organs = {
        name: OrganFacts(organ["volume_ml"], tuple(organ["center_lps_mm"]), organ["at_border"])
        for name, organ in fields["organs"].items()
    }
    low, first, last, high = fields["intensity_range"]
    return CaseFacts(
        name=fields["name"], role=fields["role"], image=Path(fields["image"]), grid=Geometry(**grid),
        orientation=fields["orientation"], content=fields["content"], modality=fields["modality"],
        intensity_range=(low, first, last, high), organs=organs,
    )  # fmt: skip
