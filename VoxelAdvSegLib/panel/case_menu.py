"""What else can be done with the selected cases: by the button Case, by a right click, and by keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.data.manifest import ENDINGS
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.case_rows import refusal
from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.project.records import Case


class CaseMenu:
    """caseButton and the context menu of caseTable.

    chosen: the selected cases; check: does something that tells what it did, and looks at the scans again.
    """

    def __init__(
        self,
        ui: Any,
        workbench: Workbench,
        chosen: Callable[[], list[Case]],
        check: Callable[[Callable[[], str]], None],
    ) -> None:
        self.ui = ui
        self.workbench = workbench
        self.chosen = chosen
        self.check = check
        self.menu = qt.QMenu(ui.caseTable)
        self.menu.toolTipsVisible = True
        self.rename = self._action(_("&Rename..."), _("Give the case another name."), self.on_rename, "F2")
        self.locate = self._action(
            _("&Find the scan again..."),
            _("Say where a scan that was moved is now. Others that went the same way are found with it."),
            self.on_locate,
        )
        self.versions = self._action(
            _("&Label versions..."),
            _("See every label that the case had, and take an earlier one again."),
            self.on_versions,
        )
        self.remove = self._action(
            _("Re&move from the project..."),
            _("Take the selected cases off the project, after a question. Files of yours are never touched."),
            self.on_remove,
            "Del",
        )
        ui.caseButton.connect("clicked()", self.on_button)
        ui.caseTable.contextMenuPolicy = qt.Qt.CustomContextMenu
        ui.caseTable.connect("customContextMenuRequested(QPoint)", self.on_right_click)

    def _action(self, text: str, tip: str, slot: Callable[..., None], keys: str = "") -> Any:
        action = self.menu.addAction(text)
        action.toolTip = tip
        action.connect("triggered()", slot)
        if keys:
            action.setShortcut(qt.QKeySequence(keys))
            action.setShortcutContext(qt.Qt.WidgetShortcut)  # while the table has the keyboard
            self.ui.caseTable.addAction(action)
        return action

    def enable(self, free: bool) -> None:
        """free: nothing else is at work in the section."""
        chosen = self.chosen() if free else []
        number = len(chosen)
        self.ui.caseButton.enabled = number > 0
        self.rename.enabled = self.locate.enabled = number == 1
        self.versions.enabled = number == 1 and chosen[0].label is not None
        self.remove.enabled = number > 0

    # --- clicks -------------------------------------------------------------------------------

    @shown
    def on_button(self) -> None:
        self.menu.exec_(self.ui.caseButton.mapToGlobal(qt.QPoint(0, self.ui.caseButton.height)))

    def on_right_click(self, place: Any) -> None:
        if self.ui.caseButton.enabled:
            self.menu.exec_(self.ui.caseTable.viewport().mapToGlobal(place))

    @shown
    def on_rename(self) -> None:
        (case,) = self.chosen()
        name = dialogs.ask_text(
            _("Rename the case"), _("Name of the case, kept in the project folder only:"), case.name
        )
        if name and name != case.name:
            self.workbench.rename_case(case.id, name)

    @shown
    def on_locate(self) -> None:
        (case,) = self.chosen()
        title = _("Where is the scan of {name} now?").format(name=case.name)
        place = next((str(folder) for folder in case.image.parents if folder.is_dir()), "")
        if case.image.name.lower().endswith((*ENDINGS, ".dcm")):
            image = dialogs.choose_file(title, place, _("All files (*)"))
        else:  # a DICOM series is a folder
            image = dialogs.choose_folder(title, place)
        if image:
            self.check(lambda: _("Scans found again: {n}.").format(n=self.workbench.locate_case(case.id, image)))

    @shown
    def on_versions(self) -> None:
        (case,) = self.chosen()
        versions = self.workbench.label_versions(case.id)
        question = _("Restore makes an earlier version the label again. It is added as a new version: none is lost.")
        if self.workbench.is_begun(case.id):
            question += " " + _("The correction that was begun since is then discarded.")
        title = _("Label versions of {name}").format(name=case.name)
        row = dialogs.choose_one(title, question, [text for _number, text in versions], _("&Restore"))
        if row is None or versions[row][0] == case.label:
            return
        try:
            self.workbench.restore_label(case.id, versions[row][0])
        except ProjectError as error:
            slicer.util.warningDisplay(refusal(error, case), windowTitle=dialogs.TITLE)

    @shown
    def on_remove(self) -> None:
        ids = [case.id for case in self.chosen()]
        if dialogs.agreed(self.workbench.what_is_removed(ids)):
            self.workbench.remove_cases(ids)
