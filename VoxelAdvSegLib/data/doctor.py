"""Every problem of a data set at once, told so that a person can repair it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from VoxelAdvSegLib.data.anatomy import compare_labels
from VoxelAdvSegLib.data.cohort import compare_scans
from VoxelAdvSegLib.data.facts import CaseFacts, Finding, OrganFacts, list_names
from VoxelAdvSegLib.data.geometry import reorient_geometry, reorientation
from VoxelAdvSegLib.data.labels import LabelMap
from VoxelAdvSegLib.data.manifest import (
    SPLITS,
    LabeledCase,
    Manifest,
    UnlabeledCase,
    check_roles,
    read_manifest,
)
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.reading import read_geometry, read_label_map, read_volume
from VoxelAdvSegLib.data.volume import Geometry, Volume
from VoxelAdvSegLib.errors import InputError

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Diagnosis:
    """A data set looked at: the cases that could be read, and all findings, errors first."""

    manifest: Manifest
    cases: tuple[CaseFacts, ...]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether no case is unusable and nothing else would stop a training."""
        return not any(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True)
class Looked:
    """One case by itself: its facts, None when it cannot be used, and what was found."""

    facts: CaseFacts | None
    findings: tuple[Finding, ...]


class Look(Protocol):
    """Looks at one case of a manifest, or remembers having done so."""

    def __call__(self, case: LabeledCase | UnlabeledCase, role: str, manifest: Manifest) -> Looked: ...


def examine_case(case: LabeledCase | UnlabeledCase, role: str, manifest: Manifest) -> Looked:
    """A case read from its files. The label of an unlabeled case is not opened."""
    findings: list[Finding] = []
    facts = _examine_case(case, role, manifest, findings)
    return Looked(facts, tuple(findings))


def examine(
    path: Path,
    report: Callable[[int, int, str], None] = lambda done, total, name: None,
    anywhere: bool = False,
) -> Diagnosis:
    """The data set of a manifest with everything that is wrong or remarkable.

    report(done, total, name) is called before each case; anywhere as in read_manifest.
    Raises InputError only when the manifest itself cannot be read.
    """
    problems: list = []
    manifest = read_manifest(path, problems, anywhere)
    told = [
        Finding(
            "error",
            _told(problem.error, problem.case, manifest),
            problem.error.do or "",
            problem.case,
            problem.split,
        )
        for problem in problems
    ]
    diagnosis = diagnose(manifest, report)
    return replace(diagnosis, findings=_by_severity([*told, *_lists(manifest), *diagnosis.findings]))


def diagnose(
    manifest: Manifest,
    report: Callable[[int, int, str], None] = lambda done, total, name: None,
    look: Look = examine_case,
) -> Diagnosis:
    """The cases of a manifest that was read or made; look stands for examine_case."""
    findings = _same_paths(manifest)
    cases = []
    entries = [(role, case) for role in SPLITS for case in manifest.split(role)]
    for done, (role, case) in enumerate(entries):
        report(done, len(entries), case.name)
        looked = look(case, role, manifest)
        findings += looked.findings
        if looked.facts is not None:
            cases.append(looked.facts)
    findings += compare_scans(manifest, cases) + compare_labels(manifest, cases)
    return Diagnosis(manifest, tuple(cases), _by_severity(findings))


def _by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def content_hash(array: np.ndarray) -> str:
    """Fingerprint of the voxels (z, y, x) float32: equal for equal scans whatever their file or header.

    Scans stored along other axes are equal once turned by data.geometry.reorientation.
    """
    voxels = np.ascontiguousarray(array, np.float32) + np.float32(0)  # -0.0 becomes 0.0
    return hashlib.blake2b(voxels.data.cast("B"), digest_size=16, key=repr(voxels.shape).encode()).hexdigest()


def check_training_data(manifest: Manifest, hashes: Mapping[Path, str]) -> None:
    """Raises InputError when the manifest cannot be trained from: no labeled case, or one scan in two roles.

    hashes: content_hash by image path, of the cases that training reads; others are compared by path.
    """
    if not manifest.training:
        raise InputError(
            "there is no labeled case to train from", file=manifest.path,
            expected="at least one case under 'training'", found="an empty list", do="label some cases",
        )  # fmt: skip
    check_roles(manifest)
    seen: dict[str, tuple[str, str]] = {}
    for role in SPLITS:
        for case in manifest.split(role):
            content = hashes.get(case.image)
            if content is None:
                continue
            first, first_role = seen.setdefault(content, (case.name, role))
            if first_role != role:
                raise InputError(
                    f"{case.name} in '{role}' is the same scan as {first} in '{first_role}'", file=case.image,
                    expected="each scan in one list", found="equal voxels",
                    do=f"remove one of the two from {manifest.path.name}",
                )  # fmt: skip


def _lists(manifest: Manifest) -> list[Finding]:
    findings = []
    if not manifest.training:
        only_measured = bool(manifest.validation or manifest.test) and not manifest.unlabeled
        findings.append(
            Finding(
                "warning" if only_measured else "error",
                "the list 'training' is empty or has no usable entry",
                "nothing, if these cases are only to be evaluated; training needs labeled cases"
                if only_measured else "label some cases and list them under 'training'",
                role="training",
            )
        )  # fmt: skip
    elif not manifest.unlabeled:
        findings.append(
            Finding(
                "note", "the list 'unlabeled' is empty",
                "train with --method supervised, or add scans without labels", role="unlabeled",
            )
        )  # fmt: skip
    return findings


def _same_paths(manifest: Manifest) -> list[Finding]:
    findings = []
    roles: dict[str, str] = {}
    for role in SPLITS:
        for case in manifest.split(role):
            file = os.path.realpath(case.image)
            if file not in roles:
                roles[file] = role
            elif roles[file] == role:
                what = "the same file stands twice in this list"
                findings.append(Finding("error", what, "remove one entry", case.name, role))
            else:
                what = f"the same file stands in '{roles[file]}' too"
                findings.append(Finding("error", what, "keep it in one list only", case.name, role))
    return findings


def _examine_case(
    case: LabeledCase | UnlabeledCase, role: str, manifest: Manifest, findings: list[Finding]
) -> CaseFacts | None:
    """Facts of a case that can be used, else None; what was found on the way is added to `findings`."""

    def note_error(error: InputError) -> None:
        findings.append(Finding("error", _told(error, case.name, manifest), error.do or "", case.name, role))

    volume = label = None
    if case.image.exists():
        try:
            volume = read_volume(case.image)
        except InputError as error:
            note_error(error)
    if isinstance(case, LabeledCase) and case.label.exists() and case.image.exists():
        try:
            # The label can be judged beside an image whose header alone is sound.
            geometry = volume.geometry if volume else read_geometry(case.image)
        except InputError:
            return None  # the same finding as above
        try:
            label = read_label_map(case.label, manifest.organs, geometry)
        except InputError as error:
            note_error(error)
        else:
            findings += _label_notes(label, case.name, role)
    if volume is None or (label is None and isinstance(case, LabeledCase)):
        return None
    organs = {} if label is None else _organ_facts(label.array, manifest.organs, volume.geometry)
    return case_facts(case, role, volume, organs)


def case_facts(
    case: LabeledCase | UnlabeledCase, role: str, volume: Volume, organs: dict[str, OrganFacts]
) -> CaseFacts:
    """What a scan that was read is like; organs: facts of its label, {} where there is none."""
    turn = reorientation(volume.geometry)
    low, high = np.percentile(volume.array, (0.5, 99.5))
    return CaseFacts(
        name=case.name,
        role=role,
        image=case.image,
        grid=reorient_geometry(volume.geometry, turn),
        orientation=sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(volume.geometry.direction),
        content=content_hash(turn.apply(volume.array)),
        modality=volume.modality,
        intensity_range=(float(volume.array.min()), float(low), float(high), float(volume.array.max())),
        organs=organs,
    )


def _organ_facts(label: np.ndarray, organs: tuple[Organ, ...], geometry: Geometry) -> dict[str, OrganFacts]:
    facts = {}
    spacing = np.asarray(geometry.spacing_xyz_mm)
    direction = np.reshape(geometry.direction, (3, 3))
    for index, box in enumerate(ndimage.find_objects(label, len(organs)), start=1):
        if box is None:
            continue
        voxels = np.argwhere(label[box] == index)
        center_xyz = (voxels.mean(axis=0) + [part.start for part in box])[::-1]
        x, y, z = (np.asarray(geometry.origin_lps_mm) + direction @ (center_xyz * spacing)).tolist()
        facts[organs[index - 1].name] = OrganFacts(
            volume_ml=float(len(voxels) * spacing.prod() / 1000),
            center_lps_mm=(x, y, z),
            at_border=any(part.start == 0 or part.stop == size for part, size in zip(box, label.shape, strict=True)),
        )
    return facts


def _label_notes(label: LabelMap, name: str, role: str) -> list[Finding]:
    findings = []
    if label.overlap_voxels:
        findings.append(
            Finding(
                "note", f"organs overlap in {label.overlap_voxels} voxels",
                "nothing, if they are few: the later organ in 'labels' gets them", name, role,
            )
        )  # fmt: skip
    if label.ignored_segments and label.missing_segments:
        findings.append(
            Finding(
                "warning",
                f"no segment is called {list_names(label.missing_segments)}; segments that are no organ of "
                f"the manifest: {list_names(label.ignored_segments)}",
                "rename the segment if it is meant", name, role,
            )
        )  # fmt: skip
    elif label.ignored_segments:
        findings.append(
            Finding(
                "note", f"segments that are no organ of the manifest: {list_names(label.ignored_segments)}",
                "nothing: they are left out", name, role,
            )
        )  # fmt: skip
    return findings


def _told(error: InputError, case: str, manifest: Manifest) -> str:
    """One line of an error: file as the manifest spells it, what, expected, found."""
    text = error.what.removeprefix(f"{case}: ")
    if error.file:
        file = Path(error.file)
        inside = file.is_relative_to(manifest.path.parent) and file != manifest.path
        text = f"{file.relative_to(manifest.path.parent) if inside else file.name}: {text}"
    if error.expected:
        text += f"; expected {error.expected}"
    if error.found:
        text += f"; found {error.found}"
    return text
