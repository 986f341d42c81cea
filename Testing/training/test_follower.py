"""The reader of a growing diary: whatever the file holds, a call ends soon and holds little."""

import json
import tracemalloc
from pathlib import Path

import pytest

from VoxelAdvSegLib.training.events import CHUNK, Follower


def line(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def read_all(follower: Follower) -> list[dict]:
    events = []
    while True:
        before = follower.offset
        events += follower.read(None)
        if follower.offset == before:
            return events


class Ticking:
    """A clock that goes on by one second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize("cut", range(1, len(line(type="step", organ="Milz é"))))
def test_a_line_in_two_pieces_is_one_event(tmp_path: Path, cut: int):
    """Cut anywhere, also within the two bytes of a letter."""
    path, whole = tmp_path / "e", line(type="step", organ="Milz é")
    follower = Follower(path)
    path.write_bytes(whole[:cut])
    assert follower.read() == []
    with path.open("ab") as file:
        file.write(whole[cut:])
    expected = [{"type": "step", "organ": "Milz é"}]
    assert follower.read() == expected and follower.offset == len(whole) and follower.behind == 0
    assert follower.read() == []


def test_a_call_ends_when_its_time_is_over_and_goes_on_with_the_next(tmp_path: Path):
    path = tmp_path / "e"
    path.write_bytes(b"".join(line(type="step", step=i) for i in range(100)))
    follower = Follower(path, clock=Ticking())
    first = follower.read(seconds=10)
    assert 5 <= len(first) <= 10 and follower.behind == path.stat().st_size - follower.offset > 0
    rest = read_all(follower)
    assert [e["step"] for e in first + rest] == list(range(100)) and follower.behind == 0


def test_a_call_takes_so_many_bytes_and_no_more(tmp_path: Path):
    path = tmp_path / "e"
    path.write_bytes(line(type="step", text="x" * 1000) * 4000)
    follower = Follower(path, longest_line=2000)
    events = follower.read(None, most_bytes=3 * CHUNK)
    assert 2 * CHUNK < follower.offset <= 3 * CHUNK and len(events) == follower.offset // len(
        line(type="step", text="x" * 1000)
    )
    assert follower.behind > 0


def test_a_line_without_end_is_passed_over_in_little_memory(tmp_path: Path):
    """64 MB without a line's end, then an event: it is found, and the line was never held."""
    path = tmp_path / "e"
    with path.open("wb") as file:
        file.write(line(type="a"))
        for _ in range(64):
            file.write(b"x" * 2**20)
        file.write(b"\n" + line(type="b"))
    follower = Follower(path)
    tracemalloc.start()
    try:
        events = read_all(follower)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [e["type"] for e in events] == ["a", "b"] and follower.passed_over == 1
    assert peak < 8 * 2**20


def test_a_gigabyte_of_junk_is_no_hindrance(tmp_path: Path):
    """A sparse file: a gigabyte of zeros between two events, read in calls of bounded size."""
    path = tmp_path / "e"
    with path.open("wb") as file:
        file.write(line(type="a"))
        file.seek(2**30)
        file.write(b"\n" + line(type="b"))
    follower, calls, events = Follower(path), 0, []
    while follower.offset < path.stat().st_size:
        before = follower.offset
        events += follower.read(None, most_bytes=2**26)
        calls += 1
        assert follower.offset - before <= 2**26 + 2 * follower.longest_line
    assert [e["type"] for e in events] == ["a", "b"] and calls >= 16


def test_what_is_no_event_is_counted_and_passed_over(tmp_path: Path):
    path = tmp_path / "e"
    junk = [
        b"[" * 100_000,
        b'{"type": 7}',
        b'{"type": null}',
        b"\xff\xfe{",
        b'{"a": "' + b"\xc3",
        b"9" * 10_000,
        b"NaN",
    ]
    path.write_bytes(b"\n".join([*junk, b"", b"  ", line(type="b")]))
    follower = Follower(path)
    assert [e["type"] for e in read_all(follower)] == ["b"] and follower.passed_over == len(junk)


def test_a_replaced_or_shortened_file_is_read_from_its_beginning(tmp_path: Path):
    path = tmp_path / "e"
    path.write_bytes(line(type="old") * 3)
    follower = Follower(path)
    assert len(follower.read()) == 3
    other = tmp_path / "new"
    other.write_bytes(line(type="new", text="longer than all that was there before " * 9))
    other.replace(path)
    assert [e["type"] for e in follower.read()] == ["new"] and follower.restarts == 1
    path.write_bytes(line(type="short"))
    assert [e["type"] for e in follower.read()] == ["short"] and follower.restarts == 2


def test_the_writer_may_remove_the_file_meanwhile(tmp_path: Path):
    path = tmp_path / "e"
    follower = Follower(path)
    assert follower.read() == []
    path.write_bytes(line(type="a"))
    assert len(follower.read()) == 1
    path.unlink()
    assert follower.read() == []
