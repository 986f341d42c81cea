"""Pictures show what is there; cut off texts are found."""

import ctk
import numpy as np
import pytest
import qt
import slicer
import slicer.util
from panel_bed.screenshots import WIDTH, assert_texts_fit, grab, sheet
from PySide6 import QtGui


def pixels(image):
    image = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), -1, 3).copy()  # the image's memory goes


def panel(*texts, wrap=False):
    top = qt.QWidget()
    layout = qt.QVBoxLayout(top)
    section = ctk.ctkCollapsibleButton()
    section.text = "Project"
    layout.addWidget(section)
    inside = qt.QVBoxLayout(section)
    for text in texts:
        label = qt.QLabel(text)
        label.objectName = text.split()[0].lower()
        label.wordWrap = wrap
        if wrap:  # a section is never narrower than its size hint, and a wrapped label wishes for long lines
            label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Minimum)
        inside.addWidget(label)
    return top


def test_light_and_dark(bed, tmp_path):
    top = panel("Labeled scans", "Unlabeled scans")
    light, dark = grab(top, tmp_path / "light.png"), grab(top, tmp_path / "dark.png", dark=True)
    assert light.width() == dark.width() == WIDTH and (tmp_path / "dark.png").stat().st_size > 1000
    assert np.median(pixels(light)) > 200 and np.median(pixels(dark)) < 90
    assert pixels(light).min() < 60 and pixels(dark).max() > 200  # there is text on it
    whole = sheet({"light": light, "dark": tmp_path / "dark.png"}, tmp_path / "sheet.png", columns=2)
    assert whole.width() > 2 * WIDTH and (tmp_path / "sheet.png").is_file()


def test_collapsed_sections_take_no_room(bed):
    top = panel("Labeled scans", "Unlabeled scans")
    full = grab(top).height()
    top.children()[1].collapsed = True
    assert grab(top).height() < full - 20


def test_texts_that_fit(bed):
    assert_texts_fit(panel("Labeled scans"))
    assert_texts_fit(panel("This is a long sentence " * 12, wrap=True))


def test_a_cut_off_label_is_found(bed):
    top = panel("Short")
    top.findChild(qt.QLabel, "short").setMaximumWidth(10)
    with pytest.raises(AssertionError, match="short: 'Short' needs"):
        assert_texts_fit(top)


def test_a_cut_off_button_is_found(bed):
    top = qt.QWidget()
    row = qt.QHBoxLayout(top)
    button = qt.QPushButton("Train with unlabeled scans")
    button.setMaximumWidth(60)
    row.addWidget(button)
    with pytest.raises(AssertionError, match="Train with"):
        assert_texts_fit(top)


def test_a_sentence_without_wrapping_is_too_wide(bed):
    with pytest.raises(AssertionError, match="narrower"):
        assert_texts_fit(panel("This is a long sentence " * 12))


def test_labels_over_each_other_are_found(bed):
    top = panel("Short", "Other")
    section = top.children()[1]
    lost = qt.QLabel("Lost", section)
    lost.objectName = "lost"
    lost.move(10, 40)
    with pytest.raises(AssertionError, match="over each other"):
        assert_texts_fit(top)


def chart(values, rgb):
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(table, [np.arange(len(values), dtype=float), values], ["step", "loss"])
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "loss")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("step")
    series.SetYColumnName("loss")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetColor(*rgb)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "chart")
    node.AddAndObservePlotSeriesNodeID(series.GetID())
    return node, table


def test_a_plot_shows_the_series(bed):
    node, table = chart(np.array([1.0, 0.5, np.nan, 0.2]), (1.0, 0.0, 0.0))
    widget = slicer.qMRMLPlotWidget()
    view = slicer.vtkMRMLPlotViewNode()
    view.SetLayoutName("VoxelAdvSegLosses")
    view = slicer.mrmlScene.AddNode(view)
    with pytest.raises(RuntimeError, match="setMRMLScene"):
        widget.setMRMLPlotViewNode(view)
    widget.setMRMLScene(slicer.mrmlScene)
    widget.setMRMLPlotViewNode(view)
    widget.plotView().fitToContent()

    def red():
        rgb = pixels(grab(widget, width=300)).astype(int)
        return int(((rgb[..., 0] > 180) & (rgb[..., 1] < 120) & (rgb[..., 2] < 120)).sum())

    assert red() == 0
    view.SetPlotChartNodeID(node.GetID())
    few = red()
    assert few > 100
    slicer.util.updateTableFromArray(table, [np.arange(40.0), np.sin(np.arange(40.0))], ["step", "loss"])
    assert red() > few * 2  # the curve follows its table
    view.SetPlotChartNodeID(None)
    assert red() == 0
