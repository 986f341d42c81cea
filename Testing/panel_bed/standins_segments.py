"""The Segment Editor's widget, the table of segments and the segment selector."""

# ruff: noqa: N802, RUF012  names as in Qt and Slicer; tables of classes

import slicer
from panel_bed.pythonqt import guarded
from panel_bed.standin import Standin
from panel_bed.standins_mrml import SceneWidget
from PySide6 import QtCore, QtGui, QtWidgets

EFFECTS = (
    "Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Margin",
    "Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume",
)  # fmt: skip
STATUS = ("not started", "in progress", "completed", "flagged")


class Observed:
    """One observer on one object at a time."""

    def __init__(self, changed):
        self.changed, self.object, self.tags = changed, None, ()

    def set(self, obj, *events):
        if self.object is not None:
            for tag in self.tags:
                self.object.RemoveObserver(tag)
        self.object = obj
        self.tags = tuple(obj.AddObserver(e, lambda *_: guarded(self.changed)()) for e in events) if obj else ()


def segmentation_of(node):
    return node.GetSegmentation() if node is not None else None


class SegmentsTable(SceneWidget):
    """qMRMLSegmentsTableView: one row for each segment, with color, name and Slicer's status tag."""

    defaults = {
        "headerVisible": True, "visibilityColumnVisible": True, "colorColumnVisible": True,
        "opacityColumnVisible": True, "statusColumnVisible": False,
    }  # fmt: skip

    def build(self):
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.table = QtWidgets.QTableWidget(0, 3, self)
        self.table.setHorizontalHeaderLabels(["", "Name", "Status"])
        self.table.horizontalHeader().setSectionResizeMode(1, QtWidgets.QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(0, 28)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QtWidgets.QTableWidget.SelectionBehavior.SelectRows)
        self.table.setMinimumHeight(90)
        layout.addWidget(self.table)
        self.node, self.ids, self.hidden = None, [], ()
        self.observed = Observed(self.refresh)
        self.destroyed.connect(_let_go(self.observed))
        self.table.selectionModel().selectionChanged.connect(
            lambda new, old: self.emit("selectionChanged(QItemSelection,QItemSelection)", new, old)
        )
        self.table.setColumnHidden(2, True)

    def set_statusColumnVisible(self, value):
        self._values["statusColumnVisible"] = value
        self.table.setColumnHidden(2, not value)

    def set_headerVisible(self, value):
        self._values["headerVisible"] = value
        self.table.horizontalHeader().setVisible(value)

    def get_segmentCount(self):
        return len(self.ids)

    def do_setSegmentationNode(self, node):
        self.node = node
        kinds = slicer.vtkSegmentation
        events = (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified, kinds.SegmentsOrderModified)
        self.observed.set(segmentation_of(node), *events)
        self.refresh()

    def do_segmentationNode(self):
        return self.node

    def refresh(self):
        chosen = self.do_selectedSegmentIDs()
        segmentation = segmentation_of(self.node)
        ids = list(segmentation.GetSegmentIDs()) if segmentation else []
        text = self.read("textFilter").lower()
        self.ids = [
            i for i in ids if i not in self.hidden and text in (segmentation.GetSegment(i).GetName() or "").lower()
        ]
        blocked = self.table.selectionModel().blockSignals(True)
        self.table.setRowCount(len(self.ids))
        for row, identifier in enumerate(self.ids):
            segment = segmentation.GetSegment(identifier)
            color = QtWidgets.QTableWidgetItem()
            color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segment)
            self.table.setItem(row, 0, color)
            self.table.setItem(row, 1, QtWidgets.QTableWidgetItem(segment.GetName()))
            self.table.setItem(row, 2, QtWidgets.QTableWidgetItem(STATUS[status]))
        self.do_setSelectedSegmentIDs([one for one in chosen if one in self.ids])
        self.table.selectionModel().blockSignals(blocked)

    def do_selectedSegmentIDs(self):
        rows = sorted({index.row() for index in self.table.selectionModel().selectedRows()})
        return [self.ids[row] for row in rows if row < len(self.ids)]

    def do_setSelectedSegmentIDs(self, identifiers):
        selection = QtCore.QItemSelection()
        model = self.table.model()
        for identifier in identifiers:
            row = self.ids.index(identifier)
            selection.select(model.index(row, 0), model.index(row, 2))
        flags = QtCore.QItemSelectionModel.SelectionFlag
        self.table.selectionModel().select(selection, flags.ClearAndSelect)

    def do_clearSelection(self):
        self.table.clearSelection()

    def do_setTextFilter(self, text):
        self._values["textFilter"] = text
        self.refresh()

    def do_setHideSegments(self, identifiers):
        self.hidden = tuple(identifiers)
        self.refresh()

    def do_hideSegments(self):
        return list(self.hidden)

    def do_displayedSegmentIDs(self):
        return list(self.ids)

    def do_tableWidget(self):
        return self.table

    def do_rowForSegmentID(self, identifier):
        return self.ids.index(identifier) if identifier in self.ids else -1

    def do_segmentIDForRow(self, row):
        return self.ids[row]

    def do_setSelectedSegmentsStatus(self, status=-1):
        for identifier in self.do_selectedSegmentIDs():
            segment = segmentation_of(self.node).GetSegment(identifier)
            slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(segment, status)
        self.refresh()

    quiet = ("jumpSlices", "setStatusShown", "showOnlySelectedSegments", "toggleSelectedSegmentsVisibility")


def _let_go(observed):
    return lambda *_: observed.set(None)


class Effect(Standin):
    """One effect of the editor: its name and its parameters on the editor node; it edits nothing."""

    editor = None

    def do_setParameter(self, name, value):
        self.editor.editor_node.SetAttribute(f"{self.read('name')}.{name}", str(value))

    def do_parameter(self, name):
        return self.editor.editor_node.GetAttribute(f"{self.read('name')}.{name}") or ""

    def do_active(self):
        return self.editor.active is self

    quiet = ("updateGUIFromMRML", "updateMRMLFromGUI")


class SegmentEditor(SceneWidget):
    """qMRMLSegmentEditorWidget: what it selects and holds; the tools are drawn, not imitated.

    `holds_views` and `holds_shortcuts` tell a test what the widget has taken; both must be let go on leaving.
    """

    defaults = {
        "segmentationNodeSelectorVisible": True, "sourceVolumeNodeSelectorVisible": True,
        "switchToSegmentationsButtonVisible": True, "autoShowSourceVolumeNode": True, "undoEnabled": True,
        "maskingSectionVisible": True, "addRemoveSegmentButtonsVisible": True, "effectColumnCount": 2,
        "maximumNumberOfUndoStates": 10, "unorderedEffectsVisible": True,
    }  # fmt: skip
    holders: list = []

    def build(self):
        from panel_bed.standins import CLASSES

        self.editor_node, self.active = None, None
        self.holds_views = self.holds_shortcuts = False
        self.undo_states = 0
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.table = CLASSES["qMRMLSegmentsTableView"](self)
        self.table.set_statusColumnVisible(True)
        layout.addWidget(self.table)
        grid = QtWidgets.QGridLayout()
        layout.addLayout(grid)
        self.effects = {}
        for i, name in enumerate(EFFECTS):
            effect = CLASSES["qSlicerSegmentEditorAbstractEffect"]()
            effect.editor = self
            effect._values["name"] = name
            self.effects[name] = effect
            button = QtWidgets.QToolButton(self)
            button.setText(name)
            button.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda *_, name=name: self.do_setActiveEffectByName(name))
            grid.addWidget(button, i // 3, i % 3)
        self.observed = Observed(self._node_changed)
        self.destroyed.connect(_let_go(self.observed))
        self.told = {"segmentation": None, "volume": None, "segment": ""}

    def _need_node(self):
        if self.editor_node is None:
            raise RuntimeError("qMRMLSegmentEditorWidget: setMRMLSegmentEditorNode comes first")
        return self.editor_node

    def do_setMRMLSegmentEditorNode(self, node):
        self.editor_node = node
        self.observed.set(node, "ModifiedEvent")
        self.do_updateWidgetFromMRML()

    def do_mrmlSegmentEditorNode(self):
        return self.editor_node

    def _node_changed(self):
        self.do_updateWidgetFromMRML()

    def do_updateWidgetFromMRML(self):
        node = self.editor_node
        segmentation = node.GetSegmentationNode() if node else None
        volume = node.GetSourceVolumeNode() if node else None
        segment = (node.GetSelectedSegmentID() or "") if node else ""
        if segmentation is not self.told["segmentation"]:
            self.told["segmentation"] = segmentation
            self.table.do_setSegmentationNode(segmentation)
            self.emit("segmentationNodeChanged(vtkMRMLSegmentationNode*)", segmentation)
        if volume is not self.told["volume"]:
            self.told["volume"] = volume
            self.emit("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", volume)
        if segment != self.told["segment"]:
            self.told["segment"] = segment
            self.emit("currentSegmentIDChanged(QString)", segment)

    def do_setSegmentationNode(self, node):
        if node is None and self.editor_node is None:
            return
        editor = self._need_node()
        editor.SetAndObserveSegmentationNode(node)
        ids = list(node.GetSegmentation().GetSegmentIDs()) if node else []
        if editor.GetSelectedSegmentID() not in ids:
            editor.SetSelectedSegmentID(ids[0] if ids else "")
        self.do_updateWidgetFromMRML()

    def do_segmentationNode(self):
        return self.editor_node.GetSegmentationNode() if self.editor_node else None

    def do_segmentationNodeID(self):
        node = self.do_segmentationNode()
        return node.GetID() if node else ""

    def do_setSourceVolumeNode(self, node):
        if node is None and self.editor_node is None:
            return
        editor = self._need_node()
        if node is not None and editor.GetSegmentationNode() is None:
            raise RuntimeError("qMRMLSegmentEditorWidget: setSegmentationNode comes before setSourceVolumeNode")
        editor.SetAndObserveSourceVolumeNode(node)
        self.do_updateWidgetFromMRML()

    def do_sourceVolumeNode(self):
        return self.editor_node.GetSourceVolumeNode() if self.editor_node else None

    def do_setCurrentSegmentID(self, identifier):
        self._need_node().SetSelectedSegmentID(identifier)

    def do_currentSegmentID(self):
        return (self.editor_node.GetSelectedSegmentID() or "") if self.editor_node else ""

    def do_setActiveEffect(self, effect):
        self.active = effect
        if self.editor_node is not None:
            self.editor_node.SetActiveEffectName(effect.read("name") if effect else "")

    def do_setActiveEffectByName(self, name):
        self.do_setActiveEffect(self.effects[name] if name else None)

    def do_activeEffect(self):
        return self.active

    def do_effectByName(self, name):
        return self.effects.get(name)

    def do_effectByIndex(self, index):
        return list(self.effects.values())[index]

    def do_effectCount(self):
        return len(self.effects)

    def do_availableEffectNames(self):
        return list(self.effects)

    def _hold(self, views, shortcuts):
        self.holds_views, self.holds_shortcuts = views, shortcuts
        if self in self.holders:
            self.holders.remove(self)
        if views or shortcuts:
            self.holders.append(self)

    def do_setupViewObservations(self):
        self._hold(True, self.holds_shortcuts)

    def do_removeViewObservations(self):
        self._hold(False, self.holds_shortcuts)

    def do_installKeyboardShortcuts(self, _parent=None):
        self._hold(self.holds_views, True)

    def do_uninstallKeyboardShortcuts(self):
        self._hold(self.holds_views, False)

    def do_saveStateForUndo(self):
        self.undo_states += 1

    quiet = (
        "updateEffectList", "setEffectNameOrder", "rotateSliceViewsToSegmentation", "showSourceVolumeInSliceViewers",
        "jumpSlices",
    )  # fmt: skip


class EffectFactory(Standin):
    """qSlicerSegmentEditorEffectFactory: only its signals are needed."""

    only = None

    @staticmethod
    def static_instance():
        from panel_bed.standins import CLASSES

        if EffectFactory.only is None:
            EffectFactory.only = CLASSES["qSlicerSegmentEditorEffectFactory"]()
        return EffectFactory.only


class SegmentSelector(SceneWidget):
    """qMRMLSegmentSelectorWidget: a segmentation and one of its segments."""

    defaults = {"segmentationNodeSelectorVisible": True}

    def build(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.box = QtWidgets.QComboBox(self)
        layout.addWidget(self.box)
        self.node = None
        self.box.currentIndexChanged.connect(
            lambda *_: self.emit("currentSegmentChanged(QString)", self.do_currentSegmentID())
        )

    def do_setCurrentNode(self, node):
        self.node = node
        self.box.clear()
        for identifier in self.do_segmentIDs():
            self.box.addItem(node.GetSegmentation().GetSegment(identifier).GetName(), identifier)
        self.emit("currentNodeChanged(vtkMRMLNode*)", node)
        self.emit("currentNodeChanged(bool)", node is not None)

    def do_currentNode(self):
        return self.node

    def do_segmentIDs(self):
        return list(self.node.GetSegmentation().GetSegmentIDs()) if self.node else []

    def do_currentSegmentID(self):
        return self.box.currentData() or ""

    def do_setCurrentSegmentID(self, identifier):
        self.box.setCurrentIndex(self.box.findData(identifier))


BEHAVIORS = {
    "qMRMLSegmentEditorWidget": SegmentEditor,
    "qMRMLSegmentSelectorWidget": SegmentSelector,
    "qMRMLSegmentsTableView": SegmentsTable,
    "qSlicerSegmentEditorAbstractEffect": Effect,
    "qSlicerSegmentEditorEffectFactory": EffectFactory,
}
