"""Two processes are one with all the patches, whatever the method; they stop, resume and fail as one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.training import joint_worker
from Testing.training.conftest import write_manifest, write_scan
from Testing.training.joint_worker import RUN, VARIANTS, stopper, two_steps
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.data.sampling import PatchPlan
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.networks.device import choose_device
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.checkpoint import read_tensors
from VoxelAdvSegLib.training.events import read_events
from VoxelAdvSegLib.training.parallel import Team, check_shares
from VoxelAdvSegLib.training.session import Request, train

REPOSITORY = Path(__file__).resolve().parents[2]
# Of a weight's way from its start. Sums are rounded in another order; a share left out would be of order 1.
TOLERANCE = 5e-3


def launch(task: str, folder: Path) -> subprocess.Popen:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [sys.executable, *words, str(Path(joint_worker.__file__)), task, str(folder)],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have left: weights of every variant, and two runs of which one process made a half."""
    folder = tmp_path_factory.mktemp("together")
    for seed, name in enumerate("abcdef"):
        write_scan(folder / "data", name, seed, labeled=name in "abf")
    manifest = write_manifest(folder / "data")
    train(Request(manifest, folder / "one-two", overrides=RUN), stopper(folder / "one-two"))
    process = launch("all", folder)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.usefixtures("one_thread")
def test_two_processes_move_the_weights_as_one_does(together: Path, variant: str):
    alone, terms = two_steps(variant, Team())
    start, _ = two_steps(variant, Team(), steps=0)
    joint, about = read_tensors(together / f"{variant}.safetensors")
    assert about["terms"] == sorted(terms)
    # Its discriminator drops channels: the masks of two processes are the same ones in another order.
    left_out = ("discriminator.",) if variant == "sassnet" else ()
    compared = [k for k, v in alone.items() if v.is_floating_point() and not k.startswith(left_out)]
    way = max(float((alone[k] - start[k]).abs().max()) for k in compared)
    error = max(float((alone[k] - joint[k]).abs().max()) for k in compared)
    assert way > 1e-3 and error < TOLERANCE * way, (way, error)


@pytest.mark.usefixtures("one_thread")
def test_half_of_the_patches_would_be_seen(together: Path):
    """The tolerance tells: what one of the two would have done alone is far from what both did."""
    half, _ = two_steps("supervised", Team(), patches_of=Team(0, 2))
    start, _ = two_steps("supervised", Team(), steps=0)
    joint, _ = read_tensors(together / "supervised.safetensors")
    way = max(float((half[k] - start[k]).abs().max()) for k in half)
    assert max(float((half[k] - joint[k]).abs().max()) for k in half) > 20 * TOLERANCE * way


def test_a_run_goes_on_with_another_number_of_processes(together: Path):
    manifest = together / "data" / "dataset.json"
    train(Request(manifest, together / "start", overrides={**RUN, "steps": 1, "lr": 1e-9}))
    start = read_tensors(together / "start" / "checkpoints" / "last.safetensors")[0]
    train(Request(manifest, together / "straight", overrides=RUN))
    assert train(Request(manifest, together / "two-one", resume=True)).step == 6
    expected = read_tensors(together / "straight" / "checkpoints" / "last.safetensors")[0]
    for run in ("two-one", "one-two"):
        found = read_tensors(together / run / "checkpoints" / "last.safetensors")[0]
        assert found.keys() == expected.keys()
        weights = [name for name in expected if name.startswith("network.student")]
        way = max(float((expected[name] - start[name]).abs().max()) for name in weights)
        error = max(float((expected[name] - found[name]).abs().max()) for name in weights)
        assert way > 1e-4 and error < 5 * TOLERANCE * way, (run, way, error)
        events = [event for event, _ in read_events(together / run / "events.jsonl")]
        assert {event["processes"] for event in events if event["type"] == "start"} == {1, 2}
        # One voice: every step is told once.
        steps = [event["step"] for event in events if event["type"] == "step"]
        assert len(steps) == len(set(steps)) and [e["type"] for e in events].count("end") == 2


def test_a_failure_of_one_ends_all_and_is_said_once(tmp_path: Path):
    process = launch("fail", tmp_path)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert said.count("InputError: scan 7 cannot be read") == 1


def test_shares_are_the_patches_of_one_process():
    generator = np.random.default_rng(0)
    labeled = [
        LabeledArrays(
            f"l{i}",
            generator.normal(size=(20, 24, 28)).astype("f2"),
            generator.integers(0, 3, (20, 24, 28)).astype("u1"),
            str(i),
        )
        for i in range(3)
    ]
    unlabeled = [UnlabeledArrays(f"u{i}", generator.normal(size=(20, 24, 28)).astype("f2"), str(i)) for i in range(5)]
    plan = PatchPlan((16, 16, 16), "mild", (1.0, 1.0, 1.0), (False, False, True))

    def batch(rank: int, processes: int):
        return Batches(labeled, unlabeled, plan, 0.5, 3, torch.device("cpu"), rank, processes).at(7, 4, 8)

    whole, parts = batch(0, 1), [batch(rank, 2) for rank in range(2)]
    for name in ("labeled", "label", "unlabeled", "labeled_case"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_what_processes_cannot_share_is_refused_by_name():
    check_shares(resolve("auto", {"batch_labeled": 4, "batch_unlabeled": 8}), 4)
    with pytest.raises(ConfigError, match="4 processes cannot share 2 patches") as problem:
        check_shares(resolve("auto", {"batch_labeled": 2}), 4)
    assert "batch_labeled=4" in str(problem.value)
    with pytest.raises(ConfigError, match="2 patches cannot go through the network in 2 equal parts"):
        check_shares(resolve("auto", {"batch_labeled": 2, "accumulate": 2}), 2)
    with pytest.raises(ConfigError, match="pseudo_quantile is for one process"):
        check_shares(resolve("auto", {"pseudo_quantile": 0.5}), 2)
    assert choose_device("cpu", 1, 2) == torch.device("cpu")
    with pytest.raises(ConfigError, match="device of its own"):
        choose_device("cuda:0", 1, 2)
