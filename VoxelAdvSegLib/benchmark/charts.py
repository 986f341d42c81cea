"""Box plots per organ (figure 4 of the paper) and paired differences with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.benchmark.drawing import GRID, INK, bare, new_figure, row_color, save
from VoxelAdvSegLib.benchmark.tables import Measured
from VoxelAdvSegLib.evaluation.statistics import difference_table, paired

PANELS_ACROSS = 4
TITLE_LETTERS = 28  # in a line beside an axis


def box_plots(rows: Sequence[Measured], path: Path) -> Path:
    """Dice of every case (its mean over seeds), one panel per organ: box, whiskers to 1.5 box lengths, all cases."""
    organs = list(next(iter(rows[0].reports.values()))["organs"])
    across = min(PANELS_ACROSS, len(organs))
    down = -(-len(organs) // across)
    panel = 2.4 if len(organs) > 1 else 4.6
    figure = new_figure(1.8 + panel * across, down * (0.9 + 0.32 * len(rows)))
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    values = {organ: [organ_values(row, organ) for row in rows] for organ in organs}
    lowest = min((value for of_rows in values.values() for cases in of_rows for value in cases), default=0.0)
    for number, axes in enumerate(grid.flat):
        if number >= len(organs):
            axes.set_visible(False)
            continue
        bare(axes)
        for place, cases in enumerate(values[organs[number]]):
            _one_box(axes, place, cases, row_color(place))
        axes.set_xlim(max(0.0, np.floor(10 * lowest - 0.5) / 10) - 0.02, 1.02)  # the same for all organs
        axes.set_title(organs[number], fontsize=9, color=INK, loc="left")
        axes.set_yticks(range(len(rows)), titles(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("Dice", fontsize=8, color=INK)
    figure.tight_layout(w_pad=1.5)
    return save(figure, path)


def titles(rows: Sequence[Measured]) -> list[str]:
    """Names of rows as labels of an axis."""
    return [textwrap.fill(row.row.title, TITLE_LETTERS) for row in rows]


def organ_values(row: Measured, organ: str) -> list[float]:
    """Dice of an organ in each case, mean over the seeds in which it is known."""
    by_case: dict[str, list[float]] = {}
    for report in row.reports.values():
        for case in report["cases"]:
            value = case["organs"][organ]["dice"]
            if value is not None:
                by_case.setdefault(case["name"], []).append(value)
    return [float(np.mean(values)) for values in by_case.values()]


def difference_chart(rows: Sequence[Measured], path: Path) -> Path:
    """Difference of Dice to the first row: mean and 95 % interval, and every case as a dot."""
    others = rows[1:]
    figure = new_figure(6.4, 0.9 + 0.4 * len(others))
    axes = figure.subplots()
    bare(axes)
    axes.axvline(0, color=INK, linewidth=1)
    first = rows[0]
    for place, row in enumerate(others):
        d = paired(first.reports, row.reports)
        color = row_color(place + 1)
        dots = 100 * _case_gains(first, row)
        axes.scatter(dots, place + 0.28 + _scatter(len(dots)) / 3, s=9, color=color, alpha=0.6, linewidths=0)
        if d.mean is not None:
            if d.low is not None and d.high is not None:
                axes.plot([100 * d.low, 100 * d.high], [place, place], color=color, linewidth=3, solid_capstyle="butt")
            axes.plot(
                100 * d.mean, place, marker="D", markersize=6, markerfacecolor="white", markeredgecolor=color,
                markeredgewidth=1.8,
            )  # fmt: skip
    axes.set_yticks(range(len(others)), titles(others))
    axes.set_ylim(len(others) - 0.4, -0.5)
    axes.set_xlabel(f"Dice minus that of {first.row.title}, percent points", fontsize=8)
    figure.tight_layout()
    return save(figure, path)


def _case_gains(first: Measured, row: Measured) -> np.ndarray:
    return difference_table(first.reports, row.reports, "dice").mean(0)


def _one_box(axes, place: int, values: Sequence[float], color: str) -> None:
    if not values:
        return
    axes.boxplot(
        [values], positions=[place], orientation="horizontal", widths=0.62, showfliers=False, patch_artist=True,
        boxprops={"facecolor": color, "alpha": 0.3, "edgecolor": color, "linewidth": 1},
        medianprops={"color": color, "linewidth": 2}, whiskerprops={"color": color}, capprops={"color": color},
    )  # fmt: skip
    axes.scatter(values, place + _scatter(len(values)), s=8, color=color, alpha=0.8, linewidths=0, zorder=3)
    axes.axhline(place + 0.5, color=GRID, linewidth=0.4)


def _scatter(count: int) -> np.ndarray:
    """Small offsets, the same in every figure, so that dots of equal value stay apart."""
    return np.random.default_rng(0).uniform(-0.18, 0.18, count)
