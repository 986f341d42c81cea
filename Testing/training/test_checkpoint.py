"""Checkpoints: all that a step depends on, whole or absent."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from Testing.training.conftest import TINY
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods.contract import Player
from VoxelAdvSegLib.training.checkpoint import load_checkpoint, read_tensors, save_checkpoint, save_tensors
from VoxelAdvSegLib.training.events import EventWriter, heartbeat, read_events
from VoxelAdvSegLib.training.session import Request, train


def make(width: int = 3, seed: int = 0) -> tuple[nn.ModuleDict, dict[str, Player]]:
    """A student with batch norm under SGD and a discriminator under Adam."""
    torch.manual_seed(seed)
    networks = nn.ModuleDict(
        {
            "student": nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2)),
            "discriminator": nn.Linear(2, 1),
        }
    )
    players = {
        "student": Player(torch.optim.SGD(networks["student"].parameters(), 0.1, momentum=0.9), lambda s, t: 0.1),
        "discriminator": Player(torch.optim.Adam(networks["discriminator"].parameters(), 0.1), lambda s, t: 0.1),
    }
    return networks, players


def learn(networks: nn.ModuleDict, players: dict[str, Player], steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        loss = networks["discriminator"](networks["student"](torch.randn(8, 4))).square().mean()
        for player in players.values():
            player.optimizer.zero_grad()
        loss.backward()
        for player in players.values():
            player.optimizer.step()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_loaded_training_goes_on_bit_for_bit(tmp_path: Path):
    file = tmp_path / "checkpoints" / "last.safetensors"
    networks, players = make()
    learn(networks, players, range(5))
    save_checkpoint(file, networks, players, {"step": 5, "best": None})
    learn(networks, players, range(5, 9))
    others, their_players = make(seed=1)
    assert load_checkpoint(file, others, their_players) == {"step": 5, "best": None}
    learn(others, their_players, range(5, 9))
    for name, value in networks.state_dict().items():
        assert torch.equal(value, others.state_dict()[name]), name
    assert [p.name for p in file.parent.iterdir()] == ["last.safetensors"]


def test_a_checkpoint_before_the_first_step_has_no_moments(tmp_path: Path):
    networks, players = make()
    save_checkpoint(tmp_path / "last.safetensors", networks, players, {"step": 0})
    others, their_players = make(seed=1)
    learn(others, their_players, range(3))  # moments that must be forgotten
    load_checkpoint(tmp_path / "last.safetensors", others, their_players)
    learn(networks, players, range(3))
    learn(others, their_players, range(3))
    assert torch.equal(networks["discriminator"].weight, others["discriminator"].weight)


def test_a_full_disk_keeps_the_old_file(small_disk: Path):
    file = small_disk / "last.safetensors"
    networks, players = make()
    save_checkpoint(file, networks, players, {"step": 1})
    before = file.read_bytes()
    with pytest.raises(RunError, match="could not be saved") as caught:
        save_tensors(file, {"large": torch.zeros(100_000)}, {})
    assert str(file) in str(caught.value) and "--resume" in str(caught.value)
    assert file.read_bytes() == before
    assert [p.name for p in small_disk.iterdir()] == [file.name]  # no half-written file takes the rest
    assert load_checkpoint(file, networks, players) == {"step": 1}


def test_a_full_disk_ends_the_diary_once_and_not_in_the_background(small_disk: Path):
    events = EventWriter(small_disk / "events.jsonl")
    events.write("start")
    (small_disk / "filler").write_bytes(b"x" * 60 * 1024)
    with heartbeat(events, seconds=0.01), pytest.raises(OSError, match="space"):
        for _ in range(100):
            events.write("message", text="x" * 1000)
    events.close()
    assert next(event["type"] for event, _ in read_events(small_disk / "events.jsonl")) == "start"


def test_a_training_on_a_full_disk_ends_in_words(small_disk: Path, tiny_data: Path):
    (small_disk / "filler").write_bytes(b"x" * 50 * 1024)
    with pytest.raises(RunError, match="could not be written") as caught:
        train(Request(tiny_data, small_disk / "run", overrides={**TINY, "steps": 1}))
    assert "space" in str(caught.value)
    assert not (small_disk / "run").exists()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    networks, players = make()
    with pytest.raises(RunError, match="could not be saved"):
        save_checkpoint(tmp_path / "file" / "last.safetensors", networks, players, {})


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path):
    networks, players = make()
    file = tmp_path / "last.safetensors"
    (tmp_path / ".last.safetensors.partial").write_bytes(b"half of it")
    save_checkpoint(file, networks, players, {})
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_other_networks_are_refused_and_left_alone(tmp_path: Path):
    file = tmp_path / "last.safetensors"
    save_checkpoint(file, *make(width=3), {"step": 1})
    wider, players = make(width=5)
    before = {k: v.clone() for k, v in wider.state_dict().items()}
    with pytest.raises(RunError, match="does not fit"):
        load_checkpoint(file, wider, players)
    assert all(torch.equal(before[k], v) for k, v in wider.state_dict().items())
    fewer = nn.ModuleDict({"student": make()[0]["student"]})
    with pytest.raises(RunError, match="does not fit"):
        load_checkpoint(file, fewer, {})


@pytest.mark.parametrize("damage", ["cut", "junk", "empty", "missing"])
def test_a_damaged_file_is_told(tmp_path: Path, damage: str):
    file = tmp_path / "last.safetensors"
    networks, players = make()
    save_checkpoint(file, networks, players, {})
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"cut": whole[:-20], "junk": b"junk" * 50, "empty": b""}[damage])
    with pytest.raises(RunError, match="not readable"):
        read_tensors(file)


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path):
    networks, players = make()
    tensors = {f"network.{k}": v for k, v in networks.state_dict().items()}
    save_tensors(tmp_path / "last.safetensors", tensors, {"version": 2, "progress": {}})
    with pytest.raises(RunError, match="does not fit") as caught:
        load_checkpoint(tmp_path / "last.safetensors", networks, players)
    assert "version 2" in str(caught.value) and "version 1" in str(caught.value)
