"""Real trainings in real processes: to the end, stopped, killed and resumed, left behind and found again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from Testing.conftest import REPOSITORY
from Testing.jobs.conftest import PATIENCE, Bench, Trained, pump, pump_to_end, tiny_training
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.locks import holder
from VoxelAdvSegLib.jobs.previews import read_preview
from VoxelAdvSegLib.jobs.train import TrainJob


def test_a_training_as_a_panel_sees_it(trained: Trained):
    job, view = trained.job, trained.job.view
    assert trained.states == [JobState.PREPARING, JobState.RUNNING, JobState.FINISHED]
    assert trained.phases[:2] == ["starting", "loading the libraries"] and "training" in trained.phases
    assert (job.progress, job.step, job.steps, job.failure, job.warnings) == (1.0, 6, 6, None, [])
    assert job.model is not None and json.loads((job.model / "model.json").read_text())["provenance"]
    assert {"dice", "adversarial", "feature", "consistency", "discriminator"} <= set(view.terms)
    steps = [event["step"] for event in trained.events if event["type"] == "step"]
    assert list(view.terms["dice"].points()[0]) == steps
    assert set(view.dice) == {"ball", "pebble", "mean"} and set(view.final_dice) == {"ball", "pebble", "mean"}
    assert set(view.on_labeled) <= {"background", "ball", "pebble"} and view.on_labeled
    assert view.organs == ["ball", "pebble"] and len(view.colors["ball"]) == 3 and view.plan
    assert view.reading().verdict == "too early"
    assert not job.can_resume


def test_the_preview_lies_over_the_scan(trained: Trained):
    """In space, its corners are those of the scan (1 mm voxels, 20 x 18 x 16, axes along LPS)."""
    path = trained.job.view.preview
    assert path is not None
    preview = read_preview(path)
    assert preview.case == "case-0003" and preview.step == 6 and preview.grid is not None
    assert preview.image.shape == preview.label.shape == preview.grid.shape_zyx == (16, 18, 20)
    assert preview.grid.spacing_xyz_mm == pytest.approx((1, 1, 1))
    direction = np.reshape(preview.grid.direction, (3, 3))
    far = np.asarray(preview.grid.origin_lps_mm) + direction @ (19, 17, 15)
    assert sorted(map(tuple, np.round([preview.grid.origin_lps_mm, far]))) == [(0, 0, 15), (19, 17, 0)]
    looks = preview.looks_labeled_float()
    assert looks is not None and 0 <= looks.min() < looks.max() <= 1


PARENT = """
import os, sys
from pathlib import Path
from Testing.jobs.conftest import tiny_training
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.train import TrainJob
request = tiny_training(Path(sys.argv[2]), 100_000, checkpoint_every=2, validate_every=10_000, preview_every=10_000)
job = TrainJob.start(sys.argv[1], request, Interpreter(Path(sys.executable), dict(os.environ)), Path(sys.argv[3]))
while not list(Path(sys.argv[1]).glob("checkpoints/last.*")):
    job.poll()
os._exit(0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_training_outlives_its_parent_its_own_death_and_ends_when_asked(
    bench: Bench, real: Interpreter, tiny_scans: Path, tmp_path: Path
):
    folder, locks = tmp_path / "run", tmp_path / "locks"
    parent = [sys.executable, "-c", PARENT, str(folder), str(tiny_scans), str(locks)]
    subprocess.run(parent, check=True, cwd=REPOSITORY, timeout=PATIENCE)

    # Found again, running.
    job = TrainJob.attach(folder)
    bench.jobs.append(job)
    job.poll()
    assert job.state is JobState.RUNNING and job.step and job.view.organs == ["ball", "pebble"]
    device = holder("cpu", locks)
    assert device is not None and device.folder == str(folder)
    before = job.step
    pump(job, lambda: job.step > before)
    with pytest.raises(RunError, match="still runs"):
        job.resume(real)

    # Killed: interrupted at a step, and the device is free.
    assert job.worker.pulse is not None
    os.kill(job.worker.pulse.process.pid, signal.SIGKILL)
    pump_to_end(job)
    assert job.state is JobState.INTERRUPTED and f"at step {job.step}" in job.failure.what and job.can_resume
    assert holder("cpu", locks) is None
    reached = job.step

    # Resumed, past where it was; stopped, with a model.
    resumed = job.resume(real, locks)
    bench.jobs.append(resumed)
    pump(resumed, lambda: resumed.state is JobState.RUNNING and resumed.step > reached)
    resumed.request_stop()
    pump_to_end(resumed)
    assert resumed.state is JobState.FINISHED and resumed.view.reason == "stopped" and resumed.model is not None
    x, _ = resumed.view.terms["dice"].points()
    assert list(x) == sorted(set(x)) and x[0] == 1  # the curve is whole, and repeated steps are there once


def test_a_training_that_cannot_begin_says_why(bench: Bench, real: Interpreter, tmp_path: Path):
    job = bench.start(TrainJob, tiny_training(tmp_path / "none.json"), real)
    events = pump_to_end(job)
    assert job.state is JobState.FAILED and job.failure.do and str(tmp_path / "none.json") in job.failure.why
    assert [event["type"] for event in events if event["type"] in ("job", "error")][-1] == "error"


def test_two_trainings_do_not_share_a_device(bench: Bench, tmp_path: Path):
    """The second is refused in words while the first lives; a dead holder is none."""
    from VoxelAdvSegLib.cli.job_train import device_to_itself

    with device_to_itself(tmp_path, "cuda:0", tmp_path / "first"):
        other = holder("cuda:0", tmp_path)
        assert other is not None and other.folder == str(tmp_path / "first") and abs(other.since - time.time()) < 60
        code = (
            "import sys; from pathlib import Path; from VoxelAdvSegLib.cli.job_train import device_to_itself\n"
            "from VoxelAdvSegLib.errors import RunError\n"
            "try:\n    device_to_itself(Path(sys.argv[1]), 'cuda:0', Path('x'), 0).__enter__()\n"
            "except RunError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY, check=True
        )
        assert "another training uses the device cuda:0" in done.stdout and "first" in done.stdout
        with device_to_itself(tmp_path, "cpu", tmp_path / "second"):
            pass  # another device is free
    assert holder("cuda:0", tmp_path) is None


def test_room_is_looked_for_before_the_work(tiny_scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import shutil

    from VoxelAdvSegLib.cli.job_train import MODEL_BYTES, check_room

    usage = shutil.disk_usage(tmp_path)
    check_room(tmp_path, tiny_training(tiny_scans))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=MODEL_BYTES))
    with pytest.raises(RunError, match="too little room"):
        check_room(tmp_path, tiny_training(tiny_scans))


def test_a_torch_that_cannot_be_imported_is_explained(
    bench: Bench, real: Interpreter, tiny_scans: Path, tmp_path: Path
):
    broken = tmp_path / "packages" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise OSError("libcudart.so.12: cannot open shared object file")')
    real = Interpreter(real.path, {**real.environment, "PYTHONPATH": str(broken.parent)})
    job = bench.start(TrainJob, tiny_training(tiny_scans), real)
    pump_to_end(job)
    assert job.state is JobState.FAILED and "torch is damaged" in job.failure.why and "Installation" in job.failure.do
    assert "libcudart" in job.log_tail()  # the traceback is one click away
