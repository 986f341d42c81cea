"""The section Segment: one click on a volume, a queue for all unlabeled scans, and the discriminator's map."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.tables import Cell, Row, Table
from VoxelAdvSegLib.panel.words import duration
from VoxelAdvSegLib.panel.workbench import Workbench

QUIET = ("progress", "installation")


class SegmentSection:
    """Widgets of the form from modelBox to mapCheckBox."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self.table = Table(ui.resultTable, 0)
        self._models: list[str] = []
        self._filling = False
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.on_volume)
        ui.modelBox.connect("currentIndexChanged(int)", self.on_choice)
        ui.segmentButton.connect("clicked()", self.on_segment)
        ui.segmentAllButton.connect("clicked()", self.on_segment_all)
        ui.skipCaseButton.connect("clicked()", self.on_skip)
        ui.segmentCancelButton.connect("clicked()", self.on_cancel)
        ui.mapCheckBox.connect("toggled(bool)", self.on_map)
        workbench.observe(self.refresh)
        self.refresh()

    def enter(self) -> None:
        self.refresh()

    def scene_closing(self) -> None:
        self.ui.mapCheckBox.checked = False

    def clean_up(self) -> None:
        self.workbench.forget(self.refresh)

    # --- what is shown ------------------------------------------------------------------------

    def refresh(self, what: str = "all") -> None:
        if what in QUIET:
            return
        if what != "segmenting":
            self._show_models()
            self._show_result()
        self._show_work()
        self._enable()

    def model(self) -> str | None:
        """Id of the chosen model."""
        index = self.ui.modelBox.currentIndex
        return self._models[index] if 0 <= index < len(self._models) else None

    def _show_models(self) -> None:
        usable = [model for model in self.workbench.models() if not model.problem]
        ids = [model.id for model in usable]
        if ids == self._models and self.ui.modelBox.count == len(ids):
            return
        newest_before, chosen = (self._models[:1] or [None])[0], self.model()
        box, self._filling = self.ui.modelBox, True
        box.clear()
        for model in usable:
            box.addItem(model.name)
        self._models = ids
        # A new model is the one to use, unless a person had chosen another than the newest.
        kept = chosen if chosen in ids and chosen != newest_before else None
        box.currentIndex = ids.index(kept) if kept else (0 if ids else -1)
        self._filling = False

    def _show_result(self) -> None:
        result = self.workbench.result
        rows = []
        for organ in [] if result is None else result.volumes:
            looks = result.looks.get(organ.name) if result is not None else None
            rows.append(
                Row(
                    organ.segment_id,
                    (
                        Cell(organ.name),
                        Cell(f"{organ.ml:.2f}"),
                        _quality(result, organ.name),
                        Cell(
                            "-" if looks is None else f"{looks:.2f}",
                            _("From 0 to 1; about a half looks labeled, clearly less does not."),
                        ),
                    ),
                )
            )
        self.table.fill(rows)
        self.ui.resultTable.visible = bool(rows)

    def _show_work(self) -> None:
        ui, job = self.ui, self.workbench.segmenting
        ui.segmentRunningBox.visible = self.workbench.is_segmenting
        if job is None:
            return
        ui.segmentPhaseLabel.text = self._phase()
        if job.progress is None:
            ui.segmentProgressBar.setRange(0, 0)
        else:
            ui.segmentProgressBar.setRange(0, 100)
            ui.segmentProgressBar.value = round(100 * job.progress)
        ui.skipCaseButton.visible = len(job.cases) > 1
        ui.skipCaseButton.enabled = job.current is not None

    def _phase(self) -> str:
        job = self.workbench.segmenting
        if job is None:
            return ""
        parts = [job.phase[:1].upper() + job.phase[1:]]
        if len(job.cases) > 1:
            done = sum(case.is_over for case in job.cases.values())
            name = self._name(job.current)
            parts = [
                _("Scan {n} of {total}").format(n=min(done + 1, len(job.cases)), total=len(job.cases)),
                name,
                job.phase,
            ]
        if job.seconds_left is not None:
            parts.append(_("{time} left").format(time=duration(job.seconds_left)))
        return " - ".join(part for part in parts if part)

    def _enable(self) -> None:
        ui, workbench = self.ui, self.workbench
        reason = workbench.why_not_segment(ui.volumeSelector.currentNode(), self.model())
        ui.segmentButton.enabled = not reason
        model_id = self.model()
        waits = model_id is not None and bool(workbench.to_segment(model_id))
        ui.segmentAllButton.enabled = waits and not workbench.is_segmenting
        sentences = [] if workbench.is_segmenting else [self._ended(), reason, _warning(workbench.result)]
        ui.segmentReasonLabel.text = "\n".join(sentence for sentence in sentences if sentence)
        ui.segmentReasonLabel.visible = bool(ui.segmentReasonLabel.text)
        ui.modelBox.enabled = bool(self._models)
        ui.mapCheckBox.enabled = workbench.can_show_map()
        if not ui.mapCheckBox.enabled and ui.mapCheckBox.checked:
            ui.mapCheckBox.checked = False
        if ui.mapCheckBox.checked and not workbench.map_is_shown:
            workbench.show_map(True)  # of another result, or of the next case

    def _ended(self) -> str:
        """Why the last job did not bring what was asked for."""
        job = self.workbench.segmenting
        if job is None or self.workbench.is_segmenting:
            return ""
        if job.state is JobState.FAILED and job.failure is not None:
            return job.failure.text
        failed = [(case.id, case.failure) for case in job.cases.values() if case.failure is not None]
        if not failed:
            return ""
        case_id, failure = failed[0]
        name = self._name(case_id) or _("The volume")
        return _("{name}: {what} {do}").format(name=name, what=failure.what, do=failure.do or "")

    def _name(self, case_id: str | None) -> str:
        """Of a case; "" for a volume of the scene, and for a case that was removed."""
        project = self.workbench.project
        cases = () if project is None else project.cases
        return next((case.name for case in cases if case.id == case_id), "")

    # --- clicks -------------------------------------------------------------------------------

    @shown
    def on_volume(self) -> None:
        self._enable()

    @shown
    def on_choice(self) -> None:
        if not self._filling:
            self._enable()

    @shown
    def on_segment(self) -> None:
        self.ui.mapCheckBox.checked = False
        ui = self.ui
        self.workbench.segment(
            ui.volumeSelector.currentNode(), self.model(), ui.surfaceCheckBox.checked, ui.trainingMapCheckBox.checked
        )

    @shown
    def on_segment_all(self) -> None:
        self.workbench.segment_cases(self.model())

    @shown
    def on_skip(self) -> None:
        self.workbench.skip_scan()

    @shown
    def on_cancel(self) -> None:
        self.workbench.cancel_segmenting()

    @shown
    def on_map(self) -> None:
        self.workbench.show_map(self.ui.mapCheckBox.checked)


def _quality(result: Any, organ: str) -> Cell:
    """Probable Dice of an organ with its interval, or why there is none."""
    said = None if result is None else result.assessment
    found = ((said or {}).get("predicted_dice") or {}).get(organ)
    if found is None:
        if not said:
            return Cell("-", _("This model has not learned how good its segmentations are."))
        return Cell("-", said["warning"] or _("It was not found, or too few validation scans show it."))
    text = f"{found['value']:.2f} ({found['low']:.2f}-{found['high']:.2f})"
    return Cell(text, said["why"] if said else "", icon="warning" if said and said["unlike_training"] else "")


def _warning(result: Any) -> str:
    """That the scan is of a kind that the model does not know, or why there is no probable Dice."""
    return "" if result is None or not result.assessment else str(result.assessment["warning"])
