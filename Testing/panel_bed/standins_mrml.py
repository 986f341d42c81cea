"""Widgets that hold a scene, and the selectors of its nodes with their real filters."""

# ruff: noqa: N802, N815, RUF012  names as in Qt and Slicer; tables of classes

import vtk
from panel_bed.pythonqt import guarded
from panel_bed.standin import Standin
from PySide6 import QtCore, QtWidgets
from vtkmodules.util.misc import calldata_type


class SceneWidget(Standin):
    """qMRMLWidget: keeps the scene and says when it changes."""

    _scene = None

    def do_setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.emit("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def do_mrmlScene(self):
        return self._scene


class SceneWatch:
    """Calls back when nodes come, go or change their name; lets go of the scene when it is another or none."""

    def __init__(self, changed, removing):
        self.changed, self.removing = changed, removing
        self.scene, self.tags, self.node_tags = None, [], {}

    def set(self, scene):
        self.release()
        self.scene = scene
        if scene is None:
            return

        @calldata_type(vtk.VTK_OBJECT)
        def removed(_scene, _event, node):
            guarded(self.removing)(node)

        def changed(*_):
            guarded(self.changed)()

        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndBatchProcessEvent):
            self.tags.append(scene.AddObserver(event, changed))
        self.tags.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, removed))

    def watch(self, nodes):
        """Follows the names of these nodes."""
        for node in nodes:
            if node.GetID() not in self.node_tags:
                tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: guarded(self.changed)())
                self.node_tags[node.GetID()] = (node, tag)

    def release(self):
        for tag in self.tags:
            self.scene.RemoveObserver(tag)
        for node, tag in self.node_tags.values():
            node.RemoveObserver(tag)
        self.tags, self.node_tags = [], {}


class NodeComboBox(Standin):
    """qMRMLNodeComboBox: nodes of the given types, hidden ones left out, a None entry on wish."""

    defaults = {
        "showChildNodeTypes": True, "addEnabled": True, "removeEnabled": True, "noneDisplay": "None",
        "selectNodeUponCreation": True,
    }  # fmt: skip

    def build(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.box = QtWidgets.QComboBox(self)
        self.box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        layout.addWidget(self.box)
        self.shown, self.current_id, self.attributes = [], "", []
        self.known = set()
        self.watch = SceneWatch(self.refresh, self._removing)
        self.destroyed.connect(_release(self.watch))
        self.box.activated.connect(self._activated)
        self.box.currentIndexChanged.connect(self._picked)
        self._filling = False

    # what is shown

    def _suits(self, node):
        if node.GetHideFromEditors() and not self.read("showHidden"):
            return False
        for kind in self.read("nodeTypes"):
            exact = node.GetClassName() == kind
            hidden = any(node.IsA(one) for one in self.read("hideChildNodeTypes")) and not exact
            if (exact or (node.IsA(kind) and self.read("showChildNodeTypes"))) and not hidden:
                wanted = [(name, value) for type_, name, value in self.attributes if type_ == kind]
                if not wanted or any(_has_attribute(node, name, value) for name, value in wanted):
                    return True
        return False

    def nodes(self):
        scene = self.watch.scene
        every = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())] if scene else []
        return [node for node in every if self._suits(node)]

    def refresh(self):
        """Fills the list anew; keeps the current node while it is there."""
        nodes = self.nodes()
        self.watch.watch(nodes)
        listed = [(node.GetID(), node.GetName()) for node in nodes]
        none = [("", self.read("noneDisplay"))] if self.read("noneEnabled") else []
        if listed + none != self.shown:
            before = dict(self.shown)
            self._filling = True
            self.box.clear()
            for identifier, name in none + listed:
                self.box.addItem(name or "", identifier)
            self._filling = False
            self.shown = listed + none
            renamed = self.current_id in before and dict(listed).get(self.current_id, before[self.current_id])
            if self.current_id and renamed and renamed != before[self.current_id]:
                self.emit("currentNodeRenamed(QString)", renamed)
        there = [identifier for identifier, _ in listed]
        new = [node for node in nodes if node.GetID() not in self.known]
        self.known = set(there)
        for node in new:
            self.emit("nodeAdded(vtkMRMLNode*)", node)
        if self.current_id in there:
            self._show(self.current_id)
        else:
            self._select("" if none or not there else there[0])

    def _removing(self, node):
        if node is not None and node.GetID() in self.known:
            self.emit("nodeAboutToBeRemoved(vtkMRMLNode*)", node)

    def _show(self, identifier):
        self._filling = True
        self.box.setCurrentIndex(self.box.findData(identifier))
        self._filling = False

    def _select(self, identifier):
        self._show(identifier)
        if identifier != self.current_id:
            self.current_id = identifier
            node = self.do_currentNode()
            self.emit("currentNodeChanged(vtkMRMLNode*)", node)
            self.emit("currentNodeChanged(bool)", node is not None)
            self.emit("currentNodeIDChanged(QString)", identifier)

    def _picked(self, index):
        if not self._filling:
            self._select(self.box.itemData(index) or "")

    def _activated(self, _index):
        self.emit("nodeActivated(vtkMRMLNode*)", self.do_currentNode())

    # what Slicer's class has

    def write(self, name, value):
        super().write(name, value)
        if (name in ("nodeTypes", "hideChildNodeTypes") and self.watch.scene is not None) or name in (
            "noneEnabled",
            "showHidden",
            "showChildNodeTypes",
            "noneDisplay",
        ):
            self.refresh()

    def do_setMRMLScene(self, scene):
        if scene is not self.watch.scene:
            self.watch.set(scene)
            self.refresh()

    def do_mrmlScene(self):
        return self.watch.scene

    def do_currentNode(self):
        scene = self.watch.scene
        return scene.GetNodeByID(self.current_id) if scene and self.current_id else None

    def do_setCurrentNode(self, node):
        self.set_currentNodeID(node if isinstance(node, str) else node.GetID() if node is not None else "")

    def get_currentNodeID(self):
        return self.current_id

    def set_currentNodeID(self, identifier):
        """A node that is not in the list cannot be selected: Slicer then shows none."""
        self._select(identifier if identifier in self.known else "")

    get_currentNodeId, set_currentNodeId = get_currentNodeID, set_currentNodeID
    do_setCurrentNodeID, do_currentNodeId = set_currentNodeID, get_currentNodeID

    def do_setCurrentNodeIndex(self, index):
        self._select(self.nodes()[index].GetID())

    def do_nodeCount(self):
        return len(self.nodes())

    def do_nodeFromIndex(self, index):
        return self.nodes()[index]

    def do_addNode(self, kind=None):
        kind = kind or self.read("nodeTypes")[0]
        node = self.watch.scene.AddNewNodeByClass(kind, self.read("baseName"))
        if self.read("selectNodeUponCreation"):
            self.set_currentNodeID(node.GetID())
        self.emit("nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def do_removeCurrentNode(self):
        self.watch.scene.RemoveNode(self.do_currentNode())

    def do_addAttribute(self, kind, name, value=None):
        self.attributes.append((kind, name, value))
        self.refresh()

    def do_removeAttribute(self, kind, name):
        self.attributes = [one for one in self.attributes if one[:2] != (kind, name)]
        self.refresh()

    quiet = ("setNodeTypeLabel", "addMenuAction")


def _has_attribute(node, name, value):
    found = node.GetAttribute(name)
    return found is not None and (value is None or str(value) == found)


def _release(watch):
    return lambda *_: watch.release()


class CheckableNodeComboBox(NodeComboBox):
    """qMRMLCheckableNodeComboBox: each node with a tick."""

    def build(self):
        super().build()
        self.ticked = set()

    def do_checkedNodes(self):
        return [node for node in self.nodes() if node.GetID() in self.ticked]

    def do_uncheckedNodes(self):
        return [node for node in self.nodes() if node.GetID() not in self.ticked]

    def do_check(self, node):
        self.do_setCheckState(node, QtCore.Qt.CheckState.Checked)

    def do_uncheck(self, node):
        self.do_setCheckState(node, QtCore.Qt.CheckState.Unchecked)

    def do_setCheckState(self, node, state):
        before = set(self.ticked)
        (self.ticked.discard if state == QtCore.Qt.CheckState.Unchecked else self.ticked.add)(node.GetID())
        if self.ticked != before:
            self.emit("checkedNodesChanged()")

    def do_checkState(self, node):
        kinds = QtCore.Qt.CheckState
        return kinds.Checked if node.GetID() in self.ticked else kinds.Unchecked

    def do_allChecked(self):
        return not self.do_uncheckedNodes()

    def do_noneChecked(self):
        return not self.do_checkedNodes()


class SubjectHierarchyComboBox(Standin):
    """qMRMLSubjectHierarchyComboBox: the items below the root, indented."""

    defaults = {"noneDisplay": "None", "noneEnabled": False}

    def build(self):
        self.watch = SceneWatch(self.refresh, lambda node: None)
        self.destroyed.connect(_release(self.watch))
        self.items = []
        self.root = None
        self.currentIndexChanged.connect(
            lambda index: self.emit("currentItemChanged(vtkIdType)", self.items[index] if index >= 0 else 0)
        )

    def do_setMRMLScene(self, scene):
        self.watch.set(scene)
        self.refresh()

    def do_mrmlScene(self):
        return self.watch.scene

    def do_subjectHierarchyNode(self):
        return self.watch.scene.GetSubjectHierarchyNode() if self.watch.scene else None

    def refresh(self):
        hierarchy = self.do_subjectHierarchyNode()
        current = self.do_currentItem()
        self.blockSignals(True)
        self.clear()
        self.items = []
        if hierarchy is not None:
            children = vtk.vtkIdList()
            hierarchy.GetItemChildren(self.root or hierarchy.GetSceneItemID(), children, True)
            if self.read("noneEnabled"):
                self.items.append(0)
                self.addItem(self.read("noneDisplay"))
            for i in range(children.GetNumberOfIds()):
                self.items.append(children.GetId(i))
                self.addItem(hierarchy.GetItemName(children.GetId(i)))
        self.setCurrentIndex(self.items.index(current) if current in self.items else -1)
        self.blockSignals(False)

    def do_currentItem(self):
        return self.items[self.currentIndex()] if 0 <= self.currentIndex() < len(self.items) else 0

    def do_setCurrentItem(self, item):
        self.refresh()
        self.setCurrentIndex(self.items.index(item) if item in self.items else -1)

    def do_currentNode(self):
        hierarchy = self.do_subjectHierarchyNode()
        return hierarchy.GetItemDataNode(self.do_currentItem()) if hierarchy and self.do_currentItem() else None

    def do_setRootItem(self, item):
        self.root = item
        self.refresh()

    def do_clearSelection(self):
        self.setCurrentIndex(-1)


BEHAVIORS = {
    "qMRMLCheckableNodeComboBox": CheckableNodeComboBox,
    "qMRMLColorTableComboBox": NodeComboBox,
    "qMRMLNodeComboBox": NodeComboBox,
    "qMRMLSubjectHierarchyComboBox": SubjectHierarchyComboBox,
    "qMRMLWidget": SceneWidget,
}
