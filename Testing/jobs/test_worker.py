"""Signs of life: how old they are is told by our clock, whatever the child's clock says."""

import json
import time
from pathlib import Path

import pytest

from VoxelAdvSegLib.jobs.process import this_process
from VoxelAdvSegLib.jobs.protocol import ProbeRequest, write_order
from VoxelAdvSegLib.jobs.pulse import beating, read_pulse
from VoxelAdvSegLib.jobs.worker import STALE_SECONDS, STARTING_SECONDS, Worker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sign(folder: Path, beat: float, sitting: str = "s", **changes: object) -> None:
    me = this_process()
    content = {"pid": me.pid, "token": me.token, "host": me.host, "sitting": sitting, "started": beat, "beat": beat}
    (folder / "pid.json").write_text(json.dumps({**content, **changes}))


def test_the_first_sign_may_be_old_the_next_is_new(tmp_path: Path, clock: Clock):
    """Then the child's clock is set back by an hour: its beats go on, and that is what counts."""
    worker = Worker(tmp_path, "s", None, clock)
    assert worker.heartbeat_age is None
    sign(tmp_path, time.time() - 40)
    worker.look()
    assert worker.heartbeat_age == pytest.approx(40, abs=5) and not worker.is_silent
    clock.now += 30
    worker.look()
    assert worker.heartbeat_age == pytest.approx(70, abs=5) and worker.is_silent
    sign(tmp_path, time.time() - 3600.25)
    worker.look()
    assert worker.heartbeat_age == 0 and not worker.is_silent
    clock.now += STALE_SECONDS + 1
    assert worker.is_silent


def test_a_clock_ahead_is_no_age_below_zero(tmp_path: Path, clock: Clock):
    sign(tmp_path, time.time() + 3600)
    worker = Worker(tmp_path, "s", None, clock)
    worker.look()
    assert worker.heartbeat_age == 0


def test_a_first_sign_that_does_not_come(tmp_path: Path, clock: Clock):
    worker = Worker(tmp_path, "s", None, clock)
    clock.now += STARTING_SECONDS - 1
    assert not worker.is_silent
    clock.now += 2
    assert worker.is_silent


def test_a_sign_of_an_earlier_start_is_none(tmp_path: Path, clock: Clock):
    sign(tmp_path, time.time(), sitting="earlier")
    worker = Worker(tmp_path, "s", None, clock)
    worker.look()
    assert worker.pulse is None and worker.pids() == []


def test_nothing_is_killed_that_is_not_surely_ours(tmp_path: Path, clock: Clock):
    """The number is that of this test; had it been taken for the child, no test would follow."""
    sign(tmp_path, time.time(), token="of another start")
    worker = Worker(tmp_path, "s", None, clock)
    worker.look()
    assert worker.is_gone() and worker.pids() == []
    worker.end(grace_seconds=0)


def test_the_heart_beats_also_while_the_work_does_not_look(tmp_path: Path):
    order = write_order(tmp_path, ProbeRequest())
    with beating(tmp_path, order.sitting, 0.01):
        first = read_pulse(tmp_path)
        assert first is not None and first.process == this_process() and first.sitting == order.sitting
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            later = read_pulse(tmp_path)
            if later is not None and later.beat > first.beat:
                break
            time.sleep(0.01)
        assert later is not None and later.beat > first.beat and later.started == first.started
    assert sorted(p.name for p in tmp_path.iterdir()) == ["job.json", "pid.json"]
