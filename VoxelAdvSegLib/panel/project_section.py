"""The section Project: scans, organs and roles, and the line that says what to do next."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import InputError, RunError, VoxelAdvSegError
from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.case_menu import CaseMenu
from VoxelAdvSegLib.panel.case_rows import case_row, check_text, refusal, roles_text
from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.guide import next_step
from VoxelAdvSegLib.panel.organ_list import OrganList
from VoxelAdvSegLib.panel.tables import Table
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.project.adding import Added
from VoxelAdvSegLib.project.project import Project
from VoxelAdvSegLib.project.records import ROLES, Case

NEEDS_PROJECT = ("addOrganButton", "checkDataButton", "organTable", "caseTable")
BEGINNINGS = (
    "newProjectButton", "openProjectButton", "addFolderButton", "addSceneButton", "addDicomButton", "addManifestButton",
)  # fmt: skip
QUIET = ("progress", "segmenting", "installation")  # changes that concern nothing here


class ProjectSection:
    """Widgets of the form from guideLabel to doctorLabel."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self.cases = Table(ui.caseTable)
        self.organs = OrganList(ui, workbench)
        self.menu = CaseMenu(ui, workbench, self.selected_cases, self.check)
        self.busy = False
        self._told = ""  # what the last addition brought
        ui.newProjectButton.connect("clicked()", self.on_new)
        ui.openProjectButton.connect("clicked()", self.on_open)
        ui.addFolderButton.connect("clicked()", self.on_add_folder)
        ui.addSceneButton.connect("clicked()", self.on_add_scene)
        ui.addDicomButton.connect("clicked()", self.on_add_dicom)
        ui.addManifestButton.connect("clicked()", self.on_add_manifest)
        ui.caseTable.connect("itemSelectionChanged()", self.on_selection)
        ui.caseTable.connect("cellDoubleClicked(int,int)", self.on_show)
        ui.roleBox.connect("activated(int)", self.on_role)
        ui.showCaseButton.connect("clicked()", self.on_show)
        ui.checkDataButton.connect("clicked()", self.on_check)
        workbench.observe(self.refresh)
        self.refresh()

    def enter(self) -> None:
        self.refresh()

    def clean_up(self) -> None:
        self.workbench.forget(self.refresh)

    # --- what is shown ------------------------------------------------------------------------

    def refresh(self, what: str = "all") -> None:
        if what in QUIET:
            return
        if what == "project":
            self._told = ""
        ui, project = self.ui, self.workbench.project
        ui.guideLabel.text = next_step(self.workbench)
        self._show_project(project)
        self.organs.refresh(project)
        findings = {} if project is None else project.known_findings()
        cases = () if project is None else project.cases
        self.cases.fill([case_row(case, findings.get(case.id, ())) for case in cases])
        ui.caseSummaryLabel.text = roles_text(cases)
        checked = "" if project is None else check_text(cases, findings)
        ui.doctorLabel.text = "\n".join(text for text in (self._told, checked) if text)
        ui.doctorLabel.visible = bool(ui.doctorLabel.text)
        self._enable()

    def _show_project(self, project: Project | None) -> None:
        label = self.ui.projectLabel
        label.text = _("No project is open.") if project is None else project.name
        label.toolTip = _("Make one, or add scans.") if project is None else str(project.path)

    def _enable(self) -> None:
        ui, is_open = self.ui, self.workbench.project is not None
        for name in BEGINNINGS:
            getattr(ui, name).enabled = not self.busy
        for name in NEEDS_PROJECT:
            getattr(ui, name).enabled = is_open and not self.busy
        self._follow_selection()

    def _follow_selection(self) -> None:
        ui, chosen = self.ui, self.selected_cases()
        free = not self.busy
        ui.roleBox.enabled = bool(chosen) and free
        ui.showCaseButton.enabled = len(chosen) == 1 and free
        self.menu.enable(free)
        roles = {case.role for case in chosen}
        ui.roleBox.currentIndex = ROLES.index(roles.pop()) if len(roles) == 1 else -1

    def selected_cases(self) -> list[Case]:
        """The selected cases, from top to bottom."""
        project = self.workbench.project
        return [] if project is None else [project.case(case_id) for case_id in self.cases.selected()]

    @shown
    def on_selection(self) -> None:
        if not self.cases.filling:
            self._follow_selection()

    # --- projects -----------------------------------------------------------------------------

    @shown
    def on_new(self) -> None:
        start = self._projects_folder()
        folder = dialogs.choose_folder(_("An empty folder for the new project"), str(start))
        if folder:
            self.workbench.create_project(folder)

    @shown
    def on_open(self) -> None:
        folder = dialogs.choose_folder(_("The folder of a project"), str(self._projects_folder()))
        project = self.workbench.project
        if folder and (project is None or Path(folder).resolve() != project.path.resolve()):
            self.workbench.open_project(folder)

    def _projects_folder(self) -> Path:
        chosen = self.ui.projectsFolderEdit.currentPath
        return Path(chosen) if chosen else Path.home() / "VoxelAdvSeg"

    def _need_project(self, name: str) -> None:
        """Makes a project where none is open, in a folder of its own."""
        if self.workbench.project is not None:
            return
        place = self._projects_folder()
        folder, number = place / name, 2
        while folder.exists():
            folder, number = place / f"{name} {number}", number + 1
        self.workbench.create_project(folder, folder.name)

    # --- scans --------------------------------------------------------------------------------

    @shown
    def on_add_folder(self) -> None:
        folder = dialogs.choose_folder(_("A folder with scans"))
        if folder:
            self._need_project(Path(folder).name or _("Project"))
            self._add(lambda: self.workbench.add_folder(folder))

    @shown
    def on_add_manifest(self) -> None:
        file = dialogs.choose_file(_("A list of scans"), "", _("Lists (*.json)"))
        if file:
            self._need_project(Path(file).parent.name or _("Project"))
            self._add(lambda: self.workbench.add_manifest(file))

    @shown
    def on_add_scene(self) -> None:
        choices = self.workbench.scene_volumes()
        if not any(choice.usable for choice in choices):
            raise InputError(
                _("the scene has no volume that can be used"),
                found="; ".join(f"{choice.name}: {choice.reason}" for choice in choices) or _("no volume"),
                do=_("load a scan first, or add a folder"),
            )
        self._need_project(_from_the_scene())
        self._add(self.workbench.add_scene)

    @shown
    def on_add_dicom(self) -> None:
        self._need_project(_from_the_scene())
        self._add(self.workbench.add_dicom)

    def _add(self, add: Callable[[], Added]) -> None:
        with self._at_work():
            added = add()
            self._told = added.text
            self._accept_unfinished(added)
            self._examine()
        self._tell_problems(added)

    def _accept_unfinished(self, added: Added) -> None:
        if not added.unfinished:
            return
        project = self.workbench.the_project()
        question = _(
            "{n} segmentations are marked as unfinished and were kept as drafts.\n"
            "Use them as labels all the same? Only if a person has looked at them."
        )
        if dialogs.agreed(question.format(n=len(added.unfinished))):
            project.accept_unfinished(added.unfinished)

    def _tell_problems(self, added: Added) -> None:
        if not added.problems:
            return
        lines = "\n\n".join(f"{name}: {dialogs.plain(error)}" for name, error in added.problems)
        text = _("{n} scans have a problem. The others were added.").format(n=len(added.problems))
        slicer.util.warningDisplay(text, windowTitle=dialogs.TITLE, detailedText=lines)

    @shown
    def on_check(self) -> None:
        self.check(lambda: "")

    def check(self, do: Callable[[], str]) -> None:
        """Does something that may take a while, and tells of it; then looks at what has changed."""
        with self._at_work():
            self._told = do()
            self._examine()

    def _examine(self) -> None:
        """Looks through all scans that are new or have changed; the window stays alive."""
        project = self.workbench.the_project()

        def report(done: int, total: int, name: str) -> None:
            words = _("Checking {name} ({n} of {total})")
            slicer.util.showStatusMessage(words.format(name=name, n=done + 1, total=total))
            slicer.app.processEvents()
            if self.workbench.project is not project:
                raise RunError(_("the check has ended: the project was closed"), do=_("open it and check again"))

        project.findings(report)
        slicer.util.showStatusMessage("")
        self.workbench.notify("cases")

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Meanwhile nothing else can be begun here."""
        self.busy = True
        self._enable()
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.BusyCursor))
        try:
            yield
        finally:
            qt.QApplication.restoreOverrideCursor()
            self.busy = False
            self.refresh()

    # --- a case -------------------------------------------------------------------------------

    @shown
    def on_show(self) -> None:
        chosen = self.selected_cases()
        if len(chosen) == 1 and not self.busy:
            self.workbench.show_case(chosen[0].id)

    @shown
    def on_role(self) -> None:
        project, role = self.workbench.the_project(), ROLES[self.ui.roleBox.currentIndex]
        chosen = [case for case in self.selected_cases() if case.role != role]
        leaving = [case for case in chosen if case.role == "validation"]
        question = _(
            "{names}: a validation case scores the models and is never learned from.\n"
            "When it leaves, the scores of earlier models no longer compare. Go on?"
        )
        try:
            if leaving and not dialogs.agreed(question.format(names=", ".join(case.name for case in leaving))):
                return
            self._give_role(project, chosen, role)
        finally:
            self.workbench.notify("cases")

    def _give_role(self, project: Project, cases: list[Case], role: str) -> None:
        refused = []
        with project.batch():
            for case in cases:
                try:
                    project.set_role(case.id, role, leave_validation=True)
                except VoxelAdvSegError as error:
                    refused.append(refusal(error, case))
        if refused:
            slicer.util.warningDisplay("\n\n".join(refused), windowTitle=dialogs.TITLE)


def _from_the_scene() -> str:
    return _("Scans of {day}").format(day=datetime.now().strftime("%Y-%m-%d"))
