"""What a training reads: the project's cases as a manifest, by pseudonym, with labels that name its organs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, UnlabeledCase, manifest_content
from VoxelAdvSegLib.data.organs import same_name
from VoxelAdvSegLib.data.segments import list_segments
from VoxelAdvSegLib.data.volume import read_geometry, read_header
from VoxelAdvSegLib.errors import InputError, ProjectError
from VoxelAdvSegLib.inference.output import write_segmentation
from VoxelAdvSegLib.project import findings, labels
from VoxelAdvSegLib.project.disk import remove, write_json, written_or_told
from VoxelAdvSegLib.project.records import Case
from VoxelAdvSegLib.project.segmentation import find_organ, match_segments

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

FILE = "dataset.json"
DERIVED = "training-"  # label files written here, because names of the accepted ones are not the organs'


def build_manifest(project: Project, label_of: Callable[[Project, Case], Path]) -> Manifest:
    """The cases in use, named by their ids; label_of gives the file of a case's label.

    A flagged or unaccepted label is none: such a case counts as unlabeled, and as nothing at all if
    it is a validation case.
    """
    training, unlabeled, validation = [], [], []
    for case in project.cases:
        if case.has_usable_label:
            labeled = LabeledCase(case.id, case.image, label_of(project, case))
            (validation if case.role == "validation" else training).append(labeled)
        elif case.role in ("labeled", "unlabeled"):
            unlabeled.append(UnlabeledCase(case.id, case.image))
    return Manifest(
        path=project.path / FILE,
        organs=project.training_organs,
        modality=str(project.settings.get("modality", "")),
        mirror_axes=(),
        training=tuple(training),
        unlabeled=tuple(unlabeled),
        validation=tuple(validation),
        test=(),
    )


def write_manifest(project: Project) -> Path:
    """dataset.json with absolute paths; to be read with `anywhere`.

    Raises ProjectError when there is no organ or no labeled case, InputError when a label in use is
    damaged or has none of the organs.
    """
    if not project.organs:
        raise _lacking(project, "no organs", "add the organs to be learned")
    manifest = build_manifest(project, training_label)
    if not manifest.training:
        raise _lacking(project, "no labeled case", "segment and accept at least one case")
    write_json(manifest.path, manifest_content(manifest))
    return manifest.path


def what_is_missing(project: Project, unlabeled: bool) -> str:
    """Why no training can start, in a sentence; "" when one can. Nothing is read but the cases' existence."""
    if not project.organs:
        return "The project has no organs yet."
    labeled = [case for case in project.cases if case.has_usable_label and case.role == "labeled"]
    if not labeled:
        return "There is no labeled case yet: accept at least one segmentation."
    others = [case for case in project.cases if case.role in ("labeled", "unlabeled") and not case.has_usable_label]
    if unlabeled and not others:
        return "There is no unlabeled case: add scans without labels."
    for case in project.cases:
        if case.role != "excluded" and not case.image.exists():
            return (
                f"The scan of {case.name} is no longer at its place: "
                "put it back, find it again by Case under Project, or exclude the case."
            )
    in_use = {case.id: case for case in project.cases if case.role != "excluded"}
    bad = [case_id for case_id, found in findings.known(project).items()
           if case_id in in_use and any(finding.severity == "error" for finding in found)]  # fmt: skip
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return f"{in_use[bad[0]].name}{more} cannot be used: see the case table, repair or exclude."
    return ""


def label_to_examine(project: Project, case: Case) -> Path:
    """As training_label; a label that cannot be used is examined as it is, to be told what is wrong with it."""
    try:
        return training_label(project, case)
    except (InputError, ProjectError):
        return labels.version_file(project.case_folder(case.id) / "labels", case.label or 0)


def training_label(project: Project, case: Case) -> Path:
    """The current label, or one derived from it when its segments are called otherwise than the organs."""
    assert case.label is not None
    folder = project.case_folder(case.id)
    file = labels.read_version(folder / "labels", case.label).file
    segments = list_segments(read_header(file))
    meant = [(name, find_organ(project.organs, name, code)) for name, code in segments]
    found = [organ.name for _, organ in meant if organ]
    if (
        found
        and len(set(found)) == len(found)
        and all(organ is None or same_name(name, organ.name) for name, organ in meant)
    ):
        return file
    wanted = json.dumps([(organ.name, organ.names, organ.terminology) for organ in project.organs])
    derived = folder / f"{DERIVED}{case.label:04}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}.seg.nrrd"
    if not derived.is_file():
        geometry = read_geometry(case.image)
        matched = match_segments(file, project.organs, geometry)
        array = matched.class_indices(project.organs, geometry.shape_zyx)
        if not array.any():
            raise InputError(
                f"the label of {case.name} has none of the project's organs", file=file,
                expected=", ".join(organ.name for organ in project.organs),
                found=", ".join(name for name, _ in segments),
                do="name a segment like an organ, or give the case the role unlabeled",
            )  # fmt: skip
        with written_or_told(derived):
            for old in folder.glob(f"{DERIVED}*.seg.nrrd"):
                remove(old)
        write_segmentation(array, geometry, project.training_organs, derived)
    return derived


def _lacking(project: Project, found: str, do: str) -> ProjectError:
    return ProjectError(
        "there is nothing to train from yet", file=project.path, expected="organs and at least one labeled case",
        found=found, do=do,
    )  # fmt: skip
