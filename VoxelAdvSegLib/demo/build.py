"""The demonstration from nothing to a page: phantoms, two trainings of equal length, held-out scans, figures."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, read_manifest
from VoxelAdvSegLib.data.phantoms import write_phantoms
from VoxelAdvSegLib.data.reading import read_label, read_volume
from VoxelAdvSegLib.demo.page import write_page
from VoxelAdvSegLib.demo.story import METHODS, SEMI, SUPERVISED, Preview, Scan, Story, Trained
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.evaluation.report import score_case, summarize, write_report
from VoxelAdvSegLib.inference.discriminator_map import mean_by_organ
from VoxelAdvSegLib.inference.output import write_map, write_segmentation
from VoxelAdvSegLib.inference.segment import Segmenter
from VoxelAdvSegLib.training.events import read_events
from VoxelAdvSegLib.training.run_folder import RunFolder, read_description, write_text
from VoxelAdvSegLib.training.session import Request, train

PAGE, MARK = "index.html", "demo.json"
OWN_FOLDERS = ("data", "runs", "segmentations", "pace")
PACE_STEPS = 14  # of each method, to learn how fast this machine is
PLANNED_SHARE = 0.88  # of the time; the rest is for what a measurement of so few steps does not see
SCAN_COST = 2.5  # steps' worth of segmenting a held-out scan with both methods, map included
FIXED_COST = 25  # steps' worth of validation, previews, checkpoints and writing the models
FEWEST_STEPS, MOST_STEPS = 20, 400

Tell = Callable[[str], None]
Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Wish:
    """What a person asks for; steps: of each method, None: as many as fit into the minutes.

    counts, voxel_factor: as for write_phantoms; settings: by name, on top of the demo's own.
    """

    output: Path
    minutes: float = 5.0
    seed: int = 0
    steps: int | None = None
    counts: Mapping[str, tuple[int, int]] | None = None
    voxel_factor: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


def make_demo(wish: Wish, tell: Tell, watch: Watch = lambda event: None) -> Story:
    """Runs the demonstration and leaves its page in the output folder.

    tell gets sentences, watch the events of the trainings. Raises RunError when the folder holds
    something that is not a demonstration, or cannot be written; KeyboardInterrupt when a person
    stopped a training.
    """
    began = time.monotonic()
    folder = wish.output.absolute()
    clear_folder(folder)
    write_text(folder / MARK, json.dumps({"demo": True, "finished": False}))
    tell("Phantoms are being made.")
    (folder / "data").mkdir()
    manifest = read_manifest(
        write_phantoms(folder / "data", wish.seed, dict(wish.counts) if wish.counts else None, wish.voxel_factor)
    )
    steps = wish.steps or _plan_steps(wish, manifest, began, tell)
    seconds = {}
    for method in METHODS:
        tell(f"Training of {steps} steps, method {method}.")
        start = time.monotonic()
        _train(_request(wish, manifest, folder / "runs" / method, method, steps), watch)
        seconds[method] = time.monotonic() - start
    tell("The held-out scans are being segmented.")
    scans, reports = _segment_and_score(folder, manifest)
    trained = {
        name: Trained(
            name, reports[name], [event for event, _ in read_events(RunFolder(folder / "runs" / name).events)],
            seconds[name],
        )
        for name in METHODS
    }  # fmt: skip
    run = RunFolder(folder / "runs" / SEMI)
    description = read_description(run)
    story = Story(
        manifest=manifest, supervised=trained[SUPERVISED], semi=trained[SEMI], scans=scans,
        previews=[_read_preview(file) for file in sorted(run.previews.glob("step_*.npz"))],
        working_spacing_xyz_mm=description.recipe.spacing_xyz_mm or (1.0, 1.0, 1.0),
        plan=description.sentences, steps=steps, seed=wish.seed, seconds=time.monotonic() - began,
    )  # fmt: skip
    write_page(story, folder / PAGE)
    write_text(
        folder / MARK,
        json.dumps({"demo": True, "finished": True, "verdict": story.verdict.to_dict()}, indent=1),
    )
    return story


def _read_preview(file: Path) -> Preview:
    with np.load(file) as content:
        return Preview(
            int(file.stem.removeprefix("step_")), content["image"].astype(np.float32), content["label"],
            content["looks_labeled"] / np.float32(255) if "looks_labeled" in content else None,
        )  # fmt: skip


def clear_folder(folder: Path) -> None:
    """Makes room for a demonstration: an earlier one is removed, and nothing else.

    Raises RunError when the folder holds other things, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not _is_demo(folder):
            raise RunError(
                "the output folder holds other things", file=folder,
                expected="a new or empty folder, or an earlier demonstration, which is replaced",
                found=", ".join(sorted(entry.name for entry in folder.iterdir())[:5]),
                do="choose another --output",
            )  # fmt: skip
        for name in OWN_FOLDERS:
            if (folder / name).exists():
                shutil.rmtree(folder / name)
        for file in (folder / PAGE, *folder.glob("report_*.json")):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            "the output folder cannot be written", file=folder, expected="a folder with the right to write",
            found=error.strerror or str(error), do="choose another --output",
        ) from error  # fmt: skip


def _is_demo(folder: Path) -> bool:
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8"))["demo"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _request(wish: Wish, manifest: Manifest, run: Path, method: str, steps: int) -> Request:
    settings = {
        "method": method,
        "steps": steps,
        "seed": wish.seed,
        "device": "cpu",
        "filters": 8,
        "preview_every": max(1, steps // 4),
        **wish.settings,
    }
    return Request(data=manifest.path, run=run, preset="auto", overrides=settings)


def _train(request: Request, watch: Watch) -> None:
    """A training to its end. One that a person stopped stops the demonstration, too."""
    if train(request, watch).reason == "stopped":
        raise KeyboardInterrupt


def _plan_steps(wish: Wish, manifest: Manifest, began: float, tell: Tell) -> int:
    """Steps of each method that fit into the minutes, from a few measured ones."""
    tell("The speed of this machine is being measured.")
    folder = wish.output.absolute() / "pace"
    pace: dict[str, float] = {}
    for method in METHODS:

        def note(event: dict[str, Any], method: str = method) -> None:
            if event["type"] == "step":
                pace[method] = event["seconds_per_step"]

        request = _request(wish, manifest, folder / method, method, PACE_STEPS)
        quiet = {"preview_every": PACE_STEPS + 1, "validate_every": PACE_STEPS + 1, "bn_recalibrate": 0}
        _train(replace(request, overrides={**request.overrides, **quiet}), note)
    shutil.rmtree(folder)
    left = PLANNED_SHARE * 60 * wish.minutes - (time.monotonic() - began)
    slower = max(pace.values())
    left -= slower * (FIXED_COST + SCAN_COST * len(manifest.test))
    fitting = int(left / sum(pace.values()) / 10) * 10
    steps = min(max(fitting, FEWEST_STEPS), MOST_STEPS)
    each = " and ".join(f"{seconds:.2f} s ({method})" for method, seconds in pace.items())
    tell(f"A step takes {each}: {steps} steps of each method.")
    if fitting < FEWEST_STEPS:
        tell(f"This will take longer than {wish.minutes:g} minutes: fewer steps would show nothing.")
    return steps


def _segment_and_score(folder: Path, manifest: Manifest) -> tuple[list[Scan], dict[str, dict]]:
    """The test scans, segmented by both methods, and the report of each."""
    segmenters = {name: Segmenter.open(folder / "runs" / name, "cpu") for name in METHODS}
    scores: dict[str, list] = {name: [] for name in METHODS}
    scans = []
    for case in manifest.test:
        assert isinstance(case, LabeledCase)
        volume = read_volume(case.image)
        geometry = volume.geometry
        reference = read_label(case.label, manifest.organs, geometry)
        predictions, looks = {}, None
        for name, segmenter in segmenters.items():
            found = segmenter.segment(volume, looks_labeled=name == SEMI)
            predictions[name] = found.array
            out = folder / "segmentations" / name
            write_segmentation(found.array, geometry, manifest.organs, out / f"{case.name}.nii.gz")
            if found.looks_labeled is not None:
                looks = found.looks_labeled
                write_map(looks, geometry, out / f"{case.name}_looks_labeled.nii.gz")
            scores[name].append(score_case(case.name, found.array, reference, manifest.organs, geometry.spacing_zyx_mm))
        assert looks is not None
        names = [organ.name for organ in manifest.organs]
        means = mean_by_organ(looks, predictions[SEMI], names)
        scans.append(Scan(case.name, volume, reference, predictions, looks, means))
    reports = {name: summarize(cases) for name, cases in scores.items()}
    for name, report in reports.items():
        write_report(report, folder / f"report_{name}.json")
    return scans, reports
