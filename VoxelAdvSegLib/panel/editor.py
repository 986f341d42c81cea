"""The Segment Editor inside the panel, on the parameter node that the Segment Editor module uses, too."""

from __future__ import annotations

from typing import Any

import slicer

UNDO_STATES = 10
SINGLETON = "SegmentEditor"


class Editor:
    """Opens a segmentation for correction; holds views and shortcuts only while the panel is entered.

    Two editor widgets on one node both answer to a change of the effect, so this one lets go
    of views, shortcuts and effect whenever the panel is left.
    """

    def __init__(self, container: Any) -> None:
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMaximumNumberOfUndoStates(UNDO_STATES)
        self.widget.segmentationNodeSelectorVisible = False
        self.widget.sourceVolumeNodeSelectorVisible = False
        self.widget.switchToSegmentationsButtonVisible = False
        self.container = container
        self.factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        self.factory.connect("effectRegistered(QString)", self.on_effect)
        self.entered = False
        self._tie()
        container.layout().addWidget(self.widget)

    def on_effect(self, name: str) -> None:
        """An effect that was installed late appears among the tools."""
        self.widget.updateEffectList()

    def open(self, segmentation_node: Any, volume_node: Any) -> None:
        self._tie()
        self.widget.setSegmentationNode(segmentation_node)
        self.widget.setSourceVolumeNode(volume_node)
        self.container.visible = True
        if self.entered:
            self._hold()

    def close(self) -> None:
        """Lets the segmentation go; the node itself stays in the scene."""
        self._let_go()
        self.widget.setSegmentationNode(None)
        self.container.visible = False

    def enter(self) -> None:
        self.entered = True
        if self.widget.segmentationNode() is not None:
            self._hold()

    def exit(self) -> None:
        self.entered = False
        self._let_go()

    def scene_closing(self) -> None:
        self.close()
        self.widget.setMRMLSegmentEditorNode(None)

    def clean_up(self) -> None:
        self.factory.disconnect("effectRegistered(QString)", self.on_effect)
        self.scene_closing()

    def _hold(self) -> None:
        self.widget.setupViewObservations()
        self.widget.installKeyboardShortcuts()
        self.widget.updateWidgetFromMRML()

    def _let_go(self) -> None:
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def _tie(self) -> None:
        """Scene and shared node; the node is set first, as the widget would else make its own."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(SINGLETON, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(SINGLETON)
            node = scene.AddNode(node)
        if self.widget.mrmlSegmentEditorNode() is not node:
            self.widget.setMRMLSegmentEditorNode(node)
        self.widget.setMRMLScene(scene)
