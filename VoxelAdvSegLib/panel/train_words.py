"""How a training stands, in words."""

from __future__ import annotations

from slicer.i18n import tr as _

from VoxelAdvSegLib.jobs.job import Job, JobState
from VoxelAdvSegLib.jobs.protocol import CANCELLED, STOP
from VoxelAdvSegLib.jobs.train import TrainJob
from VoxelAdvSegLib.panel.words import duration
from VoxelAdvSegLib.project.runs import Run


def is_canceled(job: TrainJob) -> bool:
    """Whether a person has asked for its end at once, here or in an earlier Slicer."""
    return (job.folder / CANCELLED).exists()


def is_stopping(job: Job) -> bool:
    """Whether a person has asked for its end."""
    return job.state is JobState.STOPPING or (job.folder / STOP).exists()


def phase_text(job: TrainJob) -> str:
    """What it does now, with the step."""
    if is_canceled(job):
        return _("Being canceled; the process ends within seconds.")
    if is_stopping(job):
        return _("Stopping: the best model so far is kept. A validation or a checkpoint may take minutes.")
    if job.state is JobState.UNRESPONSIVE:
        return _("No sign of life for long. Wait, or press Cancel; then resume from the last checkpoint.")
    phase = str(job.phase).capitalize()
    if job.step is None or job.steps is None:
        return phase
    return _("{phase}, step {step} of {steps}").format(phase=phase, step=job.step, steps=job.steps)


def heartbeat_text(job: TrainJob) -> str:
    age = job.heartbeat_age
    return _("starting") if age is None else _("alive {age} ago").format(age=duration(age))


def time_left_text(job: Job) -> str:
    left = job.seconds_left
    return _("Time left: not known yet") if left is None else _("Time left: {time}").format(time=duration(left))


def end_text(job: TrainJob) -> str:
    """How it ended: result, or cause, and the next step."""
    if job.state is JobState.FINISHED:
        if job.model is None:
            return _("The training ended before it had a model.")
        return " ".join([_how_finished(job), _quality(job), _("Next: segment a scan with it under Segment.")])
    resume = _("Press Resume to go on from the last checkpoint.") if job.can_resume else ""
    if job.state is JobState.CANCELLED:
        return " ".join(text for text in (_("The training was canceled. No model was made of it."), resume) if text)
    cause = job.failure.text if job.failure is not None else _("The training ended without its end.")
    return " ".join(text for text in (cause, resume) if text)


def _how_finished(job: TrainJob) -> str:
    how = {
        "stopped": _("The training was stopped; its best model was kept."),
        "out of time": _("The training used its time; its best model was kept."),
    }
    return how.get(job.view.reason, _("The training is finished."))


def _quality(job: TrainJob) -> str:
    mean = job.view.final_dice.get("mean")
    if mean is None:
        return _("It was not scored, for there are no validation scans.")
    return _("Its mean Dice on the validation scans is {dice}.").format(dice=f"{mean:.3f}")


def interrupted_text(run: Run) -> str:
    """Of an earlier training, found when the project was opened."""
    return _("Earlier training of {name}: {text}").format(name=run.id, text=run.text)
