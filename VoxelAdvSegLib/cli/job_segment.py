"""A queue of scans as a child process segments them: one by one, each may be skipped, none stops the others."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.cli.job_train import most_cores
from VoxelAdvSegLib.errors import VoxelAdvSegError
from VoxelAdvSegLib.jobs.protocol import CONTROL, EVENTS, STOP, SegmentCase, SegmentRequest, replace_text
from VoxelAdvSegLib.training.events import PROTOCOL, EventWriter, heartbeat

if TYPE_CHECKING:
    from VoxelAdvSegLib.data.organs import Organ
    from VoxelAdvSegLib.inference.segment import Segmented, Segmenter
    from VoxelAdvSegLib.inference.signs import CaseSigns

SEGMENTATION = "segmentation.seg.nrrd"
LOOKS_LABELED = "looks_labeled.nii.gz"
PREDICTION = "prediction.json"
FORMAT = 1
LOOK_SECONDS = 0.25  # between looks at the parent's wishes, and between events of progress


class _Skipped(Exception):  # noqa: N818 - no error: a wish
    """The parent does not want this case any more."""


class _Stopped(Exception):  # noqa: N818
    """The parent wants the queue to end."""


def segment_here(folder: Path, request: SegmentRequest) -> int:
    """Works through the queue; 0 also when single cases failed, which their events tell.

    Raises BundleError when there is no model, and what else concerns all cases.
    """
    import torch

    from VoxelAdvSegLib.inference.segment import Segmenter

    torch.set_num_threads(request.threads or most_cores())
    segmenter = Segmenter.open(Path(request.model), request.device)
    with contextlib.closing(EventWriter(folder / EVENTS)) as events, heartbeat(events):
        events.write(
            "start", protocol=PROTOCOL, version=__version__, device=str(segmenter.device), cases=len(request.cases),
            organs=[{"name": o.name, "color_rgb": o.color_rgb} for o in segmenter.organs],
        )  # fmt: skip
        _Queue(folder, request, segmenter, events).work()
    return 0


class _Queue:
    def __init__(self, folder: Path, request: SegmentRequest, segmenter: Segmenter, events: EventWriter) -> None:
        self.folder = folder
        self.request = request
        self.segmenter = segmenter
        self.events = events
        self.done = 0
        self.ends = {"done": 0, "skipped": 0, "failed": 0}
        self._looked = self._told = -1.0

    def work(self) -> None:
        reason = "finished"
        for case in self.request.cases:
            try:
                self._one(case)
            except _Stopped:
                reason = "stopped"
                break
        self.events.write("end", reason=reason, **self.ends)

    def _one(self, case: SegmentCase) -> None:
        """One case with its events; only a stop of the whole queue goes further."""
        begin = time.monotonic()
        try:
            self._look(case, at_once=True)
            self._tell(case, "started")
            facts = self._segment(case)
        except _Skipped:
            self._finish(case, "skipped")
        except VoxelAdvSegError as error:
            print(error, flush=True)
            self._finish(
                case, "failed", text=str(error), what=error.what, expected=error.expected, found=error.found,
                do=error.do, file=error.file,
            )  # fmt: skip
        except OSError as error:
            print(f"{case.id}: {error}", flush=True)
            self._finish(
                case, "failed", text=str(error), what="a file of this scan cannot be read or written",
                file=error.filename, expected="a folder with room that may be written to",
                found=error.strerror or str(error), do="make room, or choose another project folder",
            )  # fmt: skip
        except (MemoryError, RuntimeError, ValueError) as error:  # out of memory, a broken driver
            print(f"{case.id}: {type(error).__name__}: {error}", flush=True)
            self._finish(case, "failed", text=f"{type(error).__name__}: {error}")
        else:
            self._finish(case, "done", seconds=time.monotonic() - begin, **facts)

    def _segment(self, case: SegmentCase) -> dict[str, Any]:
        from VoxelAdvSegLib.bundle import OPPONENT
        from VoxelAdvSegLib.data.reading import read_volume
        from VoxelAdvSegLib.inference.output import write_map, write_segmentation

        self._progress(case, "reading the scan", 0.0)
        volume = read_volume(case.image)
        looks: bool | str = self.request.looks_labeled and self.segmenter.has_map
        if looks and self.request.training_map:
            if OPPONENT in self.segmenter.bundle.weights:
                looks = OPPONENT
            else:
                text = "This model has no discriminator of its training: the map is drawn by the later one."
                self.events.write("message", level="warning", text=text)

        def watch(fraction: float) -> None:
            self._look(case)
            self._progress(case, "segmenting", fraction)

        found = self._on_another_device_if_needed(volume, looks, watch)
        self._look(case, at_once=True)
        self._progress(case, "writing the result", 1.0, at_once=True)
        output = Path(case.output)
        (output / PREDICTION).unlink(missing_ok=True)  # it says that the others are whole
        write_segmentation(found.array, found.geometry, self.segmenter.organs, output / SEGMENTATION)
        if found.looks_labeled is not None:
            write_map(found.looks_labeled, found.geometry, output / LOOKS_LABELED)
        else:
            (output / LOOKS_LABELED).unlink(missing_ok=True)
        facts = case_facts(found, self.segmenter.organs)
        about = {
            "format": FORMAT, "case": case.id, "model": self._model_name(), "version": __version__,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "segmentation": SEGMENTATION,
            "looks_labeled": None if found.looks_labeled is None else LOOKS_LABELED,
            "means": _numbers(found.signs), **facts,
        }  # fmt: skip
        replace_text(output / PREDICTION, json.dumps(about, indent=1, ensure_ascii=False))
        return facts

    def _on_another_device_if_needed(self, volume: Any, looks: bool | str, watch: Any) -> Segmented:
        """The result; from the CPU when the graphics card has too little memory, for all that follow, too."""
        import torch

        from VoxelAdvSegLib.inference.segment import Segmenter

        wishes = {
            "largest_component": self.request.largest_component,
            "flips": self.request.flips,
            "quality": True,
            "watch": watch,
        }
        try:
            return self.segmenter.segment(volume, looks, **wishes)
        except torch.cuda.OutOfMemoryError:
            if self.segmenter.device.type == "cpu":
                raise
        text = "The graphics card has too little free memory for this scan: the CPU goes on, which takes longer."
        self.events.write("message", level="warning", text=text)
        self.segmenter = Segmenter(self.segmenter.bundle, torch.device("cpu"))
        torch.cuda.empty_cache()
        return self.segmenter.segment(volume, looks, **wishes)

    def _model_name(self) -> str:
        path = Path(self.request.model)
        return path.parent.name if path.name == "model" else path.name

    # --- the parent's wishes, and what it hears ------------------------------------------------

    def _look(self, case: SegmentCase, at_once: bool = False) -> None:
        """Raises _Stopped or _Skipped when the parent asks for it."""
        now = time.monotonic()
        if not at_once and now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if (self.folder / STOP).exists():
            raise _Stopped
        if case.id in wished_skips(self.folder):
            raise _Skipped

    def _progress(self, case: SegmentCase, phase: str, fraction: float, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or fraction == 0 or now - self._told >= LOOK_SECONDS:
            self._told = now
            self.events.write("progress", case=case.id, phase=phase, fraction=fraction)

    def _tell(self, case: SegmentCase, state: str, **facts: Any) -> None:
        self.events.write("case", case=case.id, state=state, done=self.done, total=len(self.request.cases), **facts)

    def _finish(self, case: SegmentCase, state: str, **facts: Any) -> None:
        self.done += 1
        self.ends[state] += 1
        self._tell(case, state, **facts)


def wished_skips(folder: Path) -> frozenset[str]:
    """Ids of the cases that the parent does not want any more; none while the file cannot be read."""
    try:
        content = json.loads((folder / CONTROL).read_text(encoding="utf-8"))
        return frozenset(map(str, content["skip"]))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def case_facts(found: Segmented, organs: Sequence[Organ]) -> dict[str, Any]:
    """What is said of a segmented case: volumes, the map's means, confidence, the score with its reason, and
    how good it probably is."""
    from VoxelAdvSegLib.inference.output import organ_volumes_ml

    certainty = found.certainty()
    confidence: Mapping[str, Any] = {name: asdict(value) for name, value in found.confidence.items()}
    return {
        "volumes_ml": organ_volumes_ml(found.array, found.geometry, organs),
        "looks_labeled_mean": found.looks_labeled_by_organ() or {},
        "confidence": confidence,
        "score": certainty.score,
        "reason": certainty.reason if found.assessment is None else found.assessment.reason(certainty.reason),
        "organ_scores": certainty.organs,
        "assessment": None if found.assessment is None else found.assessment.to_dict(),
    }


def _numbers(signs: CaseSigns | None) -> list[float | None] | None:
    """The class means of the fused features in one row, None for what is not known."""
    if signs is None or signs.means is None:
        return None
    return [round(float(value), 4) if value == value else None for value in signs.means.ravel()]
