"""Everything a step depends on, in one file that is whole or absent. No pickle."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods.contract import Player

VERSION = 1


def save_checkpoint(
    path: Path, networks: nn.ModuleDict, players: Mapping[str, Player], progress: Mapping[str, Any]
) -> None:
    """Networks, optimizers and progress (JSON) at `path`, replaced in one move."""
    tensors = {f"network.{name}": value for name, value in networks.state_dict().items()}
    for name, player in players.items():
        tensors |= {f"optimizer.{name}.{key}": value for key, value in _optimizer_tensors(player).items()}
    save_tensors(path, tensors, {"version": VERSION, "progress": dict(progress)})


def load_checkpoint(path: Path, networks: nn.ModuleDict, players: Mapping[str, Player]) -> dict[str, Any]:
    """Fills networks and optimizers in place and returns the progress.

    Raises RunError when the file is damaged, or was made by another version or method.
    """
    tensors, about = read_tensors(path)
    own = networks.state_dict()
    found = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    if about.get("version") != VERSION or {k: v.shape for k, v in own.items()} != {
        k: v.shape for k, v in found.items()
    }:
        raise RunError(
            "the checkpoint does not fit this run",
            file=path,
            expected=f"version {VERSION} with the networks of this configuration",
            found=f"version {about.get('version')}, {len(found)} tensors (this run has {len(own)})",
            do="resume with the version and settings that began the run, or start a new run folder",
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found[name])
    try:
        for name, player in players.items():
            prefix = f"optimizer.{name}."
            _fill_optimizer(player, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        return dict(about["progress"])
    except (LookupError, ValueError, TypeError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """A safetensors file with a JSON header entry, written beside and then moved into place.

    Raises RunError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")  # one name: what a killed run leaves is overwritten
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        path.parent.mkdir(exist_ok=True)  # no more than that: a run folder that was moved is not begun anew
        save_file(plain, temporary, metadata={"about": json.dumps(about)})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(
            "the weights could not be saved",
            file=path,
            expected="a folder with room and the right to write",
            found=str(error),
            do="free some space; the last saved state is untouched, so go on with --resume",
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON header entry of a file; raises RunError when it is not readable."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            if not isinstance(about, dict):
                raise ValueError("a description that is no table")
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(path, str(error) or "nothing") from error


def _unreadable(path: Path, found: str) -> RunError:
    return RunError(
        "the weights are not readable",
        file=path,
        expected="a whole safetensors file",
        found=found[:300],
        do="use another checkpoint or model",
    )


def _optimizer_tensors(player: Player) -> dict[str, Tensor]:
    return {
        f"{index}.{key}": value
        for index, parameter in enumerate(player.parameters)
        for key, value in player.optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _fill_optimizer(player: Player, tensors: Mapping[str, Tensor]) -> None:
    player.optimizer.state.clear()
    parameters = player.parameters
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape != parameter.shape and value.numel() != 1:
            raise ValueError(f"a moment of shape {tuple(value.shape)} for {tuple(parameter.shape)} weights")
        # Moments lie in memory as their parameter does; the step counter stays where torch keeps it.
        place = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.clone()
        player.optimizer.state[parameter][key] = place
