"""Trainings as their folders tell of them: how far they came, how they ended, and what they left."""

import json
import os
import time

import pytest

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project import runs
from VoxelAdvSegLib.project.runs import read_run
from VoxelAdvSegLib.training.events import EventWriter

OLD = 1_700_000_000


def write_diary(folder, *events, old=True):
    """events: (type, fields); old: the diary was last written long ago."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = EventWriter(folder / "events.jsonl")
    for kind, fields in events:
        writer.write(kind, **fields)
    writer.close()
    if old:
        os.utime(folder / "events.jsonl", (OLD, OLD))
    return folder


START = ("start", {"steps": 100})
STEP = ("step", {"step": 40, "steps": 120})
END = ("end", {"reason": "stopped", "step": 40, "steps": 120, "dice": {"liver": 0.8, "mean": 0.75}})


def test_run_folders_are_new_and_named_after_the_time(project):
    first, second = project.new_run(), project.new_run()
    assert first != second
    assert first.is_dir()
    assert first.parent == project.path / "runs"
    assert [run.path for run in project.runs()] == [second, first]
    assert {run.state for run in project.runs()} == {"prepared"}


@pytest.mark.parametrize(
    ("events", "state", "text"),
    [
        ([], "prepared", "Not started."),
        ([START], "interrupted", "Interrupted at step 0 of 100; it can be resumed."),
        ([START, STEP], "interrupted", "Interrupted at step 40 of 120; it can be resumed."),
        ([START, STEP, END], "finished", "Stopped at step 40 of 120; Dice 0.750 on the validation cases."),
        ([START, STEP, END, START, STEP], "interrupted", "Interrupted at step 40 of 120; it can be resumed."),
        (
            [START, STEP, ("error", {"text": "RunError: the disk is full\n  do        make room"})],
            "failed",
            "Failed at step 40 of 120: the disk is full",
        ),
        ([("error", {"text": "x"}), START, STEP, END], "finished", None),
    ],
)
def test_the_state_follows_from_the_diary(tmp_path, events, state, text):
    run = read_run(write_diary(tmp_path / "20261125-101500", *events))
    assert run.state == state
    if text:
        assert run.text == text


def test_a_run_tells_what_it_came_to(tmp_path):
    run = read_run(write_diary(tmp_path, START, STEP, END))
    assert (run.step, run.steps, run.reason) == (40, 120, "stopped")
    assert run.dice == {"liver": 0.8, "mean": 0.75}
    assert run.started is not None
    assert run.ended is not None
    assert run.ended >= run.started
    assert not run.has_model


def test_a_fresh_diary_or_a_living_process_means_running(tmp_path):
    folder = write_diary(tmp_path / "a", START, STEP, old=False)
    assert read_run(folder).state == "running"
    assert read_run(folder, lambda path: False).state == "interrupted"
    old = write_diary(tmp_path / "b", START, STEP)
    assert read_run(old).state == "interrupted"
    assert read_run(old, lambda path: True).state == "running"
    assert read_run(old, lambda path: None).state == "interrupted"
    assert read_run(write_diary(tmp_path / "c", START, END, old=False), lambda path: True).state == "finished"


def test_a_clock_that_was_set_back_does_not_keep_a_run_alive(tmp_path):
    folder = write_diary(tmp_path, START, STEP)
    later = time.time() + 86400
    os.utime(folder / "events.jsonl", (later, later))
    assert read_run(folder).state == "interrupted"


def test_a_cancelled_run_is_no_interruption(tmp_path):
    folder = write_diary(tmp_path, START, STEP)
    (folder / "CANCELLED").touch()
    assert read_run(folder).state == "cancelled"


def test_a_run_that_ended_while_it_was_cancelled_is_cancelled(tmp_path):
    folder = write_diary(tmp_path, START, STEP, END)
    (folder / "CANCELLED").touch()
    run = read_run(folder)
    assert (run.state, run.reason, run.dice) == ("cancelled", "", {})


def test_junk_in_a_diary_is_passed_over(tmp_path):
    folder = write_diary(tmp_path, START, STEP)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'\xff\xfe junk\n{"type": "step", "step": "many", "steps": null}\n{"type": 7}\n{"type": "end"')
    run = read_run(folder, lambda path: False)
    assert (run.state, run.step, run.steps) == ("interrupted", 40, 120)


def test_a_long_diary_is_read_at_its_ends_only(tmp_path, monkeypatch):
    folder = write_diary(tmp_path, START)
    line = json.dumps({"type": "step", "time": 1.0, "step": 7, "steps": 9, "fill": "x" * 900}) + "\n"
    with (folder / "events.jsonl").open("a") as file:
        file.write(line * 4000)
    write_diary(folder, STEP, END)
    parsed = []
    original = json.loads
    monkeypatch.setattr("VoxelAdvSegLib.training.events.json.loads", lambda text: parsed.append(1) or original(text))
    run = read_run(folder)
    assert (run.state, run.step) == ("finished", 40)
    assert run.started is not None
    assert len(parsed) < 600


def test_only_our_folders_are_runs(project, tmp_path):
    ours = write_diary(project.path / "runs" / "20261125-101500", START, END)
    write_diary(project.path / "runs" / "20261125-101500-2", START, END)
    write_diary(project.path / "runs" / "20261125-101500-10", START, END)
    write_diary(project.path / "runs" / "mine", START, END)
    (project.path / "runs" / "20200101-000000").symlink_to(ours)
    (project.path / "runs" / "20210101-000000").touch()
    assert [run.id for run in project.runs()] == ["20261125-101500-10", "20261125-101500-2", "20261125-101500"]


def test_a_running_training_is_not_deleted(project):
    folder = write_diary(project.path / "runs" / "20261125-101500", START, STEP, old=False)
    with pytest.raises(ProjectError, match="is running"):
        project.delete_run(folder.name)
    assert folder.exists()
    project.delete_run(folder.name, alive=lambda path: False)
    assert not folder.exists()
    with pytest.raises(ProjectError, match="no such training"):
        project.delete_run(folder.name)


def test_the_file_names_are_those_of_the_library(tmp_path):
    from VoxelAdvSegLib.jobs import protocol
    from VoxelAdvSegLib.training.run_folder import RunFolder

    folder = RunFolder(tmp_path)
    assert folder.events.name == runs.EVENTS == protocol.EVENTS
    assert folder.model.name == "model"
    assert protocol.CANCELLED == runs.CANCELLED
