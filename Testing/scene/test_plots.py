"""Charts of a training: their values, their growth, and that a saved scene brings them back."""

import itertools

import numpy as np
import pytest
import slicer
from slicer_bed.application import Application
from slicer_bed.phantoms import node_names
from vtk.util.numpy_support import vtk_to_numpy

from VoxelAdvSegLib.scene.hierarchy import parent_name
from VoxelAdvSegLib.scene.nodes import remove_node
from VoxelAdvSegLib.scene.plots import (
    COLORS,
    MOST_ROWS,
    Line,
    LiveChart,
    dice_chart,
    discriminator_chart,
    line_style,
    loss_chart,
    round_chart,
    thinned,
)

STEPS = np.arange(1, 11)


def lines(steps=STEPS, extra=()):
    return [Line("dice", steps, 1 / steps), Line("adversarial", steps, 0.7 + 0 * steps), *extra]


def values(chart, name):
    """(x, y) of a curve as its series reads them from the table."""
    node = chart.chart_node
    for index in range(node.GetNumberOfPlotSeriesNodes()):
        series = node.GetNthPlotSeriesNode(index)
        if series.GetName() == name:
            table = series.GetTableNode().GetTable()
            columns = (series.GetXColumnName(), series.GetYColumnName())
            return tuple(vtk_to_numpy(table.GetColumnByName(column)) for column in columns)
    raise KeyError(name)


def test_curves_are_in_the_scene_with_their_values(scene):
    chart = loss_chart(scene, "runs/1")
    assert chart.update(lines())
    x, y = values(chart, "dice")
    assert np.array_equal(x, STEPS) and np.allclose(y, 1 / STEPS)
    assert chart.chart_node.GetXAxisTitle() == "Step" and parent_name(chart.chart_node) == "VoxelAdvSeg"


def test_updates_grow_the_curves_and_not_the_scene(scene):
    chart = loss_chart(scene, "runs/1")
    chart.update(lines())
    before = node_names(scene)
    for last in range(11, 60):
        chart.update(lines(np.arange(1, last)))
    assert node_names(scene) == before
    assert len(values(chart, "adversarial")[0]) == 58


def test_curves_of_other_steps_have_a_table_of_their_own(scene):
    chart = LiveChart(scene, "k", "Dice", "Step", "Dice")
    rare = np.array([5, 10])
    chart.update(lines(extra=[Line("validation", rare, np.array([0.4, np.nan]))]))
    x, y = values(chart, "validation")
    assert x.tolist() == [5, 10] and y[0] == 0.4 and np.isnan(y[1])
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 2
    chart.update(lines())
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 1
    with pytest.raises(KeyError):
        values(chart, "validation")


def test_rows_are_bounded_and_first_and_last_stay():
    assert thinned(10).tolist() == list(range(10))
    kept = thinned(123_456)
    assert len(kept) == MOST_ROWS and kept[0] == 0 and kept[-1] == 123_455 and np.all(np.diff(kept) > 0)


def test_a_long_run_is_thinned_in_the_table(scene):
    chart = loss_chart(scene, "runs/1")
    steps = np.arange(1, 20_001)
    chart.update(lines(steps))
    x, _ = values(chart, "dice")
    assert len(x) == MOST_ROWS and (x[0], x[-1]) == (1, 20_000)


def test_the_axis_is_logarithmic_only_over_positive_values(scene):
    chart = loss_chart(scene, "runs/1")
    chart.update(lines())
    assert chart.chart_node.GetYAxisLogScale()
    chart.update(lines(extra=[Line("consistency", STEPS, np.where(STEPS < 3, 0.0, 0.1))]))
    assert not chart.chart_node.GetYAxisLogScale()
    chart.update(lines(extra=[Line("consistency", STEPS, np.where(STEPS < 3, np.nan, 0.1))]))
    assert chart.chart_node.GetYAxisLogScale()
    chart.log_scale = False
    chart.update(lines())
    assert not chart.chart_node.GetYAxisLogScale()
    assert not dice_chart(scene, "runs/1").chart_node.GetYAxisLogScale()


def test_shares_and_dice_have_a_fixed_axis(scene):
    for make in (dice_chart, discriminator_chart, round_chart):
        node = make(scene, "x").chart_node
        assert not node.GetYAxisRangeAuto() and tuple(node.GetYAxisRange()) == (0, 1)


def test_the_round_chart_has_points_to_see(scene):
    chart = round_chart(scene, "project")
    chart.update([Line("validation Dice", np.array([4]), np.array([0.7]))])
    series = chart.chart_node.GetNthPlotSeriesNode(0)
    assert series.GetMarkerStyle() == slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle


def test_given_colours_and_dashes_are_taken(scene):
    chart = discriminator_chart(scene, "runs/1")
    chart.update([Line("Liver, labeled", STEPS, STEPS / 20, (221, 130, 101), False),
                  Line("Liver, unlabeled", STEPS, STEPS / 30, (221, 130, 101), True)])  # fmt: skip
    first, second = (chart.chart_node.GetNthPlotSeriesNode(index) for index in range(2))
    assert np.allclose(first.GetColor(), np.array([221, 130, 101]) / 255) and first.GetColor() == second.GetColor()
    assert first.GetLineStyle() != second.GetLineStyle()


def test_deleted_curves_come_again_and_a_deleted_chart_does_not(scene):
    chart = loss_chart(scene, "runs/1")
    chart.update(lines())
    remove_node(chart.chart_node.GetNthPlotSeriesNode(0).GetTableNode())
    remove_node(chart.chart_node.GetNthPlotSeriesNode(0))
    assert chart.update(lines())
    assert np.allclose(values(chart, "dice")[1], 1 / STEPS)
    remove_node(chart.chart_node)
    before = node_names(scene)
    assert chart.update(lines()) is False and node_names(scene) == before
    chart.remove()


def test_remove_takes_all_of_it(scene):
    before = node_names(scene)
    chart = loss_chart(scene, "runs/1")
    chart.update(lines())
    chart.remove()
    assert node_names(scene) == before


def test_a_bundle_brings_the_chart_back_and_it_goes_on(application, scene, tmp_path):
    chart = loss_chart(scene, "runs/1")
    dice_chart(scene, "runs/1").update([Line("Leber 肝", STEPS, STEPS / 20)])
    chart.update(lines(extra=[Line("validation", np.array([5, 10]), np.array([0.4, np.nan]))]))
    assert scene.WriteToMRB(str(tmp_path / "a.mrb"), None, slicer.vtkMRMLMessageCollection())
    application.close()
    other = Application(tmp_path / "another")
    assert other.scene.ReadFromMRB(str(tmp_path / "a.mrb"), False, slicer.vtkMRMLMessageCollection())
    again = loss_chart(other.scene, "runs/1")
    assert np.allclose(values(again, "dice")[1], 1 / STEPS)
    assert values(again, "validation")[1][0] == pytest.approx(0.4)
    nodes = node_names(other.scene)
    again.update(lines(np.arange(1, 20), extra=[Line("validation", np.array([5, 10]), np.array([0.4, 0.5]))]))
    assert node_names(other.scene) == nodes and len(values(again, "dice")[0]) == 19
    assert np.allclose(values(dice_chart(other.scene, "runs/1"), "Leber 肝")[1], STEPS / 20)
    other.close()


def test_scene_close_in_the_midst_of_a_run(scene):
    chart = loss_chart(scene, "runs/1")
    chart.update(lines())
    scene.Clear(0)
    before = node_names(scene)
    assert chart.update(lines()) is False
    assert node_names(scene) == before


# --- colours -----------------------------------------------------------------------------------

# Machado, Oliveira and Fernandes 2009, severity 1: how protanopes and deuteranopes see linear RGB.
SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def linear(rgb):
    part = np.asarray(rgb) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    weights = (0.2126, 0.7152, 0.0722)
    low, high = sorted((linear(first) @ weights, linear(second) @ weights))
    return (high + 0.05) / (low + 0.05)


def lab(light):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ light.clip(0, 1)
    f = np.cbrt(xyz / (0.9505, 1, 1.089))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("background", [(255, 255, 255), (35, 35, 35)], ids=["light", "dark"])
def test_lines_stand_out_from_light_and_dark(background):
    assert min(contrast(color, background) for color in COLORS) > 2.6


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_lines_are_told_apart_by_colour_or_dash(eyes):
    seen = [lab(np.array(SEEN_BY[eyes]) @ linear(color)) for color in COLORS]
    for one, two in itertools.combinations(range(3 * len(COLORS)), 2):
        apart = np.linalg.norm(seen[one % len(COLORS)] - seen[two % len(COLORS)])
        assert apart > 20 or line_style(one) != line_style(two), (one, two)
