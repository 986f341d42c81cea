"""Slices, outlines and PNG files of the demo's page."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.phantoms import SCANNERS, box, make_phantom
from VoxelAdvSegLib.data.volume import Geometry
from VoxelAdvSegLib.demo.charts import MOST_POINTS, Line, line_chart, paired_chart, thin
from VoxelAdvSegLib.demo.pictures import choose_view, color_map, draw, outline_path, png


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_png_is_read_back_by_another_program(shape, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (tmp_path / "slice.png").write_bytes(png(pixels))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "slice.png"))), pixels)


def corners(path):
    return [tuple(map(float, pair.split())) for pair in re.split("[MLZ]+", path) if pair]


def test_outline_runs_along_pixel_edges_in_millimetres():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:5] = True
    # Columns 2 to 5 of 2 mm, rows 1 to 3 of 3 mm.
    path = outline_path(mask, (2.0, 3.0))
    assert sorted(corners(path)) == [(4, 3), (4, 9), (10, 3), (10, 9)]
    assert path.count("M") == path.count("Z") == 1


def test_outline_of_a_ring_and_of_touching_corners_closes_every_loop():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert outline_path(ring, (1, 1)).count("Z") == 2
    diagonal = np.eye(2, dtype=bool)
    edges = corners(outline_path(diagonal, (1, 1)))
    assert set(edges) == {(0, 0), (1, 0), (1, 1), (0, 1), (2, 1), (2, 2), (1, 2)}


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1)])
def test_right_is_shown_on_the_left_and_front_and_head_on_top(direction):
    """A mark at the patient's right, front and top, however the scan is stored."""
    shape = (6, 8, 10)
    sign = direction[0]
    # In LPS x grows to the left, y to the back: the mark is where x and y are least.
    mark = (slice(4, 6), slice(0, 2), slice(0, 3)) if sign > 0 else (slice(4, 6), slice(6, 8), slice(7, 10))
    label = np.zeros(shape, np.uint8)
    label[mark] = 1
    geometry = Geometry(shape, (1.0, 2.0, 3.0), direction=direction)
    axial = choose_view(label, geometry, "axial")
    assert axial.spacing_mm == (1.0, 2.0)
    assert np.array_equal(axial.cut(label), box((1, 8, 10), (0, 0, 0), (1, 2, 3))[0])
    coronal = choose_view(label, geometry, "coronal")
    assert coronal.spacing_mm == (1.0, 3.0)
    assert np.array_equal(coronal.cut(label), box((1, 6, 10), (0, 0, 0), (1, 2, 3))[0])


def test_the_phantoms_liver_is_on_the_left_of_the_picture_in_both_scanners():
    for scanner in SCANNERS:
        phantom = make_phantom(0, 0, scanner, 2.0)
        view = choose_view(phantom.label, phantom.volume.geometry, "axial")
        liver = view.cut(phantom.label == 1)
        columns = np.argwhere(liver)[:, 1]
        assert columns.mean() < liver.shape[1] / 2


def test_map_colours_are_neutral_where_nothing_can_be_told():
    unlabeled, neutral, labeled = color_map(np.array([0.0, 0.5, 1.0]))
    assert len(set(neutral.tolist())) == 1
    assert unlabeled[2] > unlabeled[0] and labeled[0] > labeled[2]


def test_areas_have_the_organs_colours_and_outlines_the_asked_one():
    organs = organs_of({"liver": 1, "spleen": 2})
    label = np.array([[0, 1], [2, 2]])
    svg = draw(np.zeros((2, 2), np.uint8), (1, 1), "alt", areas=label, outlines=label, organs=organs,
               outline_color="#ffffff")  # fmt: skip
    for organ in organs:
        assert svg.count("#{:02x}{:02x}{:02x}".format(*organ.color_rgb)) == 1
    assert svg.count('stroke="#ffffff"') == 2


def test_a_curve_goes_from_corner_to_corner_of_its_chart():
    svg = line_chart("loss < 1", [Line("a", "#000000", [(0, 0.0), (100, 1.0)])], (0.0, 1.0))
    (points,) = re.findall('polyline points="([^"]+)"', svg)
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in points.split())
    assert (x0, y0, x1, y1) == (52.0, 176.0, 344.0, 10.0)
    assert "loss &lt; 1" in svg
    assert line_chart("nothing", [Line("a", "#000000", [])]) == ""


def test_long_curves_become_means_of_neighbours_and_short_ones_stay():
    assert thin([(1, 5.0), (2, 7.0)]) == [(1, 5.0), (2, 7.0)]
    assert thin([(x, float(x % 2)) for x in range(2 * MOST_POINTS)]) == [(2 * k + 0.5, 0.5) for k in range(MOST_POINTS)]
    assert thin([]) == []


def test_paired_values_lie_on_one_scale():
    svg = paired_chart("cases", [("one", 0.2, 0.8), ("two", 0.8, 0.5)], ("#111111", "#222222"))
    x = [float(v) for v in re.findall('circle cx="([^"]+)"', svg)]
    assert x[0] < x[3] < x[1] and x[1] == x[2]
