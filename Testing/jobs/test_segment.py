"""A queue of scans in a real process: results, skips, a broken scan, a stop; and the words of a scripted one."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.jobs.conftest import JOB_EVENT, Bench, pump, pump_to_end
from Testing.test_bundle import make_bundle
from VoxelAdvSegLib.bundle import write_bundle
from VoxelAdvSegLib.cli import job_segment
from VoxelAdvSegLib.cli.job_segment import PREDICTION, segment_here
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.volume import read_geometry
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.protocol import CONTROL, STOP, SegmentCase, SegmentRequest, write_order
from VoxelAdvSegLib.jobs.segment import SegmentJob
from VoxelAdvSegLib.jobs.vocabulary import EVENTS, misfits


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, of liver and kidney, with discriminator."""
    folder = tmp_path_factory.mktemp("models") / "first"
    write_bundle(folder, make_bundle(stride="16,16,16"), "")
    return folder


def queue(model: Path, data: Path, output: Path, *names: str, **changes: object) -> SegmentRequest:
    cases = tuple(SegmentCase(name, str(data / "images" / f"{name}.nii.gz"), str(output / name)) for name in names)
    return SegmentRequest(str(model), cases, threads=1, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tiny_scans: Path) -> Path:
    return tiny_scans.parent


def test_a_queue_from_beginning_to_end(bench: Bench, real: Interpreter, model: Path, data: Path, tmp_path: Path):
    job = bench.start(SegmentJob, queue(model, data, tmp_path / "Ergebnis ö", "c", "gone", "d"), real)
    events = pump_to_end(job)
    for event in events:
        assert misfits("segment", event) == [], event
    assert {e["type"] for e in events} >= set(EVENTS["segment"]) - {"message", "error", "heartbeat"}
    assert job.state is JobState.FINISHED and job.failure is None and job.device == "cpu" and job.progress == 1.0
    assert {name: case.state for name, case in job.cases.items()} == {"c": "done", "gone": "failed", "d": "done"}
    assert job.cases["gone"].failure.what == "There is no such file." and job.cases["gone"].failure.do
    case = job.cases["c"]
    assert set(case.volumes_ml) == set(case.confidence) == set(case.organ_scores) == {"liver", "Left_Kidney"}
    assert set(case.looks_labeled_mean) == {"liver", "Left_Kidney", "all organs"}
    assert 0 <= case.score <= 1 and case.reason.endswith(".") and case.fraction == 1 and case.seconds > 0
    files = {file.name for file in case.output.iterdir()}
    assert files == {"segmentation.seg.nrrd", "looks_labeled.nii.gz", "prediction.json"}
    assert read_geometry(case.output / "segmentation.seg.nrrd") == read_geometry(data / "images" / "c.nii.gz")
    about = json.loads((case.output / PREDICTION).read_text(encoding="utf-8"))
    assert (about["case"], about["model"], about["score"]) == ("c", "first", case.score)
    label = sitk.GetArrayFromImage(sitk.ReadImage(case.output / "segmentation.seg.nrrd"))
    looks = sitk.GetArrayFromImage(sitk.ReadImage(case.output / "looks_labeled.nii.gz"))
    for organ in make_bundle().organs:
        assert about["volumes_ml"][organ.name] == pytest.approx(np.sum(label == organ.value) / 1000)
    assert about["looks_labeled_mean"]["all organs"] == pytest.approx(looks[label > 0].mean(), abs=1e-5)
    assert not list(tmp_path.rglob("*partial*"))


def follow_here(folder: Path, request: SegmentRequest) -> list[dict]:
    """The queue in this process; its events."""
    folder.mkdir(exist_ok=True)
    assert segment_here(folder, request) == 0
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def states(events: list[dict]) -> list[tuple[str, str]]:
    return [(e["case"], e["state"]) for e in events if e["type"] == "case"]


def test_a_case_may_be_skipped_before_and_while_it_is_worked_on(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`c` is not wanted from the beginning, `d` no more when its first window is done."""
    monkeypatch.setattr(job_segment, "LOOK_SECONDS", 0.0)
    (tmp_path / CONTROL).write_text('{"skip": ["c"]}')
    progress = job_segment._Queue._progress

    def wish(self, case: SegmentCase, phase: str, fraction: float, at_once: bool = False) -> None:
        progress(self, case, phase, fraction, at_once)
        if case.id == "d" and 0 < fraction < 1:
            (tmp_path / CONTROL).write_text('{"skip": ["c", "d"]}')

    monkeypatch.setattr(job_segment._Queue, "_progress", wish)
    events = follow_here(tmp_path, queue(model, data, tmp_path / "out", "c", "d", "e"))
    assert states(events) == [("c", "skipped"), ("d", "started"), ("d", "skipped"), ("e", "started"), ("e", "done")]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["e"]
    assert events[-1]["reason"] == "finished" and [events[-1][k] for k in ("done", "skipped", "failed")] == [1, 2, 0]
    assert [e["done"] for e in events if e["type"] == "case"] == [1, 1, 2, 2, 3]


def test_a_stop_ends_the_queue_and_keeps_what_is_done(model: Path, data: Path, tmp_path: Path):
    (tmp_path / STOP).touch()
    events = follow_here(tmp_path, queue(model, data, tmp_path / "out", "c", "d"))
    assert states(events) == [] and events[-1]["reason"] == "stopped"


def test_a_full_disk_or_a_lack_of_memory_is_one_cases_failure(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from VoxelAdvSegLib.inference.segment import Segmenter

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c").write_text("a file where the folder should be")
    segment, scans = Segmenter.segment, []

    def short_of_memory(self, volume, *arguments, **named):
        scans.append(volume)
        if len(scans) == 2:
            raise MemoryError("no room")
        return segment(self, volume, *arguments, **named)

    monkeypatch.setattr(Segmenter, "segment", short_of_memory)
    events = follow_here(tmp_path, queue(model, data, tmp_path / "out", "c", "d", "e"))
    ends = [e for e in events if e["type"] == "case" and e["state"] != "started"]
    assert [e["state"] for e in ends] == ["failed", "failed", "done"]
    assert ends[0]["do"] and "MemoryError" in ends[1]["text"]


def test_a_card_with_too_little_memory_is_left_for_the_cpu(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    from VoxelAdvSegLib.inference.segment import Segmenter

    segment, asked = Segmenter.segment, []

    def on_a_small_card(self, *arguments, **named):
        asked.append(self)
        if len(asked) == 1:
            self.device = torch.device("cuda:0")  # as if it were
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return segment(self, *arguments, **named)

    monkeypatch.setattr(Segmenter, "segment", on_a_small_card)
    events = follow_here(tmp_path, queue(model, data, tmp_path / "out", "c", "d"))
    assert [state for _, state in states(events)] == ["started", "done", "started", "done"]
    assert [e["level"] for e in events if e["type"] == "message"] == ["warning"]
    assert asked[1].device.type == asked[2].device.type == "cpu" and asked[1] is asked[2]


def test_without_discriminator_there_is_no_map_and_an_old_one_goes(data: Path, tmp_path: Path):
    bundle = make_bundle(stride="16,16,16")
    del bundle.weights["discriminator"]  # type: ignore[attr-defined]
    write_bundle(tmp_path / "plain", bundle, "")
    old = tmp_path / "out" / "c" / "looks_labeled.nii.gz"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier model")
    events = follow_here(tmp_path, queue(tmp_path / "plain", data, tmp_path / "out", "c"))
    done = next(e for e in events if e["type"] == "case" and e["state"] == "done")
    assert not old.exists() and done["looks_labeled_mean"] == {} and 0 <= done["score"] <= 1


def test_no_model_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By the command itself, as a child runs it."""
    monkeypatch.setattr(os, "nice", lambda by: 0)  # this process is the tests' own
    write_order(tmp_path / "job", queue(tmp_path / "none", data, tmp_path / "out", "c"))
    assert main(["job", str(tmp_path / "job")]) == 2
    job = SegmentJob.attach(tmp_path / "job")
    job.poll()
    events = [json.loads(line) for line in (tmp_path / "job" / "events.jsonl").read_text().splitlines()]
    assert [e["type"] for e in events] == ["job", "error"] and "no model" in events[-1]["what"]
    assert job.state is JobState.FAILED and "no model" in job.failure.what and job.cases["c"].state == "waiting"


def test_a_bug_is_told_with_its_traceback(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(os, "nice", lambda by: 0)
    monkeypatch.setattr(job_segment, "segment_here", lambda folder, request: [][1])
    write_order(tmp_path / "job", queue(tmp_path / "none", data, tmp_path / "out", "c"))
    assert main(["job", str(tmp_path / "job")]) == 2
    assert "Traceback" in capsys.readouterr().err
    job = SegmentJob.attach(tmp_path / "job")
    job.poll()
    assert job.state is JobState.FAILED and "IndexError" in job.failure.why


def test_the_command_line_tells_the_same(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    events = follow_here(tmp_path, queue(model, data, tmp_path / "out", "c"))
    done = next(e for e in events if e["type"] == "case" and e["state"] == "done")
    words = ["--model", str(model), "--input", str(data / "images" / "c.nii.gz"), "--output", str(tmp_path / "cli")]
    assert main(["segment", *words, "--discriminator-map"]) == 0
    (entry,) = json.loads((tmp_path / "cli" / "segmentation.json").read_text())
    assert entry["reason"] == done["reason"] and entry["score"] == done["score"]
    assert entry["volume_ml"] == pytest.approx(done["volumes_ml"])
    assert entry["confidence"]["liver"] == pytest.approx(done["confidence"]["liver"], rel=1e-4)
    assert f"certainty {done['score']:.2f} of 1: {done['reason']}" in capsys.readouterr().out


# --- the parent's side -----------------------------------------------------------------------------

TWO = SegmentRequest("m", (SegmentCase("a", "a.nii", "out/a"), SegmentCase("b", "b.nii", "out/b")))


def case_event(case: str, state: str, **facts: object) -> dict:
    return {"type": "case", "case": case, "state": state, "done": 0, "total": 2, **facts}


DONE_FACTS = {
    "seconds": 30.0, "volumes_ml": {"liver": 3.0}, "looks_labeled_mean": {}, "confidence": {}, "organ_scores": {},
    "score": 0.5, "reason": "Because.",
}  # fmt: skip


def test_progress_and_time_left_follow_the_queue(bench: Bench):
    job = bench.play(
        ["event", JOB_EVENT], ["event", case_event("a", "started")],
        ["event", {"type": "progress", "case": "a", "phase": "segmenting", "fraction": 0.5}], ["wait for", "1"],
        ["event", case_event("a", "done", **DONE_FACTS)], ["event", case_event("b", "started")],
        ["event", {"type": "progress", "case": "b", "phase": "segmenting", "fraction": 0.5}],
        ["event", {"type": "progress", "case": "stranger", "phase": "segmenting", "fraction": 0.5}], ["wait for", "2"],
        ["event", {"type": "end", "reason": "stopped", "done": 1, "skipped": 0, "failed": 0}],
        kind=SegmentJob, request=TWO,
    )  # fmt: skip
    pump(job, lambda: job.progress == 0.25)
    assert job.state is JobState.RUNNING and job.current == "a" and job.seconds_left is None
    (job.folder / "1").touch()
    pump(job, lambda: job.progress == 0.75)
    assert job.current == "b" and 14 < job.seconds_left <= 15
    (job.folder / "2").touch()
    pump_to_end(job)
    assert job.state is JobState.FINISHED and job.cases["b"].state == "skipped" and job.current is None
    assert len(job.warnings) == 1  # of the stranger


def test_wishes_to_skip_add_up(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["wait for", "go"], kind=SegmentJob, request=TWO)
    job.skip(["b"])
    job.skip(["a"])
    assert job_segment.wished_skips(job.folder) == {"a", "b"}
    (job.folder / CONTROL).write_text("{")
    assert job_segment.wished_skips(job.folder) == frozenset()


def test_a_dead_queue_says_which_case_it_was_at(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["event", case_event("a", "started")], ["exit", 139], kind=SegmentJob,
                     request=TWO)  # fmt: skip
    pump_to_end(job)
    assert job.state is JobState.FAILED and job.cases["a"].state == "failed" and job.cases["b"].state == "waiting"
    assert job.cases["a"].failure is job.failure and "crashed" in job.failure.why
