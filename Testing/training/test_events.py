"""The diary: whole lines, readable while it grows and after any accident."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from VoxelAdvSegLib.training.events import EventWriter, clean, heartbeat, read_events


@pytest.fixture
def open_diary(tmp_path: Path) -> Iterator[Callable[[], EventWriter]]:
    """Writers of tmp_path/events.jsonl, closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(EventWriter(tmp_path / "events.jsonl")))


def types(path: Path, offset: int = 0) -> list[str]:
    return [event["type"] for event, _ in read_events(path, offset)]


def test_events_come_back_as_written(tmp_path: Path, open_diary):
    writer = open_diary()
    told = writer.write("step", step=3, terms={"student": {"dice": 0.123456789}}, organ="Léber 肝", none=None)
    writer.close()
    ((event, offset),) = read_events(tmp_path / "events.jsonl")
    assert event == told and event["organ"] == "Léber 肝" and event["terms"]["student"]["dice"] == 0.123457
    assert abs(event["time"] - time.time()) < 60 and offset == (tmp_path / "events.jsonl").stat().st_size


def test_numbers_that_json_cannot_hold_are_null(tmp_path: Path, open_diary):
    assert clean({1: [math.nan, math.inf, (1.5, True)]}) == {"1": [None, None, [1.5, True]]}
    writer = open_diary()
    writer.write("step", loss=math.nan, rate=np.float64(0.5))
    assert json.loads((tmp_path / "events.jsonl").read_text())["loss"] is None


def test_a_reader_goes_on_where_it_was(tmp_path: Path, open_diary):
    path = tmp_path / "events.jsonl"
    assert types(path) == []
    writer = open_diary()
    writer.write("start")
    writer.write("step")
    offset = [after for _, after in read_events(path)][-1]
    assert types(path, offset) == []
    writer.write("end")
    assert types(path, offset) == ["end"]


def test_a_line_still_being_written_waits(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type": "start"}\n{"type": "st')
    assert types(path) == ["start"]
    offset = [after for _, after in read_events(path)][-1]
    with path.open("ab") as file:
        file.write(b'ep"}\n')
    assert types(path, offset) == ["step"]


def test_junk_is_passed_over(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    junk = [b"", b"\0" * 40, b"nonsense", b"[1, 2]", b'"type"', b'{"no": "type"}', "é".encode()[:1], b'{"type": "\xe8']
    path.write_bytes(b"\n".join([b'{"type": "a"}', *junk, b'{"type": "b"}', b""]))
    assert types(path) == ["a", "b"]


def test_what_a_killed_process_left_spoils_nothing(tmp_path: Path, open_diary):
    """Torn within a letter of two bytes: the next writer begins a line of its own."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type": "start"}\n' + '{"type": "step", "organ": "é'.encode()[:-1])
    open_diary().write("resumed")
    assert types(path) == ["start", "resumed"]
    open_diary().write("again")
    assert path.read_bytes().count(b"\n") == 4  # nothing is added to a file that ends as it should


def test_the_heart_beats_while_work_lasts_and_then_stops(tmp_path: Path, open_diary):
    path = tmp_path / "events.jsonl"
    writer = open_diary()
    with heartbeat(writer, seconds=0.02):
        deadline = time.monotonic() + 20
        while types(path).count("heartbeat") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    beats = types(path).count("heartbeat")
    assert beats >= 3
    time.sleep(0.1)
    assert types(path).count("heartbeat") == beats


def test_two_threads_do_not_mix_their_lines(tmp_path: Path, open_diary):
    path = tmp_path / "events.jsonl"
    writer = open_diary()
    with heartbeat(writer, seconds=0.0005):
        for step in range(300):
            writer.write("step", step=step, text="x" * 300)
    writer.close()
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["step"] for line in lines if b'"step"' in line] == list(range(300))


def test_after_the_end_nothing_is_written(tmp_path: Path, open_diary):
    writer = open_diary()
    writer.close()
    writer.write("late")
    assert types(tmp_path / "events.jsonl") == []
