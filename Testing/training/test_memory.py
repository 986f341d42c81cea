"""A training that needs more memory than there is goes on one size smaller, for as many steps."""

import json
import sys
from pathlib import Path

import pytest
import torch

from Testing.training.test_session import events_of, settings, tensors_of
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.networks.device import PeakMemory, is_out_of_memory
from VoxelAdvSegLib.training import course
from VoxelAdvSegLib.training.session import Request, train

NO_ROOM = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


def failing(monkeypatch: pytest.MonkeyPatch, errors: dict[int, BaseException]) -> list[int]:
    """Steps that were begun; the first try of those in `errors` fails."""
    begun: list[int] = []
    real = course.take_step

    def take_step(method, batch, step, *rest, **options):
        begun.append(step)
        if step in errors:
            raise errors.pop(step)
        return real(method, batch, step, *rest, **options)

    monkeypatch.setattr(course, "take_step", take_step)
    return begun


def test_memory_that_runs_out_makes_the_training_smaller_and_not_shorter(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun = failing(monkeypatch, {0: NO_ROOM[0], 2: NO_ROOM[1], 6: NO_ROOM[2]})
    run = tmp_path / "run"
    outcome = train(Request(tiny_data, run, overrides=settings(steps=8, patch="48,16,16", norm="group")))
    assert outcome.reason == "finished" and outcome.step == 8
    assert begun == [0, 0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7]
    told = [
        event["text"] for event in events_of(run) if event["type"] == "message" and "Memory ran out" in event["text"]
    ]
    assert [text.rpartition(": ")[2] for text in told] == [
        "blocks are computed again on the way back.",
        "a batch goes through the network in 2 parts.",
        "patches have 32 x 16 x 16 voxels.",
    ]
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["training"]["recompute"] is True and config["training"]["accumulate"] == 2
    assert config["patches"]["patch"] == [32, 16, 16]
    assert (run / "plan.txt").read_text().count("Memory ran out") == 3
    noted = json.loads((run / "memory.json").read_text())
    assert noted["accumulate"] == 2 and noted["step"] == 8 and noted["estimated_bytes"] > 0


def test_a_run_made_smaller_is_resumed_as_it_is(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = tmp_path / "run"
    failing(monkeypatch, {5: NO_ROOM[0]})

    def stop_at_eight(event: dict) -> None:
        if event["type"] == "checkpoint" and event["step"] == 8:
            (run / "STOP").touch()

    train(Request(tiny_data, run, overrides=settings()), watch=stop_at_eight)
    assert train(Request(tiny_data, run, resume=True)).step == 12
    # The same result: blocks that are computed again change nothing.
    straight = tmp_path / "straight"
    train(Request(tiny_data, straight, overrides=settings()))
    for (name, a), b in zip(tensors_of(straight).items(), tensors_of(run).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=name)


def test_where_nothing_is_smaller_it_is_said(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def never(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(course, "take_step", never)
    with pytest.raises(RunError, match="too little memory"):
        train(Request(tiny_data, tmp_path / "run", overrides=settings(norm="batch")))
    assert events_of(tmp_path / "run")[-1]["type"] == "error"


def test_other_errors_are_no_lack_of_memory():
    assert all(is_out_of_memory(error) for error in NO_ROOM)
    assert not is_out_of_memory(RuntimeError("the shapes do not fit"))
    assert not is_out_of_memory(ValueError("CUDA out of memory"))


@pytest.mark.skipif(sys.platform == "win32", reason="resident sizes are counted otherwise")
def test_the_peak_is_measured():
    memory = PeakMemory(torch.device("cpu"))
    block = torch.ones(600 * 2**20, dtype=torch.uint8)  # more than this process has had, most likely
    measured = memory.measured_bytes()
    assert measured is None or measured >= block.numel() // 2
