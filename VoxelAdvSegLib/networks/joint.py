"""What several processes of one training compute together (method.md 1.3); alone, each function is the plain one.

Every process holds its share of the patches of a step, the same number each, and the same weights. The
objective of a step is the mean of the processes' objectives, and so is the gradient. Means over patches need no
more than that. What is pooled over the batch (counts, Dice, class means, statistics of batch norm) is summed
over the processes first, with gradient: then all of them compute what one process with all patches would.

Order of the patches: a share is made of groups (labeled patches, then unlabeled ones); all patches of a step are
group by group, in each group process by process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many take part in this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def share(count: int, own_rank: int, of: int) -> range:
    """Slots of a group of `count` patches that fall to a process."""
    return range(own_rank * count // of, (own_rank + 1) * count // of)


def own_slots(groups: Sequence[int]) -> list[int]:
    """Places of the own patches among those of all processes; groups: the own patches' numbers."""
    n, slots, begin = processes(), [], 0
    for size in groups:
        slots += range(begin + rank() * size, begin + (rank() + 1) * size)
        begin += n * size
    return slots


def joint_sum(values: Tensor) -> Tensor:
    """The sum over all processes, with its gradient."""
    return values if processes() == 1 else _Sum.apply(values)  # type: ignore[return-value]


class _Sum(torch.autograd.Function):
    """torch's own version with gradient is deprecated, and its replacement is private."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        total = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        # Every process has used the sum: what it is worth to all of them comes back to each.
        return _Sum.forward(ctx, gradient)


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean of each tensor over the processes, in one exchange; no gradient."""
    if processes() == 1 or not tensors:
        return list(tensors)
    flat = torch.cat([t.detach().flatten().float() for t in tensors])
    dist.all_reduce(flat)
    flat /= processes()
    parts = flat.split([t.numel() for t in tensors])
    return [part.reshape(t.shape).to(t.dtype) for part, t in zip(parts, tensors, strict=True)]


@torch.no_grad()
def average_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """The processes' gradients replaced by their mean.

    Which parameters have one is the same in all processes: terms come and go by joint counts.
    """
    if processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    for gradient, mean in zip(gradients, average(gradients), strict=True):
        gradient.copy_(mean)


@torch.no_grad()
def gather(values: Tensor, groups: Sequence[int]) -> Tensor:
    """The rows (dimension 0) of all processes in the joint order; no gradient."""
    n = processes()
    if n == 1:
        return values
    own = values.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(n)]
    dist.all_gather(parts, own)
    by_group = zip(*[part.split(list(groups)) for part in parts], strict=True)
    return torch.cat([piece for pieces in by_group for piece in pieces])


def roll(values: Tensor) -> Tensor:
    """Every patch of one group replaced by the one before it, the first by the last of all processes."""
    if processes() == 1:
        return values.roll(1, 0)
    everything = gather(values, (len(values),))
    return everything.roll(1, 0)[own_slots((len(values),))]


def randn_like(values: Tensor, groups: Sequence[int]) -> Tensor:
    """The own rows of the noise that one process would draw for all."""
    if processes() == 1:
        return torch.randn_like(values)
    everything = values.new_empty(processes() * len(values), *values.shape[1:]).normal_()
    return everything[own_slots(groups)]
