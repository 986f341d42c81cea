"""Disks, folders, clocks and cards that fail under a training: a clear word or a correct continuation.

Each fault comes in the middle of a training; what comes of it is compared bit for bit with one that met none.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from Testing.faults.conftest import ForkServer, quick
from Testing.faults.test_kills import assert_nothing_left_over, tensors, wait_until
from Testing.soak_record import record
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.cache import LabeledArrays, prepare_labeled
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.training import course
from VoxelAdvSegLib.training.events import read_events
from VoxelAdvSegLib.training.run_folder import RunFolder, read_description
from VoxelAdvSegLib.training.session import Request, train

SETTINGS = quick(method="supervised", steps=8)
AT = 4  # step at which a fault comes
FAULTS = "A fault of disk, folder or clock ends in a clear message or a correct continuation."
NO_NUMBER = "A loss or a scan that is no number stops the training, and the case is named."
BOTH = {"a": ("a", "case-0001"), "b": ("b", "case-0002")}  # name of a scan, and what it is called in a run's files
posix = pytest.mark.skipif(os.name != "posix", reason="signals and mounts")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may mount a disk")


@pytest.fixture(scope="module")
def straight(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training without a fault."""
    run = tmp_path_factory.mktemp("straight") / "run"
    train(Request(scans, run, overrides=SETTINGS))
    return run


def once(act: Callable[[], Any], kind: str = "checkpoint", step: int = AT) -> Callable[[dict], None]:
    """A watcher of a training that does something after the first such event of a step."""
    done = []

    def watch(event: dict) -> None:
        if event["type"] == kind and event.get("step", step) >= step and not done:
            done.append(event)
            act()

    return watch


def assert_same(run: Path, straight: Path) -> None:
    found, expected = tensors(run), tensors(straight)
    assert found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in found)
    assert_nothing_left_over(run)


def assert_resumes(scans: Path, run: Path, straight: Path) -> None:
    assert train(Request(scans, run, resume=True)).step == SETTINGS["steps"]
    assert_same(run, straight)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@root
@pytest.mark.trust
def test_a_disk_that_becomes_full(scans: Path, straight: Path, small_disk: Path):
    run, filler = small_disk / "run", small_disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                return

    with pytest.raises(RunError) as caught:
        train(Request(scans, run, overrides=SETTINGS), watch=once(fill))
    assert "No space" in str(caught.value) and "--resume" in str(caught.value)
    filler.unlink()
    assert_resumes(scans, run, straight)
    record(FAULTS, "disk full during a training")


@root
@pytest.mark.trust
def test_a_folder_that_may_not_be_written(scans: Path, tmp_path: Path):
    """A read-only disk: refused before anything is computed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        with pytest.raises(RunError, match="cannot be written") as caught:
            train(Request(scans, disk / "run", overrides=SETTINGS))
        assert "another --run" in str(caught.value)
    finally:
        subprocess.run(["umount", disk], check=True)
    record(FAULTS, "read-only folder")


@root
@pytest.mark.trust
def test_rights_that_are_taken_away(scans: Path, straight: Path, tmp_path: Path):
    run = tmp_path / "run"

    def forbid(flag: str = "+i") -> None:
        done = subprocess.run(["chattr", flag, run / "checkpoints"], capture_output=True)
        if done.returncode:
            pytest.skip("this file system cannot forbid root to write")

    try:
        with pytest.raises(RunError, match="could not be saved"):
            train(Request(scans, run, overrides=SETTINGS), watch=once(forbid))
    finally:
        forbid("-i")
    assert_resumes(scans, run, straight)
    record(FAULTS, "rights taken away during a training")


@posix
@pytest.mark.trust
@pytest.mark.parametrize("kind", ["checkpoint", "step", "validation"])
def test_a_folder_that_is_renamed(scans: Path, straight: Path, tmp_path: Path, kind: str):
    """It says so, begins no second folder at the old place, and goes on at the new one."""
    run, new = tmp_path / "run", tmp_path / "new place"
    with pytest.raises(RunError) as caught:
        train(Request(scans, run, overrides=SETTINGS), watch=once(lambda: run.rename(new), kind))
    assert "moved or removed" in str(caught.value) or "could not be saved" in str(caught.value)
    assert not run.exists()
    assert [event for event, _ in read_events(new / "events.jsonl")][-1]["type"] == "error"
    assert_resumes(scans, new, straight)
    record(FAULTS, f"folder renamed after a {kind}")


@posix
@pytest.mark.trust
def test_a_folder_that_is_removed(scans: Path, tmp_path: Path):
    run = tmp_path / "run"
    with pytest.raises(RunError) as caught:
        train(Request(scans, run, overrides=SETTINGS), watch=once(lambda: shutil.rmtree(run)))
    assert "removed" in str(caught.value) or "could not be saved" in str(caught.value)
    assert not run.exists()
    record(FAULTS, "folder removed during a training")


@pytest.mark.trust
def test_a_clock_that_is_set_back(scans: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = time.time
    back = lambda: monkeypatch.setattr(time, "time", lambda: real() - 40 * 86400)  # noqa: E731
    train(Request(scans, tmp_path / "run", overrides=SETTINGS), watch=once(back))
    times = [event["time"] for event, _ in read_events(tmp_path / "run" / "events.jsonl")]
    assert min(times) < real() - 39 * 86400 < max(times)
    assert_same(tmp_path / "run", straight)
    record(FAULTS, "clock set back by 40 days during a training")


IN_THE_MIDDLE = (AT, "last.safetensors", "SIGSTOP")  # a training stands still while it puts a checkpoint in its place


def wait_until_it_stands(pid: int) -> None:
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T")


@linux
@pytest.mark.trust
def test_a_computer_that_is_suspended(fork_server: ForkServer, scans: Path, straight: Path, tmp_path: Path):
    """Everything stands still for a while, heartbeat included."""
    pid = fork_server.begin(scans, tmp_path / "run", IN_THE_MIDDLE, overrides=SETTINGS)
    wait_until_it_stands(pid)
    time.sleep(1)
    os.kill(pid, signal.SIGCONT)
    assert fork_server.wait() == 0
    assert_same(tmp_path / "run", straight)
    record(FAULTS, "a computer that is suspended")


@linux
@pytest.mark.trust
def test_a_second_process_on_the_same_folder(
    fork_server: ForkServer, scans: Path, straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    pid = fork_server.begin(scans, run, IN_THE_MIDDLE, overrides=SETTINGS)
    wait_until_it_stands(pid)
    for words in (["train", "--data", str(scans), "--run", str(run), "--resume"], ["clean", "--run", str(run)]):
        assert main(words) == 2
        assert "in use" in capsys.readouterr().err
    os.kill(pid, signal.SIGCONT)
    assert fork_server.wait() == 0
    assert_same(run, straight)
    record(FAULTS, "2 other programs refused that wanted the folder of a training")


DEVICE_FAULTS = {
    "a CUDA error": (
        RuntimeError("CUDA error: an illegal memory access was encountered\nmore"),
        "graphics card reported",
    ),
    "a cuDNN error": (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "graphics card reported"),
}


@pytest.mark.trust
@pytest.mark.parametrize("name", DEVICE_FAULTS)
def test_a_device_that_fails(
    scans: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    """Ends with the cause and exit code 2, and goes on from the last checkpoint."""
    error, words = DEVICE_FAULTS[name]
    run, step, take_step = tmp_path / "run", [0], course.take_step

    def fail_once(*arguments: Any, **named: Any) -> Any:
        step[0] += 1
        if step[0] == AT:
            raise error
        return take_step(*arguments, **named)

    monkeypatch.setattr(course, "take_step", fail_once)
    words_of = [f"--set={key}={value}" for key, value in SETTINGS.items() if key not in ("method", "steps")]
    command = ["train", "--data", str(scans), "--run", str(run), "--method", "supervised", "--steps", "8", *words_of]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told
    last = [event for event, _ in read_events(run / "events.jsonl")][-1]
    assert last["type"] == "error" and words in last["text"]
    assert_resumes(scans, run, straight)
    record("A device that fails ends a training with the cause, and it goes on from its last checkpoint.", name)


MEMORY_FAULTS = {
    "a card without memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "a computer without memory": MemoryError(),
    "torch without memory": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
}


@pytest.mark.trust
@pytest.mark.parametrize("name", MEMORY_FAULTS)
def test_a_device_without_memory(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """Is told, and the training takes all its steps, one size smaller."""
    run, step, take_step = tmp_path / "run", [0], course.take_step

    def fail_once(*arguments: Any, **named: Any) -> Any:
        step[0] += 1
        if step[0] == AT:
            raise MEMORY_FAULTS[name]
        return take_step(*arguments, **named)

    monkeypatch.setattr(course, "take_step", fail_once)
    outcome = train(Request(scans, run, overrides={**SETTINGS, "method": "supervised", "steps": 8}))
    assert outcome.reason == "finished" and outcome.step == 8
    told = [event["text"] for event, _ in read_events(run / "events.jsonl") if event["type"] == "message"]
    assert any("Memory ran out" in text and "one size smaller" in text for text in told)
    record("A training that runs out of memory goes on one size smaller, for as many steps.", name)


@pytest.mark.trust
def test_a_loss_that_is_no_number_names_the_cases(scans: Path, tmp_path: Path):
    with pytest.raises(RunError) as caught:
        train(Request(scans, tmp_path / "run", overrides={**SETTINGS, "lr": 1e30}))
    assert "the patches were of" in caught.value.found
    assert {*BOTH["a"], *BOTH["b"]} & set(caught.value.found.rpartition(" of ")[2].split(", "))
    record(
        "A loss or a scan that is no number stops the training, and the case is named.",
        "a loss: the cases of its batch",
    )


@pytest.mark.trust
def test_a_prepared_scan_that_goes_bad_is_named(scans: Path, straight: Path, tmp_path: Path):
    """One case's copy on the disk is spoiled in the middle of a training: that case alone is named."""
    run, manifest = tmp_path / "run", read_manifest(scans)

    def prepared() -> LabeledArrays:
        recipe = read_description(RunFolder(run)).recipe
        return next(
            case
            for case in prepare_labeled(manifest.training, manifest.organs, recipe, run / "cache")
            if case.name == "b"
        )

    def spoil() -> None:
        image = prepared().image
        assert isinstance(image, np.memmap)
        np.load(str(image.filename), mmap_mode="r+")[:] = np.nan

    with pytest.raises(RunError) as caught:
        train(Request(scans, run, overrides=SETTINGS), watch=once(spoil))
    assert caught.value.found.rpartition(" no numbers in ")[2] in BOTH["b"]
    for file in (run / "cache").iterdir():  # the cure: prepared anew from the scan itself
        file.unlink()
    assert_resumes(scans, run, straight)
    record(NO_NUMBER, "a prepared scan: that case alone")
