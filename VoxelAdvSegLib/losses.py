"""One function per equation of the paper; all in fp32 or better.

What is pooled over the batch is pooled over the processes of the training (networks/joint.py).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.networks.joint import joint_sum

DICE_EPS = 1e-5  # row 51
NORM_EPS = 1e-8  # method.md 1.4


def pseudo_label(
    probabilities: Tensor,
    threshold: float,
    below: str = "ignore",
    quantile: float = 0.0,
    among: Tensor | None = None,
) -> Tensor:
    """Class of each voxel where the teacher is sure, -1 (or 0) elsewhere (Eq. 1, rows 27, 28).

    probabilities: (U, K, D, H, W); returns (U, D, H, W) int64. Strictly above the threshold; or,
    with a quantile, each class by its own: its voxels below that quantile of their confidences
    (over the voxels `among`, bool) are unsure.
    """
    confidence, label = probabilities.max(1)
    sure = confidence > threshold
    if quantile > 0:
        limits = []
        for index in range(probabilities.shape[1]):
            own = confidence[label == index if among is None else (label == index) & among]
            limits.append(own.kthvalue(max(1, math.ceil(quantile * len(own)))).values if len(own) else own.sum())
        sure = confidence >= torch.stack(limits)[label]
    return torch.where(sure, label, -1 if below == "ignore" else 0)


def dice_loss(
    probabilities: Tensor,
    label: Tensor,
    valid: Tensor | None = None,
    *,
    denominator: str = "squared",
    pool: str = "batch",
    absent: str = "skip",
) -> Tensor:
    """1 - Dice, mean over foreground classes (Eq. 4 as a loss; rows 51 to 53).

    probabilities: (B, K, D, H, W); label: (B, D, H, W), -1 ignored; valid: voxels that count.
    A batch without any organ gives 0.
    """
    counted = label >= 0 if valid is None else valid & (label >= 0)
    keep = counted[:, None].to(probabilities.dtype)
    truth = torch.zeros_like(probabilities).scatter_(1, label.clamp_min(0)[:, None], keep)[:, 1:]
    guess = probabilities[:, 1:] * keep
    axes = (0, 2, 3, 4) if pool == "batch" else (2, 3, 4)
    sizes = guess.square() if denominator == "squared" else guess
    # A patch without a voxel that counts (unlabeled, pooled by sample) has no Dice of either kind.
    seen = truth if absent == "skip" else keep.expand_as(truth)
    sums = torch.stack([(truth * guess).sum(axes), sizes.sum(axes) + truth.sum(axes), seen.sum(axes)])
    overlap, size, there = joint_sum(sums) if pool == "batch" else sums
    loss = 1 - (2 * overlap + DICE_EPS) / (size + DICE_EPS)
    present = (there > 0).to(loss.dtype)
    return joint_mean((loss * present).sum(), present.sum(), pool != "batch")


def cross_entropy(logits: Tensor, label: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the voxels that count (row 54); 0 when none does."""
    target = label if valid is None else torch.where(valid, label, -1)
    total = F.cross_entropy(logits, target, ignore_index=-1, reduction="sum")
    return joint_mean(total, (target >= 0).sum())


def joint_mean(total: Tensor, count: Tensor, apart: bool = True) -> Tensor:
    """Total over count, 0 where nothing counts; apart: each process has its own part of both."""
    if apart:
        total, count = joint_sum(torch.stack([total, count.to(total.dtype)]))
    return total / count.clamp_min(1)


def consistency(student: Tensor, teacher: Tensor, kind: str = "mse", valid: Tensor | None = None) -> Tensor:
    """Distance of the student's probabilities from the teacher's (Eq. 5, row 40).

    student, teacher: (B, K, D, H, W) probabilities; mse: mean over voxels and classes.
    """
    if kind in ("mse", "mse_sum"):
        squared = (student - teacher).square()
        distance = squared.mean(1) if kind == "mse" else squared.sum(1)
    elif kind == "kl":
        floor = torch.finfo(student.dtype).tiny  # not larger: below it the gradient vanishes
        distance = (teacher * (teacher.clamp_min(floor).log() - student.clamp_min(floor).log())).sum(1)
    else:  # ce: against the teacher's class
        distance = (
            -student.gather(1, teacher.argmax(1, keepdim=True))[:, 0].clamp_min(torch.finfo(student.dtype).tiny).log()
        )
    if valid is None:
        return distance.mean()
    return joint_mean((distance * valid).sum(), valid.sum())


def class_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of per-class values (K,) over the classes with weight; 0 when none has."""
    return (values * weights).sum() / weights.sum().clamp_min(1)


def discriminator_loss(
    real: Tensor, fake: Tensor, weights: Tensor, smoothing: float = 0.0, form: str = "nonsaturating"
) -> Tensor:
    """What the discriminator minimizes (Eq. 2 with its sign turned; rows 15, 18).

    real, fake: logits (K, n) of labeled and unlabeled voxels; weights (K,): 1 for classes in C*.
    """
    if form == "lsgan":
        per_real, per_fake = (real - (1 - smoothing)).square(), fake.square()
    elif form == "hinge":
        per_real, per_fake = F.relu(1 - smoothing - real), F.relu(1 + fake)
    else:
        per_real = (1 - smoothing) * F.softplus(-real) + smoothing * F.softplus(real)
        per_fake = F.softplus(fake)
    return class_mean(per_real.mean(1) + per_fake.mean(1), weights)


def adversarial_loss(
    fake: Tensor,
    weights: Tensor,
    form: str = "nonsaturating",
    reduction: str = "class_mean",
    counts: Tensor | None = None,
) -> Tensor:
    """What the encoder minimizes on unlabeled voxels (Eq. 2 for the generator; rows 18, 20).

    fake: logits (K, n); weights (K,): 1 for classes in C*; counts (K,): voxels of each class,
    for the reductions that follow Eq. 2's sums.
    """
    if form == "saturating":
        per_voxel = -F.softplus(fake)  # log(1 - D)
    elif form == "lsgan":
        per_voxel = (fake - 1).square()
    elif form == "hinge":
        per_voxel = -fake
    else:
        per_voxel = F.softplus(-fake)  # -log D
    if reduction == "class_mean" or counts is None:
        return class_mean(per_voxel.mean(1), weights)
    share = counts.to(per_voxel.dtype) * weights
    if reduction == "voxel_mean":
        share = share / share.sum().clamp_min(1)
    return (per_voxel.mean(1) * share).sum()


def feature_loss(prediction: Tensor, target: Tensor, reduction: str = "sum") -> Tensor:
    """Squared distance of directions, (n,): 2 - 2 cos, from 0 to 4 (Eq. 3, row 44).

    prediction, target: (..., 64); no gradient reaches the target.
    """
    a = F.normalize(prediction.float(), dim=-1, eps=NORM_EPS)
    z = F.normalize(target.detach().float(), dim=-1, eps=NORM_EPS)
    distance = (a - z).square()
    return distance.sum(-1) if reduction == "sum" else distance.mean(-1)


def entropy(probabilities: Tensor) -> Tensor:
    """-sum p ln p over the classes: (B, K, D, H, W) to (B, D, H, W), from 0 to ln K."""
    floor = torch.finfo(probabilities.dtype).tiny  # 0 ln 0 = 0, with a finite gradient
    return -(probabilities * probabilities.clamp_min(floor).log()).sum(1)
