"""One step of any method: the loop knows players and terms, and never asks which method runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods.contract import Batch, Method, Player, Term
from VoxelAdvSegLib.networks.joint import average, average_gradients

SUPERVISED_TERMS = ("dice", "cross_entropy", "focal")  # what the gradients of other terms are compared with
SEED_STRIDE = 1_000_003  # keeps the random streams of neighbouring seeds apart


@dataclass
class StepReport:
    """What a step did: value and weight of every term per player, observed values, learning rates."""

    terms: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    observed: dict[str, Tensor | float] = field(default_factory=dict)
    lr: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)


def take_step(
    method: Method,
    batch: Batch,
    step: int,
    total: int,
    seed: int,
    scaler: torch.amp.GradScaler,
    measure_ratios: bool = False,
) -> StepReport:
    """Every player's turn, then what the method moves itself.

    Random numbers depend on seed and step alone, so a resumed run draws what it would have drawn.
    Raises RunError when an objective or its gradient is not finite; nothing is moved by that turn.
    """
    torch.manual_seed(seed * SEED_STRIDE + step)
    report = StepReport()
    for turn in method.turns(batch, step):
        report.observed |= turn.observed
        report.terms.setdefault(turn.player, {}).update({k: t.value.detach() for k, t in turn.terms.items()})
        report.weights |= {k: t.weight for k, t in turn.terms.items()}
        if not turn.terms:
            continue
        if measure_ratios and turn.player == "student":
            # Scaled, or gradients of small terms vanish in fp16; the ratio is the same.
            scaled = {k: Term(scaler.scale(t.value), t.weight) for k, t in turn.terms.items()}
            report.ratios = gradient_ratios(scaled, method.shared_parameters())
            method.note_gradient_ratios(report.ratios)
        player = method.players[turn.player]
        report.lr[turn.player] = _move(player, turn.player, turn.terms, step, total, scaler)
    scaler.update() if scaler.is_enabled() else None
    method.after_step(step)
    return report


def _move(
    player: Player, name: str, terms: Mapping[str, Term], step: int, total: int, scaler: torch.amp.GradScaler
) -> float:
    objective = torch.stack([term.weight * term.value for term in terms.values()]).sum()
    if not torch.isfinite(average([objective])[0]):
        raise _not_finite(step, f"objective of the {name}", terms)
    rate = player.lr_at(step, total)
    for group in player.optimizer.param_groups:
        group["lr"] = rate
    player.optimizer.zero_grad(set_to_none=True)
    own = player.parameters
    half = player.scaled and scaler.is_enabled()
    # Gradient reaches this player's parameters and no other's.
    (scaler.scale(objective) if half else objective).backward(inputs=own)
    average_gradients(own)
    if half:
        scaler.unscale_(player.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(own, math.inf if player.clip is None else player.clip)
    if half:
        scaler.step(player.optimizer)  # passes over a step whose gradient overflowed
        return rate
    if not torch.isfinite(norm):
        raise _not_finite(step, f"gradient of the {name}", terms)
    player.optimizer.step()
    return rate


def _not_finite(step: int, what: str, terms: Mapping[str, Term]) -> RunError:
    return RunError(
        f"step {step}: the {what} is not finite",
        expected="finite loss terms and gradients",
        found=", ".join(f"{k} {float(t.value.detach()):g}" for k, t in terms.items()),
        do="the last good checkpoint is kept; lower the learning rate (--set lr=...) or switch off half "
        "precision (--set amp=off), then --resume",
    )


def gradient_ratios(terms: Mapping[str, Term], shared: list[torch.nn.Parameter]) -> dict[str, float]:
    """Norm of each weighted term's gradient on the encoder over that of the supervised terms together."""
    supervised = [t.weight * t.value for k, t in terms.items() if k in SUPERVISED_TERMS]
    base = _gradient_norm(torch.stack(supervised).sum(), shared)
    others = {k: t for k, t in terms.items() if k not in SUPERVISED_TERMS}
    return {k: _gradient_norm(t.weight * t.value, shared) / max(base, 1e-12) for k, t in others.items()}


def _gradient_norm(value: Tensor, parameters: list[torch.nn.Parameter]) -> float:
    if not value.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    reached = average([g for g in gradients if g is not None])
    return float(torch.stack([g.float().norm() for g in reached] or [torch.zeros(())]).norm())
