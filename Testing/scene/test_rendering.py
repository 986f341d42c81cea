"""What a person sees in the slice and 3-D views: drawn off-screen by Slicer's own managers, judged by pixels.

The pictures are kept in the tests' temporary folder (pytest --basetemp=FOLDER to look at them).
"""

import numpy as np
import pytest
from slicer_bed.phantoms import GRIDS, add_transform, add_volume, turn_and_shift
from slicer_bed.rendering import SliceView, ThreeDView

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.scene.grids import world_geometry
from VoxelAdvSegLib.scene.maps import MapOverlay, add_map, set_threshold, show_legend
from VoxelAdvSegLib.scene.predictions import MadeBy, Prediction
from VoxelAdvSegLib.scene.segmentations import add_prediction
from VoxelAdvSegLib.scene.segments import segment_ids
from VoxelAdvSegLib.scene.views import center_on_segment, show_background

ORGANS = (Organ("Liver", 1, (221, 130, 101)), Organ("Spleen", 2, (40, 200, 80)))
SHAPE = (24, 90, 120)
MODEL = MadeBy("abdomen", "", "2026-11-25")


def body():
    """A body as CT shows it, int16, with a liver (patient's right) and a smaller spleen (left), and their labels."""
    k, j, i = np.indices(SHAPE, sparse=True)

    def ellipsoid(center, radii):
        return sum(((axis - c) / r) ** 2 for axis, c, r in zip((k, j, i), center, radii, strict=True)) < 1

    labels = np.zeros(SHAPE, np.uint8)
    labels[ellipsoid((12, 42, 40), (9, 20, 24))] = 1
    labels[ellipsoid((12, 52, 88), (7, 13, 10))] = 2
    image = np.where(ellipsoid((12, 45, 60), (40, 40, 54)), 20, -1000) + np.array([0, 80, 110])[labels]
    noise = np.random.default_rng(0).normal(0, 12, SHAPE)
    return (image + noise).astype(np.int16), labels


def looks(labels):
    """The liver like the labeled scans, the spleen unlike them, the rest undecided."""
    return np.array([0.5, 0.92, 0.08], np.float32)[labels]


def set_window(volume, window=400, level=40):
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(window, level)


@pytest.fixture
def shown(application, scene, rendering):
    """Scan, prediction and map in an axial view through the middle of the liver."""
    image, labels = body()
    volume = add_volume(scene, image, GRIDS["axial"])
    set_window(volume)
    prediction = Prediction(labels, world_geometry(volume), ORGANS)
    segmentation = add_prediction(scene, volume, prediction, MODEL)
    view = SliceView(application)
    show_background(scene, volume)
    view.fit()
    center_on_segment(scene, segmentation, segment_ids(segmentation)[0], volume)
    view.fit()
    yield view, volume, segmentation, labels
    view.close()


def near(pixels, rgb, tolerance=60):
    return np.abs(pixels[..., :3].astype(int) - rgb).max(axis=-1) < tolerance


def middle_column(mask):
    return float(np.flatnonzero(mask.any(axis=0)).mean())


def test_segments_lie_on_their_organs_in_radiological_order(shown, tmp_path):
    """The patient's right is on the left of the picture; the outline is the segment's full colour."""
    view, _, segmentation, _ = shown
    pixels = view.pixels(tmp_path / "segments.png")
    display = segmentation.GetDisplayNode()
    liver, spleen = near(pixels, (221, 130, 101)), near(pixels, (40, 200, 80))
    assert liver.sum() > 200 and spleen.sum() > 100
    assert middle_column(liver) < pixels.shape[1] / 2 < middle_column(spleen)
    display.SetVisibility(False)
    without = view.pixels(tmp_path / "scan.png")
    assert near(without, (221, 130, 101), 20).sum() == 0
    changed = np.abs(pixels.astype(int) - without).max(axis=-1) > 10
    # 9 x 20 x 24 voxels: half axes of 24 x 0.7 mm and 20 x 0.9 mm, and those of the spleen, in this view
    scale = view.size[0] / view.node.GetFieldOfView()[0]  # pixels per mm
    expected = np.pi * scale**2 * (24 * 0.7 * 20 * 0.9 + 10 * 0.7 * 13 * 0.9)
    assert changed.sum() == pytest.approx(expected, rel=0.1)


def test_the_map_is_warm_where_it_looks_unlike_and_blue_where_alike(shown, application, tmp_path):
    view, volume, segmentation, labels = shown
    segmentation.GetDisplayNode().SetVisibility(False)
    before = view.pixels(tmp_path / "before.png").astype(int)
    node = add_map(application.scene, volume, looks(labels), world_geometry(volume))
    overlay = MapOverlay(application.scene, node)
    over = view.pixels(tmp_path / "map.png").astype(int)
    middle = 290  # columns right of it hold the spleen alone
    tint = over[..., 0] - over[..., 2]  # red minus blue; the scan itself is grey
    assert (tint[:, :middle] < -30).sum() > 1000 and (tint[:, :middle] > 30).sum() == 0
    assert (tint[:, middle:] > 30).sum() > 400 and (tint[:, middle:] < -30).sum() == 0
    set_threshold(node, 0.0, 0.4)
    unlike = view.pixels(tmp_path / "map below 0.4.png").astype(int)
    tint = unlike[..., 0] - unlike[..., 2]
    assert (tint < -10).sum() == 0 and (tint > 30).sum() > 400
    assert np.array_equal(unlike[:, :middle], before[:, :middle])
    overlay.hide()
    assert np.array_equal(view.pixels(tmp_path / "after.png"), before)


def test_segments_map_and_legend_together(shown, application, tmp_path):
    view, volume, segmentation, labels = shown
    node = add_map(application.scene, volume, looks(labels), world_geometry(volume))
    MapOverlay(application.scene, node, outlined=[segmentation])
    without = view.pixels().astype(int)
    show_legend(node, True)
    pixels = view.pixels(tmp_path / "all.png")
    changed = np.abs(pixels - without).max(axis=-1) > 20
    assert changed[:, -270:].sum() > 1000 and changed[:, :230].sum() == 0
    assert near(pixels, (40, 200, 80)).sum() > 100


@pytest.mark.parametrize("grid", ["flipped", "oblique", "left-handed"])
def test_on_any_grid_the_segment_covers_what_it_was_drawn_on(application, scene, rendering, tmp_path, grid):
    """The label is where the scan is bright: its outline in the picture must follow the scan's."""
    image, labels = body()
    image = np.where(labels == 1, 300, -200).astype(np.int16)
    volume = add_volume(scene, image, GRIDS[grid])
    add_transform(scene, volume, turn_and_shift())
    set_window(volume, 500, 50)
    segmentation = add_prediction(scene, volume, Prediction(labels, world_geometry(volume), ORGANS), MODEL)
    view = SliceView(application)
    show_background(scene, volume)
    center_on_segment(scene, segmentation, segment_ids(segmentation)[0], volume)
    view.fit()
    center_on_segment(scene, segmentation, segment_ids(segmentation)[0], volume)
    display = segmentation.GetDisplayNode()
    display.SetVisibility(False)
    bright = view.pixels()[..., 0] > 140
    display.SetVisibility(True)
    display.SetSegmentVisibility(segment_ids(segmentation)[1], False)
    pixels = view.pixels(tmp_path / f"{grid}.png").astype(int)
    colored = pixels[..., 0] - pixels[..., 2] > 15
    assert bright.sum() > 1500
    both = 2 * (bright & colored).sum() / (bright.sum() + colored.sum())
    assert both > 0.95
    view.close()


def test_surfaces_have_the_organs_colours(application, scene, rendering, tmp_path):
    image, labels = body()
    volume = add_volume(scene, image, GRIDS["axial"])
    prediction = Prediction(labels, world_geometry(volume), ORGANS)
    add_prediction(scene, volume, prediction, MODEL, surfaces=True)
    view = ThreeDView(application)
    view.fit()
    pixels = view.pixels(tmp_path / "surfaces.png").astype(int)
    red, green = pixels[..., 0] - pixels[..., 1], pixels[..., 1] - pixels[..., 0]
    assert (red > 40).sum() > 3000 and (green > 40).sum() > 500
    view.close()
