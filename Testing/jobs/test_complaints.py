"""Complaints about other tools that a job in a process of its own answers: memory that ends, folders of all names."""

import os
from pathlib import Path

import pytest

from Testing.jobs.conftest import PYTHON, Bench, pump_to_end, tiny_training
from Testing.training.conftest import TINY
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.protocol import SegmentCase, SegmentRequest, TrainRequest
from VoxelAdvSegLib.jobs.segment import SegmentJob
from VoxelAdvSegLib.jobs.train import TrainJob
from VoxelAdvSegLib.project.project import Project

# Windows takes 260 characters for a path; what a project adds must leave room for the folder that a person chose.
LONGEST_OWN_PATH = 100
WINDOWS_PATH = 260
# Loads the libraries, then takes no more memory than the margin (bytes) from the system.
SHORT_OF_MEMORY = """
import resource, runpy, sys
import torch
import VoxelAdvSegLib.training.session
torch.use_deterministic_algorithms(True)  # loads a good deal, too
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {margin},) * 2)
sys.argv = ["VoxelAdvSegLib", "job", sys.argv[1]]
runpy.run_module("VoxelAdvSegLib", run_name="__main__", alter_sys=True)
"""
MARGIN = 300 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set as on Linux")
def test_a_training_that_memory_is_refused_says_so_and_the_next_one_runs(
    bench: Bench, real: Interpreter, tiny_scans: Path
):
    poor = Interpreter(PYTHON, dict(os.environ), ("-c", SHORT_OF_MEMORY.format(margin=MARGIN)))
    large = tiny_training(tiny_scans, patch="128,128,128", filters=16)
    job = bench.start(TrainJob, large, poor)
    pump_to_end(job)
    assert job.state is JobState.FAILED and job.failure is not None
    assert "memory" in job.failure.text and "smaller patch" in job.failure.text, job.log_tail()
    again = bench.start(TrainJob, tiny_training(tiny_scans, 2), real, "again")
    pump_to_end(again)
    assert again.state is JobState.FINISHED and again.model is not None, again.log_tail()


@pytest.mark.slow
def test_long_paths_and_foreign_letters_hinder_no_step(bench: Bench, real: Interpreter, tiny_scans: Path):
    """Arabic numerals, umlauts, blanks, and more characters than Windows takes: train, segment, accept."""
    name = "Projekt \N{ARABIC-INDIC DIGIT THREE}\N{ARABIC-INDIC DIGIT FOUR}"
    place = (
        bench.folder / "Übung \N{ARABIC-INDIC DIGIT FIVE}" / ("名前 Kränkung " * 6).strip() / ("x" * 100) / ("y" * 100)
    )
    assert len(str(place)) > WINDOWS_PATH
    place.mkdir(parents=True)
    with Project.create(place / name, name) as project:
        assert project.add_manifest(tiny_scans).problems == []
        case = next(case for case in project.cases if case.role == "unlabeled")
        settings = {**TINY, "bn_recalibrate": 2}
        request = TrainRequest(data=str(project.write_manifest()), settings=settings, threads=1, steps=2)
        training = TrainJob.start(project.new_run(), request, real, locks=bench.folder / "locks")
        bench.jobs.append(training)
        pump_to_end(training)
        assert training.state is JobState.FINISHED, training.log_tail()
        (model,) = project.models()
        folder = project.path / "jobs" / "20261125-101500"
        cases = (SegmentCase(case.id, str(case.image), str(folder / case.id)),)
        folder.mkdir(parents=True)
        queue = SegmentJob.start(folder, SegmentRequest(str(model.path), cases, threads=1), real)
        bench.jobs.append(queue)
        pump_to_end(queue)
        done = queue.cases[case.id]
        assert done.failure is None, queue.log_tail()
        project.record_prediction(case.id, done.output, model=model.id, score=done.score, reason=done.reason)
        project.accept(case.id, project.prediction(case.id).segmentation, decision="accepted")
        assert project.case(case.id).state == "completed"
        own = [str(file.relative_to(project.path)) for file in project.path.rglob("*")]
    print(f"{len(max(own, key=len))} characters: {max(own, key=len)}")
    assert max(map(len, own)) <= LONGEST_OWN_PATH
