"""Segmenting: one volume with a click, a queue of cases, and two models side by side."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import InputError, RunError, VoxelAdvSegError
from VoxelAdvSegLib.evaluation.metrics import dice
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.protocol import SegmentCase, SegmentRequest
from VoxelAdvSegLib.jobs.segment import DONE, CaseProgress, SegmentJob
from VoxelAdvSegLib.panel.bench import SIDES
from VoxelAdvSegLib.panel.comparing import Comparing
from VoxelAdvSegLib.project.models import Model
from VoxelAdvSegLib.scene.maps import MapOverlay, add_map, read_map, show_legend
from VoxelAdvSegLib.scene.nodes import Handle
from VoxelAdvSegLib.scene.organ_volumes import OrganVolume, organ_volumes, volumes_table
from VoxelAdvSegLib.scene.predictions import MadeBy, read_prediction
from VoxelAdvSegLib.scene.segmentations import add_prediction
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask, segment_names
from VoxelAdvSegLib.scene.volumes import export_volume, why_not

SCAN = "scan"  # id of the one case of a volume's job
UNCERTAIN_BELOW = 0.5  # score of an organ from which its segment is flagged


@dataclass
class Result:
    """A segmented volume of the scene; looks: mean of "looks like labeled scans" by organ; assessment: how good it
    probably is, as the job has told it.

    The nodes are None when they were deleted since.
    """

    volumes: list[OrganVolume]
    looks: dict[str, float | None]
    model: Model
    score: float | None
    reason: str
    volume: Handle
    segmentation: Handle
    map_node: Any = None
    assessment: Mapping[str, Any] | None = None

    @property
    def volume_node(self) -> Any:
        return self.volume.node

    @property
    def segmentation_node(self) -> Any:
        return self.segmentation.node


@dataclass
class _Order:
    """What becomes of a job's results."""

    model: Model
    volume: Handle | None = None
    surfaces: bool = False
    training_map: bool = False
    then: Callable[[Result], None] | None = None  # of a comparison: what comes after this one
    result: Result | None = None


class Segmenting(Comparing):
    """The part with the segmentation: one job at a time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.segmenting: SegmentJob | None = None
        self.result: Result | None = None
        self.comparison = ""
        self._order: _Order | None = None
        self._kept: set[str] = set()
        self._overlay: MapOverlay | None = None

    def models(self) -> tuple[Model, ...]:
        """The project's models, newest first."""
        return () if self.project is None else self.project.models()

    def default_model(self) -> str | None:
        """The newest model that can be used."""
        return next((model.id for model in self.models() if not model.problem), None)

    # --- one volume ---------------------------------------------------------------------------

    def why_not_segment(self, volume_node: Any, model_id: str | None) -> str:
        """ "" when the volume can be segmented, else what is missing, in a sentence."""
        if self.project is None:
            return _("Make or open a project first.")
        if self.is_segmenting:
            return _("Another segmentation is running.")
        if not model_id:
            return _("There is no model yet: train one, or import one under Models.")
        return why_not(volume_node) if volume_node is not None else _("Choose a volume.")

    @property
    def is_segmenting(self) -> bool:
        return self._order is not None

    def segment(
        self,
        volume_node: Any,
        model_id: str | None = None,
        surfaces: bool = False,
        training_map: bool = False,
        wait: bool = False,
    ) -> SegmentJob:
        """Segments a volume of the scene into a new segmentation node. Raises InputError or RunError.

        training_map: with the map of the training's own discriminator in place of the later one's.
        """
        model_id = model_id or self.default_model()
        missing = self.why_not_segment(volume_node, model_id)
        if missing:
            raise InputError(_("the volume cannot be segmented"), found=missing)
        model = self.the_project().model(str(model_id))
        self._start_volume(_Order(model, Handle.of(volume_node), surfaces, training_map))
        return self._segmented(wait)

    def _start_volume(self, order: _Order) -> None:
        folder = self.new_folder()
        assert order.volume is not None and order.volume.node is not None
        try:
            export_volume(order.volume.node, folder / "image.nrrd")
            case = SegmentCase(SCAN, str(folder / "image.nrrd"), str(folder / SCAN))
            request = SegmentRequest(
                str(order.model.path), (case,), training_map=order.training_map, threads=self.threads
            )
            self._start(folder, request, order)
        except VoxelAdvSegError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    # --- a queue ------------------------------------------------------------------------------

    def segment_cases(
        self, model_id: str | None = None, ids: Sequence[str] | None = None, wait: bool = False
    ) -> SegmentJob:
        """Segments cases of the project (None: those of `to_segment`)."""
        project = self.the_project()
        model_id = model_id or self.default_model()
        if model_id is None or self.is_segmenting:
            raise RunError(
                _("the cases cannot be segmented"),
                found=_("another segmentation is running") if model_id else _("there is no model"),
            )
        if ids is None:
            ids = self.to_segment(model_id)
        if not ids:
            raise InputError(
                _("no case waits for a segmentation"),
                expected=_("unlabeled cases that nobody has begun to correct, without a prediction of this model"),
            )
        folder = self.new_folder()
        cases = tuple(SegmentCase(i, str(project.case(i).image), str(folder / i)) for i in ids)
        model = project.model(model_id)
        self._start(folder, SegmentRequest(str(model.path), cases, threads=self.threads), _Order(model))
        return self._segmented(wait)

    def to_segment(self, model_id: str) -> list[str]:
        """Unlabeled cases that no person has begun and that have no prediction of this model."""
        cases = () if self.project is None else self.project.cases
        return [
            case.id
            for case in cases
            if case.role == "unlabeled"
            and (case.state == "not started" or (case.state == "predicted" and case.model != model_id))
        ]

    def skip_scan(self) -> None:
        """Leaves out the scan that is being worked on."""
        if self.segmenting is not None and self.segmenting.current is not None:
            self.segmenting.skip([self.segmenting.current])

    def cancel_segmenting(self) -> None:
        """Ends the queue; what is done is kept."""
        if self.segmenting is not None:
            self.segmenting.cancel(grace_seconds=2.0)
            self.notify("segmenting")

    # --- following ----------------------------------------------------------------------------

    def _start(self, folder: Path, request: SegmentRequest, order: _Order) -> None:
        self.segmenting = SegmentJob.start(folder, request, self.the_interpreter())
        self._order, self._kept = order, set()
        self.notify("segmenting")

    def _segmented(self, wait: bool) -> SegmentJob:
        job = self.segmenting
        assert job is not None
        if wait:
            self.wait_until(lambda: not self.is_segmenting)
            if job.failure is not None:
                raise RunError(job.failure.what, found=job.failure.why, do=job.failure.do)
        return job

    @property
    def behind(self) -> bool:
        return super().behind or (self.is_segmenting and self.segmenting is not None and self.segmenting.behind > 0)

    def follow(self, seconds: float) -> None:
        super().follow(seconds)
        job, order = self.segmenting, self._order
        if job is None or order is None:
            return
        if job.poll(seconds):
            self.notify("segmenting")
        for case in job.cases.values():
            if case.state == DONE and case.id not in self._kept:
                self._kept.add(case.id)
                self.later(lambda case=case: self._keep(case, order))
        if job.state.is_over and not job.behind:
            # After the results above, which wait in the same line.
            self.later(lambda: self._end_job(job, order))

    def _end_job(self, job: SegmentJob, order: _Order) -> None:
        if self._order is not order:
            return
        self._order = None
        if order.volume is None:
            self.the_project().rank_predictions()
            self.notify("cases", "review")
        else:
            (job.folder / "image.nrrd").unlink(missing_ok=True)  # a copy of the scan has served
        failure = job.failure or next((case.failure for case in job.cases.values() if case.failure), None)
        if order.then is not None and failure is not None:
            words = _("The models were not compared, as {model} did not segment the volume: {why}")
            self.comparison = words.format(model=order.model.name, why=failure.text)
        self.notify("segmenting", "results")
        if job.state is JobState.FINISHED and order.then is not None and order.result is not None:
            order.then(order.result)

    def _keep(self, case: CaseProgress, order: _Order) -> None:
        if order.volume is None:
            self._record(case, order.model)
        elif order.volume.node is None:
            raise InputError(
                _("the volume is no longer in the scene"), file=case.output,
                do=_("load it again, and segment it anew; the result lies in this folder"),
            )  # fmt: skip
        else:
            self._show_result(case, order, order.volume)

    def _record(self, case: CaseProgress, model: Model) -> None:
        self.the_project().record_prediction(
            case.id, case.output, model=model.id, score=case.score, reason=case.reason,
            volumes_ml=case.volumes_ml, looks_labeled_mean=_by_organ(case),
        )  # fmt: skip
        shutil.rmtree(case.output, ignore_errors=True)  # the project has its copy
        self.notify("cases", "review")

    def _show_result(self, case: CaseProgress, order: _Order, volume: Handle) -> None:
        uncertain = frozenset(name for name, score in case.organ_scores.items() if score < UNCERTAIN_BELOW)
        prediction = read_prediction(case.output / "segmentation.seg.nrrd", uncertain)
        made_by = MadeBy(order.model.name, order.model.checksum or order.model.id, order.model.date)
        node = add_prediction(self.scene, volume.node, prediction, made_by, order.surfaces)
        sizes = organ_volumes(node, volume.node)
        volumes_table(self.scene, node, sizes)
        self.show_map(False)
        self.result = Result(sizes, _by_organ(case), order.model, case.score, case.reason, volume, Handle.of(node))
        self.result.assessment = case.assessment
        order.result = self.result
        self.notify("results")
        map_file = case.output / "looks_labeled.nii.gz"
        if map_file.is_file():
            self.soon(lambda result=self.result: self._add_map(result, map_file))

    def _add_map(self, result: Result, map_file: Path) -> None:
        """The map of a result, in a turn of its own."""
        if result.volume_node is not None:
            result.map_node = Handle.of(add_map(self.scene, result.volume_node, *read_map(map_file)))
            self.notify("results")

    # --- the discriminator's map --------------------------------------------------------------

    def can_show_map(self) -> bool:
        """Whether the last result, or the case under review, has a map in the scene."""
        return self._map_node() is not None

    @property
    def map_is_shown(self) -> bool:
        """Whether the map of the last result, or of the case under review, lies over the slices."""
        return self._overlay is not None and self._overlay.map_node is self._map_node()

    def show_map(self, on: bool) -> bool:
        """Lays the map over the slices, or puts back what they showed; whether there is a map."""
        if self._overlay is not None:
            show_legend(self._overlay.map_node, False) if self._map_node() is not None else None
            self._overlay.hide()
            self._overlay = None
        map_node = self._map_node()
        if on and map_node is not None:
            self._overlay = MapOverlay(self.scene, map_node, outlined=self._segmentations_shown())
            show_legend(map_node, True)
        return map_node is not None

    def _map_node(self) -> Any:
        handle = None if self.result is None else self.result.map_node
        return None if handle is None else handle.node

    def _segmentations_shown(self) -> list[Any]:
        node = None if self.result is None else self.result.segmentation_node
        return [] if node is None else [node]

    # --- two models ---------------------------------------------------------------------------

    def compare(self, first_id: str, second_id: str, volume_node: Any, wait: bool = False) -> None:
        """Segments a volume with two models: the first in the red view, the second in the yellow one."""
        missing = self.why_not_segment(volume_node, first_id)
        if missing:
            raise InputError(_("the models cannot be compared"), found=missing)
        project = self.the_project()
        first, second = project.model(first_id), project.model(second_id)
        volume = Handle.of(volume_node)
        self.comparison = ""

        def finish(result: Result) -> None:
            self._place_side_by_side(one[0], result)

        def go_on(result: Result) -> None:
            one.append(result)
            self._start_volume(_Order(second, volume, then=finish))

        one: list[Result] = []
        self._start_volume(_Order(first, volume, then=go_on))
        if wait:
            self.wait_until(lambda: not self.is_segmenting)

    def _place_side_by_side(self, first: Result, second: Result) -> None:
        for result, view in zip((first, second), SIDES, strict=True):
            display = result.segmentation_node.GetDisplayNode()
            display.RemoveAllViewNodeIDs()
            display.AddViewNodeID(view)
        self.show_side_by_side(first.volume_node)
        masks = [_masks(result) for result in (first, second)]
        shared = [name for name in masks[0] if name in masks[1]]
        parts = []
        for name in shared:
            overlap = dice(masks[0][name], masks[1][name])
            parts.append(f"{name} {overlap:.2f}" if overlap is not None else f"{name} -")
        self.comparison = _("Red view: {first}; yellow view: {second}. Overlap of the two (Dice): {organs}.").format(
            first=first.model.name, second=second.model.name, organs=", ".join(parts) or _("no organ in common")
        )
        self.notify("results")

    # --- project and scene --------------------------------------------------------------------

    def leave_project(self) -> None:
        super().leave_project()
        if self.segmenting is not None and not self.segmenting.state.is_over:
            self.segmenting.request_stop()
        self.segmenting, self._order, self.comparison = None, None, ""

    def forget_scene(self) -> None:
        super().forget_scene()
        self._overlay, self.result = None, None


def _by_organ(case: CaseProgress) -> dict[str, float | None]:
    return {name: value for name, value in case.looks_labeled_mean.items() if name in case.volumes_ml}


def _masks(result: Result) -> dict[str, np.ndarray]:
    node, volume_node = result.segmentation_node, result.volume_node
    names = segment_names(node)
    return {names[i]: segment_mask(node, i, volume_node) for i in segment_ids(node)}
