"""What a method is to the training loop, and nothing else.

A method owns networks, names its players and turns a batch into named terms. A step is a
sequence of turns: the loop lets the named player minimize the weighted sum of the turn's terms
before the method goes on. So the order of the players is the method's own (row 13), and the
terms of a later turn may use what an earlier one has learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class Batch:
    """All that one step may see; labels of unlabeled patches have no field to hide in.

    labeled: (L, C, D, H, W) float32, normalized; label: (L, D, H, W) int64, class index;
    unlabeled: (U, C, D, H, W) float32; labeled_case: (L,) int64, number of the labeled case.
    """

    labeled: Tensor
    label: Tensor
    unlabeled: Tensor
    labeled_case: Tensor


@dataclass(frozen=True)
class Term:
    """One summand of an objective: value carries its graph; weight: alpha, beta or gamma of Eq. 6."""

    value: Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class Turn:
    """What one player minimizes now; observed values are logged, never optimized."""

    player: str
    terms: Mapping[str, Term]
    observed: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Player:
    optimizer: Optimizer
    lr_at: Callable[[int, int], float]  # (step, total steps)
    clip: float | None = None  # global gradient norm
    scaled: bool = False  # behind a half-precision forward: fp16 gradients need the scaler

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


class Method(Protocol):
    networks: nn.ModuleDict  # everything a checkpoint must hold
    players: Mapping[str, Player]
    steps: int  # T of the schedules; set anew when a time budget is re-planned

    def batch_sizes(self, step: int) -> tuple[int, int]:
        """Labeled and unlabeled patches that this step asks for."""
        ...

    def turns(self, batch: Batch, step: int) -> Iterator[Turn]: ...

    def after_step(self, step: int) -> None:
        """Move what no optimizer moves, e.g. the teacher."""
        ...

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters on which the gradients of the student's terms are compared (the encoder)."""
        ...

    def note_gradient_ratios(self, ratios: Mapping[str, float]) -> None:
        """Gradient of each term over that of the supervised one, measured now and then."""
        ...

    def segmenter(self) -> nn.Module:
        """The network that is evaluated and shipped."""
        ...

    def exports(self) -> dict[str, dict[str, Tensor]]:
        """Weights of a model bundle by name: student, and teacher and discriminator where there are."""
        ...
