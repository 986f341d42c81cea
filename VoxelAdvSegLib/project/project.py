"""A clinician's project: one folder with cases, labels, drafts, predictions, runs and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project import (
    acceptance,
    adding,
    dataset,
    drafts,
    findings,
    labels,
    models,
    predictions,
    priority,
    roles,
    rounds,
    runs,
    storage,
)
from VoxelAdvSegLib.project import organs as organ_list
from VoxelAdvSegLib.project.adding import Added, Report, Write, quiet
from VoxelAdvSegLib.project.drafts import Draft
from VoxelAdvSegLib.project.findings import Findings
from VoxelAdvSegLib.project.folder import ProjectFolder
from VoxelAdvSegLib.project.labels import LabelVersion
from VoxelAdvSegLib.project.models import Model
from VoxelAdvSegLib.project.predictions import Prediction
from VoxelAdvSegLib.project.records import Case, ProjectOrgan
from VoxelAdvSegLib.project.review import Queue, order_queue
from VoxelAdvSegLib.project.rounds import Rounds
from VoxelAdvSegLib.project.runs import Alive, Run
from VoxelAdvSegLib.project.storage import Stored


class Project(ProjectFolder):
    """An open project. Every change is on the disk when its method returns.

    One program at a time has a project open, and uses it from one thread. Methods raise
    ProjectError for what cannot be, InputError for scans and segmentations that cannot be used.
    """

    # --- cases --------------------------------------------------------------------------------

    def rename_case(self, case_id: str, name: str) -> Case:
        if not name.strip():
            raise ProjectError("a case needs a name", expected="a name", found="nothing", do="type a name")
        return self.put(replace(self.case(case_id), name=name.strip()))

    def relocate_case(self, case_id: str, image: str | Path) -> Case:
        """Finds a scan again that was moved. Raises InputError when it is another scan."""
        return adding.relocate_case(self, self.case(case_id), Path(image).absolute())

    def follow_move(self, before: str | Path, after: str | Path, report: Report = quiet) -> list[str]:
        """After a scan was found again: ids of others that went the same way, with their folder or the whole disk."""
        return adding.follow_move(self, Path(before).absolute(), Path(after).absolute(), report)

    def remove_case(self, case_id: str, with_work: bool = False) -> None:
        """Forgets a case and all that the project folder holds of it; the scan itself, unless copied here, stays.

        with_work: also its labels and drafts, for good; the person has agreed. Raises ProjectError otherwise.
        """
        adding.remove_case(self, self.case(case_id), with_work)

    def add_folder(self, folder: str | Path, report: Report = quiet) -> Added:
        """Every scan in a folder and below it, with labels that are named alike."""
        return adding.add_folder(self, Path(folder).absolute(), report)

    def add_files(self, images: Iterable[str | Path | tuple[str | Path, str | Path]], report: Report = quiet) -> Added:
        """Scans, or pairs of scan and label."""
        return adding.add_files(self, images, report)

    def add_manifest(self, path: str | Path, report: Report = quiet) -> Added:
        """The cases of a Decathlon manifest in the roles it gives them; test cases are excluded."""
        return adding.add_manifest(self, Path(path).absolute(), report)

    def add_exported(self, name: str, write: Write, label: Write | None = None) -> Added:
        """A scan that `write(path)` writes (image.nrrd), with a .seg.nrrd that `label(path)` writes.

        What either raises is passed on, and then there is no new case.
        """
        return adding.add_exported(self, name, write, label)

    def accept_unfinished(self, case_ids: Iterable[str]) -> list[LabelVersion]:
        """Takes the drafts of cases as their labels: what came in marked as in progress is finished."""
        return [adding.accept_draft(self, self.case(case_id)) for case_id in case_ids]

    def add_label(self, case_id: str, file: str | Path, decision: str = "imported") -> LabelVersion:
        """A label of any format for a case, as its next version."""
        return adding.add_label(self, self.case(case_id), Path(file), decision)

    def findings(self, report: Report = quiet) -> Findings:
        """What is wrong or remarkable by case id, "" for all together; only changed files are read."""
        return findings.examine(self, dataset.build_manifest(self, dataset.label_to_examine), report)

    def known_findings(self) -> Findings:
        """As `findings` at the last time; no scan is opened."""
        return findings.known(self)

    # --- roles --------------------------------------------------------------------------------

    def set_role(self, case_id: str, role: str, leave_validation: bool = False) -> Case:
        """leave_validation: the person has agreed that the validation split changes."""
        return self.put(roles.with_role(self.case(case_id), role, leave_validation))

    @property
    def validation(self) -> Mapping[str, Any] | None:
        """How the validation cases were drawn: fraction, date, cases; None before."""
        return self._content.validation

    def draw_validation(self, fraction: float = 0.2) -> tuple[str, ...]:
        """Makes a share of the labeled cases the validation cases, once in the life of the project."""
        return roles.draw_validation(self, fraction)

    # --- organs -------------------------------------------------------------------------------

    def set_organs(self, organs: Sequence[ProjectOrgan]) -> None:
        """The whole list; its order is that of the classes."""
        organ_list.set_organs(self, organs)

    def add_organ(
        self, name: str, color_rgb: tuple[int, int, int] | None = None, terminology: str | None = None
    ) -> ProjectOrgan:
        return organ_list.add_organ(self, name, color_rgb, terminology)

    def rename_organ(self, old: str, new: str) -> ProjectOrgan:
        """Segments of the old name still mean the organ, in all labels."""
        return organ_list.rename_organ(self, old, new)

    def merge_organs(self, kept: str, *others: str) -> ProjectOrgan:
        """One organ for all their segments."""
        return organ_list.merge_organs(self, kept, others)

    def recolor_organ(self, name: str, color_rgb: tuple[int, int, int], terminology: str | None = None) -> ProjectOrgan:
        return organ_list.recolor_organ(self, name, color_rgb, terminology)

    def remove_organ(self, name: str) -> None:
        """Off the list; labels stay as they are."""
        organ_list.remove_organ(self, name)

    # --- labels -------------------------------------------------------------------------------

    def accept(
        self,
        case_id: str,
        file: str | Path,
        *,
        decision: str,
        model: str | None = None,
        proposal_dice: Mapping[str, float | None] | None = None,
    ) -> LabelVersion:
        """Takes a .seg.nrrd in as the case's label; its draft has then done its work and goes.

        model, proposal_dice: of the proposal it came from; left out, those of the recorded prediction.
        """
        return acceptance.accept(self, self.case(case_id), Path(file), decision, model, proposal_dice)

    def versions(self, case_id: str) -> tuple[LabelVersion, ...]:
        return labels.read_versions(self.case_folder(case_id) / "labels")

    def label_file(self, case_id: str) -> Path | None:
        """The current label version's file."""
        number = self.case(case_id).label
        return None if number is None else labels.read_version(self.case_folder(case_id) / "labels", number).file

    def restore(self, case_id: str, number: int) -> LabelVersion:
        """Makes an earlier version the current one, as a new version."""
        return acceptance.restore(self, self.case(case_id), number)

    def flag(self, case_id: str, reason: str) -> Case:
        """Marks a case for someone else to look at; its label is not used until it is accepted again."""
        return self.put(roles.flagged(self.case(case_id), reason))

    def reopen(self, case_id: str) -> Case:
        """Takes a completed or flagged case up again."""
        return self.put(roles.reopened(self.case(case_id)))

    def skip(self, case_id: str) -> Case:
        """Puts a case back in the queue until `unskip`, or until it is predicted anew."""
        return self.put(replace(self.case(case_id), skipped=True))

    def unskip(self) -> None:
        with self.batch():
            for case in self.cases:
                if case.skipped:
                    self.put(replace(case, skipped=False))

    # --- drafts -------------------------------------------------------------------------------

    def save_draft(self, case_id: str, write: Write) -> Draft:
        """Keeps a half-done correction; write(path) makes the .seg.nrrd. The case is then in progress."""
        case = self.case(case_id)
        roles.check_editable(case)
        draft = drafts.write_draft(self.case_folder(case_id), write, case.label)
        if case.state != "in progress":
            self.put(roles.begun(case))
        return draft

    def draft(self, case_id: str) -> Draft | None:
        return drafts.read_draft(self.case_folder(case_id))

    def discard_draft(self, case_id: str) -> Case:
        """Back to the label, the prediction, or nothing."""
        case = self.case(case_id)
        drafts.remove_draft(self.case_folder(case_id))
        return self.put(roles.without_draft(case, self.prediction(case_id) is not None))

    # --- predictions --------------------------------------------------------------------------

    def record_prediction(
        self,
        case_id: str,
        folder: str | Path,
        *,
        model: str,
        score: float | None = None,
        reason: str = "",
        volumes_ml: Mapping[str, float] | None = None,
        looks_labeled_mean: Mapping[str, float | None] | None = None,
    ) -> Prediction:
        """Keeps what a model proposes for a case; a case that the person has begun keeps its state."""
        case = self.case(case_id)
        prediction = predictions.write_prediction(
            self.case_folder(case_id), Path(folder), model, score, reason, volumes_ml or {}, looks_labeled_mean or {}
        )
        self.put(roles.predicted(case, model, score, reason, prediction.assessment))
        return prediction

    def rank_predictions(self) -> None:
        """Gives the cases that wait for review their places, by what correcting them would teach."""
        priority.rank_predictions(self)

    def prediction(self, case_id: str) -> Prediction | None:
        return predictions.read_prediction(self.case_folder(case_id))

    def queue(self) -> Queue:
        return order_queue(self.cases)

    # --- training -----------------------------------------------------------------------------

    def can_train(self, unlabeled: bool = True) -> str:
        """Why no training can start, in a sentence, or ""; unlabeled: the method needs unlabeled scans."""
        return dataset.what_is_missing(self, unlabeled)

    def write_manifest(self) -> Path:
        """dataset.json of the cases in use, by pseudonym; to be read with `anywhere`."""
        return dataset.write_manifest(self)

    def new_run(self) -> Path:
        """A new, empty folder for a training."""
        return runs.new_run(self.path)

    def runs(self, alive: Alive | None = None) -> tuple[Run, ...]:
        """Newest first; alive(folder) tells whether the process of a training runs, None: cannot be known."""
        return tuple(runs.read_run(folder, alive) for folder in reversed(runs.run_folders(self.path)))

    def run(self, run_id: str, alive: Alive | None = None) -> Run:
        for folder in runs.run_folders(self.path):
            if folder.name == run_id:
                return runs.read_run(folder, alive)
        raise ProjectError(
            "there is no such training", file=self.path, expected="a training of the list", found=run_id,
            do="choose another training",
        )  # fmt: skip

    def delete_run(self, run_id: str, alive: Alive | None = None, even_if_needed: bool = False) -> None:
        """All of a training, its model included; its figures stay in the rounds."""
        run = self.run(run_id, alive)
        model = f"{runs.FOLDER}/{run_id}"
        if run.has_model and not even_if_needed:
            models.check_not_needed(self, model)
        rounds.keep_round(self, run_id)
        storage.delete_run(self, run.path, alive)
        self._content.model_names.pop(model, None)
        self.save()

    def rounds(self) -> Rounds:
        """What each training was worth, and whether labeling more still pays."""
        return rounds.list_rounds(self)

    # --- models -------------------------------------------------------------------------------

    def models(self) -> tuple[Model, ...]:
        """Those trained here, newest first, then those imported. Weights are not read."""
        return models.list_models(self)

    def model(self, model_id: str) -> Model:
        return models.find_model(self, model_id)

    def rename_model(self, model_id: str, name: str) -> Model:
        return models.rename_model(self, model_id, name)

    def export_model(self, model_id: str, file: str | Path) -> Path:
        """One .zip file with the model, of which an older one of the name is replaced."""
        return models.export_model(self, model_id, Path(file).absolute())

    def import_model(self, source: str | Path, name: str | None = None) -> Model:
        """The model of an exported file or of a model folder, after it was checked. Raises BundleError."""
        return models.import_model(self, Path(source).absolute(), name)

    def delete_model(self, model_id: str, even_if_needed: bool = False) -> None:
        """Raises ProjectError that tells what refers to it, unless that was agreed to."""
        models.delete_model(self, model_id, even_if_needed)

    # --- stored files -------------------------------------------------------------------------

    def stored(self) -> tuple[Stored, ...]:
        """Every kind of file in the project folder with its size."""
        return storage.list_stored(self)

    def clean(self, kinds: Iterable[str], alive: Alive | None = None) -> int:
        """Removes kinds that can be made again; returns the bytes that became free."""
        return storage.clean(self, kinds, alive)
