"""Finding out whether the unlabeled scans of a training helped: its twin without them, and the verdict."""

from __future__ import annotations

import itertools
import json
from typing import Any

from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.evaluation.verdict import VERDICT
from VoxelAdvSegLib.jobs.comparison import CompareJob
from VoxelAdvSegLib.jobs.protocol import CompareRequest
from VoxelAdvSegLib.panel.training import METHOD, SUPERVISED, Training
from VoxelAdvSegLib.project.runs import CANCELLED, Run, read_run, run_folders

JOB = "compare"  # folders of the jobs in that of the training: compare-1, ...
MODEL = "model/model.json"


class Comparing(Training):
    """The part with the verdict: of the newest training that has a model, one at a time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.verdict_job: CompareJob | None = None

    @property
    def finds_out(self) -> bool:
        return self.verdict_job is not None and not self.verdict_job.state.is_over

    def can_train(self, method: str = METHOD) -> str:
        if self.finds_out:
            return _("It is being found out whether the unlabeled scans helped.")
        return super().can_train(method)

    def interrupted(self) -> Run | None:
        return None if self.finds_out else super().interrupted()

    def compared_run(self) -> Run | None:
        """The training that the verdict is about: the newest with a model, if it used unlabeled scans to its end."""
        if self.project is None:
            return None
        # Only the newest is read: a project may have many, and this is asked often.
        newest = next(
            (
                folder
                for folder in reversed(run_folders(self.project.path))
                if (folder / MODEL).is_file() and not (folder / CANCELLED).exists()
            ),
            None,
        )
        if newest is None:
            return None
        run = read_run(newest)
        if run.state != "finished" or run.reason != "finished":
            return None  # a training that was cut short would be compared with one that was not
        try:
            method = json.loads((newest / MODEL).read_text(encoding="utf-8"))["provenance"]["method"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if method == SUPERVISED else run

    def verdict(self) -> str:
        """Whether the unlabeled scans helped, in a sentence with its numbers; "" while that is not known."""
        run = self.compared_run()
        if run is None:
            return ""
        try:
            return str(json.loads((run.path / VERDICT).read_text(encoding="utf-8"))["sentence"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def can_find_out(self) -> str:
        """ "" when it can be found out whether the unlabeled scans helped, else why not, in a sentence."""
        if self.compared_run() is None:
            return _("There is no finished training with unlabeled scans.")
        if self.training is not None and not self.training.state.is_over:
            return _("A training is running.")
        if self.finds_out:
            return _("It is being found out.")
        assert self.project is not None
        if not any(case.role == "validation" and case.has_usable_label for case in self.project.cases):
            return _("There are no validation cases to measure it on.")
        return ""

    def check_files_are_free(self) -> None:
        """Raises RunError while files of the project are read that a person wants to remove."""
        if self.finds_out:
            raise RunError(
                _("nothing can be removed now"), found=_("it is being found out whether the unlabeled scans helped"),
                do=_("wait for its end, or stop it"),
            )  # fmt: skip

    def find_out(self, device: str = "auto", wait: bool = False) -> CompareJob:
        """Trains the newest training's twin without the unlabeled scans, and compares both.

        Takes about as long as the training did. Raises RunError when it cannot begin.
        """
        missing = self.can_find_out()
        run = self.compared_run()
        if missing or run is None:
            raise RunError(_("it cannot be found out whether the unlabeled scans helped"), found=missing)
        request = CompareRequest(str(run.path), str(self.the_project().write_manifest()), device, self.threads)
        # An earlier one that has told its end may still be on its way out of its folder.
        folders = (run.path / f"{JOB}-{number}" for number in itertools.count(1))
        free = next(folder for folder in folders if not self.alive(folder))
        job = CompareJob.start(free, request, self.the_interpreter())
        self.verdict_job = job
        self.notify("training")
        if wait:
            self.wait_until(lambda: self.verdict_job is not job or job.state.is_over)
        return job

    def stop_finding_out(self) -> None:
        """What was trained of the twin is kept, and gone on with the next time."""
        if self.verdict_job is not None and self.finds_out:
            self.verdict_job.request_stop()
            self.notify("training")

    # --- following ----------------------------------------------------------------------------

    def follow(self, seconds: float) -> None:
        super().follow(seconds)
        job = self.verdict_job
        if job is None or job.state.is_over:
            return
        state = job.state
        if job.poll(seconds):
            self.notify("progress")
        if job.state is not state:
            self.notify("training")

    def enter_project(self) -> None:
        super().enter_project()
        run = self.compared_run()
        living = [] if run is None else [folder for folder in run.path.glob(f"{JOB}-*") if self.alive(folder)]
        if living:
            self.verdict_job = CompareJob.attach(living[-1])

    def leave_project(self) -> None:
        super().leave_project()
        self.verdict_job = None
