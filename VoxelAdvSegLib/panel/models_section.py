"""The section Models: list, card, comparison, export, import, deletion."""

from __future__ import annotations

import re
from typing import Any

from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import InputError, ProjectError
from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.dialogs import shown
from VoxelAdvSegLib.panel.tables import Cell, Row, Table
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.project.models import Model

QUIET = ("progress", "segmenting", "installation", "training", "review")
FILES = "Models (*.zip)"


class ModelsSection:
    """Widgets of the form from modelTable to cardText."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self.table = Table(ui.modelTable, 0)
        ui.modelTable.connect("itemSelectionChanged()", self.on_selection)
        ui.cardButton.connect("clicked()", self.on_card)
        ui.deleteModelButton.connect("clicked()", self.on_delete)
        ui.exportModelButton.connect("clicked()", self.on_export)
        ui.importModelButton.connect("clicked()", self.on_import)
        ui.compareButton.connect("clicked()", self.on_compare)
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.on_selection)
        workbench.observe(self.refresh)
        self.refresh()

    def enter(self) -> None:
        self.refresh()

    def clean_up(self) -> None:
        self.workbench.forget(self.refresh)

    def refresh(self, what: str = "all") -> None:
        if what in QUIET:
            if what == "segmenting":
                self._enable()
            return
        models = self.workbench.models()
        self.table.fill([_row(model) for model in models])
        self.ui.compareLabel.text = self.workbench.comparison
        self.ui.compareLabel.visible = bool(self.workbench.comparison)
        self._enable()

    def _enable(self) -> None:
        ui, chosen = self.ui, self.table.selected()
        one = len(chosen) == 1
        for name in ("cardButton", "deleteModelButton", "exportModelButton"):
            getattr(ui, name).enabled = one
        ui.importModelButton.enabled = self.workbench.project is not None
        reason = _("Select two models.")
        if len(chosen) == 2:
            reason = self.workbench.why_not_segment(ui.volumeSelector.currentNode(), chosen[0])
        ui.compareButton.enabled = not reason
        ui.compareButton.toolTip = reason or _("Segments the volume chosen under Segment with both models.")

    def _show_card(self) -> None:
        """The card of the selected model; nothing where not exactly one is selected."""
        model = self._chosen() if len(self.table.selected()) == 1 else None
        self.ui.cardText.setPlainText("" if model is None else model.card or model.problem)

    def _chosen(self) -> Model:
        return self.workbench.the_project().model(self.table.selected()[0])

    # --- clicks -------------------------------------------------------------------------------

    @shown
    def on_selection(self) -> None:
        if not self.table.filling:
            self._enable()
            if not self.ui.cardGroup.collapsed:
                self._show_card()

    @shown
    def on_card(self) -> None:
        self._show_card()
        self.ui.cardGroup.collapsed = False

    @shown
    def on_delete(self) -> None:
        model = self._chosen()
        self.workbench.check_files_are_free()
        if not dialogs.agreed(_("Delete the model {name}? Its file is gone then.").format(name=model.name)):
            return
        project = self.workbench.the_project()
        try:
            project.delete_model(model.id)
        except ProjectError as error:  # it says what still refers to it
            if not dialogs.agreed(dialogs.plain(error) + "\n" + _("Delete it anyway?")):
                return
            project.delete_model(model.id, even_if_needed=True)
        self.workbench.notify("models")

    @shown
    def on_export(self) -> None:
        model = self._chosen()
        name = re.sub(r"[^\w.-]+", "-", model.name) or "model"
        file = dialogs.choose_new_file(_("Where to put the model"), f"{name}.zip", FILES)
        if file:
            self.workbench.the_project().export_model(model.id, file)

    @shown
    def on_import(self) -> None:
        file = dialogs.choose_file(_("A model that was exported"), "", FILES)
        if file:
            self.workbench.the_project().import_model(file)
            self.workbench.notify("models")

    @shown
    def on_compare(self) -> None:
        chosen = self.table.selected()
        if len(chosen) != 2:
            raise InputError(_("a comparison needs two models"), do=_("select two lines of the list"))
        self.workbench.compare(chosen[0], chosen[1], self.ui.volumeSelector.currentNode())


def _row(model: Model) -> Row:
    score = model.dice.get("mean")
    labeled = model.provenance.get("labeled_scans")
    tip = model.problem or "\n".join(organ.name for organ in model.organs)
    return Row(
        model.id,
        (
            Cell(model.name, tip, icon="error" if model.problem else ""),
            Cell("-" if score is None else f"{score:.3f}"),
            Cell("-" if labeled is None else str(labeled)),
            Cell(model.date.replace("T", " ")[:16]),
        ),
    )
