"""Trainings: started, followed, shown in the scene, stopped, found again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.errors import RunError, VoxelAdvSegError
from VoxelAdvSegLib.jobs.previews import read_preview
from VoxelAdvSegLib.jobs.protocol import TrainRequest
from VoxelAdvSegLib.jobs.train import TrainJob
from VoxelAdvSegLib.panel.gathering import Gathering
from VoxelAdvSegLib.project.rounds import Rounds
from VoxelAdvSegLib.project.runs import Run
from VoxelAdvSegLib.scene.plots import Line, LiveChart, dice_chart, discriminator_chart, loss_chart, round_chart
from VoxelAdvSegLib.scene.previews import LivePreview

CHART_SECONDS = 0.7  # between two drawings of a chart
CHARTS = {"losses": loss_chart, "dice": dice_chart, "discriminator": discriminator_chart}
METHOD, SUPERVISED = "voxel_adversarial", "supervised"
FEWEST_TO_SET_ASIDE = 4  # labeled scans, of which one in five scores the models


class Training(Gathering):
    """The part with the training: at most one at a time is followed and shown."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.training: TrainJob | None = None
        self.show_preview = True
        self._charts: dict[str, LiveChart] = {}
        self._charted: tuple[int, float] = (-1, 0.0)  # version of the view, and when
        self._preview: LivePreview | None = None
        self._previewed = ""
        self._told_end = True

    # --- asking -------------------------------------------------------------------------------

    def can_train(self, method: str = METHOD) -> str:
        """ "" when a training can begin, else what is missing, in a sentence."""
        if self.project is None:
            return _("Make or open a project first.")
        if self.training is not None and not self.training.state.is_over:
            return _("A training is running.")
        try:
            self.the_interpreter()
        except VoxelAdvSegError as error:
            return _("Nothing can compute yet: {what}. See Installation.").format(what=error.what)
        return self.project.can_train(unlabeled=method != SUPERVISED)

    def train(
        self,
        minutes: float | None = 15.0,
        steps: int | None = None,
        start_from: str | None = None,
        preset: str = "auto",
        method: str = METHOD,
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
        device: str = "auto",
        wait: bool = False,
    ) -> TrainJob:
        """Starts a training in a process of its own.

        minutes or steps: its length; start_from: id of a model to go on from, None: from scratch;
        settings: those of docs/config.md by name. The first training draws the validation cases, see
        `sets_aside`. Raises RunError when it cannot begin.
        """
        missing = self.can_train(method)
        if missing:
            raise RunError(_("the training cannot begin"), found=missing)
        project = self.the_project()
        if self.sets_aside:
            project.draw_validation()
            self.notify("cases")
        init = None if start_from is None else str(project.model(start_from).path)
        request = TrainRequest(
            data=str(project.write_manifest()), preset=preset, method=method, steps=steps,
            minutes=None if steps is not None else minutes, device=device, seed=seed, settings=dict(settings or {}),
            init=init, threads=self.threads,
        )  # fmt: skip
        self._follow_training(TrainJob.start(project.new_run(), request, self.the_interpreter()))
        return self._waited(wait)

    @property
    def sets_aside(self) -> bool:
        """Whether the next training draws the validation cases: none were drawn or chosen, and labels suffice."""
        if self.project is None or self.project.validation is not None:
            return False
        usable = [case.role for case in self.project.cases if case.has_usable_label]
        return "validation" not in usable and usable.count("labeled") >= FEWEST_TO_SET_ASIDE

    def interrupted(self) -> Run | None:
        """The newest training that ended without its end and can be gone on with."""
        if self.project is None or (self.training is not None and not self.training.state.is_over):
            return None
        runs = self.project.runs(self.alive)
        newest = max(runs, key=lambda run: run.id, default=None)
        return newest if newest is not None and newest.state in ("interrupted", "failed", "cancelled") else None

    def resume(self, wait: bool = False) -> TrainJob:
        """Goes on with the interrupted training. Raises RunError when there is none."""
        run = self.interrupted()
        if run is None:
            raise RunError(_("there is no interrupted training"), do=_("start a new one"))
        job = TrainJob.attach(run.path)
        job.poll()  # its state is known then; one that still runs elsewhere is refused by `resume`
        self._follow_training(job.resume(self.the_interpreter()))
        return self._waited(wait)

    def stop_training(self) -> None:
        """Asks for a graceful end: the best model is kept."""
        if self.training is not None:
            self.training.request_stop()
            self.notify("training")

    def cancel_training(self) -> None:
        """Ends the training whatever it does."""
        if self.training is not None:
            self.training.cancel()
            self.notify("training")

    def retrain(self, continue_model: bool = False, minutes: float = 15.0, **more: Any) -> TrainJob:
        """Trains on all labels and corrections: from the base weights, or going on from the newest model."""
        newest = next((model.id for model in self.the_project().models() if not model.problem), None)
        return self.train(minutes=minutes, start_from=newest if continue_model else None, **more)

    # --- what is shown ------------------------------------------------------------------------

    def chart(self, kind: str) -> Any:
        """The chart node of "losses", "dice" or "discriminator"; None before a training."""
        chart = self._charts.get(kind)
        return None if chart is None else chart.chart_node

    def rounds(self) -> Rounds:
        """What each training was worth, and whether more labels still pay."""
        return self.the_project().rounds()

    def rounds_chart(self) -> Any:
        """The chart of the rounds over the number of labeled cases; None before the second round."""
        if self.project is None or len(rows := self.project.rounds().rows) < 2:
            return None
        chart = round_chart(self.scene, self.project.id)
        labeled = np.array([row.labeled for row in rows], float)
        dice = np.array([np.nan if row.validation_dice is None else row.validation_dice for row in rows])
        overlap = np.array([np.nan if row.correction_dice is None else row.correction_dice for row in rows])
        lines = [
            Line(_("Validation Dice"), labeled, dice),
            Line(_("Overlap of proposals with corrections"), labeled, overlap),
        ]
        chart.update(lines)
        return chart.chart_node

    def _follow_training(self, job: TrainJob) -> None:
        self.training = job
        self._told_end = False
        self._charts = {kind: make(self.scene, job.folder.name) for kind, make in CHARTS.items()}
        self._charted, self._previewed = (-1, 0.0), ""
        self.notify("training")

    def _waited(self, wait: bool) -> TrainJob:
        job = self.training
        assert job is not None
        if wait:
            self.wait_until(lambda: self._told_end)
        return job

    @property
    def behind(self) -> bool:
        return super().behind or (self.training is not None and self.training.behind > 0)

    def follow(self, seconds: float) -> None:
        super().follow(seconds)
        job = self.training
        if job is None or self._told_end:
            return
        state = job.state
        events = job.poll(seconds)
        self._draw(job, last=job.state.is_over and not job.behind)
        if job.state is not state:
            self.notify("training")
        elif events:
            self.notify("progress")
        if job.state.is_over and not job.behind:
            self._told_end = True
            self.notify("training", "models", "cases")

    def _draw(self, job: TrainJob, last: bool) -> None:
        """Charts and preview, each in a turn of its own."""
        version, when = self._charted
        if job.view.version != version and (last or time.monotonic() - when > CHART_SECONDS):
            self._charted = (job.view.version, time.monotonic())
            for kind in CHARTS:
                self.later(lambda kind=kind: self._draw_chart(job, kind))
        preview = job.view.preview
        if self.show_preview and preview is not None and str(preview) != self._previewed:
            self._previewed = str(preview)
            self.later(lambda: self._draw_preview(job))

    def _draw_chart(self, job: TrainJob, kind: str) -> None:
        if job is not self.training or kind not in self._charts:
            return
        self._charts[kind].update(_lines(job, kind))

    def _draw_preview(self, job: TrainJob) -> None:
        path = job.view.preview
        if job is not self.training or path is None or not path.is_file():
            return  # overtaken by a newer one
        preview = read_preview(path)
        first = self._preview is None
        self._preview = self._preview or LivePreview(self.scene)
        organs = [Organ(name, i, job.view.colors[name], "") for i, name in enumerate(job.view.organs, 1)]
        self._preview.update(preview.image, preview.label, organs, preview.grid)
        looks_labeled = preview.looks_labeled_float()
        if looks_labeled is not None:
            self.soon(lambda live=self._preview: live.update_map(looks_labeled, preview.grid))
        if first and self._preview.image_node is not None:
            self.show_volume(self._preview.image_node)

    # --- project and scene --------------------------------------------------------------------

    def enter_project(self) -> None:
        """Finds the newest training again: one that still runs goes on being followed."""
        super().enter_project()
        running = [run for run in self.the_project().runs(self.alive) if run.state == "running"]
        if running:
            self._follow_training(TrainJob.attach(max(running, key=lambda run: run.id).path))

    def leave_project(self) -> None:
        super().leave_project()
        self.training, self._told_end, self._charts = None, True, {}
        self.forget_scene()

    def forget_scene(self) -> None:
        """Nodes are gone, or about to be; a running training gets new charts in the new scene."""
        self._preview, self._previewed = None, ""
        self._charts = {}

    def renew_scene(self) -> None:
        if self.training is not None:
            self._charts = {kind: make(self.scene, self.training.folder.name) for kind, make in CHARTS.items()}
            self._charted = (-1, 0.0)


def _lines(job: TrainJob, kind: str) -> list[Line]:
    view = job.view
    if kind == "losses":
        return [Line(name, *curve.points()) for name, curve in view.terms.items()]
    if kind == "dice":
        return [Line(name, *curve.points(), view.colors.get(name)) for name, curve in view.dice.items()]
    lines = []
    for organ in view.organs:
        for curves, side, dashed in (
            (view.on_labeled, _("labeled"), False),
            (view.on_unlabeled, _("unlabeled"), True),
        ):
            if organ in curves:
                lines.append(Line(f"{organ}, {side}", *curves[organ].points(), view.colors.get(organ), dashed))
    return lines
