"""Where voxels of labeled and unlabeled scans lie in the feature space (figure 7 and Table III of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.benchmark.drawing import INK, needed, new_figure, save
from VoxelAdvSegLib.benchmark.plan import Benchmark, Run
from VoxelAdvSegLib.benchmark.tables import Measured
from VoxelAdvSegLib.data.organs import Organ

LEVEL = 2  # the paper's figure 7 shows the second layer
BACKGROUND = "#9a9a9a"
PERPLEXITY = 30.0
NEIGHBORS = 10
COMPONENTS = 30
FOLDS = 4
MOST_ROWS = 5
LEGEND = 0.45  # inches
LABELED_MARK, UNLABELED_MARK = "^", "o"  # as in Table III


@dataclass(frozen=True)
class Voxels:
    """features (n, C), standardized; label (n,) class; unlabeled (n,) bool; case (n,)."""

    features: np.ndarray
    label: np.ndarray
    unlabeled: np.ndarray
    case: np.ndarray


def read_voxels(file: Path, when: str, level: int = LEVEL) -> Voxels:
    """Features of a run (benchmark/features.py) before or after training, each dimension of unit variance.

    Of voxels that share one of a coarse level, and so all features, the first stays.
    """
    with np.load(file, allow_pickle=False) as content:
        values = content[f"{when}_{level}"].astype(np.float64)
        _, different = np.unique(values, axis=0, return_index=True)
        different.sort()
        values = values[different]
        scale = values.std(0)
        values = (values - values.mean(0)) / np.where(scale > 1e-9, scale, 1)
        return Voxels(values, *(content[name][different] for name in ("label", "unlabeled", "case")))


def embed(voxels: Voxels) -> np.ndarray:
    """(n, 2) by t-SNE on at most 30 principal components; the same for the same input."""
    decomposition = needed("sklearn.decomposition", "scikit-learn")
    manifold = needed("sklearn.manifold", "scikit-learn")
    n, dimensions = voxels.features.shape
    parts = min(COMPONENTS, dimensions, n - 1)
    reduced = decomposition.PCA(parts, random_state=0).fit_transform(voxels.features)
    model = manifold.TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), init="pca", random_state=0)
    # Its threads wait for each other by spinning: on a busy machine one is many times faster.
    with needed("threadpoolctl", "scikit-learn").threadpool_limits(1):
        return model.fit_transform(reduced)


def told_apart(voxels: Voxels) -> float | None:
    """Balanced accuracy with which a linear classifier tells labeled from unlabeled voxels, mean over classes.

    Each fold keeps whole scans of both kinds from it, so that it cannot succeed by knowing scans by heart;
    0.5 is chance. None where a class has fewer than two scans of a kind.
    """
    linear = needed("sklearn.linear_model", "scikit-learn")
    selection = needed("sklearn.model_selection", "scikit-learn")
    scores = []
    for index in np.unique(voxels.label):
        own = voxels.label == index
        origin, case = voxels.unlabeled[own], voxels.case[own]
        folds = min(FOLDS, *(len(np.unique(case[origin == kind])) for kind in (False, True)))
        if folds < 2:
            continue
        model = linear.LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
        split = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=0)
        values = voxels.features[own]
        for seen, held_out in split.split(values, origin, case):
            found = model.fit(values[seen], origin[seen]).predict(values[held_out])
            truth = origin[held_out]
            if truth.any() and not truth.all():
                scores.append((np.mean(found[truth]) + np.mean(~found[~truth])) / 2)
    return float(np.mean(scores)) if scores else None


def class_purity(voxels: Voxels) -> float:
    """Part of the nearest ten voxels of other scans that are of a voxel's own class, mean over classes."""
    neighbors = needed("sklearn.neighbors", "scikit-learn")
    shares: dict[int, list[float]] = {}
    for case in np.unique(voxels.case):
        own, others = voxels.case == case, voxels.case != case
        count = min(NEIGHBORS, int(others.sum()))
        if not count:
            continue
        search = neighbors.NearestNeighbors(n_neighbors=count).fit(voxels.features[others])
        near = voxels.label[others][search.kneighbors(voxels.features[own], return_distance=False)]
        for index, found in zip(voxels.label[own], near, strict=True):
            shares.setdefault(int(index), []).append(float(np.mean(found == index)))
    return float(np.mean([np.mean(values) for values in shares.values()]))


def feature_figure(benchmark: Benchmark, rows: Sequence[Measured], organs: Sequence[Organ], path: Path) -> Path | None:
    """The untrained network, then each row after training (first seed): voxels by class and origin.

    None where no run has left features.
    """
    found: list[tuple[str, Voxels]] = []
    for row in rows[:MOST_ROWS]:
        file = Run(benchmark, row.row, min(row.reports)).features
        if file.exists():
            if not found:
                found.append(("before training", read_voxels(file, "before")))
            found.append((row.row.title, read_voxels(file, "after")))
    if not found:
        return None
    across = min(3, len(found))
    down = -(-len(found) // across)
    height = 3.1 * down + LEGEND
    figure = new_figure(2.9 * across, height)
    for number, (title, voxels) in enumerate(found, 1):
        axes = figure.add_subplot(down, across, number)
        _draw(axes, embed(voxels), voxels, organs)
        apart, purity = told_apart(voxels), class_purity(voxels)
        numbers = f"class purity {purity:.2f}, origin told {'-' if apart is None else format(apart, '.2f')}"
        axes.set_title(f"{title}\n{numbers}", fontsize=8, color=INK)
    _legend(figure, organs)
    figure.tight_layout(rect=(0, LEGEND / height, 1, 1))
    return save(figure, path)


def _draw(axes, points: np.ndarray, voxels: Voxels, organs: Sequence[Organ]) -> None:
    order = np.random.default_rng(0).permutation(len(points))  # no class lies on top by its number
    colors = [BACKGROUND, *("#{:02x}{:02x}{:02x}".format(*organ.color_rgb) for organ in organs)]
    for unlabeled, mark in ((False, LABELED_MARK), (True, UNLABELED_MARK)):
        own = order[voxels.unlabeled[order] == unlabeled]
        inside = [colors[int(index)] for index in voxels.label[own]]
        axes.scatter(
            *points[own].T, s=12, marker=mark, linewidths=0.7, alpha=0.8, edgecolors=inside,
            c="none" if unlabeled else inside,
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")


def _legend(figure, organs: Sequence[Organ]) -> None:
    lines = needed("matplotlib.lines", "matplotlib")
    names = [("background", BACKGROUND)]
    names += [(organ.name, "#{:02x}{:02x}{:02x}".format(*organ.color_rgb)) for organ in organs]
    entries = [lines.Line2D([], [], linestyle="", marker="s", color=color, label=name) for name, color in names]
    entries += [
        lines.Line2D([], [], linestyle="", marker=LABELED_MARK, color=INK, label="labeled scan"),
        lines.Line2D([], [], linestyle="", marker=UNLABELED_MARK, color=INK, fillstyle="none", label="unlabeled scan"),
    ]
    figure.legend(handles=entries, loc="lower center", ncols=min(5, len(entries)), fontsize=7, frameon=False)
