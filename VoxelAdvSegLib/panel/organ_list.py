"""The list of organs: names, colors and codes, changed in place."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.data.terminology import ANATOMICAL_STRUCTURE, TISSUE, Code, Terminology, parse_terminology
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.dialogs import failures_shown, shown
from VoxelAdvSegLib.panel.tables import Cell, Row, Table
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.project.project import Project
from VoxelAdvSegLib.project.records import ProjectOrgan

COLOR_COLUMN, NAME_COLUMN, CODE_COLUMN = range(3)


class OrganList:
    """organTable with its three buttons; the key of a line is the organ's name."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self.table = Table(ui.organTable, NAME_COLUMN)
        ui.organTable.connect("cellDoubleClicked(int,int)", self.on_double_click)
        ui.organTable.connect("cellChanged(int,int)", self.on_edited)
        ui.organTable.connect("itemSelectionChanged()", self.on_selection)
        ui.addOrganButton.connect("clicked()", self.on_add)
        ui.removeOrganButton.connect("clicked()", self.on_remove)
        ui.mergeOrgansButton.connect("clicked()", self.on_merge)

    def refresh(self, project: Project | None) -> None:
        self.table.fill([] if project is None else [_row(organ) for organ in project.organs])
        self._enable()

    def _enable(self) -> None:
        chosen = self.table.selected()
        self.ui.removeOrganButton.enabled = bool(chosen)
        self.ui.mergeOrgansButton.enabled = len(chosen) > 1

    @shown
    def on_selection(self) -> None:
        if not self.table.filling:
            self._enable()

    @shown
    def on_add(self) -> None:
        name = qt.QInputDialog.getText(slicer.util.mainWindow(), _("Add an organ"), _("Name of the organ:"))
        if name:
            self.workbench.the_project().add_organ(name)
            self.workbench.notify("cases")

    @shown
    def on_remove(self) -> None:
        chosen, project = self.table.selected(), self.workbench.the_project()
        question = _("Remove {names} from the list? Labels on the disk stay as they are, but are not learned from.")
        if dialogs.agreed(question.format(names=", ".join(chosen))):
            with project.batch():
                for name in chosen:
                    project.remove_organ(name)
        self.workbench.notify("cases")

    @shown
    def on_merge(self) -> None:
        chosen = self.table.selected()
        question = _(
            "From now on the segments of {names} mean one organ, and where a label has several of them, they are "
            "united. The labels on the disk stay as they are. Which name shall the organ have?"
        )
        kept = dialogs.choose_one(_("Merge organs"), question.format(names=", ".join(chosen)), chosen)
        if kept is not None:
            name = chosen.pop(kept)
            self.workbench.the_project().merge_organs(name, *chosen)
            self.workbench.notify("cases")

    def on_double_click(self, row: int, column: int) -> None:
        if column == COLOR_COLUMN:
            with failures_shown():
                self._choose_color(self.table.key_at(row))

    def _choose_color(self, name: str) -> None:
        project = self.workbench.the_project()
        organ = next(organ for organ in project.organs if organ.name == name)
        title = _("Color of {name}").format(name=name)
        color = qt.QColorDialog.getColor(qt.QColor(*organ.color_rgb), slicer.util.mainWindow(), title)
        if color.isValid():
            project.recolor_organ(name, (color.red(), color.green(), color.blue()))
            self.workbench.notify("cases")

    def on_edited(self, row: int, column: int) -> None:
        if self.table.filling:
            return
        text = self.ui.organTable.item(row, column).text().strip()
        name = self.table.key_at(row)
        try:
            with failures_shown():
                self._change(name, column, text)
        finally:
            self.table.rows = ()  # what was typed is on the screen, whether it was taken or not
            self.workbench.notify("cases")

    def _change(self, name: str, column: int, text: str) -> None:
        project = self.workbench.the_project()
        organ = next(organ for organ in project.organs if organ.name == name)
        if column == NAME_COLUMN and text != name:
            project.rename_organ(name, text)
        elif column == CODE_COLUMN and text != _code(organ):
            project.recolor_organ(name, organ.color_rgb, _terminology(organ, text))


def _row(organ: ProjectOrgan) -> Row:
    names = ", ".join((organ.name, *organ.names))
    kind = parse_terminology(organ.terminology).type
    return Row(
        organ.name,
        (
            Cell(tip=_("Double-click to choose another color."), color_rgb=organ.color_rgb),
            Cell(organ.name, _("Segments that mean it: {names}").format(names=names), editable=True),
            Cell(_code(organ), f"{kind.meaning} ({kind.scheme} {kind.value})", editable=True),
        ),
    )


def _code(organ: ProjectOrgan) -> str:
    return parse_terminology(organ.terminology).type.value


def _terminology(organ: ProjectOrgan, text: str) -> str:
    """Slicer's text for a SNOMED CT code that a person typed; "" means the generic tissue."""
    if not text:
        return str(TISSUE)
    if not text.isdecimal() or not text.isascii() or not 6 <= len(text) <= 18:
        raise InputError(
            _("this is no code of SNOMED CT"), expected=_("6 to 18 digits, for example 10200004 for the liver"),
            found=text, do=_("look it up, or leave the field empty"),
        )  # fmt: skip
    return str(Terminology(ANATOMICAL_STRUCTURE, Code("SCT", text, organ.name)))
