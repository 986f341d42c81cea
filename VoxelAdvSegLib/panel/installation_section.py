"""The section Installation: what is there, what is missing and how to get it; sample scans; what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.tables import Cell, Row, Table
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.table import size

PROJECTS_SETTING = "VoxelAdvSeg/projects"
QUIET = ("progress", "segmenting", "review", "results", "cases", "scene")


class InstallationSection:
    """Widgets of the form from checkInstallationButton to refreshStorageButton."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self.table = Table(ui.storageTable, 0)
        ui.interpreterEdit.currentPath = workbench.interpreter_path()
        ui.projectsFolderEdit.currentPath = str(qt.QSettings().value(PROJECTS_SETTING) or Path.home() / "VoxelAdvSeg")
        ui.checkInstallationButton.connect("clicked()", self.on_check)
        ui.copyReportButton.connect("clicked()", self.on_copy)
        ui.installTorchButton.connect("clicked()", self.on_install_torch)
        ui.installPackagesButton.connect("clicked()", self.on_install_packages)
        ui.installWheelsButton.connect("clicked()", self.on_install_wheels)
        ui.interpreterEdit.connect("currentPathChanged(QString)", self.on_interpreter)
        ui.projectsFolderEdit.connect("currentPathChanged(QString)", self.on_projects_folder)
        ui.sampleDataButton.connect("clicked()", self.on_sample)
        ui.cleanButton.connect("clicked()", self.on_clean)
        ui.refreshStorageButton.connect("clicked()", self.on_measure)
        ui.storageTable.connect("itemSelectionChanged()", self.on_selection)
        workbench.observe(self.refresh)
        self.refresh()

    def enter(self) -> None:
        self.ui.interpreterEdit.currentPath = self.workbench.interpreter_path()
        self.refresh()

    def clean_up(self) -> None:
        self.workbench.forget(self.refresh)

    def refresh(self, what: str = "all") -> None:
        if what in QUIET:
            return
        self._show_verdict()
        if what == "project":
            self.table.fill([])  # sizes of another project; measuring a large one takes a while
        self._enable()

    def _show_verdict(self) -> None:
        ui, job = self.ui, self.workbench.installation
        verdict = None if job is None else job.verdict
        if job is None:
            text = _("Not checked yet.")
        elif verdict is None:
            text = _("Checking ...")
        else:
            lines = [verdict.text]
            lines += [f"- {found.cause} {found.cure}" for found in verdict.findings if found.severity != "ok"]
            text = "\n".join(lines)
        if ui.interpreterEdit.currentPath != self.workbench.interpreter_path():
            text += "\n" + _("There is no such Python: the one of before is used.")
        ui.installationLabel.text = text
        ui.reportText.setPlainText("" if verdict is None else verdict.report)

    def _enable(self) -> None:
        ui, job = self.ui, self.workbench.installation
        checking = job is not None and job.verdict is None
        ui.checkInstallationButton.enabled = not checking
        ui.copyReportButton.enabled = job is not None and job.verdict is not None
        command = self.workbench.command_elsewhere()
        for name in ("installTorchButton", "installPackagesButton", "installWheelsButton"):
            getattr(ui, name).enabled = not command
        ui.elsewhereLabel.visible = ui.elsewhereEdit.visible = bool(command)
        ui.elsewhereEdit.text = command
        has_project = self.workbench.project is not None
        ui.refreshStorageButton.enabled = has_project
        ui.cleanButton.enabled = has_project and bool(self._kinds())

    def _kinds(self) -> list[str]:
        """Kinds of the selected lines that may be removed."""
        removable = {row.key for row in self.table.rows if row.cells[0].icon == ""}
        return [key for key in self.table.selected() if key in removable]

    # --- clicks -------------------------------------------------------------------------------

    @shown
    def on_check(self) -> None:
        self.workbench.check_installation()

    @shown
    def on_copy(self) -> None:
        qt.QApplication.clipboard().setText(self.ui.reportText.plainText)

    @shown
    def on_install_torch(self) -> None:
        self.workbench.install_torch()
        self.workbench.check_installation()

    @shown
    def on_install_packages(self) -> None:
        if self.workbench.install_packages():
            self.workbench.check_installation()

    @shown
    def on_install_wheels(self) -> None:
        folder = dialogs.choose_folder(_("A folder with packages (.whl)"))
        if folder and self.workbench.install_from_folder(folder):
            self.workbench.check_installation()

    @shown
    def on_interpreter(self) -> None:
        path = self.ui.interpreterEdit.currentPath
        # The line tells of every letter: a path that is half typed is not complained of.
        if path != self.workbench.interpreter_path() and (not path or Path(path).is_file()):
            self.workbench.set_interpreter(path)
        self._show_verdict()

    @shown
    def on_projects_folder(self) -> None:
        qt.QSettings().setValue(PROJECTS_SETTING, self.ui.projectsFolderEdit.currentPath)

    @shown
    def on_sample(self) -> None:
        place = Path(self.ui.projectsFolderEdit.currentPath)
        folder, number = place / "Sample", 2
        while folder.exists():
            folder, number = place / f"Sample {number}", number + 1
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise RunError(
                _("the sample project cannot be made"), file=folder, found=str(error.strerror or error),
                do=_("choose another folder under New projects in"),
            ) from error  # fmt: skip
        self.workbench.make_sample_project(folder)

    @shown
    def on_measure(self) -> None:
        stored = self.workbench.the_project().stored()
        rows = []
        for kind in stored:
            tip = kind.text if kind.removable else _("{text}; never removed here").format(text=kind.text)
            rows.append(
                Row(kind.kind, (Cell(kind.text, tip, icon="" if kind.removable else "note"), Cell(size(kind.size))))
            )
        self.table.fill(rows)
        self._enable()

    @shown
    def on_selection(self) -> None:
        if not self.table.filling:
            self._enable()

    @shown
    def on_clean(self) -> None:
        self.workbench.check_files_are_free()
        kinds = self._kinds()
        texts = [row.cells[0].text for row in self.table.rows if row.key in kinds]
        if kinds and dialogs.agreed(_("Remove these files?") + "\n" + "\n".join(texts)):
            self.workbench.the_project().clean(kinds, self.workbench.alive)
            self.on_measure()
            self.workbench.notify("cases", "models")
