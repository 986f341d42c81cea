"""Optimizers and precision, from the configuration (rows 10, 55 to 58)."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.methods.contract import Player
from VoxelAdvSegLib.schedule import learning_rate


def make_student_player(config: Config, parameters: list[nn.Parameter]) -> Player:
    t = config.training
    optimizer: torch.optim.Optimizer
    if t.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, t.lr, momentum=t.momentum, weight_decay=t.weight_decay)
    elif t.optimizer == "adam":
        optimizer = torch.optim.Adam(parameters, t.lr, betas=t.betas, weight_decay=t.weight_decay)
    else:
        optimizer = torch.optim.AdamW(parameters, t.lr, betas=t.betas, weight_decay=t.weight_decay)
    return Player(
        optimizer,
        lambda step, total: learning_rate(step, total, t.lr, t.lr_schedule),
        clip=t.grad_clip,
        scaled=True,
    )


def make_discriminator_player(config: Config, parameters: list[nn.Parameter]) -> Player:
    a, t = config.adversarial, config.training
    schedule = t.lr_schedule if a.disc_lr_schedule == "follow" else "constant"
    optimizer = torch.optim.Adam(parameters, a.disc_lr, betas=a.disc_betas)
    return Player(optimizer, lambda step, total: learning_rate(step, total, a.disc_lr, schedule))


def make_opponent_player(config: Config, parameters: list[nn.Parameter]) -> Player:
    """The discriminator of a comparison method (SASSNet, DAP)."""
    c = config.comparison
    return Player(
        torch.optim.Adam(parameters, c.opponent_lr, betas=c.opponent_betas), lambda step, total: c.opponent_lr
    )


def precision(config: Config, device: torch.device) -> torch.dtype | None:
    """Half type of the network's forward, or None for fp32 (row 58: off on the CPU unless asked for).

    Raises ConfigError where the device cannot: on the CPU bf16 needs a processor with instructions for it.
    """
    amp = config.training.amp
    if device.type == "cpu":
        if amp in ("auto", "off"):
            return None
        if amp == "fp16" or not cpu_computes_bf16():
            raise ConfigError(
                "this processor does not compute in half precision",
                expected="amp=auto or amp=off" + (", or amp=bf16" if cpu_computes_bf16() else ""),
                found=f"amp={amp} on the CPU",
                do="set amp=auto",
            )
        return torch.bfloat16
    if amp == "off":
        return None
    if amp == "bf16" or (amp == "auto" and torch.cuda.is_bf16_supported(including_emulation=False)):
        return torch.bfloat16
    return torch.float16


def cpu_computes_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512_BF16 or AMX); False under a torch that cannot say."""
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def autocast(config: Config, device: torch.device) -> contextlib.AbstractContextManager:
    kind = precision(config, device)
    return contextlib.nullcontext() if kind is None else torch.autocast(device.type, kind)
