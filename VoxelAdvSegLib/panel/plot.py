"""A plot inside the panel, with a view of its own: the layout of the window stays as it is."""

from __future__ import annotations

from typing import Any

import slicer


class Plot:
    """Shows one chart node; takes no room while there is none."""

    def __init__(self, container: Any, name: str) -> None:
        """name: of the view, one for each plot of the panel."""
        self.name = name
        self.container = container
        self.widget = slicer.qMRMLPlotWidget()
        self.view_node: Any = None
        container.layout().addWidget(self.widget)
        self.container.visible = False

    def show(self, chart_node: Any) -> None:
        """Shows a chart; None takes the plot away."""
        self.container.visible = chart_node is not None
        if chart_node is None:
            if self._view() is not None:
                self.view_node.SetPlotChartNodeID(None)
            return
        if self._view() is None:
            self._make_view()
        if self.view_node.GetPlotChartNodeID() != chart_node.GetID():
            self.view_node.SetPlotChartNodeID(chart_node.GetID())

    def fit(self) -> None:
        """Axes that hold all points."""
        self.widget.plotView().fitToContent()

    def scene_closing(self) -> None:
        self.widget.setMRMLPlotViewNode(None)
        self.view_node = None
        self.container.visible = False

    def _view(self) -> Any:
        """The view node, None when it was never made or the user deleted it."""
        if self.view_node is not None and slicer.mrmlScene.GetNodeByID(self.view_node.GetID() or "") is None:
            self.view_node = None
        return self.view_node

    def _make_view(self) -> None:
        scene = slicer.mrmlScene
        node = slicer.vtkMRMLPlotViewNode()
        node.SetLayoutName(self.name)
        node.SetSingletonTag(self.name)
        node.SetName(self.name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self.view_node = scene.AddNode(node)
        self.widget.setMRMLScene(scene)
        self.widget.setMRMLPlotViewNode(self.view_node)
