"""Benchmarks whose results are planted, so that every number of a report is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.benchmark.plan import Benchmark, write_benchmark
from VoxelAdvSegLib.benchmark.rows import parse_rows
from VoxelAdvSegLib.data.phantoms import sphere
from VoxelAdvSegLib.evaluation.metrics import METRICS, OrganScore
from VoxelAdvSegLib.evaluation.report import CaseScore, summarize, write_report

CASES = tuple(f"case_{number}" for number in range(8))
ORGANS = ("ball", "pebble")
SHAPE = (12, 14, 16)


def planted_report(dice: np.ndarray) -> dict:
    """A report of the cases with the given Dice (cases, organs); every other metric is its double."""
    scores = [
        CaseScore(
            name,
            {
                organ: OrganScore("both_present", {m: float(value if m == "dice" else 2 * value) for m in METRICS})
                for organ, value in zip(ORGANS, line, strict=True)
            },
        )
        for name, line in zip(CASES, dice, strict=True)
    ]
    return summarize(scores)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Manifest of eight validation scans with two organs each, and one training and one unlabeled scan."""
    (tmp_path / "data").mkdir()

    def write(name: str, labeled: bool) -> dict:
        label = np.zeros(SHAPE, np.uint8)
        label[sphere(SHAPE, (5, 6, 5), 3)] = 1
        label[sphere(SHAPE, (6, 8, 11), 2)] = 2
        entry = {"image": f"{name}.nii.gz"}
        image = sitk.GetImageFromArray(label.astype(np.float32) + len(name) + np.arange(16, dtype=np.float32) / 16)
        sitk.WriteImage(image, tmp_path / "data" / entry["image"])
        if labeled:
            entry["label"] = f"{name}_label.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(label), tmp_path / "data" / entry["label"])
        return entry

    content = {
        "labels": {"0": "background", "1": "ball", "2": "pebble"},
        "training": [write("trained", True)],
        "unlabeled": [write("unlabeled", False)],
        "validation": [write(name, True) for name in CASES],
    }
    path = tmp_path / "data" / "dataset.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def make_benchmark(data: Path, tmp_path: Path):
    """make_benchmark("supervised,mean_teacher", seeds=(0, 1), ...): written to its folder, nothing run yet."""

    def make(methods: str = "supervised,mean_teacher", seeds: tuple[int, ...] = (0, 1), **changes: object) -> Benchmark:
        fields = {"steps": 6, "folder": tmp_path / "out", "data": data} | changes
        benchmark = Benchmark(rows=parse_rows(methods), seeds=list(seeds), **fields)
        return write_benchmark(benchmark)

    return make


def plant(benchmark: Benchmark, dice: dict[str, np.ndarray], **facts: object) -> None:
    """Results of the rows: Dice (seeds, cases, organs) by name."""
    for run in benchmark.runs():
        if run.row.name not in dice:
            continue
        report = planted_report(dice[run.row.name][list(benchmark.seeds).index(run.seed)])
        report["largest_component"] = report["mean"]
        report["run"] = {
            "row": run.row.name, "method": run.row.method, "steps": 6, "weights_of_step": 6, "labeled_scans": 1,
            "unlabeled_scans": 1, **facts,
        }  # fmt: skip
        write_report(report, run.result)


def random_dice(seeds: int, shift: float = 0.0, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(0.8 + shift + noise * rng.standard_normal((seeds, len(CASES), len(ORGANS))), 0, 1)
