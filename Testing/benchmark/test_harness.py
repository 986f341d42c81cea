"""What runs, what is skipped, what a failure and an interruption leave (method.md, test 40)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from Testing.benchmark.conftest import plant, random_dice
from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.benchmark.harness import check_length, run_benchmark
from VoxelAdvSegLib.benchmark.one_run import run_one
from VoxelAdvSegLib.benchmark.plan import Benchmark, Run, read_benchmark, write_benchmark
from VoxelAdvSegLib.benchmark.rows import parse_rows
from VoxelAdvSegLib.bundle import read_bundle
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.errors import ConfigError, InputError, RunError
from VoxelAdvSegLib.training.checkpoint import read_tensors

# A child that notes its call, and writes a result unless a file tells it to fail.
FAKE = """
import json, sys
from pathlib import Path
from VoxelAdvSegLib.benchmark.plan import find_run, read_benchmark
folder, row, seed = sys.argv[1:]
run = find_run(read_benchmark(Path(folder)), row, int(seed))
with (Path(folder) / "calls.txt").open("a") as calls:
    calls.write(f"{row} {seed}\\n")
if (Path(folder) / f"fail_{row}").exists():
    print("RunError: planted\\n  do        nothing", file=sys.stderr)
    sys.exit(2)
run.result.parent.mkdir(parents=True, exist_ok=True)
run.result.write_text(json.dumps({"mean": {"dice": 0.5}, "run": {"steps": 6, "weights_of_step": 6}}))
"""


@pytest.fixture
def fake(tmp_path: Path) -> list[str]:
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return [sys.executable, str(script)]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def calls(benchmark: Benchmark) -> list[str]:
    file = benchmark.folder / "calls.txt"
    return sorted(file.read_text().splitlines()) if file.exists() else []


@pytest.mark.parametrize("parallel", [1, 2])
def test_what_is_done_is_skipped_and_what_failed_is_tried_again(make_benchmark, fake, parallel):
    benchmark = make_benchmark()
    benchmark.folder.joinpath("fail_supervised").touch()
    said: list[str] = []
    tally = run_benchmark(benchmark, said.append, parallel, fake)
    assert (len(tally.done), len(tally.skipped), len(tally.failed)) == (2, 0, 2)
    assert all("RunError: planted" in words for _, words in tally.failed)
    assert any("RunError: planted" in text for text in said)
    benchmark.folder.joinpath("fail_supervised").unlink()
    tally = run_benchmark(benchmark, said.append, parallel, fake)
    assert (len(tally.done), len(tally.skipped), len(tally.failed)) == (2, 2, 0)
    assert calls(benchmark) == sorted(["supervised 0", "supervised 1"] * 2 + ["mean_teacher 0", "mean_teacher 1"])
    assert len(run_benchmark(benchmark, said.append, parallel, fake).skipped) == 4


def test_rows_and_seeds_may_be_added_and_nothing_else_changed(make_benchmark, fake):
    run_benchmark(make_benchmark("supervised", (0,)), lambda text: None, 1, fake)
    more = make_benchmark("supervised,ua_mt", (0, 1))
    assert len(run_benchmark(more, lambda text: None, 1, fake).done) == 3
    assert [row.name for row in read_benchmark(more.folder).rows] == ["supervised", "ua_mt"]
    with pytest.raises(RunError, match="another kind") as caught:
        make_benchmark(steps=7)
    assert "steps 6" in str(caught.value) and "steps 7" in str(caught.value)
    with pytest.raises(RunError, match="another kind"):
        make_benchmark(settings={"lr": "1"})


def test_what_cannot_be_run_is_told_before_anything_runs(make_benchmark, fake):
    with pytest.raises(InputError, match="cannot be scored"):
        run_benchmark(make_benchmark(split="test"), lambda text: None, 1, fake)
    with pytest.raises(ConfigError, match="uamt_passes"):
        run_benchmark(
            make_benchmark("ua_mt[uamt_passes=none]", split="test"), lambda text: None, 1, fake
        )  # fmt: skip
    for steps, minutes in ((None, None), (3, 2.0), (0, None), (None, -1.0)):
        with pytest.raises(ConfigError, match="length"):
            check_length(steps, minutes)
    check_length(3, None)


def test_scores_of_other_weights_than_the_last_are_refused(make_benchmark):
    benchmark = make_benchmark("supervised", (0,))
    plant(benchmark, {"supervised": random_dice(1)}, weights_of_step=4)
    with pytest.raises(RunError, match="not that of its last step") as caught:
        next(benchmark.runs()).read_result()
    assert "step 4" in str(caught.value)
    next(benchmark.runs()).result.write_text("{")
    with pytest.raises(RunError, match="not readable"):
        next(benchmark.runs()).read_result()


def test_there_is_no_benchmark(tmp_path):
    with pytest.raises(RunError, match="no benchmark"):
        read_benchmark(tmp_path)
    (tmp_path / "benchmark.json").write_text('{"format": 99}')
    with pytest.raises(RunError, match="format 99"):
        read_benchmark(tmp_path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    for seed, name in enumerate("abcdef"):
        write_scan(folder, name, seed, labeled=name in "abf")
    return write_manifest(folder)


def real(tiny: Path, folder: Path, **settings: object) -> Run:
    own = {key: str(value) for key, value in {**TINY, "bn_recalibrate": 0, **settings}.items()}
    rows = parse_rows("mean_teacher[mt_weight=0.2]")
    benchmark = Benchmark(folder, tiny, rows, [0], steps=6, settings=own, device="cpu")
    return next(write_benchmark(benchmark).runs())


def test_a_better_earlier_checkpoint_is_not_used(tiny: Path, tmp_path: Path):
    """With steps too small to change a prediction the first validation stays the best one."""
    run = real(tiny, tmp_path, validate_every=2, checkpoint="best", lr=1e-6, eval_model="student")
    report = run_one(run)
    best, last = (read_tensors(run.folder / "checkpoints" / f"{n}.safetensors")[0] for n in ("best", "last"))
    shipped = read_bundle(run.folder / "model").weights["student"]
    name = "network.student.blocks.0.0.weight"
    assert not torch.equal(best[name], last[name])
    assert torch.equal(shipped["blocks.0.0.weight"], last[name])
    assert report["run"]["weights_of_step"] == report["run"]["steps"] == 6
    assert read_bundle(run.folder / "model").config.comparison.mt_weight == 0.2
    assert run.read_result() == json.loads(run.result.read_text())
    assert {"ball", "pebble"} == set(report["cases"][0]["organs"])
    assert (run.predictions / "f.nii.gz").exists() and run.features.exists()


def test_a_stopped_training_goes_on_and_is_not_scored(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = real(tiny, tmp_path)

    def stop_at_once(event: dict) -> None:
        if event["type"] == "step":
            (run.folder / "STOP").touch()

    monkeypatch.setattr("VoxelAdvSegLib.benchmark.one_run._say", stop_at_once)
    with pytest.raises(RunError, match="stopped before its end"):
        run_one(run)
    assert run.read_result() is None and (run.folder / "model").exists()
    monkeypatch.undo()
    report = run_one(run)
    assert report["run"]["steps"] == 6


def test_ctrl_c_lets_the_child_save_and_the_same_command_goes_on(tiny: Path, tmp_path: Path):
    # Runners in the background ignore Ctrl-C, and children inherit that.
    listen = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from VoxelAdvSegLib.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", listen, "benchmark", "run", "--data", str(tiny), "--methods", "supervised"]
    settings = [f"--set={key}={value}" for key, value in {**TINY, "bn_recalibrate": 0}.items()]
    words += ["--output", str(tmp_path / "out"), "--device", "cpu", "--steps", "100000", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    events = tmp_path / "out" / "runs" / "supervised" / "seed_0" / "events.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not (events.exists() and '"type": "step"' in events.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output = process.communicate(timeout=100)[0].decode()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    run = next(read_benchmark(tmp_path / "out").runs())
    assert run.read_result() is None
    assert (run.folder / "checkpoints" / "last.safetensors").exists()
    assert "stopped before its end" in run.log.read_text()


def test_the_command_runs_a_child_and_says_what_came_of_it(tiny: Path, tmp_path: Path, capsys):
    settings = [f"--set={key}={value}" for key, value in {**TINY, "bn_recalibrate": 0}.items()]
    words = ["benchmark", "run", "--data", str(tiny), "--methods", "supervised", "--steps", "2", *settings]
    words += ["--output", str(tmp_path / "out"), "--device", "cpu", "--scanner-shift", "0.5"]
    assert main(words) == 0
    assert "1 runs done" in capsys.readouterr().out
    assert main(words) == 0
    assert "1 done before" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "results" / "supervised" / "seed_0.json").read_text())
    assert report["run"]["labeled_scans"] == 2
    shifted = read_benchmark(tmp_path / "out").data
    assert shifted.parent.name == "data_shift_0.5"
    assert main([*words[:-1], "1.0"]) == 2  # another shift is another benchmark
    assert "another kind" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["", "a", "0,0", "-1", "0.5"])
def test_seeds_are_numbers(tiny, tmp_path, capsys, seeds):
    words = ["benchmark", "run", "--data", str(tiny), "--methods", "supervised", "--steps", "2"]
    assert main([*words, "--output", str(tmp_path / "out"), f"--seeds={seeds}"]) == 2
    assert "seeds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_running_and_reporting_need_no_torch_of_their_own():
    """The parent of the children stays small; only they load torch."""
    modules = ["harness", "report", "plan", "tables", "charts", "overlays", "embedding", "scanner_shift"]
    lines = ["import sys", "sys.modules['torch'] = None"]
    lines += [f"import VoxelAdvSegLib.benchmark.{name}" for name in modules]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
