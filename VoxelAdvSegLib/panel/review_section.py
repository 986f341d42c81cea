"""The section Review: the queue, the Segment Editor on its first case, the decision, and the next training."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.case_rows import quality_cell
from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.editor import Editor
from VoxelAdvSegLib.panel.plot import Plot
from VoxelAdvSegLib.panel.tables import Cell, Row, Table
from VoxelAdvSegLib.panel.train_form import TrainForm
from VoxelAdvSegLib.panel.workbench import Workbench

QUIET = ("progress", "segmenting", "installation")
# Free in Slicer: its window and the Segment Editor use single keys, Shift with a digit, Ctrl with a letter, and
# Ctrl+Shift with A, T, Z and Space. Ctrl+Alt is AltGr, by which many keyboards type letters.
SHORTCUTS = {
    "acceptButton": "Ctrl+Shift+Y",
    "acceptCorrectedButton": "Ctrl+Shift+C",
    "flagButton": "Ctrl+Shift+F",
    "skipButton": "Ctrl+Shift+S",
    "nextCaseButton": "Ctrl+Shift+N",
}


class ReviewSection:
    """Widgets of the form from reviewSummaryLabel to roundsLabel."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self.table = Table(ui.queueTable, 0)
        self.editor: Editor | None = None  # made with the first case: Slicer's widget is a large one
        self.form = TrainForm(ui, workbench)
        self.plot = Plot(ui.roundsContainer, "VoxelAdvSegRounds")
        self.entered = False
        self.shortcuts: list[Any] = []
        self._open: Any = None  # the review that the editor shows
        self._retrain_tip = ui.retrainButton.toolTip
        ui.nextCaseButton.connect("clicked()", self.on_next)
        ui.queueTable.connect("cellDoubleClicked(int,int)", self.on_chosen)
        ui.acceptButton.connect("clicked()", self.on_accept)
        ui.acceptCorrectedButton.connect("clicked()", self.on_accept_corrected)
        ui.flagButton.connect("clicked()", self.on_flag)
        ui.skipButton.connect("clicked()", self.on_skip)
        ui.retrainButton.connect("clicked()", self.on_retrain)
        for name, keys in SHORTCUTS.items():
            button = getattr(ui, name)
            button.toolTip = f"{button.toolTip} ({keys})"
        workbench.observe(self.refresh)
        self.refresh()

    # --- life ---------------------------------------------------------------------------------

    def enter(self) -> None:
        self.entered = True
        if self.editor is not None:
            self.editor.enter()
        self._install_shortcuts()
        self.refresh()

    def exit(self) -> None:
        self.entered = False
        if self.editor is not None:
            self.editor.exit()
        self._remove_shortcuts()

    def scene_closing(self) -> None:
        self._open = None
        if self.editor is not None:
            self.editor.scene_closing()
        self.plot.scene_closing()

    def scene_closed(self) -> None:
        self.refresh()

    def clean_up(self) -> None:
        self.workbench.forget(self.refresh)
        self._remove_shortcuts()
        if self.editor is not None:
            self.editor.clean_up()
            self.editor = None

    def _install_shortcuts(self) -> None:
        window = slicer.util.mainWindow()
        if window is None or self.shortcuts:
            return
        for name, keys in SHORTCUTS.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(keys))
            shortcut.connect("activated()", getattr(self.ui, name).click)
            self.shortcuts.append(shortcut)

    def _remove_shortcuts(self) -> None:
        for shortcut, name in zip(self.shortcuts, SHORTCUTS, strict=False):
            shortcut.disconnect("activated()", getattr(self.ui, name).click)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self.shortcuts = []

    # --- what is shown ------------------------------------------------------------------------

    def refresh(self, what: str = "all") -> None:
        if what in QUIET:
            return
        ui, workbench = self.ui, self.workbench
        queue = workbench.queue()
        ui.reviewSummaryLabel.text = queue.text
        self.table.fill([self._row(case) for case in queue.cases])
        ui.queueTable.visible = bool(queue.cases)
        self._show_review()
        self._show_rounds(what)
        self._enable(bool(queue.cases) or queue.skipped > 0)

    @staticmethod
    def _row(case: Any) -> Row:
        return Row(case.id, (Cell(case.name, case.reason), quality_cell(case), Cell(case.state, case.reason)))

    def _show_review(self) -> None:
        ui, review = self.ui, self.workbench.review
        label = ui.currentCaseLabel
        label.text = "" if review is None else f"{review.case.name}. {review.reason}".strip()
        label.visible = bool(label.text)
        ui.draftLabel.text = self.workbench.draft_text()
        ui.draftLabel.visible = bool(ui.draftLabel.text)
        if review is self._open:
            return
        self._open = review
        if review is None:
            if self.editor is not None:
                self.editor.close()
            return
        if self.editor is None:
            self.editor = Editor(ui.editorContainer)
            if self.entered:
                self.editor.enter()
        self.editor.open(review.segmentation_node, review.volume_node)

    def _show_rounds(self, what: str) -> None:
        if what not in ("all", "project", "models", "cases", "scene"):
            return
        if self.workbench.project is None:
            self.ui.roundsLabel.text = ""
            self.plot.show(None)
            return
        self.ui.roundsLabel.text = self.workbench.rounds().text
        self.plot.show(self.workbench.rounds_chart())

    def _enable(self, waiting: bool) -> None:
        ui, open_case = self.ui, self.workbench.review is not None
        ui.nextCaseButton.enabled = waiting
        for name in ("acceptButton", "acceptCorrectedButton", "flagButton", "skipButton"):
            getattr(ui, name).enabled = open_case
        missing = self.workbench.can_train()
        ui.retrainButton.enabled = not missing and self.workbench.default_model() is not None
        ui.retrainButton.toolTip = missing or self._retrain_tip

    # --- clicks -------------------------------------------------------------------------------

    @shown
    def on_next(self) -> None:
        waiting = [case.id for case in self.workbench.queue().cases]
        current = None if self.workbench.review is None else self.workbench.review.case.id
        # The case that is open stays in the queue: the one after it is next.
        following = waiting[(waiting.index(current) + 1) % len(waiting)] if current in waiting else None
        self.workbench.next_case(following)

    @shown
    def on_chosen(self) -> None:
        chosen = self.table.selected()
        if chosen:
            self.workbench.next_case(chosen[0])

    @shown
    def on_accept(self) -> None:
        self.workbench.accept()

    @shown
    def on_accept_corrected(self) -> None:
        self.workbench.accept_corrected()

    @shown
    def on_flag(self) -> None:
        if self.workbench.review is None:
            return
        title = _("Flag {name}").format(name=self.workbench.review.case.name)
        reason = dialogs.ask_text(title, _("What should someone look at again? This may be left empty."))
        if reason is not None:
            self.workbench.flag(reason)

    @shown
    def on_skip(self) -> None:
        self.workbench.skip()

    @shown
    def on_retrain(self) -> None:
        continuing = self.ui.retrainContinueRadio.checked
        if self.workbench.review is not None and self.workbench.review.is_changed:
            question = _("The open case is not accepted yet and will not be learned from. Train without it?")
            if not dialogs.agreed(question):
                return
        self.workbench.retrain(continuing, minutes=self.form.minutes, device=self.form.device)
