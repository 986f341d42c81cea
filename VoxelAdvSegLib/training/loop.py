"""One step of any method: the loop knows players and terms, and never asks which method runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods.contract import Batch, Method, Player, Term, Turn
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

    def note(self, turn: Turn, share: float = 1.0) -> None:
        """Adds a turn; share: of its terms' values in the step's."""
        terms = self.terms.setdefault(turn.player, {})
        for name, term in turn.terms.items():
            terms[name] = share * term.value.detach() + (terms.get(name, 0) if share < 1 else 0)
        self.observed |= turn.observed
        self.weights |= {name: term.weight for name, term in turn.terms.items()}


def take_step(
    method: Method,
    batch: Batch,
    step: int,
    total: int,
    seed: int,
    scaler: torch.amp.GradScaler,
    measure_ratios: bool = False,
    parts: int = 1,
) -> StepReport:
    """Every player's turn, then what the method moves itself.

    parts: how many parts of the batch take their turns one after the other, for less memory; their gradients are
    averaged, and the players move after the last one, together.

    Random numbers depend on seed and step alone, so a resumed run draws what it would have drawn.
    Raises RunError when an objective or its gradient is not finite; nothing is moved by that turn.
    """
    torch.manual_seed(seed * SEED_STRIDE + step)
    if parts > 1:
        report = _in_parts(method, batch, step, total, scaler, measure_ratios, parts)
        scaler.update() if scaler.is_enabled() else None
        method.after_step(step)
        return report
    report = StepReport()
    for turn in method.turns(batch, step):
        report.note(turn)
        if not turn.terms:
            continue
        if measure_ratios and turn.player == "student":
            _measure_ratios(method, turn, report, scaler)
        player = method.players[turn.player]
        report.lr[turn.player] = _move(player, turn.player, turn.terms, step, total, scaler)
    scaler.update() if scaler.is_enabled() else None
    method.after_step(step)
    return report


def _in_parts(
    method: Method,
    batch: Batch,
    step: int,
    total: int,
    scaler: torch.amp.GradScaler,
    measure_ratios: bool,
    parts: int,
) -> StepReport:
    report = StepReport()
    for player in method.players.values():
        player.optimizer.zero_grad(set_to_none=True)
    moved: dict[str, Mapping[str, Term]] = {}
    for piece in split(batch, parts):
        for turn in method.turns(piece, step):
            report.note(turn, 1 / parts)
            if measure_ratios and turn.player == "student" and not report.ratios:
                _measure_ratios(method, turn, report, scaler)
            if turn.terms:
                _push(method.players[turn.player], turn.player, turn.terms, step, scaler, 1 / parts)
                # Without their graphs: the next part needs the room.
                moved[turn.player] = {k: Term(t.value.detach(), t.weight) for k, t in turn.terms.items()}
    for name, terms in moved.items():
        report.lr[name] = _step(method.players[name], name, terms, step, total, scaler)
    return report


def _measure_ratios(method: Method, turn: Turn, report: StepReport, scaler: torch.amp.GradScaler) -> None:
    # Scaled, or gradients of small terms vanish in fp16; the ratio is the same.
    scaled = {k: Term(scaler.scale(t.value), t.weight) for k, t in turn.terms.items()}
    report.ratios = gradient_ratios(scaled, method.shared_parameters())
    method.note_gradient_ratios(report.ratios)


def split(batch: Batch, parts: int) -> list[Batch]:
    """The batch in parts of equally many labeled and equally many unlabeled patches."""
    arrays = (batch.labeled, batch.label, batch.unlabeled, batch.labeled_case)
    shares = [array.tensor_split(parts) for array in arrays]
    return [Batch(*share) for share in zip(*shares, strict=True)]


def _move(
    player: Player, name: str, terms: Mapping[str, Term], step: int, total: int, scaler: torch.amp.GradScaler
) -> float:
    player.optimizer.zero_grad(set_to_none=True)
    _push(player, name, terms, step, scaler)
    return _step(player, name, terms, step, total, scaler)


def _push(
    player: Player, name: str, terms: Mapping[str, Term], step: int, scaler: torch.amp.GradScaler, share: float = 1.0
) -> None:
    """Adds the gradient of the turn's objective to this player's parameters, and no other's."""
    objective = share * torch.stack([term.weight * term.value for term in terms.values()]).sum()
    if not torch.isfinite(average([objective])[0]):
        raise _not_finite(step, f"objective of the {name}", terms)
    half = player.scaled and scaler.is_enabled()
    (scaler.scale(objective) if half else objective).backward(inputs=player.parameters)


def _step(
    player: Player, name: str, terms: Mapping[str, Term], step: int, total: int, scaler: torch.amp.GradScaler
) -> float:
    rate = player.lr_at(step, total)
    for group in player.optimizer.param_groups:
        group["lr"] = rate
    own = player.parameters
    half = player.scaled and scaler.is_enabled()
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
