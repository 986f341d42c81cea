"""A verdict found by real processes: to the end, stopped and gone on with, refused."""

import json

from Testing.jobs.conftest import JOB_EVENT, pump, pump_to_end, tiny_training
from VoxelAdvSegLib.jobs.comparison import CompareJob
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.protocol import CompareRequest
from VoxelAdvSegLib.jobs.train import TrainJob
from VoxelAdvSegLib.jobs.vocabulary import EVENTS, misfits
from VoxelAdvSegLib.training.again import TWIN, is_whole


def finished(bench, real, manifest, steps=4, **settings):
    """A run folder with a training that has ended."""
    job = bench.start(TrainJob, tiny_training(manifest, steps, **settings), real, "run")
    pump_to_end(job)
    return job.folder


def test_a_verdict_from_beginning_to_end(bench, real, tiny_scans):
    run = finished(bench, real, tiny_scans)
    job = bench.start(CompareJob, CompareRequest(str(run), str(tiny_scans), threads=1), real, "compare")
    phases = []
    events = pump(job, lambda: phases.append(job.phase) or job.state.is_over)
    for event in events:
        assert misfits("compare", event) == [], event
    assert {e["type"] for e in events} >= set(EVENTS["compare"]) - {"message", "error", "heartbeat"}
    assert job.state is JobState.FINISHED and job.progress == 1.0 and job.failure is None
    assert "training without the unlabeled scans" in phases
    verdict = json.loads((run / "verdict.json").read_text())
    # One validation case decides nothing.
    assert (job.answer, job.sentence) == (verdict["answer"], verdict["sentence"]) and job.answer == "cannot tell"
    assert "Cannot tell with 1 case" in job.sentence or "more time is needed" in job.sentence
    assert is_whole(run / TWIN)


def test_a_stop_ends_it_and_the_next_one_goes_on(bench, real, tiny_scans):
    run = finished(bench, real, tiny_scans, 60, validate_every=1000, preview_every=1000)
    request = CompareRequest(str(run), str(tiny_scans), threads=1)
    job = bench.start(CompareJob, request, real, "compare")
    pump(job, lambda: job.progress)
    job.request_stop()
    pump_to_end(job)
    assert job.state is JobState.FINISHED and not job.answer and not (run / "verdict.json").exists()
    assert not is_whole(run / TWIN)
    (job.folder / "STOP").unlink(missing_ok=True)
    again = bench.start(CompareJob, request, real, "again")
    events = pump_to_end(again)
    steps = [e["done"] for e in events if e["type"] == "progress" and e["phase"] == "training"]
    assert again.answer and steps[0] > 1, "it began anew"


def test_a_manifest_without_validation_cases_is_refused(bench, real, tiny_scans, tmp_path):
    run = finished(bench, real, tiny_scans)
    content = json.loads(tiny_scans.read_text()) | {"validation": []}
    lacking = tiny_scans.with_name("lacking.json")
    lacking.write_text(json.dumps(content))
    job = bench.start(CompareJob, CompareRequest(str(run), str(lacking), threads=1), real, "compare")
    pump_to_end(job)
    assert job.state is JobState.FAILED and "'validation' is empty" in job.failure.what
    assert not (run / TWIN).exists()


def test_words_of_a_scripted_child(bench):
    def progress(phase, done, total, **more):
        return ["event", {"type": "progress", "phase": phase, "done": done, "total": total, **more}]

    job = bench.play(
        ["event", JOB_EVENT | {"kind": "compare"}],
        progress("labeled scans", 1, 4), progress("training", 50, 100, seconds_left=30.0), ["sleep", 0.3],
        progress("scoring", 1, 2), ["sleep", 0.3],
        ["event", {"type": "end", "reason": "finished", "answer": "no", "sentence": "No: worse."}],
        kind=CompareJob, request=CompareRequest("run", "data.json"),
    )  # fmt: skip
    pump(job, lambda: job.seconds_left)
    assert job.state is JobState.RUNNING and job.progress == 0.45 and 0 < job.seconds_left <= 30
    pump(job, lambda: job.progress != 0.45)
    assert job.progress == 0.95
    pump_to_end(job)
    assert (job.state, job.answer, job.sentence) == (JobState.FINISHED, "no", "No: worse.")
