"""Every equation against values worked out by hand, and against MONAI where definitions agree."""

import math

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss

from VoxelAdvSegLib.losses import (
    adversarial_loss,
    consistency,
    cross_entropy,
    dice_loss,
    discriminator_loss,
    feature_loss,
    pseudo_label,
)

ONE = torch.ones(1)


def voxels(*probabilities):
    """Probabilities (1, K, 1, 1, n) of n voxels, each given as a tuple of K."""
    return torch.tensor(probabilities, dtype=torch.float32).T[None, :, None, None, :]


# --- equation 1 -------------------------------------------------------------------------------


def test_pseudo_labels_of_two_classes():
    # 0.70 in fp32 is not strictly above 0.7
    p = voxels((0.70, 0.30), (0.71, 0.29), (0.2, 0.8), (0.5, 0.5))
    assert pseudo_label(p, 0.7).flatten().tolist() == [-1, 0, 1, -1]


def test_uncertain_voxels_of_three_classes_are_ignored_or_background():
    p = voxels((0.4, 0.35, 0.25), (0.1, 0.1, 0.8), (0.1, 0.45, 0.45))
    assert pseudo_label(p, 0.7).flatten().tolist() == [-1, 2, -1]
    assert pseudo_label(p, 0.7, "background").flatten().tolist() == [0, 2, 0]


def test_threshold_zero_passes_all_and_one_none():
    p = torch.rand(2, 3, 4, 4, 4).softmax(1)
    assert torch.equal(pseudo_label(p, 0.0), p.argmax(1))
    assert (pseudo_label(p, 1.0) == -1).all()
    assert pseudo_label(voxels((1.0, 0.0)), 1.0).item() == -1


def test_quantile_keeps_the_surest_part_of_every_class():
    # Class 0 is surer everywhere; half of each class passes all the same.
    p = voxels((0.99, 0.01), (0.95, 0.05), (0.9, 0.1), (0.8, 0.2), (0.45, 0.55), (0.4, 0.6))
    assert pseudo_label(p, 0.7, quantile=0.5).flatten().tolist() == [0, 0, 0, -1, 1, 1]
    among = torch.tensor([True, False, False, True, True, True]).reshape(1, 1, 1, 6)
    assert pseudo_label(p, 0.7, quantile=1.0, among=among).flatten()[[0, 3, 4, 5]].tolist() == [0, -1, -1, 1]


def test_quantile_keeps_ties_at_full_confidence():
    assert pseudo_label(voxels((1.0, 0.0), (1.0, 0.0)), 0.7, quantile=0.9).flatten().tolist() == [0, 0]


# --- equation 2 -------------------------------------------------------------------------------


def test_adversarial_losses_by_hand():
    # softplus(-2), softplus(0), softplus(-1), softplus(1) = .126928, .693147, .313262, 1.313262
    real, fake = torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 1.0]], requires_grad=True)
    assert discriminator_loss(real, fake, ONE).item() == pytest.approx(1.2232993, abs=1e-6)
    loss = adversarial_loss(fake, ONE)
    assert loss.item() == pytest.approx(0.8132617, abs=1e-6)
    assert adversarial_loss(fake, ONE, "saturating").item() == pytest.approx(-0.8132617, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, fake)
    assert gradient[0].tolist() == pytest.approx([-0.365529, -0.134471], abs=1e-6)


def test_a_confident_discriminator_still_moves_the_encoder():
    # The reason for the non-saturating form: at s = -10 its gradient is -1/n, the other's 5e-5.
    fake = torch.tensor([[-10.0]], requires_grad=True)
    (strong,) = torch.autograd.grad(adversarial_loss(fake, ONE), fake)
    (weak,) = torch.autograd.grad(adversarial_loss(fake, ONE, "saturating"), fake)
    assert strong.item() == pytest.approx(-0.9999546, abs=1e-6)
    assert weak.item() == pytest.approx(-4.54e-5, rel=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_indistinguishable_features(smoothing):
    zero = torch.zeros(3, 5)
    weights = torch.ones(3)
    assert discriminator_loss(zero, zero, weights, smoothing).item() == pytest.approx(1.386294, abs=1e-6)
    assert adversarial_loss(zero, weights).item() == pytest.approx(0.693147, abs=1e-6)


def test_smoothing_touches_the_real_side_only():
    # real 2: 0.9 * .126928 + 0.1 * 2.126928 = .326928; fake -1: .313262
    loss = discriminator_loss(torch.tensor([[2.0]]), torch.tensor([[-1.0]]), ONE, 0.1)
    assert loss.item() == pytest.approx(0.326928 + 0.313262, abs=1e-5)


@pytest.mark.parametrize(
    ("form", "discriminator", "encoder"),
    [
        ("lsgan", (2 - 1) ** 2 + 0.5**2, 0.5**2),  # real 2 towards 1, fake .5 towards 0, or 1
        ("hinge", 0 + 1.5, -0.5),  # real 2 is beyond the margin, fake .5 is not
    ],
)
def test_other_forms_by_hand(form, discriminator, encoder):
    real, fake = torch.tensor([[2.0]]), torch.tensor([[0.5]])
    assert discriminator_loss(real, fake, ONE, form=form).item() == pytest.approx(discriminator)
    assert adversarial_loss(fake, ONE, form).item() == pytest.approx(encoder)


def test_only_the_classes_of_both_sides_count():
    real, fake = torch.randn(3, 4), torch.randn(3, 4, requires_grad=True)
    weights = torch.tensor([1.0, 0.0, 1.0])
    alone = [discriminator_loss(real[[c]], fake[[c]], ONE) + adversarial_loss(fake[[c]], ONE) for c in (0, 2)]
    both = discriminator_loss(real, fake, weights) + adversarial_loss(fake, weights)
    assert both.item() == pytest.approx((sum(alone) / 2).item(), abs=1e-6)
    (gradient,) = torch.autograd.grad(both, fake)
    assert (gradient[1] == 0).all() and (gradient[0] != 0).all()


def test_no_common_class_costs_nothing():
    real, fake = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    loss = discriminator_loss(real, fake, torch.zeros(3)) + adversarial_loss(fake, torch.zeros(3))
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, (real, fake)):
        assert (gradient == 0).all()


def test_reductions():
    # Per-voxel losses ln 2 and 0 (to 1e-20); the first class has 30 voxels, the second 10.
    fake, weights = torch.tensor([[0.0, 0.0], [50.0, 50.0]]), torch.ones(2)
    counts = torch.tensor([30, 10])

    def value(reduction):
        return adversarial_loss(fake, weights, reduction=reduction, counts=counts).item()

    assert value("class_mean") == pytest.approx(math.log(2) / 2)
    assert value("voxel_mean") == pytest.approx(math.log(2) * 0.75)
    assert value("sum") == pytest.approx(math.log(2) * 30)


@pytest.mark.parametrize("form", ["nonsaturating", "saturating", "lsgan", "hinge"])
@pytest.mark.parametrize("half", [False, True])
def test_extreme_logits_stay_finite(form, half):
    real = torch.tensor([[80.0, -80.0]], requires_grad=True)
    fake = torch.tensor([[-80.0, 80.0]], requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = discriminator_loss(real, fake, ONE, 0.1, form) + adversarial_loss(fake, ONE, form)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(real.grad).all() and torch.isfinite(fake.grad).all()


# --- equation 3 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "z", "distance"),
    [((3, 4), (4, 3), 0.08), ((3, 4), (30, 40), 0), ((3, 0), (-5, 0), 4), ((1, 0), (0, 7), 2)],
)
def test_feature_distance_by_hand(a, z, distance):
    loss = feature_loss(torch.tensor([a], dtype=torch.float32), torch.tensor([z], dtype=torch.float32))
    assert loss.item() == pytest.approx(distance, abs=1e-6)


def test_feature_distance_forgets_lengths():
    a, z = torch.randn(5, 64), torch.randn(5, 64)
    torch.testing.assert_close(feature_loss(1e3 * a, 1e-3 * z), feature_loss(a, z))
    cosine = torch.nn.functional.cosine_similarity(a, z)
    torch.testing.assert_close(feature_loss(a, z), 2 - 2 * cosine)
    torch.testing.assert_close(feature_loss(a, z, "mean_dim"), feature_loss(a, z) / 64)


def test_no_gradient_reaches_the_target():
    a, z = torch.randn(5, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)
    feature_loss(a, z).sum().backward()
    assert a.grad is not None and a.grad.abs().max() > 0
    assert z.grad is None


def test_a_vanishing_prediction_has_a_finite_gradient():
    a = torch.zeros(2, 8, requires_grad=True)
    feature_loss(a, torch.ones(2, 8)).sum().backward()
    assert torch.isfinite(a.grad).all()


# --- equation 4 -------------------------------------------------------------------------------


def foreground(*values):
    """K = 2 probabilities (1, 2, 1, 1, n) with these of the organ."""
    return voxels(*[(1 - v, v) for v in values])


def row(*labels):
    return torch.tensor(labels).reshape(1, 1, 1, -1)


def test_dice_by_hand():
    # overlap 1.5; sizes .81 + .36 + .04 + .01 = 1.22 and 2: 1 - 3 / 3.22
    loss = dice_loss(foreground(0.9, 0.6, 0.2, 0.1), row(1, 1, 0, 0))
    assert loss.item() == pytest.approx(0.068323, abs=1e-6)
    # with linear sizes 1.8 and 2: 1 - 3 / 3.8
    loss = dice_loss(foreground(0.9, 0.6, 0.2, 0.1), row(1, 1, 0, 0), denominator="linear")
    assert loss.item() == pytest.approx(0.210526, abs=1e-5)


@pytest.mark.parametrize(("denominator", "squared"), [("squared", True), ("linear", False)])
@pytest.mark.parametrize(("pool", "batch"), [("batch", True), ("sample", False)])
def test_dice_equals_monai(denominator, squared, pool, batch):
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(2, 4, 5, 6, 7, generator=generator).softmax(1)
    label = torch.randint(4, (2, 5, 6, 7), generator=generator)
    oracle = DiceLoss(
        include_background=False, to_onehot_y=True, squared_pred=squared, batch=batch,
        smooth_nr=1e-5, smooth_dr=1e-5,
    )  # fmt: skip
    ours = dice_loss(p, label, denominator=denominator, pool=pool, absent="smooth")
    assert ours.item() == pytest.approx(oracle(p, label[:, None]).item(), abs=1e-6)


def test_an_absent_class_is_skipped():
    p = torch.rand(1, 3, 2, 2, 2).softmax(1).requires_grad_()
    label = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    label[0, 0] = 1
    loss = dice_loss(p, label)
    (gradient,) = torch.autograd.grad(loss, p)
    assert (gradient[:, 2] == 0).all() and gradient[:, 1].abs().max() > 0
    alone = dice_loss(torch.stack([1 - p[:, 1], p[:, 1]], 1), label)
    assert loss.item() == pytest.approx(alone.item(), abs=1e-6)


@pytest.mark.parametrize("pool", ["batch", "sample"])
def test_a_batch_without_organs_costs_nothing(pool):
    p = torch.rand(2, 3, 2, 2, 2).softmax(1).requires_grad_()
    loss = dice_loss(p, torch.zeros(2, 2, 2, 2, dtype=torch.long), pool=pool)
    assert loss.item() == 0
    loss.backward()
    assert (p.grad == 0).all()


@pytest.mark.parametrize("absent", ["skip", "smooth"])
@pytest.mark.parametrize("pool", ["batch", "sample"])
def test_unlabeled_patches_do_not_change_dice(absent, pool):
    p = torch.rand(4, 3, 3, 3, 3).softmax(1)
    label = torch.randint(3, (4, 3, 3, 3))
    label[2:] = -1
    alone = dice_loss(p[:2], label[:2], pool=pool, absent=absent)
    assert dice_loss(p, label, pool=pool, absent=absent).item() == pytest.approx(alone.item(), abs=1e-6)


def test_voxels_that_are_not_valid_do_not_count():
    p, label = foreground(0.9, 0.6, 0.2, 0.1, 0.7), row(1, 1, 0, 0, 0)
    valid = torch.tensor([True] * 4 + [False]).reshape(1, 1, 1, 5)
    assert dice_loss(p, label, valid).item() == pytest.approx(0.068323, abs=1e-6)


def test_cross_entropy_by_hand():
    # -ln .9 and -ln .2; the third voxel has no label
    logits = foreground(0.9, 0.8, 0.5).log()
    assert cross_entropy(logits, row(1, 0, -1)).item() == pytest.approx((-math.log(0.9) - math.log(0.2)) / 2, abs=1e-6)
    assert cross_entropy(logits, row(-1, -1, -1)).item() == 0


# --- equation 5 -------------------------------------------------------------------------------


def test_consistency_by_hand():
    student, teacher = foreground(0.9, 0.5), foreground(0.6, 0.5)
    assert consistency(student, teacher).item() == pytest.approx(0.09 / 2)  # both classes differ by .3
    assert consistency(student, teacher, "mse_sum").item() == pytest.approx(0.09)
    divergence = (0.6 * math.log(0.6 / 0.9) + 0.4 * math.log(0.4 / 0.1)) / 2
    assert consistency(student, teacher, "kl").item() == pytest.approx(divergence, abs=1e-6)
    hard = consistency(foreground(0.9, 0.2), foreground(0.6, 0.3), "ce").item()
    assert hard == pytest.approx((-math.log(0.9) - math.log(0.8)) / 2, abs=1e-6)
    one = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    assert consistency(student, teacher, "mse", one).item() == pytest.approx(0.09)
    assert consistency(student, teacher, "mse", 0 * one).item() == 0


@pytest.mark.parametrize("kind", ["mse", "mse_sum", "kl"])
def test_agreement_costs_nothing(kind):
    p = torch.rand(2, 3, 2, 2, 2).softmax(1)
    assert consistency(p, p, kind).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("kind", ["kl", "ce"])
def test_a_student_that_is_surely_wrong_is_still_moved(kind):
    # p = e^-30 for the teacher's class: a floor under the logarithm must not swallow the gradient
    logits = torch.tensor([30.0, 0.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    consistency(logits.softmax(1), voxels((0.0, 1.0)), kind).backward()
    assert logits.grad.flatten().tolist() == pytest.approx([1.0, -1.0], abs=1e-3)


def test_counts_of_pseudo_labels_equal_numpy():
    p = (3 * torch.randn(2, 4, 6, 6, 6, generator=torch.Generator().manual_seed(0))).softmax(1)
    found = pseudo_label(p, 0.7).numpy()
    array = p.numpy()
    for c in range(4):
        assert (found == c).sum() == np.sum((array.argmax(1) == c) & (array.max(1) > np.float32(0.7)))
