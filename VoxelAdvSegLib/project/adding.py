"""How scans and labels come into a project."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from VoxelAdvSegLib.data.doctor import content_hash
from VoxelAdvSegLib.data.geometry import reorientation
from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, case_name, check_roles, read_manifest
from VoxelAdvSegLib.data.volume import Volume, read_volume
from VoxelAdvSegLib.errors import InputError, ProjectError, VoxelAdvSegError
from VoxelAdvSegLib.project import acceptance, drafts, findings, importing, roles
from VoxelAdvSegLib.project.disk import PARTIAL, copy_file, move, remove, sync_file, written_or_told
from VoxelAdvSegLib.project.labels import LabelVersion
from VoxelAdvSegLib.project.records import Case, now
from VoxelAdvSegLib.project.scans import FoundScan, find_scans

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

Report = Callable[[int, int, str], None]  # scans done, of how many, name of the next
Write = Callable[[Path], object]
IMAGE = "image.nrrd"


def quiet(done: int, total: int, name: str) -> None:
    """A report that says nothing."""


@dataclass
class Added:
    """What an addition brought.

    added: ids of new cases; known: (name, id) of scans that were there already; unfinished: ids
    whose segmentation is marked as in progress and was kept as a draft; problems: (name, error) of
    scans that cannot be used, or cases whose label cannot; notes: what else a person should know.
    """

    added: list[str] = field(default_factory=list)
    known: list[tuple[str, str]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    problems: list[tuple[str, VoxelAdvSegError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labeled: int = 0

    @property
    def text(self) -> str:
        """A few sentences for the person."""
        says = [f"{_scans(len(self.added))} added, {self.labeled} of them with a label."]
        if self.known:
            names = ", ".join(f"{name} (= {case_id})" for name, case_id in self.known[:3])
            more = " ..." if len(self.known) > 3 else ""
            says.append(f"{_scans(len(self.known))} the project has already: {names}{more}.")
        if self.unfinished:
            says.append(f"{_scans(len(self.unfinished))} with a segmentation that is marked as in progress.")
        if self.problems:
            says.append(
                f"{_scans(len(self.problems))} with a problem: {self.problems[0][0]}: {self.problems[0][1].what}."
            )
        return " ".join([*says, *self.notes])


def add_folder(project: Project, folder: Path, report: Report) -> Added:
    found = find_scans(folder)
    if not found.scans:
        raise InputError(
            "there are no scans in the folder", file=folder, expected="NIfTI, NRRD, MetaImage files or DICOM series",
            found="none, also in the folders below it", do="choose another folder",
        )  # fmt: skip
    added = _add_scans(project, found.scans, report)
    if found.alone:
        names = ", ".join(path.name for path in found.alone[:3]) + (" ..." if len(found.alone) > 3 else "")
        added.notes.append(f"No scan is named like these labels: {names}.")
    return added


def add_files(project: Project, images: Iterable[str | Path | tuple[str | Path, str | Path]], report: Report) -> Added:
    scans = []
    for entry in images:
        image, label = entry if isinstance(entry, tuple) else (entry, None)
        image = Path(image).absolute()
        scans.append(FoundScan(case_name(image), image, None if label is None else Path(label).absolute()))
    return _add_scans(project, scans, report)


def add_manifest(project: Project, path: Path, report: Report) -> Added:
    """Raises InputError when the manifest cannot be read or gives a scan two roles."""
    problems: list = []
    manifest = read_manifest(path, problems, anywhere=True)
    check_roles(manifest)
    values = tuple((organ.name, organ.value) for organ in manifest.organs)
    if manifest.modality and "modality" not in project.settings:
        project.set_setting("modality", manifest.modality)
    for organ in manifest.organs:
        importing.learn_organ(project, organ.name, None, organ.terminology)
    scans = [
        (role, FoundScan(case.name, case.image, case.label if isinstance(case, LabeledCase) else None, values))
        for role in ("training", "unlabeled", "validation", "test")
        for case in manifest.split(role)
    ]
    added = _add_scans(project, [scan for _, scan in scans], report)
    added.problems += [(problem.case, problem.error) for problem in problems if not problem.case]
    _take_roles(project, manifest, added)
    return added


def add_exported(project: Project, name: str, write: Write, label: Write | None) -> Added:
    case_id = _next_id(project)
    partial = project.path / "cases" / f".{case_id}{PARTIAL}"
    added = Added()
    try:
        with written_or_told(partial):
            remove(partial)
            partial.mkdir(parents=True)
        image = partial / IMAGE
        write(image)
        volume = read_volume(image)
        content = _content(volume)
        known = _case_with(project, content)
        if known is not None:
            added.known.append((name, known.id))
            return added
        with written_or_told(partial):
            sync_file(image)
            move(partial, project.path / "cases" / case_id)
    finally:
        with written_or_told(partial):
            remove(partial)
    case = _new_case(project, case_id, name, project.path / "cases" / case_id / IMAGE, content)
    added.added.append(case.id)
    findings.remember_scan(project.memory, case.id, case.image, volume)
    project.memory.save()
    if label is not None:
        file = project.case_folder(case.id) / f".label{PARTIAL}.seg.nrrd"
        try:
            label(file)
            _label_new_case(project, FoundScan(name, case.image, file), case, added)
        finally:
            with written_or_told(file):
                remove(file)
    return added


def add_label(project: Project, case: Case, file: Path, decision: str) -> LabelVersion:
    imported = importing.read_label_file(project, file, case.image, ())
    with imported.as_segmentation(project, case) as segmentation:
        return acceptance.accept(project, case, segmentation, decision)


def accept_draft(project: Project, case: Case) -> LabelVersion:
    draft = drafts.read_draft(project.case_folder(case.id))
    if draft is None:
        raise ProjectError(
            f"{case.id} has no draft to accept", expected="a segmentation in progress", found="none",
            do="segment the case first",
        )  # fmt: skip
    return acceptance.accept(project, case, draft.file, "imported")


def relocate_case(project: Project, case: Case, image: Path) -> Case:
    content = _content(read_volume(image))
    if content != case.content:
        raise InputError(
            f"this is not the scan of {case.name}", file=image, expected="the same voxels", found="others",
            do="choose the moved file itself, or add it as a new case",
        )  # fmt: skip
    return project.put(replace(case, image=image))


def follow_move(project: Project, before: Path, after: Path, report: Report) -> list[str]:
    """Ids of other cases whose scans are gone, too, and were found again where the folder of this one went."""
    left, arrived = _moved_folder(before, after)
    gone = [case for case in project.cases if case.image.is_relative_to(left) and not case.image.exists()]
    found = []
    for done, case in enumerate(gone):
        report(done, len(gone), case.name)
        image = arrived / case.image.relative_to(left)
        if image.exists():
            with contextlib.suppress(InputError):  # another scan has taken its name
                found.append(relocate_case(project, case, image).id)
    return found


def _moved_folder(before: Path, after: Path) -> tuple[Path, Path]:
    """The two places without what their paths share at the end."""
    alike = 0
    for one, other in zip(reversed(before.parts), reversed(after.parts), strict=False):
        if one != other:
            break
        alike += 1
    return Path(*before.parts[: len(before.parts) - alike]), Path(*after.parts[: len(after.parts) - alike])


def remove_case(project: Project, case: Case, with_work: bool) -> None:
    folder = project.case_folder(case.id)
    has_work = case.label is not None or project.versions(case.id) or (folder / drafts.ABOUT).is_file()
    if has_work and not with_work:
        raise ProjectError(
            f"{case.id} holds a person's work", file=folder, expected="a case without labels and drafts",
            found="a label or a draft", do="give it the role excluded: then it is not used, and nothing is lost",
        )  # fmt: skip
    del project.content.cases[case.id]
    project.save()
    project.memory.entries.pop(case.id, None)
    project.memory.save()
    with written_or_told(folder):
        remove(folder)


def _add_scans(project: Project, scans: Sequence[FoundScan], report: Report) -> Added:
    added = Added()
    with project.batch():
        for done, scan in enumerate(scans):
            report(done, len(scans), scan.name)
            _add_scan(project, scan, added)
    project.memory.save()
    return added


def _add_scan(project: Project, scan: FoundScan, added: Added) -> None:
    try:
        volume = read_volume(scan.image)
    except InputError as error:
        added.problems.append((scan.name, error))
        return
    content = _content(volume)
    known = _case_with(project, content)
    if known is not None:
        added.known.append((scan.name, known.id))
        return
    case = _new_case(project, _next_id(project), scan.name, scan.image, content)
    added.added.append(case.id)
    findings.remember_scan(project.memory, case.id, case.image, volume)
    if scan.label is not None:
        _label_new_case(project, scan, case, added)


def _label_new_case(project: Project, scan: FoundScan, case: Case, added: Added) -> None:
    assert scan.label is not None
    try:
        imported = importing.read_label_file(project, scan.label, case.image, scan.values)
        with imported.as_segmentation(project, case) as file:
            if imported.status == "inprogress":
                drafts.write_draft(project.case_folder(case.id), lambda path: copy_file(file, path), None)
                project.put(replace(roles.begun(case), reason="its segmentation is marked as in progress"))
                added.unfinished.append(case.id)
                return
            version = acceptance.accept(project, case, file, "imported")
    except InputError as error:
        added.problems.append((scan.name, error))
        project.put(replace(case, reason=f"its label cannot be used: {error.what}"))
        return
    added.labeled += 1
    added.notes += [f"{scan.name}: {note}" for note in version.notes]
    if imported.status == "flagged":
        project.put(roles.flagged(project.case(case.id), "a segment is flagged in its segmentation"))


def _take_roles(project: Project, manifest: Manifest, added: Added) -> None:
    """Validation and test cases of a manifest, as far as they are new."""
    new = {project.case(case_id).image: case_id for case_id in added.added}
    validation = [new[case.image] for case in manifest.validation if case.image in new]
    with project.batch():
        for case_id in validation:
            if project.case(case_id).label is not None:
                project.put(replace(project.case(case_id), role="validation"))
        for case in manifest.test:
            if case.image in new:
                project.put(replace(project.case(new[case.image]), role="excluded", reason="a test case"))
        drawn = [case_id for case_id in validation if project.case(case_id).role == "validation"]
        if drawn and project.content.validation is None:
            project.content.validation = {"fraction": None, "date": now(), "cases": drawn}


def _next_id(project: Project) -> str:
    """An id that no case has or had: also folders that a killed program left are not used again."""
    content = project.content
    while (project.path / "cases" / f"case-{content.next_case:04}").exists():
        content.next_case += 1
    return f"case-{content.next_case:04}"


def _new_case(project: Project, case_id: str, name: str, image: Path, content: str) -> Case:
    project.content.next_case += 1
    return project.put(Case(case_id, name, image, "unlabeled", "not started", content=content))


def _case_with(project: Project, content: str) -> Case | None:
    return next((case for case in project.cases if case.content == content), None)


def _content(volume: Volume) -> str:
    """Fingerprint of the scan, the same along whatever axes it is stored."""
    return content_hash(reorientation(volume.geometry).apply(volume.array))


def _scans(number: int) -> str:
    return f"{number} scan{'s' * (number != 1)}"
