"""The section Train: the form, the training at work with its curves, and how it ended."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.jobs.train import TrainJob
from VoxelAdvSegLib.panel import dialogs, train_words
from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.plot import Plot
from VoxelAdvSegLib.panel.train_form import TrainForm
from VoxelAdvSegLib.panel.train_log import TrainLog
from VoxelAdvSegLib.panel.verdict_box import VerdictBox
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.scene.nodes import is_alive

CURVES = ("losses", "dice", "discriminator")  # in the order of curvesChoiceBox
CLOCK_MS = 1000  # heartbeat and time left go on while the training says nothing


class TrainSection:
    """Widgets of the form from startFromBox to trainLog."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self.form = TrainForm(ui, workbench)
        self.log = TrainLog(ui.trainLog)
        self.verdict = VerdictBox(ui, workbench)
        self.plot = Plot(ui.plotContainer, "VoxelAdvSegTraining")
        self.clock = qt.QTimer()
        self.clock.interval = CLOCK_MS
        self.clock.connect("timeout()", self.tick)
        self._fitted = ""  # id of the chart that the axes were fitted to
        for box in (ui.budgetBox, ui.deviceBox, ui.methodBox):
            box.connect("currentIndexChanged(int)", self.on_form)
        for box in (ui.customMinutesBox, ui.stepsBox):
            box.connect("valueChanged(int)", self.on_form)
        ui.trainButton.connect("clicked()", self.on_train)
        ui.resumeButton.connect("clicked()", self.on_resume)
        ui.stopButton.connect("clicked()", self.on_stop)
        ui.cancelButton.connect("clicked()", self.on_cancel)
        ui.curvesChoiceBox.connect("currentIndexChanged(int)", self.on_curves)
        ui.showChartButton.connect("clicked()", self.on_show_chart)
        ui.previewCheckBox.connect("toggled(bool)", self.on_preview)
        workbench.show_preview = ui.previewCheckBox.checked
        workbench.observe(self.refresh)
        self.refresh()

    def enter(self) -> None:
        self.refresh()

    def scene_closing(self) -> None:
        self.plot.scene_closing()
        self._fitted = ""

    def scene_closed(self) -> None:
        self.refresh()

    def clean_up(self) -> None:
        self.clock.stop()
        self.workbench.forget(self.refresh)

    # --- what is shown ------------------------------------------------------------------------

    def refresh(self, what: str = "all") -> None:
        if what == "progress":
            self._show_work()
            self.verdict.show_progress()
        elif what in ("all", "project", "cases", "training", "models", "installation", "scene"):
            self.form.fill_models()
            self.form.fill_devices()
            self._show_form()
            self._show_work()
            self.verdict.refresh()

    @property
    def running(self) -> TrainJob | None:
        """The training at work."""
        job = self.workbench.training
        return None if job is None or job.state.is_over else job

    def _show_form(self) -> None:
        ui, workbench, form = self.ui, self.workbench, self.form
        ui.customMinutesBox.visible = not form.is_budget(ui.budgetBox.currentIndex)
        ui.deviceVerdictLabel.text = form.verdict()
        if form.uses_unlabeled:
            ui.trainButton.text = _("&Train with unlabeled scans")
        else:
            ui.trainButton.text = _("&Train without unlabeled scans")
        missing = workbench.can_train(form.method)
        interrupted = workbench.interrupted()
        ui.trainButton.enabled = not missing
        ui.resumeButton.visible = interrupted is not None
        ui.resumeButton.enabled = interrupted is not None
        job = workbench.training
        sentences = []
        if job is not None and job.state.is_over:
            sentences.append(train_words.end_text(job))
        elif interrupted is not None:
            sentences.append(train_words.interrupted_text(interrupted))
        if missing and self.running is None:
            sentences.append(missing)
        elif not missing and workbench.sets_aside:
            sentences.append(
                _("The first training sets one labeled scan in five aside, for good, to score the models (validation).")
            )
        ui.trainReasonLabel.text = "\n".join(sentences)
        ui.trainReasonLabel.visible = bool(sentences)

    def _show_work(self) -> None:
        ui, job, running = self.ui, self.workbench.training, self.running
        ui.runningBox.visible = running is not None
        ui.curvesBox.visible = job is not None
        self.log.refresh(job)
        ui.trainLogGroup.visible = job is not None
        if running is not None:
            if not self.clock.active:
                self.clock.start()
            self._show_clock()
            ui.stopButton.enabled = not train_words.is_stopping(running)
            ui.cancelButton.enabled = not train_words.is_canceled(running)
        ui.discriminatorLabel.text = "" if job is None else job.view.reading().text
        self._show_curves()

    def tick(self) -> None:
        """What changes while the training says nothing; a last time after its end, when all curves are drawn."""
        if self.running is None and not self.workbench.behind:
            self.clock.stop()
        self._show_clock()
        if self.chart_node is not None:
            self.plot.fit()

    def _show_clock(self) -> None:
        ui, job = self.ui, self.running
        if job is None:
            return
        ui.phaseLabel.text = train_words.phase_text(job)
        ui.heartbeatLabel.text = train_words.heartbeat_text(job)
        ui.timeLeftLabel.text = train_words.time_left_text(job)
        bar = ui.trainProgressBar
        bar.maximum = 0 if job.progress is None else 1000
        if job.progress is not None:
            bar.value = round(1000 * job.progress)

    def _show_curves(self) -> None:
        chart_node = self.chart_node
        self.ui.showChartButton.enabled = chart_node is not None
        self.plot.show(chart_node)
        chart_id = "" if chart_node is None else chart_node.GetID()
        if chart_id and chart_id != self._fitted:
            self.plot.fit()
        self._fitted = chart_id

    @property
    def curves(self) -> str:
        """Which curves are drawn: "losses", "dice" or "discriminator"."""
        return CURVES[self.ui.curvesChoiceBox.currentIndex]

    @property
    def chart_node(self) -> Any:
        """The chart of the curves that are drawn; None before a training, or when a person deleted it."""
        chart_node = self.workbench.chart(self.curves)
        return chart_node if is_alive(chart_node) else None

    # --- what a person does -------------------------------------------------------------------

    @shown
    def on_form(self) -> None:
        self._show_form()

    @shown
    def on_train(self) -> None:
        self.workbench.train(**self.form.arguments())

    @shown
    def on_resume(self) -> None:
        self.workbench.resume()

    @shown
    def on_stop(self) -> None:
        self.workbench.stop_training()

    @shown
    def on_cancel(self) -> None:
        if dialogs.agreed(_("End the training at once? No model is made of it. Stop would keep the best one.")):
            self.workbench.cancel_training()

    @shown
    def on_curves(self) -> None:
        self._show_curves()

    @shown
    def on_preview(self) -> None:
        self.workbench.show_preview = self.ui.previewCheckBox.checked

    @shown
    def on_show_chart(self) -> None:
        chart_node = self.chart_node
        if chart_node is None:
            raise RunError(
                _("there is no chart"), found=_("it was deleted, or the scene was closed"), do=_("start a training")
            )
        logic: slicer.vtkSlicerPlotsLogic = slicer.modules.plots.logic()
        logic.ShowChartInLayout(chart_node)
