"""The widgets of the verdict in the section Train: the question, the button, and the answer."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.train_words import is_stopping, time_left_text
from VoxelAdvSegLib.panel.workbench import Workbench


class VerdictBox:
    """Widgets of the form from verdictBox to verdictLabel; the section tells it when to look."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        ui.verdictButton.connect("clicked()", self.on_button)

    def refresh(self) -> None:
        ui, workbench = self.ui, self.workbench
        finds_out = workbench.finds_out
        ui.verdictBox.visible = finds_out or workbench.compared_run() is not None
        ui.verdictProgressBar.visible = finds_out
        ui.verdictButton.text = _("St&op") if finds_out else _("Find &out")
        if finds_out:
            self.show_progress()
            return
        missing = workbench.can_find_out()
        ui.verdictButton.enabled = not missing
        ui.verdictLabel.text = self._failure() or workbench.verdict() or missing

    def show_progress(self) -> None:
        """What changes while it is being found out; nothing is read."""
        ui, job = self.ui, self.workbench.verdict_job
        if job is None or job.state.is_over:
            return
        stopping = is_stopping(job)
        ui.verdictButton.enabled = not stopping
        ui.verdictProgressBar.maximum = 0 if job.progress is None else 1000
        ui.verdictProgressBar.value = round(1000 * (job.progress or 0))
        text = _("Stopping; the next time goes on from here.") if stopping else f"{str(job.phase).capitalize()}."
        ui.verdictLabel.text = f"{text} {time_left_text(job)}"

    def _failure(self) -> str:
        job, run = self.workbench.verdict_job, self.workbench.compared_run()
        if job is None or job.failure is None or run is None or job.folder.parent != run.path:
            return ""
        return _("It could not be found out. {why}").format(why=job.failure.text)

    @shown
    def on_button(self) -> None:
        if self.workbench.finds_out:
            self.workbench.stop_finding_out()
        else:
            self.workbench.find_out()
