"""What a step takes of memory, and what may be made smaller when there is too little (method.md 1.6, 5)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from VoxelAdvSegLib.config import Config

GIB = 2**30


def memory_need(
    voxels: int,
    patches: int,
    filters: int,
    kind: str,
    teacher: bool = True,
    amp: str = "auto",
    classes: int = 2,
    recompute: bool = False,
) -> float:
    """Bytes of one step: what was measured to be allocated per voxel of a patch, and room for the allocator.

    At 16 filters in fp32: 800 B for the student (500 where blocks are recomputed), 260 B for the teacher, and 61 B
    per class for the losses, which half precision leaves as they are. amp: row 58; half precision is for the GPU,
    and off only where a person said so.
    """
    half = 0.55 if kind == "cuda" and amp != "off" else 1.0
    maps = half * filters / 16 * ((500 if recompute else 800) + (260 if teacher else 0)) + 61 * classes
    copies = 6 if teacher else 4  # weights, gradient, two optimizer states, teacher, its buffers' share
    fixed = copies * 0.038 * GIB * (filters / 16) ** 2 + (0.6 if kind == "cuda" else 0.15) * GIB
    return (1.5 if kind == "cuda" else 1.35) * maps * voxels * patches + fixed


def step_need(config: Config, kind: str, classes: int, processes: int = 1) -> float:
    """`memory_need` of a planned configuration, in each of the processes."""
    p, t = config.patches, config.training
    assert p.patch is not None and p.batch_labeled is not None and p.batch_unlabeled is not None
    semi = t.method != "supervised"
    patches = p.batch_labeled + (p.batch_unlabeled if semi or p.supervised_equal_patches else 0)
    return memory_need(
        int(np.prod(p.patch)), -(-patches // (processes * (t.accumulate or 1))), config.network.filters or 16, kind,
        semi, t.amp, classes, bool(t.recompute),
    )  # fmt: skip


def one_size_smaller(config: Config, processes: int = 1) -> tuple[Config, str] | None:
    """What to try when memory has run out, and what it is; None where there is nothing smaller.

    First what gives the same result (recompute), then the same patches in parts, then smaller patches.
    """
    p, t = config.patches, config.training
    assert p.patch is not None and p.batch_labeled is not None and p.batch_unlabeled is not None
    if not t.recompute:
        return replace(config, training=replace(t, recompute=True)), "blocks are computed again on the way back"
    parts = [
        n for n in possible_parts(config, p.batch_labeled, p.batch_unlabeled, processes) if n > (t.accumulate or 1)
    ]
    if parts:
        smaller = replace(config, training=replace(t, accumulate=parts[0]))
        return smaller, f"a batch goes through the network in {parts[0]} parts"
    patch = list(p.patch)
    longest = int(np.argmax(patch))
    patch[longest] -= 16
    if max(patch) < 32:
        return None
    stride = config.inference.stride
    if stride is not None and any(s > n for s, n in zip(stride, patch, strict=True)):
        stride = None
    smaller = replace(
        config, patches=replace(p, patch=(patch[0], patch[1], patch[2])),
        inference=replace(config.inference, stride=stride),
    )  # fmt: skip
    voxels = " x ".join(map(str, patch))
    return smaller, f"patches have {voxels} voxels"


def possible_parts(config: Config, labeled: int, unlabeled: int, processes: int) -> list[int]:
    """Numbers of equal parts, one first. Batch norm would take the statistics of a part: not unasked."""
    if config.network.norm == "batch":
        return [1]
    each = math.gcd(labeled, unlabeled) // processes
    return [n for n in range(1, each + 1) if each % n == 0]
