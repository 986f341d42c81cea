"""The speed report: every figure with its target and what it came from, at sizes that take seconds."""

import json
import re

import pytest
import torch

from VoxelAdvSegLib.benchmark import speed
from VoxelAdvSegLib.benchmark.speed import TARGETS, Scale, measure_speed
from VoxelAdvSegLib.benchmark.speed_page import MEANING, speed_page, summary
from VoxelAdvSegLib.benchmark.speed_training import Setup, Training
from VoxelAdvSegLib.benchmark.stopwatch import Lap, in_turn
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods import METHODS

CPU = torch.device("cpu")
TINY = Setup((16, 32, 32), 2)


def test_actions_take_turns_and_the_warm_up_is_left_out():
    order = []
    laps = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, CPU, warm_up=2)
    assert "".join(order) == "ab" * 5
    assert [len(lap.seconds) for lap in laps.values()] == [3, 3]


def test_a_ratio_is_of_the_same_round():
    # 2, 2, 2 round by round, though the medians give 10 / 2
    assert Lap((2.0, 10.0, 100.0)).over(Lap((1.0, 5.0, 50.0))) == 2
    assert Lap((4.0, 10.0, 100.0)).over(Lap((1.0, 5.0, 50.0))) == 2
    assert Lap((4.0, 10.0, 100.0)).median == 10


def test_a_bare_step_is_the_networks_work_and_no_more():
    training = Training(TINY, CPU)
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    training.bare()
    assert all(torch.equal(before[n], p) and p.grad is not None for n, p in training.network.named_parameters())
    assert all(p.grad is None for p in training.teacher.parameters())
    training.step()
    assert training.done == 3001
    assert not all(torch.equal(before[n], p) for n, p in training.network.named_parameters())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_timed(method):
    training = Training(Setup((16, 16, 32), 2, method=method), CPU)
    begun = training.done
    training.step(training.batches.at(training.done, *training.sizes))
    assert training.done == begun + 1


def lost(*_words, **_more):
    """In the place of two real processes, which test_processes.py starts."""
    raise RunError("a process was lost", found="exit code 9")


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "measure_two_processes", lost)
        return measure_speed(CPU, [Scale("tiny", TINY, 2)], ["supervised"], (12, 14, 16))


def test_every_figure_has_its_target_and_what_it_came_from(report):
    assert set(TARGETS) <= set(report) and report["targets"]["segment_over_monai"] == 1.0
    for name in TARGETS:
        assert isinstance(report[name], float) and report[name] > 0, report["reasons"]
    assert report["two_process_efficiency"] is None
    assert report["reasons"]["two_process_efficiency"] == "a process was lost: exit code 9"
    tiny = report["scales"]["tiny"]
    assert tiny["windows"] == 12 and tiny["filters"] == 2 and tiny["patch_zyx"] == [16, 32, 32]
    assert {"bare", "step", "segmenting: segment", "segmenting: bare", "segmenting: monai"} <= set(
        tiny["median_seconds"]
    )
    assert min(tiny["peak_bytes"].values()) > 2**20
    assert report["methods"]["supervised"]["steps_per_second"] > 0
    assert report["methods"]["supervised"]["peak_bytes"] > 0
    assert len(report["profile"]["top"]) == len(report["profile"]["gap"]) == 10
    assert json.loads(json.dumps(report)) == report


def test_the_page_says_what_the_report_says(report):
    page = speed_page({**report, "step_over_bare": 1.2345, "metrics_over_medpy": 0.25}, "the command")
    assert "| step / bare network | 1.234 | <= 1.1 | no |" in page or "| 1.235 | <= 1.1 | no |" in page
    assert f"| {MEANING['metrics_over_medpy']} | 0.250 | <= 0.5 | yes |" in page
    assert re.search(r"\| two processes.* \| not measured \(.+\) \|", page)
    assert any(line.startswith("step / bare network: ") for line in summary(report))


def test_what_cannot_be_measured_says_why(report, monkeypatch):
    def missing(*_):
        raise ModuleNotFoundError("No module named 'medpy'", name="medpy")

    monkeypatch.setattr(speed, "time_metrics", missing)
    monkeypatch.setattr(speed, "_measure_scale", lambda *_: report["scales"]["tiny"])
    monkeypatch.setattr(speed, "_compare_dense", lambda *_: None)
    measured = {"two_process_efficiency": 0.8, "steps_each": 4}
    monkeypatch.setattr(speed, "measure_two_processes", lambda *_words, **_more: measured)
    found = measure_speed(CPU, [Scale("tiny", TINY, 2)], [], (12, 14, 16))
    assert found["two_process_efficiency"] == 0.8 and found["two_processes"] == measured
    assert found["metrics_over_medpy"] is None and "medpy" in found["reasons"]["metrics_over_medpy"]


def test_a_folder_that_is_not_there_is_told_before_anything_is_timed(tmp_path, capsys):
    assert main(["benchmark", "speed", "--output", str(tmp_path / "no" / "f.json")]) == 2
    assert "folder" in capsys.readouterr().err
