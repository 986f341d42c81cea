"""Whatever a diary holds, its reader goes on: events of any shape, from any version, and a gigabyte of them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.conftest import REPOSITORY
from Testing.jobs.conftest import END_EVENT, JOB_EVENT, START_EVENT, step_event
from Testing.soak_record import record
from VoxelAdvSegLib.jobs.comparison import CompareJob
from VoxelAdvSegLib.jobs.job import Job
from VoxelAdvSegLib.jobs.probe import ProbeJob
from VoxelAdvSegLib.jobs.protocol import (
    CompareRequest,
    ProbeRequest,
    Request,
    SegmentCase,
    SegmentRequest,
    TrainRequest,
    write_order,
)
from VoxelAdvSegLib.jobs.segment import SegmentJob
from VoxelAdvSegLib.jobs.train import TrainJob
from VoxelAdvSegLib.jobs.vocabulary import EVENTS

PROMISE = "The reader of a training's diary goes on in bounded memory, whatever the diary holds."
KINDS: dict[type[Job], Request] = {
    TrainJob: TrainRequest(data="none.json", minutes=1.0),
    SegmentJob: SegmentRequest("model", (SegmentCase("a", "a.nii.gz", "out"),)),
    CompareJob: CompareRequest("run", "none.json"),
    ProbeJob: ProbeRequest(),
}
# What json.loads can return, with the numbers that Python's JSON has beyond the standard.
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, float("inf")]))
WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["warning", "done", "a", "scoring"]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@st.composite
def events(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """An event of a known type whose fields are anything, or one of no known type."""
    known = EVENTS[kind]
    name = draw(st.sampled_from([*known, "from the future"]))
    fields = [field.removesuffix("?") for field in known.get(name, ("what", "ever"))]
    return {"type": name, "time": draw(VALUES), **{field: draw(VALUES) for field in fields}, "sitting": draw(VALUES)}


@pytest.mark.trust
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_events_of_any_shape_do_no_harm(kind: type[Job], tmp_path: Path):
    order = write_order(tmp_path, KINDS[kind])
    tried = [0]

    @settings(max_examples=100)
    @given(st.lists(events(kind.kind), max_size=5))
    def each(many: list[dict[str, Any]]) -> None:
        (tmp_path / "events.jsonl").write_text(
            "".join(json.dumps(event) + "\n" for event in [{**JOB_EVENT, "sitting": order.sitting}, *many])
        )
        job = kind(tmp_path, order, None)
        job.poll(seconds=60)
        job.poll(seconds=60)
        tried[0] += len(many)
        assert job.log_tail() == "" and job.behind == 0
        assert job.progress is None or isinstance(job.progress, float | int)
        assert job.seconds_left is None or job.seconds_left >= 0

    each()
    record(PROMISE, f"{tried[0]} events of any shape to the reader of a {kind.kind} job")


READER = """
import resource, sys
from pathlib import Path
from VoxelAdvSegLib.jobs.train import TrainJob
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
job = TrainJob.attach(sys.argv[1])
before = peak()
job.poll()
while job.behind:
    job.poll()
print(before, peak(), job.state.value, job.step, job._follower.passed_over, len(job.view.terms["dice"]))
"""


def write_long_diary(folder: Path, size: int) -> tuple[int, int]:
    """Steps of a training, and among them what a reader must stand; numbers of steps and of lines that are no event."""
    order = write_order(folder, TrainRequest(data="none.json"))
    draw, steps, junk = random.Random(4), 0, 0
    strange = [
        b"\xc3",
        b"{" * 5000,
        b"\0" * 300,
        b'{"type": "step", "ti',
        b"x" * 3_000_000,
        b"[1, 2]",
        b'"\xed\xa0\x80"',
    ]
    fine = [
        b'{"type": "from the future", "time": 1}',
        b'{"type": "step", "time": 1, "step": "many"}',
        b'{"type": "job"}',
    ]
    head, tail = json.dumps({"time": 1.0, **step_event(1, 10**7)}).split('"step": 1,')
    with (folder / "events.jsonl").open("wb") as file:
        for event in ({**JOB_EVENT, "sitting": order.sitting}, START_EVENT):
            file.write(json.dumps({"time": 1.0, **event}).encode() + b"\n")
        while file.tell() < size:
            for _ in range(500):
                steps += 1
                file.write(f'{head}"step": {steps},{tail}\n'.encode())
            file.write(draw.choice(strange) + b"\n" + draw.choice(fine) + b"\n")
            junk += 1
        file.write(json.dumps({"time": 2.0, **END_EVENT, "step": steps}).encode() + b"\n")
    return steps, junk


def read_in_a_child(folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder)], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    "size", [2**24, pytest.param(2**30, marks=[pytest.mark.soak, pytest.mark.timeout(1500)])], ids=["16 MB", "1 GB"]
)
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is asked of the system")
def test_a_long_diary_is_read_in_bounded_memory(tmp_path: Path, size: int):
    steps, junk = write_long_diary(tmp_path, size)
    before, peak, state, step, passed_over, points = read_in_a_child(tmp_path)
    assert (state, int(step), int(passed_over)) == ("finished", steps, junk)
    assert int(points) <= 5000
    assert float(peak) - float(before) < 64  # MB, for a diary of any length
    growth = float(peak) - float(before)
    record(PROMISE, f"{size / 1e6:.0f} MB with {steps} steps and {junk} broken lines: {growth:.0f} MB more memory")
