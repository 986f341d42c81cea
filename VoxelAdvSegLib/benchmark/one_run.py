"""The child process of a benchmark: one training, its last weights on the scored cases, its features.

python -m VoxelAdvSegLib.benchmark.one_run [--end-with-parent] BENCHMARK_FOLDER ROW SEED

With --end-with-parent it stops as after Ctrl-C, and can be gone on with, when its standard input closes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.benchmark.features import write_features
from VoxelAdvSegLib.benchmark.harness import END_WITH_PARENT
from VoxelAdvSegLib.benchmark.plan import Run, find_run, not_the_last, read_benchmark
from VoxelAdvSegLib.bundle import read_bundle
from VoxelAdvSegLib.data.components import keep_largest
from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, read_manifest
from VoxelAdvSegLib.data.reading import read_label, read_volume
from VoxelAdvSegLib.errors import RunError, VoxelAdvSegError
from VoxelAdvSegLib.evaluation.report import CaseScore, score_case, summarize, write_report
from VoxelAdvSegLib.inference.output import write_segmentation
from VoxelAdvSegLib.inference.segment import Segmenter
from VoxelAdvSegLib.training.again import WHOLE_RUNS, is_whole
from VoxelAdvSegLib.training.session import Request, train

BAD_INPUT = 2


def run_one(run: Run) -> dict[str, Any]:
    """Trains where that is not done, scores, and returns the result that it has written.

    Raises RunError when the training was stopped before its end (the same call goes on with it), or
    its model is not that of the last step; VoxelAdvSegError as training and segmenting do.
    """
    manifest = read_manifest(run.benchmark.data, anywhere=True)
    _train(run)
    bundle = read_bundle(run.folder / "model")
    facts = bundle.provenance
    if facts["weights_of_step"] != facts["steps"]:
        raise not_the_last(run.folder / "model", facts["weights_of_step"], facts["steps"])
    segmenter = Segmenter.open(run.folder, run.benchmark.device)
    plain, largest = _score(run, manifest, segmenter)
    write_features(run, manifest, bundle, segmenter.device)
    report = summarize(plain)
    report["largest_component"] = summarize(largest)["mean"]
    report["run"] = {
        "row": run.row.name, "method": run.row.method, "settings": dict(run.row.settings), "seed": run.seed,
        "preset": run.benchmark.preset, "split": run.benchmark.split, "checkpoint": "last",
        **{key: facts[key] for key in (
            "steps", "weights_of_step", "ended", "minutes", "labeled_scans", "unlabeled_scans", "versions",
        )},
    }  # fmt: skip
    write_report(report, run.result)
    return report


def _train(run: Run) -> None:
    if is_whole(run.folder):
        return
    outcome = train(
        Request(
            data=run.benchmark.data, run=run.folder, preset=run.benchmark.preset, overrides=run.overrides(),
            resume=(run.folder / "config.json").exists(), anywhere=True,
        ),
        watch=_say,
    )  # fmt: skip
    if outcome.reason not in WHOLE_RUNS:
        raise RunError(
            "the training was stopped before its end", file=run.folder, expected="a training to its last step",
            found=f"{outcome.reason} at step {outcome.step}", do="run the same command again: it goes on from there",
        )  # fmt: skip


def _score(run: Run, manifest: Manifest, segmenter: Segmenter) -> tuple[list[CaseScore], list[CaseScore]]:
    """Scores of the cases on their own grids, as predicted and with each organ's largest part alone."""
    organs = manifest.organs
    plain, largest = [], []
    for case in manifest.split(run.benchmark.split):
        assert isinstance(case, LabeledCase)
        volume = read_volume(case.image)
        geometry = volume.geometry
        reference = read_label(case.label, organs, geometry)
        # Without the preset's own choice: the largest part is reported apart.
        found = segmenter.segment(volume, largest_component=False).array
        write_segmentation(found, geometry, organs, run.predictions / f"{case.name}.nii.gz")
        plain.append(score_case(case.name, found, reference, organs, geometry.spacing_zyx_mm))
        part = keep_largest(found, len(organs))
        largest.append(score_case(case.name, part, reference, organs, geometry.spacing_zyx_mm))
        print(f"scored {len(plain)} of {len(manifest.split(run.benchmark.split))}", flush=True)
    return plain, largest


def _say(event: dict[str, Any]) -> None:
    if event["type"] == "step":
        print(f"step {event['step']} of {event['steps']}", flush=True)
    elif event["type"] == "message":
        print(event["text"], flush=True)


def _end_with_parent() -> None:
    """A benchmark that was killed leaves no training behind that keeps the machine busy for hours."""

    def wait() -> None:
        while os.read(0, 1024):  # not sys.stdin, whose lock a daemon thread would hold at the end
            pass
        signal.raise_signal(signal.SIGTERM)  # heard by the course of the run, or else the end

    threading.Thread(target=wait, daemon=True).start()


def main(words: list[str]) -> int:
    if words[0] == END_WITH_PARENT:
        _end_with_parent()
    folder, row, seed = words[-3:]
    try:
        run_one(find_run(read_benchmark(Path(folder)), row, int(seed)))
        return 0
    except VoxelAdvSegError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
