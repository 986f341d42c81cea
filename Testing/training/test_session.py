"""A whole training: what it leaves behind, how it goes on, how it ends, and what it never reads."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.bundle import read_bundle
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.manifest import UnlabeledCase, read_manifest
from VoxelAdvSegLib.errors import BundleError, InputError, RunError
from VoxelAdvSegLib.inference.segment import Segmenter
from VoxelAdvSegLib.training.checkpoint import read_tensors
from VoxelAdvSegLib.training.course import Course
from VoxelAdvSegLib.training.events import read_events
from VoxelAdvSegLib.training.session import Request, train


def settings(**changes: object) -> dict[str, object]:
    return {**TINY, "steps": 12, "checkpoint_every": 4, "gradient_ratio_every": 6, **changes}


def events_of(run: Path) -> list[dict]:
    return [event for event, _ in read_events(run / "events.jsonl")]


def tensors_of(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / "last.safetensors")[0]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_run_leaves_model_diary_previews_and_checkpoints(tiny_data: Path, tmp_path: Path):
    run = tmp_path / "run"
    outcome = train(Request(tiny_data, run, overrides=settings()))
    assert outcome.reason == "finished" and outcome.step == 12
    assert set(outcome.dice) == {"ball", "pebble", "mean"}
    bundle = read_bundle(run / "model")
    assert set(bundle.weights) == {"student", "teacher", "discriminator", "post_discriminator"}
    assert [organ.name for organ in bundle.organs] == ["ball", "pebble"]
    kinds = [event["type"] for event in events_of(run)]
    assert kinds[0] == "start" and kinds[-1] == "end" and {"step", "validation", "preview", "checkpoint"} <= set(kinds)
    steps = [event for event in events_of(run) if event["type"] == "step"]
    # The gate may leave the last steps, which a slow machine tells one by one, without adversarial term.
    terms = {name for event in steps for name in event["terms"]["student"]}
    assert {"dice", "cross_entropy", "pseudo_label", "adversarial", "feature", "consistency"} <= terms
    assert len(steps[-1]["observed"]["accuracy_labeled"]) == 3
    preview = np.load(run / "previews" / "step_000012.npz")
    assert preview["label"].shape == preview["looks_labeled"].shape == preview["image"].shape
    assert (run / "plan.txt").read_text().count("\n") >= 5


def test_the_scale_of_half_precision_goes_on_where_it_was(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """fp16's scaler counts good steps; a resumed run that began it anew would overflow again."""
    monkeypatch.setattr("VoxelAdvSegLib.training.course.precision", lambda config, device: torch.float16)
    run = tmp_path / "run"

    def stop_at_four(event: dict) -> None:
        if event["type"] == "checkpoint" and event["step"] == 4:
            (run / "STOP").touch()

    overrides = settings(method="supervised", steps=8)
    train(Request(tiny_data, run, overrides=overrides), watch=stop_at_four)
    train(Request(tiny_data, run, overrides=overrides, resume=True))
    progress = read_tensors(run / "checkpoints" / "last.safetensors")[1]["progress"]
    assert progress["step"] == 8 and progress["scaler"]["_growth_tracker"] == 8


def test_the_model_names_no_case_and_no_folder(tiny_data: Path, tmp_path: Path):
    train(Request(tiny_data, tmp_path / "run", overrides=settings(steps=2)))
    text = (tmp_path / "run" / "model" / "model.json").read_text() + (
        tmp_path / "run" / "model" / "README.md"
    ).read_text()
    assert str(tmp_path) not in text and "nii" not in text


@pytest.mark.parametrize("method", ["voxel_adversarial", "supervised"])
def test_a_resumed_run_is_the_unbroken_run_bit_for_bit(tiny_data: Path, tmp_path: Path, method: str):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    overrides = settings(method=method, steps=12, adv_gate="held_out", copy_paste_warmup=0.2)
    train(Request(tiny_data, straight, overrides=overrides))

    def stop_at_four(event: dict) -> None:
        if event["type"] == "checkpoint" and event["step"] == 4:
            (broken / "STOP").touch()

    stopped = train(Request(tiny_data, broken, overrides=overrides), watch=stop_at_four)
    assert stopped.reason == "stopped" and stopped.step == 4
    Segmenter.open(broken, "cpu")
    resumed = train(Request(tiny_data, broken, resume=True))
    assert resumed.step == 12
    assert same(tensors_of(straight), tensors_of(broken))


def test_other_seeds_are_other_runs_and_equal_seeds_equal_runs(tiny_data: Path, tmp_path: Path):
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        train(Request(tiny_data, tmp_path / name, overrides=settings(steps=3, seed=seed)))
    assert same(tensors_of(tmp_path / "first"), tensors_of(tmp_path / "again"))
    assert not same(tensors_of(tmp_path / "first"), tensors_of(tmp_path / "other"))


def test_a_killed_run_resumes_to_the_same_weights(tiny_data: Path, tmp_path: Path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    words = [
        f"--set={k}={v}"
        for k, v in settings(steps=25, checkpoint_every=1, validate_every=25, preview_every=25).items()
        if k != "steps"
    ]
    command = [
        sys.executable,
        "-m",
        "VoxelAdvSegLib",
        "train",
        "--data",
        str(tiny_data),
        "--steps",
        "25",
        *words,
    ]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--run", str(straight)], check=True, capture_output=True, env=one_thread)
    process = subprocess.Popen(
        [*command, "--run", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_thread
    )
    checkpoint = killed / "checkpoints" / "last.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    # Saving after every step, it is likely to be writing when this comes.
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists() and not (killed / "model").exists()
    subprocess.run([*command, "--run", str(killed), "--resume"], check=True, capture_output=True, env=one_thread)
    assert same(tensors_of(straight), tensors_of(killed))


def test_ctrl_c_ends_with_a_usable_model(tiny_data: Path, tmp_path: Path):
    pressed = []

    def interrupt(event: dict) -> None:
        if event["type"] == "checkpoint" and not pressed:
            pressed.append(event["step"])
            signal.raise_signal(signal.SIGINT)

    outcome = train(Request(tiny_data, tmp_path / "run", overrides=settings()), watch=interrupt)
    assert outcome.reason == "stopped" and outcome.step < 12
    Segmenter.open(tmp_path / "run", "cpu")


def test_a_time_budget_is_kept(tiny_data: Path, tmp_path: Path):
    begin = time.monotonic()
    outcome = train(Request(tiny_data, tmp_path / "run", overrides=settings(steps=None, minutes=0.6)))
    assert time.monotonic() - begin < 0.6 * 60
    assert outcome.step > 11
    plans = [event for event in events_of(tmp_path / "run") if event["type"] == "plan"]
    assert len(plans) >= 3
    assert outcome.reason == "finished" and outcome.step == plans[-1]["steps"]  # the schedule came down to its end


def test_the_label_of_an_unlabeled_case_cannot_be_read(tiny_data: Path, tmp_path: Path):
    trap = tiny_data.parent / "labels" / "trap.nii.gz"
    os.mkfifo(trap)  # whoever opens it waits for ever
    entries = [{"image": f"images/{n}.nii.gz", "label": "labels/trap.nii.gz"} for n in "cde"]
    manifest = write_manifest(tiny_data.parent, unlabeled=entries)
    train(Request(manifest, tmp_path / "run", overrides=settings(steps=2)))
    assert not hasattr(read_manifest(manifest).unlabeled[0], "label")
    assert set(UnlabeledCase.__dataclass_fields__) == {"name", "image"}


def test_fine_tuning_keeps_known_organs_and_adds_new_ones(tiny_data: Path, tmp_path: Path):
    first = write_manifest(tiny_data.parent, labels={"background": 0, "pebble": 2, "ball": 1})
    train(Request(first, tmp_path / "old", overrides=settings(steps=2, lr=1e-9, filters=8)))
    labels = {"0": "background", "1": "ball", "2": "pebble", "3": "crumb"}
    grown = write_manifest(tiny_data.parent, labels=labels)
    wishes = {k: v for k, v in settings(steps=1, lr=1e-9).items() if k != "filters"}
    train(Request(grown, tmp_path / "new", init=tmp_path / "old", overrides=wishes))
    old, new = read_bundle(tmp_path / "old" / "model"), read_bundle(tmp_path / "new" / "model")
    assert new.config.network.filters == 8 and new.recipe == old.recipe
    assert torch.allclose(new.weights["student"]["head.weight"][:3], old.weights["teacher"]["head.weight"], atol=1e-6)
    assert len(new.weights["student"]["head.weight"]) == 4


def test_terms_switched_off_build_nothing(tiny_data: Path, tmp_path: Path):
    off = settings(
        steps=1, adv_weight=0, feature_weight=0, consistency_weight=0, copy_paste="none", eval_model="student"
    )
    train(Request(tiny_data, tmp_path / "run", overrides=off))
    assert {name.split(".")[1] for name in tensors_of(tmp_path / "run") if name.startswith("network.")} == {"student"}
    assert set(read_bundle(tmp_path / "run" / "model").weights) == {"student", "post_discriminator"}


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tiny_data: Path, tmp_path: Path):
    run = tmp_path / "run"
    with pytest.raises(RunError, match="not finite"):
        train(Request(tiny_data, run, overrides=settings(lr=1e30, checkpoint_every=1, steps=30)))
    finite = [torch.isfinite(t).all() for t in tensors_of(run).values() if t.is_floating_point()]
    assert all(finite)
    assert events_of(run)[-1]["type"] == "error" and "not finite" in events_of(run)[-1]["text"]


def test_a_run_folder_serves_one_training(tiny_data: Path, tmp_path: Path):
    run = tmp_path / "run"
    messages = []

    def start_another(event: dict) -> None:
        if event["type"] == "checkpoint" and not messages:
            with pytest.raises(RunError) as caught:
                train(Request(tiny_data, run, resume=True))
            messages.append(str(caught.value))

    train(Request(tiny_data, run, overrides=settings()), watch=start_another)
    assert "in use" in messages[0]
    with pytest.raises(RunError, match="already holds a training"):
        train(Request(tiny_data, run, overrides=settings()))
    with pytest.raises(RunError, match="no run to resume"):
        train(Request(tiny_data, tmp_path / "nothing", resume=True))


def test_a_run_that_cannot_begin_leaves_nothing(tiny_data: Path, tmp_path: Path):
    write_scan(tiny_data.parent, "g", 2, labeled=False)  # the voxels of unlabeled c under another name
    manifest = write_manifest(tiny_data.parent, test=[], unlabeled=["images/c.nii.gz"], validation=[])
    (tiny_data.parent / "labels" / "c.nii.gz").write_bytes((tiny_data.parent / "labels" / "a.nii.gz").read_bytes())
    entries = json.loads(manifest.read_text())["training"] + [{"image": "images/g.nii.gz", "label": "labels/c.nii.gz"}]
    manifest = write_manifest(tiny_data.parent, training=entries)
    with pytest.raises(InputError, match="same scan"):
        train(Request(manifest, tmp_path / "run", overrides=settings()))
    assert not (tmp_path / "run").exists()


def test_an_altered_or_newer_model_is_refused(tiny_data: Path, tmp_path: Path):
    train(Request(tiny_data, tmp_path / "run", overrides=settings(steps=1)))
    model = tmp_path / "run" / "model"
    weights = model / "teacher.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        Segmenter.open(model, "cpu")
    about = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(BundleError) as caught:
        Segmenter.open(model, "cpu")
    assert "format 99" in str(caught.value) and "format 2" in str(caught.value)


def test_the_first_preview_comes_early():
    """Before the first twentieth: after a hundredth of the steps, and after half a minute whatever the steps."""
    unused = dict.fromkeys(
        ("folder", "recipe", "organs", "method", "batches", "labeled", "unlabeled", "validation", "device", "tell")
    )
    course = Course(config=resolve("auto", {}), **unused)  # type: ignore[arg-type]
    course._waits = True
    course.progress.total = 2000

    def due(step: int, seconds: float) -> bool:
        course.progress.step, course.began = step, time.monotonic() - seconds
        return course._preview_is_due()

    assert [step for step in range(1, 301) if due(step, 0)] == [20, 100, 200, 300]
    assert due(7, 31) and not due(7, 29)
    course._waits = False  # one was shown
    assert not due(7, 31) and due(20, 31)
    course.config = resolve("auto", {"preview_every": 50})  # as a person has set it
    assert [step for step in range(1, 120) if due(step, 60)] == [50, 100]
