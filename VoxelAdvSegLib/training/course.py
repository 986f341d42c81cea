"""The course of a run: steps, and what is due between them - diary, validation, previews, checkpoints."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from VoxelAdvSegLib.bundle import Bundle, write_bundle
from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.data.memory import step_need
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.evaluation.metrics import dice
from VoxelAdvSegLib.inference.windows import predict_probabilities
from VoxelAdvSegLib.methods.contract import Method
from VoxelAdvSegLib.methods.optimizers import precision
from VoxelAdvSegLib.networks.device import PeakMemory
from VoxelAdvSegLib.networks.joint_layers import average_statistics
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.card import model_card, provenance
from VoxelAdvSegLib.training.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from VoxelAdvSegLib.training.failures import with_cases
from VoxelAdvSegLib.training.interrupt import Interrupt
from VoxelAdvSegLib.training.loop import StepReport, take_step
from VoxelAdvSegLib.training.parallel import Team
from VoxelAdvSegLib.training.previews import evaluating, write_preview
from VoxelAdvSegLib.training.recalibrate import recalibrate
from VoxelAdvSegLib.training.run_folder import RunFolder, write_text
from VoxelAdvSegLib.training.second_phase import Clock, what_is_known, with_quality
from VoxelAdvSegLib.training.watch import Watch

LOG_EVERY = 10  # steps that share a line of the diary, unless they last longer than
LOG_SECONDS = 1.0
BUDGET_SHARE = 0.85  # of the minutes, planned for steps (method.md 1.6)
BUDGET_END = 0.93  # of the minutes, when steps end whatever was planned
SECOND_PHASE_SHARE = 0.06  # of the minutes, taken from both where there is a second phase
SECOND_PHASE_END = 0.97  # of the minutes, when it ends with what it has learned
TIMED_STEPS = (4, 11)  # steps whose median duration plans a time budget
EARLY_PREVIEW, EARLY_PREVIEW_SECONDS = 0.01, 30.0  # part of the run, and seconds since it was asked for
QUICK_RECALIBRATION = 10  # passes before a validation during training
# Parts of the run at which a time budget is planned anew: after the warm-up steps cost more, and a schedule
# that is cut off has not come down.
REPLANNED_AT = (0.1, 0.3, 0.6, 0.85)
PROVISIONAL_STEPS = 2000  # T of the schedules until then


@dataclass(frozen=True)
class Outcome:
    """How a run ended: finished, or stopped by a person or the clock; dice: final validation, by organ.

    leads: false in a process that only took part, and knows no score.
    """

    reason: str
    step: int
    model: Path
    dice: dict[str, float | None]
    leads: bool = True


@dataclass
class Progress:
    """What a checkpoint remembers besides tensors."""

    step: int = 0
    total: int = PROVISIONAL_STEPS
    plans: int = 0  # how often a time budget was turned into steps
    elapsed: float = 0.0
    best: float | None = None
    best_step: int | None = None
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16: its scale and counter; else empty


@dataclass
class Course:
    folder: RunFolder
    config: Config
    recipe: Recipe
    organs: Sequence[Organ]
    method: Method
    batches: Batches
    labeled: Sequence[LabeledArrays]
    unlabeled: Sequence[UnlabeledArrays]
    validation: Sequence[LabeledArrays]
    device: torch.device
    tell: Callable[..., None]
    team: Team = field(default_factory=Team)
    began: float = field(default_factory=time.monotonic)  # of this sitting, data and plan included
    progress: Progress = field(default_factory=Progress)

    def run(self, resume: bool) -> Outcome:
        """Steps until the end, a STOP file, Ctrl-C or the end of the time budget; then the model."""
        self._durations: list[float] = []
        self._pending: list[StepReport] = []
        self._watch = Watch()
        self._noted = time.monotonic()
        self._memory = PeakMemory(self.device)
        self._waits = True  # the person, for a first preview of this sitting
        if self.config.training.steps is not None:
            self.progress.total = self.config.training.steps
        if resume and self.folder.last.exists():
            saved = load_checkpoint(self.folder.last, self.method.networks, self.method.players)
            self.progress = Progress(**saved)
        self._planned = (self.progress.step, self.progress.elapsed)
        half = precision(self.config, self.device) is torch.float16
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        if self.progress.scaler:
            self._scaler.load_state_dict(self.progress.scaler)
        reason = "finished"
        with Interrupt(self.team) as interrupt:
            while self.progress.step < self.progress.total:
                self._one_step()
                self._between_steps()
                if interrupt.seen or self.folder.stop.exists():
                    reason = "stopped"
                elif self._out_of_time():
                    reason = "out of time"
                reason = self.team.agree(reason)
                if reason != "finished":
                    break
            if self.team.leads:
                self._flush()
            self._save()
            return self._finish(reason)

    # --- one step -----------------------------------------------------------------------------

    def _one_step(self) -> None:
        begin = time.monotonic()
        p = self.progress
        self.method.steps = p.total
        every = self.config.training.gradient_ratio_every
        batch = self.batches.at(p.step, *self.method.batch_sizes(p.step))
        try:
            report = take_step(
                self.method, batch, p.step, p.total, self.config.training.seed, self._scaler,
                measure_ratios=every > 0 and p.step % every == 0, parts=self.config.training.accumulate or 1,
            )  # fmt: skip
        except RunError as error:
            names = self.batches.names_at(p.step, *self.method.batch_sizes(p.step))
            raise with_cases(error, names, [*batch.labeled, *batch.unlabeled]) from error
        report = self.team.average(report)
        p.step += 1
        seconds = time.monotonic() - begin
        p.elapsed += seconds
        self._durations.append(seconds)
        if self.team.leads:
            self._note(report)
        if self.config.training.minutes is not None:
            self._plan_budget()
            p.total, p.plans = self.team.agree((p.total, p.plans))
            self.method.steps = p.total

    def _plan_budget(self) -> None:
        """Turns minutes into steps after the first ten, and anew at some parts of the run."""
        minutes, p = self.config.training.minutes, self.progress
        if minutes is None or not self.team.leads:
            return
        if p.plans == 0 and p.step == TIMED_STEPS[1]:
            per_step = statistics.median(self._durations[TIMED_STEPS[0] :])
        elif 0 < p.plans <= len(REPLANNED_AT) and p.step >= REPLANNED_AT[p.plans - 1] * p.total:
            # Since the last plan, with all that came between: steps change their price on the way.
            step, spent = self._planned
            per_step = (self._spent() - spent) / max(p.step - step, 1)
        else:
            return
        self._planned = (p.step, self._spent())
        left = (BUDGET_SHARE - self._later()) * 60 * minutes - self._spent()
        p.total = max(p.step + 1, p.step + int(left / max(per_step, 1e-6)))
        p.plans += 1
        self.tell(
            "plan", steps=p.total, seconds_per_step=per_step,
            text=f"{p.total} steps of {per_step:.2f} s fit into {minutes:g} minutes.",
        )  # fmt: skip

    def _spent(self) -> float:
        """Seconds of this run so far, earlier sittings included."""
        return max(self.progress.elapsed, time.monotonic() - self.began)

    def _out_of_time(self) -> bool:
        minutes = self.config.training.minutes
        return minutes is not None and self._spent() > (BUDGET_END - self._later()) * 60 * minutes

    def _later(self) -> float:
        """Part of the minutes that is kept for the second phase."""
        return SECOND_PHASE_SHARE if self.config.training.quality else 0.0

    # --- the diary ----------------------------------------------------------------------------

    def _note(self, report: StepReport) -> None:
        self._pending.append(report)
        for text in self._watch.look(report.observed):
            self.tell("message", level="warning", text=text)
        due = len(self._pending) >= LOG_EVERY or time.monotonic() - self._noted > LOG_SECONDS
        if due or self.progress.step <= 1 or report.ratios:
            self._flush()

    def _flush(self) -> None:
        """One event for the steps since the last one: means of the terms, latest of the rest."""
        pending, self._pending = self._pending, []
        self._noted = time.monotonic()
        if not pending:
            return
        terms: dict[str, dict[str, list]] = {}
        for report in pending:
            for player, values in report.terms.items():
                for name, value in values.items():
                    terms.setdefault(player, {}).setdefault(name, []).append(value)
        last = pending[-1]
        recent = self._durations[-50:]
        p = self.progress
        self.tell(
            "step",
            step=p.step,
            steps=p.total,
            terms={
                player: {name: float(torch.stack(v).float().mean()) for name, v in values.items()}
                for player, values in terms.items()
            },
            weights=last.weights,
            lr=last.lr,
            observed={k: _plain(v) for k, v in last.observed.items()},
            gradient_ratios=last.ratios,
            seconds_per_step=statistics.median(recent),
            seconds_left=(p.total - p.step) * statistics.fmean(recent),
        )

    # --- between steps ------------------------------------------------------------------------

    def _between_steps(self) -> None:
        t, p = self.config.training, self.progress
        if p.step >= p.total:
            return
        begin = time.monotonic()
        if self.validation and p.step % (t.validate_every or max(1, p.total // 10)) == 0:
            self._validate(self.validation[: t.validation_cases])
        if self.unlabeled and self._preview_is_due():
            self._preview()
        p.elapsed += time.monotonic() - begin
        if p.step % (t.checkpoint_every or max(1, p.total // 20)) == 0:
            self._save()

    def _preview_is_due(self) -> bool:
        """Every twentieth of the run; and early, once by steps and once by the clock, for the one who waits for it."""
        p, every = self.progress, self.config.training.preview_every
        if p.step % (every or max(1, p.total // 20)) == 0:
            return True
        if every is not None or not self.team.leads:
            return False
        if p.step == max(1, round(EARLY_PREVIEW * p.total)):
            return True
        return self._waits and time.monotonic() - self.began > EARLY_PREVIEW_SECONDS

    def _validate(self, cases: Sequence[LabeledArrays], final: bool = False) -> dict[str, float | None]:
        """Dice per organ on the working grid; the best so far is kept as a checkpoint."""
        p = self.progress
        scores: list[list[float | None]] = []
        network = self.method.segmenter()
        if not final:
            # Running statistics lag behind fast weights; unread in training, they may be rebuilt here (row 65).
            self._recalibrate(min(QUICK_RECALIBRATION, self.config.training.bn_recalibrate))
        if not self.team.leads:
            return {}
        with evaluating(network):
            for done, case in enumerate(cases, 1):
                volume = torch.from_numpy(np.ascontiguousarray(case.image, np.float32))[None, None]
                probabilities = predict_probabilities(network, volume.to(self.device), self.config)
                guess = probabilities.argmax(0).cpu().numpy()
                scores.append([dice(guess == k, case.label == k) for k in range(1, len(self.organs) + 1)])
                self.tell("progress", phase="validation", done=done, total=len(cases))
        by_organ = {organ.name: _mean([row[i] for row in scores]) for i, organ in enumerate(self.organs)}
        mean = _mean(list(by_organ.values()))
        is_best = not final and mean is not None and (p.best is None or mean > p.best)
        if is_best:
            p.best, p.best_step = mean, p.step
            save_checkpoint(self.folder.best, self.method.networks, {}, vars(p))
        self.tell("validation", step=p.step, dice=by_organ, mean=mean, cases=len(cases), best=is_best, final=final)
        for text in self._watch.look_at_scores(by_organ, p.step, p.total):
            self.tell("message", level="warning", text=text)
        return {**by_organ, "mean": mean}

    def _recalibrate(self, passes: int) -> None:
        step = self.progress.step
        if passes:
            recalibrate(self.method.segmenter(), self.batches, step, self.method.batch_sizes(step), passes)
        average_statistics(self.method.networks)

    def _preview(self) -> None:
        if not self.team.leads:
            return
        file = self.folder.previews / f"step_{self.progress.step:06d}.npz"
        case = self.unlabeled[0]
        write_preview(file, case, self.progress.step, self.method, self.config, self.device)
        self._waits = False
        self.tell("preview", step=self.progress.step, file=file.name, case=case.name)

    def _save(self) -> None:
        average_statistics(self.method.networks)
        if not self.team.leads:
            return
        self.progress.scaler = self._scaler.state_dict()
        save_checkpoint(self.folder.last, self.method.networks, self.method.players, vars(self.progress))
        self.tell("checkpoint", step=self.progress.step, file=self.folder.last.name)
        self._note_memory()

    def _note_memory(self) -> None:
        """What was planned and what it took, so far; of this sitting."""
        t, p = self.config.training, self.config.patches
        content = {
            "step": self.progress.step,
            "estimated_bytes": round(step_need(self.config, self.device.type, len(self.organs) + 1, self.team.size)),
            "measured_bytes": self._memory.measured_bytes(),
            "device": str(self.device), "patch": p.patch, "batch_labeled": p.batch_labeled,
            "batch_unlabeled": p.batch_unlabeled, "processes": self.team.size, "recompute": bool(t.recompute),
            "accumulate": t.accumulate or 1,
        }  # fmt: skip
        if self.folder.path.is_dir():  # a run folder that was moved is not begun anew
            write_text(self.folder.memory, json.dumps(content, indent=1))

    # --- the end ------------------------------------------------------------------------------

    def _finish(self, reason: str) -> Outcome:
        p, t = self.progress, self.config.training
        # A run cut short has not come down to small steps yet: its best moment is the better model.
        use_best = self.team.agree(
            self.folder.best.exists() and p.best_step is not None and (t.checkpoint == "best" or reason != "finished")
        )
        if use_best:
            tensors, _ = read_tensors(self.folder.best)
            self.method.networks.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items()})
        self._recalibrate(t.bn_recalibrate)
        if not self.team.leads:
            return Outcome(reason, p.step, self.folder.model, {}, leads=False)
        scores = self._validate(self.validation, final=True) if self.validation else {}
        facts = provenance(
            self.config, len(self.organs), self.labeled, self.unlabeled, self.validation, p.step, p.elapsed, reason,
            p.best_step if use_best else p.step, scores,
        )  # fmt: skip
        bundle = Bundle(tuple(self.organs), self.recipe, self.config, t.eval_model, self.method.exports(), facts)
        write_bundle(self.folder.model, bundle, model_card(bundle))
        if t.quality:
            self._learn_quality(bundle, reason)
        if self.unlabeled:
            self._preview()
        self.tell("end", reason=reason, step=p.step, steps=p.total, model=self.folder.model.name, dice=scores)
        return Outcome(reason, p.step, self.folder.model, scores)

    def _learn_quality(self, bundle: Bundle, reason: str) -> None:
        """The second phase; the model is there already, and stays as it is where this cannot be done."""
        minutes, seconds = self.config.training.minutes, None
        if reason == "stopped":  # a person waits
            seconds = SECOND_PHASE_SHARE * self.progress.elapsed
        elif minutes is not None:
            seconds = max(0.0, SECOND_PHASE_END * 60 * minutes - self._spent())
        clock = Clock(seconds, lambda: reason != "stopped" and self.folder.stop.exists())
        try:
            bundle = with_quality(
                bundle, self.labeled, self.unlabeled, self.validation, self.batches, self.device,
                lambda phase, done, total: self.tell("progress", phase=phase, done=done, total=total), clock=clock,
            )  # fmt: skip
        except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
            text = (
                "The model is trained, but could not learn how good its segmentations are "
                f"({type(error).__name__}: {str(error)[:200]}). The command 'calibrate' tries again."
            )
            self.tell("message", level="warning", text=text)
            return
        write_bundle(self.folder.model, bundle, model_card(bundle))
        self.tell("message", level="info", text=what_is_known(bundle))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, torch.Tensor) else value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
