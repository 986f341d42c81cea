"""Plot, slice and 3-D views: the nodes behind them are real; the plot draws the chart's series in a simple way."""

# ruff: noqa: N802, N815  names as in Qt and Slicer; tables of classes

import math

import vtk
from panel_bed.standin import Standin
from panel_bed.standins_mrml import SceneWidget
from panel_bed.standins_segments import Observed
from PySide6 import QtCore, QtGui, QtWidgets
from vtkmodules.util.numpy_support import vtk_to_numpy

MARGINS = (46, 22, 10, 34)  # left, top, right, bottom of the axes, in pixels


def column(table, name):
    """Numbers of a table's column, None when there is none or it holds text."""
    array = table.GetTable().GetColumnByName(name or "") if table is not None else None
    return vtk_to_numpy(array).astype(float) if isinstance(array, vtk.vtkDataArray) else None


def series_of(chart):
    """(name, x, y, RGB, dashed) of each series of a chart node that can be drawn."""
    out = []
    for i in range(chart.GetNumberOfPlotSeriesNodes()):
        node = chart.GetNthPlotSeriesNode(i)
        y = column(node.GetTableNode(), node.GetYColumnName()) if node else None
        if y is None:
            continue
        x = column(node.GetTableNode(), node.GetXColumnName())
        dashed = node.GetLineStyle() not in (node.LineStyleSolid, node.LineStyleNone)
        lines = node.GetLineStyle() != node.LineStyleNone
        out.append((node.GetName(), x if x is not None else range(len(y)), y, node.GetColor(), dashed, lines))
    return out


class PlotView(SceneWidget):
    """qMRMLPlotView: draws the series of the view node's chart, with axes, title and legend."""

    def build(self):
        self.view_node = None
        self.observed = Observed(self.follow)
        self.chart = Observed(self.update)
        self.destroyed.connect(lambda *_, a=self.observed, b=self.chart: (a.set(None), b.set(None)))
        self.setMinimumHeight(140)

    def sizeHint(self):
        return QtCore.QSize(300, 190)

    def do_setMRMLPlotViewNode(self, node):
        self.view_node = node
        self.observed.set(node, "ModifiedEvent")
        self.follow()

    def do_mrmlPlotViewNode(self):
        return self.view_node

    def chart_node(self):
        return self.view_node.GetPlotChartNode() if self.view_node is not None else None

    def follow(self):
        chart = self.chart_node()
        if chart is not self.chart.object:
            self.chart.set(chart, *(("ModifiedEvent", chart.PlotModifiedEvent) if chart else ()))
        self.update()

    quiet = ("fitToContent", "RemovePlotSelections")

    def paintEvent(self, _event):
        with QtGui.QPainter(self) as painter:
            painter.fillRect(self.rect(), QtCore.Qt.GlobalColor.white)
            chart = self.chart_node()
            if chart is None:
                return
            painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
            _draw(painter, self.rect(), chart, series_of(chart))


def _draw(painter, rect, chart, series):
    left, top, right, bottom = MARGINS
    area = QtCore.QRectF(rect.adjusted(left, top, -right, -bottom))
    log = bool(chart.GetYAxisLogScale())
    points = [[(x, y) for x, y in zip(xs, ys, strict=False) if math.isfinite(y) and not (log and y <= 0)]
              for _, xs, ys, *_ in series]  # fmt: skip
    flat = [point for one in points for point in one]
    x_low, x_high = _limits([x for x, _ in flat])
    y_low, y_high = _limits([math.log10(y) if log else y for _, y in flat])
    if not chart.GetYAxisRangeAuto():
        y_low, y_high = chart.GetYAxisRange()

    def place(x, y):
        y = math.log10(y) if log else y
        return QtCore.QPointF(
            area.left() + (x - x_low) / (x_high - x_low) * area.width(),
            area.bottom() - (y - y_low) / (y_high - y_low) * area.height(),
        )

    painter.setPen(QtCore.Qt.GlobalColor.black)
    painter.drawRect(area)
    flags = QtCore.Qt.AlignmentFlag
    for i in range(3):
        y = y_low + (y_high - y_low) * i / 2
        label = f"{10**y if log else y:.3g}"
        row = QtCore.QRectF(0, area.bottom() - area.height() * i / 2 - 8, left - 4, 16)
        painter.drawText(row, flags.AlignRight | flags.AlignVCenter, label)
        cell = QtCore.QRectF(area.left() + area.width() * i / 2 - 40, area.bottom() + 1, 80, 15)
        painter.drawText(cell, flags.AlignHCenter, f"{x_low + (x_high - x_low) * i / 2:.4g}")
    painter.drawText(QtCore.QRectF(area.left(), area.bottom() + 15, area.width(), 16), flags.AlignHCenter,
                     chart.GetXAxisTitle() or "")  # fmt: skip
    painter.drawText(QtCore.QRectF(0, 2, rect.width(), 18), flags.AlignHCenter, chart.GetTitle() or "")
    painter.setClipRect(area)
    for (_, _, _, rgb, dashed, lines), one in zip(series, points, strict=True):
        pen = QtGui.QPen(QtGui.QColor.fromRgbF(*rgb), 1.6)
        if dashed:
            pen.setStyle(QtCore.Qt.PenStyle.DashLine)
        painter.setPen(pen)
        placed = [place(x, y) for x, y in one]
        if lines and len(placed) > 1:
            painter.drawPolyline(placed)
        else:
            for spot in placed:
                painter.drawEllipse(spot, 2, 2)
    if chart.GetLegendVisibility():
        for i, (name, _, _, rgb, *_) in enumerate(series):
            painter.setPen(QtGui.QColor.fromRgbF(*rgb))
            row = QtCore.QRectF(area.left(), area.top() + 2 + 14 * i, area.width() - 6, 14)
            painter.drawText(row, flags.AlignRight, name or "")


def _limits(values):
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


class PlotWidget(SceneWidget):
    """qMRMLPlotWidget: the view with its controller bar."""

    def build(self):
        from panel_bed.standins import CLASSES

        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.bar = CLASSES["qMRMLPlotViewControllerWidget"](self)
        self.view = CLASSES["qMRMLPlotView"](self)
        layout.addWidget(self.bar)
        layout.addWidget(self.view, 1)

    def do_setMRMLScene(self, scene):
        super().do_setMRMLScene(scene)
        self.view.do_setMRMLScene(scene)

    def do_setMRMLPlotViewNode(self, node):
        if node is not None and self._scene is None:
            raise RuntimeError("qMRMLPlotWidget: setMRMLScene comes before setMRMLPlotViewNode")
        if node is not None and not node.GetLayoutName():
            raise RuntimeError("qMRMLPlotWidget: the view node needs a layout name of its own")
        self.view.do_setMRMLPlotViewNode(node)

    def do_mrmlPlotViewNode(self):
        return self.view.view_node

    do_mrmlAbstractViewNode = do_mrmlPlotViewNode
    do_setMRMLAbstractViewNode = do_setMRMLPlotViewNode

    def do_plotView(self):
        return self.view

    do_viewWidget = do_plotView

    def do_plotController(self):
        return self.bar

    do_controllerWidget = do_plotController


class SliceController(SceneWidget):
    slice_widget = None

    def do_fitSliceToBackground(self):
        self.calls.append(("fitSliceToBackground", ()))
        self.slice_widget.logic.FitSliceToBackground()

    def do_mrmlSliceNode(self):
        return self.slice_widget.logic.GetSliceNode()

    def do_mrmlSliceCompositeNode(self):
        return self.slice_widget.logic.GetSliceCompositeNode()

    def do_sliceLogic(self):
        return self.slice_widget.logic

    def do_setSliceOffsetValue(self, offset):
        self.slice_widget.logic.SetSliceOffset(offset)

    quiet = ("rotateSliceToLowestVolumeAxes",)


class SliceWidget(SceneWidget):
    """qMRMLSliceWidget: the real slice logic with its slice and composite nodes; nothing is rendered."""

    def build(self):
        from panel_bed.standins import CLASSES

        self.logic = None
        self.controller = CLASSES["qMRMLSliceControllerWidget"](self)
        self.controller.slice_widget = self
        self.view = CLASSES["qMRMLSliceView"](self)

    def do_sliceLogic(self):
        return self.logic

    def do_mrmlSliceNode(self):
        return self.logic.GetSliceNode()

    def do_mrmlSliceCompositeNode(self):
        return self.logic.GetSliceCompositeNode()

    def do_sliceController(self):
        return self.controller

    def do_sliceView(self):
        return self.view

    quiet = ("fitSliceToBackground",)


class View(Standin):
    quiet = ("forceRender", "scheduleRender", "resetFocalPoint", "resetCamera")


class ThreeDWidget(SceneWidget):
    def build(self):
        from panel_bed.standins import CLASSES

        self.view = CLASSES["qMRMLThreeDView"](self)

    def do_threeDView(self):
        return self.view


BEHAVIORS = {
    "qMRMLPlotView": PlotView,
    "qMRMLPlotWidget": PlotWidget,
    "qMRMLSliceControllerWidget": SliceController,
    "qMRMLSliceView": View,
    "qMRMLSliceWidget": SliceWidget,
    "qMRMLThreeDView": View,
    "qMRMLThreeDWidget": ThreeDWidget,
}
