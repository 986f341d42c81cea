"""What two processes are worth, from what each has measured."""

import pytest
import torch

from VoxelAdvSegLib.benchmark import processes
from VoxelAdvSegLib.errors import RunError


def test_the_efficiency_is_one_where_two_are_twice_as_fast(monkeypatch: pytest.MonkeyPatch):
    launched: list[int] = []

    def launch(number: int, order: dict) -> list[float]:
        launched.append(number)
        return {1: [2.0, 2.2, 9.0], 2: [1.0, 1.1, 1.2]}[number]  # the median forgives a stumble

    monkeypatch.setattr(processes, "_launch", launch)
    measured = processes.measure_two_processes(rounds=2)
    assert launched == [1, 2, 1, 2]  # in turn: what slows the computer down slows both
    assert measured["seconds_one"] == 2.2 and measured["seconds_two"] == 1.1 and measured["steps_each"] == 6
    assert measured["two_process_efficiency"] == pytest.approx(1.0)


def test_a_process_takes_its_half_of_the_patches():
    batch = processes._batch((48, 32, 16), (2, 2), 2, torch.device("cpu"))
    assert batch.labeled.shape == batch.unlabeled.shape == (1, 1, 16, 32, 48) and batch.label.shape == (1, 16, 32, 48)


def test_a_measurement_that_fails_says_why():
    with pytest.raises(RunError, match="with 1 processes failed") as problem:
        processes.measure_two_processes(method="magic", patch_xyz=(32, 16, 16), filters=4, steps=1, rounds=1)
    assert "magic" in str(problem.value)
