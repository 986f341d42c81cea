"""Curves of a training as tables, series and charts of the scene: saved with it, refreshed in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from VoxelAdvSegLib.scene.hierarchy import place_in_folder
from VoxelAdvSegLib.scene.nodes import is_alive, remove_node

KEY_ATTRIBUTE = "VoxelAdvSeg.plot"
SERIES_ATTRIBUTE = "VoxelAdvSeg.curve"
TABLE_ROLE = "VoxelAdvSeg.tables"
MOST_ROWS = 5000  # a plot view becomes slow beyond
# Chosen to stand out from white and from dark grey (contrast above 2.6) and to stay apart for
# colour-blind readers (CIELAB distance above 20 for protanopes and deuteranopes).
COLORS = ((0, 114, 178), (200, 90, 0), (0, 150, 110), (80, 80, 240), (200, 20, 60), (100, 160, 180))


@dataclass(frozen=True)
class Line:
    """A curve: its name in the legend and its points, x not falling.

    color_rgb: 0 to 255, None for the next of a palette; dashed: None for the palette's choice.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    color_rgb: tuple[int, int, int] | None = None
    dashed: bool | None = None


class LiveChart:
    """A chart with its curves, found again by its key in a scene that was saved and loaded.

    key: tells charts of one kind and run apart, e.g. "losses runs/20261125-104200". Curves of equal
    x share a table. What a person deletes is made again by the next `update`, but for the chart
    itself: a deleted chart stays away.
    """

    def __init__(
        self,
        scene,
        key: str,
        title: str,
        x_title: str,
        y_title: str,
        markers: bool = False,
        log_scale: bool = False,
        y_range: tuple[float, float] | None = None,
    ) -> None:
        self._scene = scene
        self._title = title
        self._x_title = x_title
        self._markers = markers
        self._y_range = y_range
        self.log_scale = log_scale
        self.chart_node = _chart_by_key(scene, key) or self._new_chart(key)
        self._describe(y_title)

    def update(self, lines: Sequence[Line]) -> bool:
        """Shows these curves and no others; False when the chart was deleted. Rows are thinned to 5,000.

        Points without a finite value are gaps. The axis is logarithmic where it was wished and all
        values are positive.
        """
        if not is_alive(self.chart_node):
            return False
        was_modifying = self.chart_node.StartModify()
        try:
            tables = self._fill_tables(lines)
            series = {node.GetAttribute(SERIES_ATTRIBUTE): node for node in self._series_nodes()}
            for index, line in enumerate(lines):
                node = series.pop(line.name, None) or self._new_series(line.name)
                self._style(node, line, index)
                node.SetAndObserveTableNodeID(tables[_key_of(line.x)].GetID())
                node.SetXColumnName(self._x_title)
                node.SetYColumnName(line.name)
            for node in series.values():
                self.chart_node.RemovePlotSeriesNodeID(node.GetID())
                remove_node(node)
            values = [np.asarray(line.y, float) for line in lines]
            positive = all(np.all(y[np.isfinite(y)] > 0) for y in values) and any(np.isfinite(y).any() for y in values)
            self.chart_node.SetYAxisLogScale(self.log_scale and positive)
        finally:
            self.chart_node.EndModify(was_modifying)
        return True

    def remove(self) -> None:
        """Takes chart, series and tables out of the scene."""
        if not is_alive(self.chart_node):
            return
        for node in [*self._series_nodes(), *self._table_nodes(), self.chart_node]:
            remove_node(node)

    def _new_chart(self, key: str):
        node = self._scene.AddNewNodeByClass("vtkMRMLPlotChartNode", self._scene.GenerateUniqueName(self._title))
        node.SetAttribute(KEY_ATTRIBUTE, key)
        place_in_folder(node)
        return node

    def _describe(self, y_title: str) -> None:
        node = self.chart_node
        was_modifying = node.StartModify()
        node.SetTitle(self._title)
        node.SetXAxisTitle(self._x_title)
        node.SetYAxisTitle(y_title)
        node.SetLegendVisibility(True)
        if self._y_range is not None:
            node.SetYAxisRangeAuto(False)
            node.SetYAxisRange(*self._y_range)
        node.EndModify(was_modifying)

    def _fill_tables(self, lines: Sequence[Line]) -> dict[bytes, object]:
        groups: dict[bytes, list[Line]] = {}
        for line in lines:
            groups.setdefault(_key_of(line.x), []).append(line)
        nodes = self._table_nodes()
        while len(nodes) < len(groups):
            name = self._scene.GenerateUniqueName(f"{self._title} table")
            node = self._scene.AddNewNodeByClass("vtkMRMLTableNode", name)
            node.SetUseColumnTitleAsColumnHeader(True)
            self.chart_node.AddNodeReferenceID(TABLE_ROLE, node.GetID())
            place_in_folder(node)
            nodes.append(node)
        for node, group in zip(nodes, groups.values(), strict=False):
            table = vtk.vtkTable()
            kept = thinned(len(group[0].x))
            table.AddColumn(_column(self._x_title, np.asarray(group[0].x, float)[kept]))
            for line in group:
                table.AddColumn(_column(line.name, np.asarray(line.y, float)[kept]))
            node.SetAndObserveTable(table)
        for node in nodes[len(groups) :]:
            remove_node(node)
        return dict(zip(groups, nodes, strict=False))

    def _new_series(self, name: str):
        node = self._scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        node.SetAttribute(SERIES_ATTRIBUTE, name)
        node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)  # a line over x
        place_in_folder(node)
        self.chart_node.AddAndObservePlotSeriesNodeID(node.GetID())
        return node

    def _style(self, node, line: Line, index: int) -> None:
        kind = slicer.vtkMRMLPlotSeriesNode
        lines = (kind.LineStyleSolid, kind.LineStyleDash, kind.LineStyleDot)
        style = lines[line_style(index)] if line.dashed is None else lines[1 if line.dashed else 0]
        was_modifying = node.StartModify()
        node.SetName(line.name)
        node.SetColor(*(part / 255 for part in line.color_rgb or COLORS[index % len(COLORS)]))
        node.SetLineStyle(style)
        node.SetLineWidth(2)
        node.SetMarkerStyle(kind.MarkerStyleCircle if self._markers else kind.MarkerStyleNone)
        node.EndModify(was_modifying)

    def _series_nodes(self) -> list:
        chart = self.chart_node
        nodes = [chart.GetNthPlotSeriesNode(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]
        return [node for node in nodes if node is not None]

    def _table_nodes(self) -> list:
        chart = self.chart_node
        count = chart.GetNumberOfNodeReferences(TABLE_ROLE)
        nodes = [chart.GetNthNodeReference(TABLE_ROLE, index) for index in range(count)]
        return [node for node in nodes if node is not None]


def line_style(index: int) -> int:
    """0 solid, 1 dashed, 2 dotted: neighbours differ, and so do curves that share a colour."""
    return (index + index // len(COLORS)) % 3


def thinned(rows: int, most: int = MOST_ROWS) -> np.ndarray:
    """Indices of at most `most` rows, evenly spread, first and last among them."""
    if rows <= most:
        return np.arange(rows)
    return np.round(np.linspace(0, rows - 1, most)).astype(int)


def loss_chart(scene, run: str) -> LiveChart:
    """The loss terms of a run over its steps, on a logarithmic axis where that can be."""
    return LiveChart(scene, f"losses {run}", "Losses", "Step", "Loss", log_scale=True)


def dice_chart(scene, run: str) -> LiveChart:
    """Dice on the validation scans over the steps."""
    return LiveChart(scene, f"dice {run}", "Validation Dice", "Step", "Dice", y_range=(0.0, 1.0))


def discriminator_chart(scene, run: str) -> LiveChart:
    """How often the discriminator is right about voxels, over the steps; 0.5 is guessing."""
    title = "Discriminator: share it tells rightly"
    return LiveChart(scene, f"discriminator {run}", title, "Step", "Share right", y_range=(0.0, 1.0))


def round_chart(scene, project: str) -> LiveChart:
    """What more labels brought, over the number of labeled scans."""
    title = "Does another round pay?"
    return LiveChart(scene, f"rounds {project}", title, "Labeled scans", "Dice", markers=True, y_range=(0.0, 1.0))


def _chart_by_key(scene, key: str):
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLPlotChartNode")
        if node.GetAttribute(KEY_ATTRIBUTE) == key:
            return node
    return None


def _key_of(x) -> bytes:
    return np.asarray(x, float).tobytes()


def _column(name: str, values: np.ndarray):
    column = numpy_support.numpy_to_vtk(np.where(np.isfinite(values), values, np.nan), deep=True)
    column.SetName(name)
    return column
