"""Predictions over the scan, with what is wrong in them (figures 5 and 6 of the paper)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.benchmark.drawing import INK, needed, new_figure, save
from VoxelAdvSegLib.benchmark.plan import Benchmark, Run
from VoxelAdvSegLib.benchmark.tables import Measured
from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.reading import read_label, read_volume
from VoxelAdvSegLib.data.volume import Volume
from VoxelAdvSegLib.demo.pictures import View, choose_view, window
from VoxelAdvSegLib.evaluation.statistics import case_values

MARGIN_MM = 15.0  # around the organs
MISSED, EXCESS, CONFUSED = "#0077bb", "#ee7733", "#ee3377"
ERROR_OPACITY = 0.55
SCALE_MM = 20.0
MOST_COLUMNS = 6
TITLE_LETTERS = 24  # that fit over a column


@dataclass(frozen=True)
class Shown:
    """A case in one slice. predictions: class indices (z, y, x) by row, with the Dice of the case."""

    name: str
    why: str
    volume: Volume
    reference: np.ndarray
    predictions: Sequence[tuple[str, np.ndarray, float | None]]


def overlay_figure(benchmark: Benchmark, rows: Sequence[Measured], manifest: Manifest, path: Path) -> Path:
    """The cases in which the first row is worst, in the middle, and best; one column per row, of the first seed.

    Solid white lines: the reference. Filled: what is missed, too much, or taken for another organ.
    """
    rows = rows[:MOST_COLUMNS]
    seed = min(set.intersection(*(set(row.reports) for row in rows)), default=min(rows[0].reports))
    rows = [row for row in rows if seed in row.reports]
    shown = [_load(benchmark, rows, manifest, seed, name, why) for name, why in choose_cases(rows[0], seed)]
    boxes = [_cut_out(case) for case in shown]
    widths = 1 + len(rows)
    figure = new_figure(1.9 * widths, sum(1.6 * h / w for _, (h, w) in boxes) + 1.0)
    grid = figure.subplots(
        len(shown), widths, squeeze=False, gridspec_kw={"height_ratios": [h / w for _, (h, w) in boxes]}
    )
    for line, case, (view, _) in zip(grid, shown, boxes, strict=True):
        _draw_case(line, case, view, manifest.organs)
    for axes, title in zip(grid[0], ["reference", *(row.row.title for row in rows)], strict=True):
        axes.set_title(textwrap.fill(title, TITLE_LETTERS), fontsize=8, color=INK)
    _legend(figure, manifest.organs)
    figure.subplots_adjust(wspace=0.03, hspace=0.14, top=0.92, bottom=0.1)
    return save(figure, path, with_scans=True)


def choose_cases(first: Measured, seed: int) -> list[tuple[str, str]]:
    """Names of the worst, middle and best case of a row, and which it is."""
    values = {name: v for name, v in case_values(first.reports[seed], "dice").items() if v is not None}
    order = sorted(values, key=lambda name: values[name])
    if not order:
        return []
    places = {0: "worst", len(order) // 2: "middle", len(order) - 1: "best"}
    return [(order[place], why) for place, why in places.items()]


def _load(benchmark: Benchmark, rows: Sequence[Measured], manifest: Manifest, seed: int, name: str, why: str) -> Shown:
    case = next(case for case in manifest.split(benchmark.split) if case.name == name)
    assert isinstance(case, LabeledCase)
    volume = read_volume(case.image)
    predictions = []
    for row in rows:
        file = Run(benchmark, row.row, seed).predictions / f"{name}.nii.gz"
        found = read_label(file, manifest.organs, volume.geometry, allow_empty=True)
        predictions.append((row.row.title, found, case_values(row.reports[seed], "dice")[name]))
    return Shown(name, why, volume, read_label(case.label, manifest.organs, volume.geometry), predictions)


def _cut_out(case: Shown) -> tuple[tuple[View, tuple[slice, slice]], tuple[float, float]]:
    """The axial slice that shows the organs best, the part of it around them, and its height and width in mm."""
    view = choose_view(case.reference, case.volume.geometry, "axial")
    organs = view.cut(case.reference) > 0
    for _, found, _ in case.predictions:
        organs = organs | (view.cut(found) > 0)
    width_mm, height_mm = view.spacing_mm
    box, size = [], []
    for axis, step in ((0, height_mm), (1, width_mm)):
        places = np.flatnonzero(organs.any(1 - axis))
        low, high = (int(places[0]), int(places[-1])) if len(places) else (0, organs.shape[axis] - 1)
        margin = round(MARGIN_MM / step)
        part = slice(max(0, low - margin), min(organs.shape[axis], high + margin + 1))
        box.append(part)
        size.append((part.stop - part.start) * step)
    return (view, (box[0], box[1])), (size[0], size[1])


def _draw_case(line, case: Shown, cut: tuple[View, tuple[slice, slice]], organs: Sequence[Organ]) -> None:
    view, box = cut
    image = window(view.cut(case.volume.array))[box]
    reference = view.cut(case.reference)[box]
    width_mm, height_mm = view.spacing_mm
    rows, columns = image.shape
    extent = (0, columns * width_mm, rows * height_mm, 0)
    for axes, (found, dice) in zip(line, [(None, None), *((p, d) for _, p, d in case.predictions)], strict=True):
        axes.imshow(image, cmap="gray", extent=extent, interpolation="bilinear")
        if found is not None:
            axes.imshow(_errors(view.cut(found)[box], reference), extent=extent, interpolation="nearest")
            axes.set_xlabel("-" if dice is None else f"Dice {100 * dice:.1f}", fontsize=7, color=INK, labelpad=2)
        for index, organ in enumerate(organs, 1):
            color = "white" if found is not None else tuple(c / 255 for c in organ.color_rgb)
            _outline(axes, reference == index, extent, color)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    first = line[0]
    letters = max(8, round(rows * height_mm / (columns * width_mm) * TITLE_LETTERS * 1.2))
    first.set_ylabel(f"{case.why}\n{_in_lines(case.name, letters)}", fontsize=6.5, color=INK)
    for place, letter in ((0.02, "R"), (0.94, "L")):
        first.text(place, 0.5, letter, transform=first.transAxes, fontsize=7, color="white", va="center")
    left, bottom = 0.05 * extent[1], 0.95 * extent[2]
    first.plot([left, left + SCALE_MM], [bottom, bottom], color="white", linewidth=1.5)
    first.text(left, bottom - 0.02 * extent[2], f"{SCALE_MM:g} mm", fontsize=6, color="white", va="bottom")


def _in_lines(name: str, letters: int) -> str:
    """A file's name over several lines, broken after "_" and "-" where it can be."""
    spaced = name.replace("_", "_ ").replace("-", "- ")
    return "\n".join(line.replace("_ ", "_").replace("- ", "-") for line in textwrap.wrap(spaced, letters))


def _errors(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """RGBA (rows, columns, 4): transparent where the prediction is right."""
    colors = needed("matplotlib.colors", "matplotlib")
    picture = np.zeros((*found.shape, 4))
    for color, where in (
        (MISSED, (reference > 0) & (found == 0)),
        (EXCESS, (reference == 0) & (found > 0)),
        (CONFUSED, (reference > 0) & (found > 0) & (reference != found)),
    ):
        picture[where] = colors.to_rgba(color, ERROR_OPACITY)
    return picture


def _outline(axes, mask: np.ndarray, extent: Sequence[float], color) -> None:
    if not mask.any():
        return
    # A margin of nothing closes the line of an organ that the frame cuts.
    padded = np.pad(mask.astype(float), 1)
    rows, columns = mask.shape
    x = (np.arange(columns + 2) - 0.5) * extent[1] / columns
    y = (np.arange(rows + 2) - 0.5) * extent[2] / rows
    axes.contour(x, y, padded, levels=[0.5], colors=[color], linewidths=0.9)
    axes.set_xlim(0, extent[1])
    axes.set_ylim(extent[2], 0)


def _legend(figure, organs: Sequence[Organ]) -> None:
    patches, lines = needed("matplotlib.patches", "matplotlib"), needed("matplotlib.lines", "matplotlib")
    entries = [
        patches.Patch(color=MISSED, alpha=ERROR_OPACITY, label="missed"),
        patches.Patch(color=EXCESS, alpha=ERROR_OPACITY, label="too much"),
    ]
    if len(organs) > 1:
        entries.append(patches.Patch(color=CONFUSED, alpha=ERROR_OPACITY, label="another organ"))
    entries += [
        lines.Line2D([], [], color=tuple(c / 255 for c in organ.color_rgb), label=f"reference: {organ.name}")
        for organ in organs
    ]
    figure.legend(
        handles=entries, loc="lower center", ncols=min(5, len(entries)), fontsize=7, frameon=False
    )  # fmt: skip
