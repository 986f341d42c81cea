"""What all figures of a benchmark share. Matplotlib and scikit-learn are for these alone, and loaded late."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from VoxelAdvSegLib.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID = "#222222", "#d9d9d9"
# Colours that stay apart for colour-blind readers (Paul Tol's "bright" and "muted"); the first row is grey.
ROW_COLORS = (
    "#8c8c8c", "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#882255", "#44aa99", "#999933",
    "#332288", "#ddcc77",
)  # fmt: skip
DPI = 160


def needed(name: str, package: str) -> ModuleType:
    """A module of an optional package. Raises ConfigError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the figures need the package {package}", expected="the packages of the extra 'benchmark'",
            found="it is not installed", do="pip install scikit-learn matplotlib, or --figures none",
        ) from error  # fmt: skip


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches; no window and no global state."""
    return needed("matplotlib.figure", "matplotlib").Figure(figsize=(width, height), facecolor="white")


def bare(axes: Axes) -> None:
    """Only the axis that carries numbers keeps its line."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.tick_params(length=0, labelsize=8, colors=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path, with_scans: bool = False) -> Path:
    """Writes a PNG; of a drawing without scans with 256 colors, which are enough and take a third of the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date and version in the file: the same numbers give the same bytes.
    figure.savefig(path, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    if not with_scans:
        with needed("PIL.Image", "pillow").open(path) as picture:  # matplotlib brings it
            drawing = picture.convert("RGB").quantize(256)
        drawing.save(path, optimize=True)
    return path


def row_color(number: int) -> str:
    return ROW_COLORS[number % len(ROW_COLORS)]
