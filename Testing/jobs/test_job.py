"""A job's state and words, whatever its child does: lives, ends, dies, hangs, writes half lines."""

import gc
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from Testing.jobs.conftest import END_EVENT, JOB_EVENT, START_EVENT, Bench, pump, pump_to_end, step_event
from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.process import start_token
from VoxelAdvSegLib.jobs.protocol import CANCELLED, JOB, STOP, ProbeRequest, TrainRequest
from VoxelAdvSegLib.jobs.pulse import read_pulse
from VoxelAdvSegLib.jobs.segment import SegmentJob
from VoxelAdvSegLib.jobs.train import TrainJob
from VoxelAdvSegLib.jobs.worker import STALE_SECONDS

posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def test_a_job_from_beginning_to_end(bench: Bench):
    job = bench.play(
        ["event", JOB_EVENT], ["wait for", "1"], ["event", START_EVENT],
        ["event", {"type": "progress", "phase": "labeled scans", "done": 1, "total": 4}], ["wait for", "2"],
        ["event", step_event(25)], ["wait for", "3"], ["event", END_EVENT],
    )  # fmt: skip
    assert job.state is JobState.PREPARING and job.progress is None and job.heartbeat_age is None
    pump(job, lambda: job.phase == "loading the libraries")
    (job.folder / "1").touch()
    pump(job, lambda: job.progress)
    assert (job.state, job.phase, job.progress) == (JobState.PREPARING, "preparing labeled scans", 0.25)
    assert job.heartbeat_age < 30 and abs(job.started - time.time()) < 60
    (job.folder / "2").touch()
    pump(job, lambda: job.state is JobState.RUNNING)
    assert (job.phase, job.progress, job.step, job.steps) == ("training", 0.25, 25, 100)
    assert 36 < job.seconds_left <= 37.5
    (job.folder / "3").touch()
    pump_to_end(job)
    assert (job.state, job.progress, job.seconds_left, job.failure) == (JobState.FINISHED, 1.0, None, None)
    assert job.view.reason == "finished"


def test_half_lines_junk_and_unknown_events_do_no_harm(bench: Bench):
    half = json.dumps({"type": "message", "time": 1, "level": "warning", "text": "Leber é"})
    job = bench.play(
        ["event", JOB_EVENT], ["raw", half[:40]], ["wait for", "1"], ["raw", half[40:] + "\n"],
        ["raw", "junk\n\0\0\n{\n\udce9\n"], ["event", {"type": "from the future", "what": [1]}],
        ["event", {"type": "step", "step": "many"}], ["event", step_event(3, tomorrow=True)], ["event", END_EVENT],
    )  # fmt: skip
    pump(job, lambda: job.phase == "loading the libraries")
    (job.folder / "1").touch()
    pump_to_end(job)
    assert job.state is JobState.FINISHED and job.view.warnings == ["Leber é"] and job.step == 100
    assert len(job.view.terms["dice"]) == 1
    assert ["step" in text for text in job.warnings] == [True]  # the damaged one is said


def test_a_newer_child_is_followed_and_said(bench: Bench):
    job = bench.play(["event", {**JOB_EVENT, "protocol": 2}], ["event", step_event(3)], ["event", END_EVENT])
    pump_to_end(job)
    assert job.state is JobState.FINISHED and "newer version" in job.warnings[0] and len(job.warnings) == 1


def test_an_error_in_the_childs_own_words(bench: Bench):
    error = {"type": "error", "text": "long", "what": "the scan is broken", "found": "a hole", "do": "mend it"}
    job = bench.play(["event", JOB_EVENT], ["event", error], ["exit", 2])
    pump_to_end(job)
    assert job.state is JobState.FAILED
    assert job.failure.text == "The scan is broken. Found a hole. Mend it."


@pytest.mark.parametrize(
    "script, words",
    [
        ([["print", "Error: No module named 'torch'"], ["exit", 1]], ("torch is not installed", "Install")),
        ([["print", "OutOfMemoryError: CUDA out of memory."], ["exit", 1]], ("too little free memory", "patch")),
        ([["print", "hm"], ["exit", 3]], ("last words were: hm", "log")),
        ([["exit", 0]], ("left no message", "log")),
        pytest.param([["signal", 9]], ("ran out of memory", "resume"), marks=posix),
        pytest.param([["signal", 11]], ("crashed inside a library", "report"), marks=posix),
    ],
)  # fmt: skip
def test_a_death_without_a_word_is_explained(bench: Bench, script: list, words: tuple[str, str]):
    job = bench.play(["event", JOB_EVENT], *script)
    pump_to_end(job)
    assert job.state is JobState.FAILED
    assert words[0] in job.failure.why and words[1] in job.failure.do and "suddenly" in job.failure.what


def test_the_last_event_counts_also_when_the_child_dies_right_after(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["event", END_EVENT], ["exit", 139])
    pump_to_end(job)
    assert job.state is JobState.FINISHED


def test_stop_is_a_wish(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["event", step_event(1)], ["wait for", STOP], ["wait for", "go"],
                     ["event", {**END_EVENT, "reason": "stopped"}])  # fmt: skip
    pump(job, lambda: job.state is JobState.RUNNING)
    job.request_stop()
    pump(job, lambda: job.state is JobState.STOPPING)
    (job.folder / "go").touch()
    pump_to_end(job)
    assert job.state is JobState.FINISHED and job.view.reason == "stopped"


@posix
def test_cancel_asks_first(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["event", step_event(1)], ["hang"])
    pump(job, lambda: job.state is JobState.RUNNING)
    job.cancel(grace_seconds=600)
    pump_to_end(job)
    assert job.state is JobState.CANCELLED and job.worker.child.wait() == -15


@posix
def test_cancel_kills_the_deaf_and_all_their_children(bench: Bench):
    job = bench.play(["deaf"], ["child"], ["event", JOB_EVENT], ["event", step_event(1)], ["hang"])
    pump(job, lambda: job.state is JobState.RUNNING)
    grandchild = int((job.folder / "child.txt").read_text())
    assert start_token(grandchild)
    job.cancel(grace_seconds=0.2)
    assert job.poll() is not None and job.state is JobState.STOPPING
    pump_to_end(job)
    assert job.state is JobState.CANCELLED and job.worker.child.wait() == -9 and job.failure is None
    pump(job, lambda: start_token(grandchild) is None)


def test_cancel_counts_also_when_the_work_just_ended_well(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["wait for", CANCELLED], ["event", END_EVENT], ["exit", 0])
    pump(job, lambda: job.phase == "loading the libraries")
    job.cancel(grace_seconds=600) if os.name != "posix" else (job.folder / CANCELLED).touch()
    job._cancel_asked = True
    pump_to_end(job)
    assert job.state is JobState.CANCELLED
    job.cancel()  # over: nothing to do
    assert job.state is JobState.CANCELLED


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_said_and_so_is_its_end(bench: Bench):
    """By our own clock since the last change of pid.json: the child's clock may be set back."""
    job = bench.play(["event", JOB_EVENT], ["event", step_event(1)], ["hang"])
    pump(job, lambda: job.state is JobState.RUNNING)
    os.kill(job.worker.child.pid, 19)  # SIGSTOP
    clock = Clock()
    job.poll()
    job.worker.clock, job.worker.beat_seen, job.worker.beat_age = clock, 0.0, 0.0
    clock.now = STALE_SECONDS - 1
    job.poll()
    assert job.state is JobState.RUNNING
    clock.now = STALE_SECONDS + 1
    job.poll()
    assert job.state is JobState.UNRESPONSIVE and job.heartbeat_age == STALE_SECONDS + 1
    os.kill(job.worker.child.pid, 18)  # SIGCONT
    pump(job, lambda: job.state is JobState.RUNNING)


def test_a_folder_is_for_one_job_at_a_time(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["hang"])
    pump(job, lambda: job.worker.pulse)
    with pytest.raises(RunError, match="in use"):
        bench.play(["exit", 0])


def test_there_must_be_room(bench: Bench, tmp_path: Path):
    with pytest.raises(RunError, match="too little room") as caught:
        TrainJob.start(tmp_path / "x", TrainRequest(data="d"), bench.fake, free_bytes=2**62)
    assert "MB" in caught.value.found and not (tmp_path / "x" / JOB).exists()


def test_a_folder_that_cannot_be(bench: Bench, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        TrainJob.start(tmp_path / "file" / "run", TrainRequest(data="d"), bench.fake)


def test_a_folder_that_vanishes_ends_in_words(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["event", step_event(1)], ["wait for", "never"])
    pump(job, lambda: job.state is JobState.RUNNING)
    job.folder.rename(job.folder.with_name("moved"))
    job.poll()
    assert not job.state.is_over
    with pytest.raises(RunError, match="cannot be told"):
        job.request_stop()
    job.worker.child.kill()
    pump_to_end(job)
    assert job.state is JobState.FAILED and job.failure.why


# --- found again -----------------------------------------------------------------------------------


def test_a_running_job_is_found_again(bench: Bench):
    first = bench.play(["event", JOB_EVENT], ["event", START_EVENT], ["event", step_event(7)], ["wait for", STOP],
                       ["event", END_EVENT])  # fmt: skip
    pump(first, lambda: first.state is JobState.RUNNING)
    again = TrainJob.attach(first.folder)
    again.poll()
    assert (again.state, again.step, again.view.organs) == (JobState.RUNNING, 7, ["ball", "pebble"])
    assert again.started == first.started and again.heartbeat_age < 30
    again.request_stop()
    pump_to_end(again)
    assert again.state is JobState.FINISHED


def test_what_was_cancelled_by_a_parent_that_left_is_killed(bench: Bench):
    first = bench.play(["deaf"], ["event", JOB_EVENT], ["event", step_event(7)], ["hang"])
    pump(first, lambda: first.state is JobState.RUNNING)
    (first.folder / CANCELLED).touch()
    again = TrainJob.attach(first.folder)
    pump(again, lambda: first.worker.child.poll() is not None)
    pump_to_end(again)
    assert again.state is JobState.CANCELLED


@posix
def test_a_killed_job_is_interrupted_at_its_step(bench: Bench):
    first = bench.play(["event", JOB_EVENT], ["event", START_EVENT], ["event", step_event(7)], ["hang"])
    pump(first, lambda: first.state is JobState.RUNNING)
    first.worker.child.kill()
    first.worker.child.wait()
    again = TrainJob.attach(first.folder)
    again.poll()
    assert again.state is JobState.INTERRUPTED and "at step 7" in again.failure.what and "Resume" in again.failure.do


def test_a_clock_that_was_set_back_hides_no_end(bench: Bench):
    """The end is told with a time before the start, and lies behind more than one call reads."""
    block = ["raw", (json.dumps({"type": "heartbeat", "time": 1}) + "\n") * 150_000]
    job = bench.play(["event", JOB_EVENT], ["event", START_EVENT], block, ["event", {**END_EVENT, "time": 2.0}])
    job.worker.child.wait()
    again = TrainJob.attach(job.folder)
    again.poll()
    assert again.behind > 0 and again.state is JobState.FINISHED


def test_the_end_of_an_earlier_start_is_not_this_ones(bench: Bench):
    """The second child dies before its first word, in a folder whose long diary ends well."""
    block = ["raw", (json.dumps({"type": "heartbeat", "time": 1}) + "\n") * 150_000]
    first = bench.play(["event", JOB_EVENT], block, ["event", END_EVENT])
    first.worker.child.wait()
    second = bench.play(["exit", 3])
    second.worker.child.wait()
    again = TrainJob.attach(second.folder)
    again.poll()
    assert again.behind > 0 and again.state is JobState.INTERRUPTED


def test_an_ended_job_is_found_ended(bench: Bench):
    first = bench.play(["event", JOB_EVENT], ["event", START_EVENT], ["event", END_EVENT])
    pump_to_end(first)
    first.worker.child.wait()
    again = TrainJob.attach(first.folder)
    pump_to_end(again)
    assert again.state is JobState.FINISHED and again.view.final_dice == {"ball": 0.9}


def test_a_number_given_to_another_program_is_not_ours(bench: Bench):
    """pid.json names this very test by its number, but with another start."""
    first = bench.play(["event", JOB_EVENT], ["event", step_event(7)], ["exit", 0])
    first.worker.child.wait()
    content = json.loads((first.folder / "pid.json").read_text())
    (first.folder / "pid.json").write_text(json.dumps({**content, "pid": os.getpid()}))
    again = TrainJob.attach(first.folder)
    again.poll()
    assert again.state is JobState.INTERRUPTED
    again.state = JobState.RUNNING  # even if it were thought to run, this test is not killed
    again.cancel(grace_seconds=0)
    assert again.worker.pids() == []


def test_a_job_on_another_computer_is_judged_by_its_beat(bench: Bench):
    first = bench.play(["event", JOB_EVENT], ["event", step_event(7)], ["exit", 0])
    first.worker.child.wait()
    file = first.folder / "pid.json"
    content = {**json.loads(file.read_text()), "host": "elsewhere"}
    file.write_text(json.dumps({**content, "beat": time.time() - 1}))
    again = TrainJob.attach(first.folder)
    again.poll()
    assert again.state is JobState.RUNNING and again.worker.pids() == []
    file.write_text(json.dumps({**content, "beat": time.time() - 2 * STALE_SECONDS}))
    late = TrainJob.attach(first.folder)
    late.poll()
    assert late.state is JobState.INTERRUPTED


def test_one_that_never_gave_a_sign(bench: Bench):
    first = bench.play(["silent"], ["exit", 0])
    first.worker.child.wait()
    again = TrainJob.attach(first.folder)
    again.poll()
    assert again.state is JobState.PREPARING  # its parent may have started it a moment ago
    os.utime(first.folder / JOB, (time.time() - 3600,) * 2)
    again.poll()
    assert again.state is JobState.INTERRUPTED and "before its first step" in again.failure.what


def test_events_of_an_earlier_start_change_no_state(bench: Bench):
    """The folder of a training that failed once: its curves are there, its failure is not this one's."""
    error = {"type": "error", "text": "broken", "what": "broken", "do": "mend"}
    first = bench.play(["event", JOB_EVENT], ["event", START_EVENT], ["event", step_event(5)], ["event", error])
    pump_to_end(first)
    first.worker.child.wait()
    second = bench.play(["event", JOB_EVENT], ["event", step_event(6)], ["wait for", "go"], ["event", END_EVENT])
    pump(second, lambda: second.state is JobState.RUNNING)
    assert second.failure is None and list(second.view.terms["dice"].points()[0]) == [5, 6]
    (second.folder / "go").touch()
    pump_to_end(second)
    assert second.state is JobState.FINISHED


def test_only_a_folder_with_such_a_job_is_attached_to(bench: Bench, tmp_path: Path):
    with pytest.raises(InputError, match="job cannot be read"):
        TrainJob.attach(tmp_path)
    bench.start(TrainJob, ProbeRequest(), bench.fake, "probe").worker.child.wait()
    with pytest.raises(InputError, match="another kind"):
        SegmentJob.attach(tmp_path / "probe")


# --- time ------------------------------------------------------------------------------------------


def test_no_poll_takes_long_whatever_waits_to_be_read(bench: Bench):
    """A diary of 100 MB, most of it steps: each call is short, the state is known with the first.

    Measured in time of this thread on the processor, so that a busy machine changes nothing.
    """
    line = json.dumps({"time": 1.0, **step_event(1)}) + "\n"
    job = bench.play(["event", JOB_EVENT], ["event", START_EVENT], ["event", step_event(1)], ["wait for", "go"],
                     ["event", {**END_EVENT, "time": time.time() + 1}], ["exit", 0])  # fmt: skip
    pump(job, lambda: job.state is JobState.RUNNING)
    with (job.folder / "events.jsonl").open("a") as file:
        block = line * 1000
        for _ in range(100 * 2**20 // len(block) + 1):
            file.write(block)
    (job.folder / "go").touch()
    job.worker.child.wait()
    again = TrainJob.attach(job.folder)
    gc.collect()
    gc.freeze()  # what the tests hold besides would be looked through by each garbage collection
    try:
        longest, calls, first_state = 0.0, 0, None
        while again.behind or not calls:
            begin = time.thread_time()
            again.poll()
            longest, calls = max(longest, time.thread_time() - begin), calls + 1
            first_state = first_state or again.state
            if calls >= 100:
                break  # the rest would be the same again
    finally:
        gc.unfreeze()
    assert first_state is JobState.FINISHED and again.behind > 0
    assert longest < 0.05, f"{longest:.3f} s"
    assert all(len(curve) <= 5000 for curve in again.view.terms.values())


def test_the_pulse_is_read_as_written(bench: Bench, tmp_path: Path):
    assert read_pulse(tmp_path) is None
    for junk in ("", "{", "[]", '{"pid": "x"}', '{"pid": 1}', '{"pid": 1e999}'):
        (tmp_path / "pid.json").write_text(junk)
        assert read_pulse(tmp_path) is None


@posix
def test_a_launcher_is_not_the_work(bench: Bench):
    """PythonSlicer starts the real Python and waits for it: both are ended, and one alone is not the end."""
    launcher = bench.folder / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{bench.fake.path}" "$@"\nexit $?\n')
    launcher.chmod(0o755)
    bench.fake = replace(bench.fake, path=launcher)
    job = bench.play(["deaf"], ["event", JOB_EVENT], ["event", step_event(1)], ["hang"])
    pump(job, lambda: job.state is JobState.RUNNING and job.worker.pulse)
    real = job.worker.pulse.process.pid
    assert real != job.worker.child.pid and set(job.worker.pids()) == {real, job.worker.child.pid}
    os.kill(job.worker.child.pid, 9)
    job.worker.child.wait()
    job.poll()
    assert job.state is JobState.RUNNING and job.worker.pids() == [real]
    job.cancel(grace_seconds=0)
    pump_to_end(job)
    assert job.state is JobState.CANCELLED and start_token(real) is None
