"""The two players of equation 2: what they draw, learn and are fooled by (method.md 1.3)."""

import numpy as np
import pytest
import torch

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.losses import pseudo_label
from VoxelAdvSegLib.methods.adversary import Adversary, Drawn
from VoxelAdvSegLib.methods.optimizers import make_discriminator_player
from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.fusion import FeatureFusion, VoxelFeatures

SHAPE = (4, 6, 8)


def make_adversary(classes=2, channels=(64,), shared=False, **settings):
    torch.manual_seed(0)
    settings = {"feature_levels": list(range(1, len(channels) + 1))} | settings
    config = resolve("la-paper", settings)
    a = config.adversarial
    fusion = FeatureFusion(channels, a.feature_dim)
    heads = Discriminator(None if shared else fusion, classes, a.feature_dim, a.disc_hidden_layers, a.disc_heads)
    return Adversary(a, classes, heads, fusion if shared else None), config


def drawn_of(real, fake):
    """One step's voxels from features (K, n, 64) of each side."""
    classes, n = real.shape[:2]

    def voxels(features):
        return VoxelFeatures([features.flatten(0, 1)[:, None]], torch.ones(classes * n, 1, dtype=torch.bool))

    counts = torch.full((classes,), n)
    order = torch.arange(classes).repeat_interleave(n)
    return Drawn(voxels(real), voxels(fake), order, torch.ones(classes), counts, counts)


def patches(channels=3, seed=0, count=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, *SHAPE, generator=generator).requires_grad_()


def sides(classes=3, seed=0):
    """Classes of two labeled and two unlabeled patches."""
    label = torch.randint(classes, (4, *SHAPE), generator=torch.Generator().manual_seed(seed))
    real, fake = label.clone(), label.clone()
    real[2:], fake[:2] = -1, -1
    return real, fake


# --- drawing ----------------------------------------------------------------------------------


def test_voxels_come_from_their_class_and_side():
    # The features tell the voxel's class and side, so the draw can be read from them.
    adversary, _ = make_adversary(3, (2,))
    real, fake = sides()
    class_of = torch.maximum(real, fake)
    features = torch.stack([class_of, (fake >= 0).long()], 1).float()
    drawn = adversary.draw([features], real, fake)
    assert torch.equal(drawn.real.levels[0][:, 0, 0].long(), drawn.classes)
    assert torch.equal(drawn.fake.levels[0][:, 0, 0].long(), drawn.classes)
    assert (drawn.real.levels[0][:, 0, 1] == 0).all() and (drawn.fake.levels[0][:, 0, 1] == 1).all()
    assert torch.bincount(drawn.classes).tolist() == [512, 512, 512]


def test_counts_in_the_log_equal_numpy():
    adversary, _ = make_adversary(3, (2,), min_class_voxels=1)
    real, _ = sides()
    teacher = (2 * torch.randn(4, 3, *SHAPE, generator=torch.Generator().manual_seed(3))).softmax(1)
    fake = pseudo_label(teacher, 0.7)
    fake[:2] = -1
    _, observed = adversary.discriminator_objective(adversary.draw([patches(2)], real, fake))
    p = teacher.numpy()[2:]
    sure = p.max(1) > np.float32(0.7)
    assert observed["voxels_unlabeled"].tolist() == [int((sure & (p.argmax(1) == c)).sum()) for c in range(3)]
    assert observed["voxels_labeled"].tolist() == np.bincount(real[:2].numpy().ravel(), minlength=3).tolist()


@pytest.mark.parametrize(("classes", "most", "each"), [(2, 16384, 512), (9, 16384, 512), (9, 900, 100)])
def test_points_are_capped_for_all_classes_alike(classes, most, each):
    adversary, _ = make_adversary(classes, (2,), disc_points_max=most)
    drawn = adversary.draw([patches(2)], *sides(classes))
    assert len(drawn.classes) == classes * each


def test_a_class_needs_enough_voxels_on_both_sides():
    adversary, _ = make_adversary(3, (2,))
    real, fake = torch.full((4, *SHAPE), -1), torch.full((4, *SHAPE), -1)
    real.flatten()[:48] = torch.arange(3).repeat(16)  # 16 voxels of each class
    fake.flatten()[-47:] = torch.arange(3).repeat(16)[:47]  # 16, 16 and 15
    assert adversary.draw([patches(2)], real, fake).weights.tolist() == [1, 1, 0]
    without, _ = make_adversary(3, (2,), disc_include_background=False)
    assert without.draw([patches(2)], real, fake).weights.tolist() == [0, 1, 0]


# --- gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["unlabeled", "both"])
def test_the_encoder_is_moved_where_the_target_says(target):
    adversary, _ = make_adversary(3, (3, 3), adv_target=target)
    features = [patches(3, 1), patches(3, 2)]
    adversary.adversarial_objective(adversary.draw(features, *sides())).backward()
    for level in features:
        assert level.grad[2:].abs().max() > 0
        assert (level.grad[:2].abs().max() > 0) == (target == "both")


def test_the_discriminators_own_step_leaves_the_features_alone():
    adversary, _ = make_adversary(3, (3,))
    features = patches()
    loss, _ = adversary.discriminator_objective(adversary.draw([features], *sides()))
    loss.backward()
    assert features.grad is None
    assert all(p.grad.abs().max() > 0 for p in adversary.discriminator.parameters())


def test_a_detached_level_is_judged_but_not_moved():
    adversary, _ = make_adversary(3, (3, 3), adv_detach_levels=[1])
    first, second = patches(3, 1), patches(3, 2)
    adversary.adversarial_objective(adversary.draw([first, second], *sides())).backward()
    assert first.grad is None and second.grad.abs().max() > 0


def test_a_shared_fusion_is_not_the_discriminators_to_train():
    adversary, _ = make_adversary(3, (3,), shared=True)
    assert sum(p.numel() for p in adversary.discriminator.parameters()) == 2 * (64 * 64 + 64) + 3 * 65
    features = patches()
    drawn = adversary.draw([features], *sides())
    (adversary.discriminator_objective(drawn)[0] + adversary.adversarial_objective(drawn)).backward()
    assert all(p.grad is None for p in adversary.fusion.parameters())
    assert features.grad[2:].abs().max() > 0


def test_a_class_of_one_side_trains_no_head():
    adversary, _ = make_adversary(3, (3,))
    real, fake = sides()
    fake[fake == 1] = 0
    drawn = adversary.draw([patches()], real, fake)
    loss, observed = adversary.discriminator_objective(drawn)
    loss.backward()
    gradient = adversary.discriminator.heads.weight.grad
    assert (gradient[1] == 0).all() and (gradient[[0, 2]] != 0).any(1).all()
    assert observed["accuracy_labeled"].isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("form", ["nonsaturating", "lsgan", "hinge"])
def test_pushing_both_sides_mirrors_the_loss_at_chance(form):
    # Labeled features are pushed towards "fake" as a discriminator would be: logit 0 for lsgan,
    # down without end for hinge; at chance both sides cost the same.
    adversary, _ = make_adversary(1, (64,), adv_form=form, adv_target="both")
    features = torch.randn(1, 32, 64)
    drawn = drawn_of(features, features)
    judged = adversary.judge(drawn.real, drawn.classes).detach()
    soft = torch.nn.functional.softplus
    expected = {
        "nonsaturating": soft(judged) + soft(-judged),
        "lsgan": judged.square() + (judged - 1).square(),
        "hinge": judged - judged,
    }[form].mean()
    assert adversary.adversarial_objective(drawn).item() == pytest.approx(expected.item(), abs=1e-6)


def test_input_noise_blurs_the_judgement():
    adversary, _ = make_adversary(2)
    drawn = drawn_of(torch.randn(2, 16, 64), torch.randn(2, 16, 64))
    clear = adversary.judge(drawn.real, drawn.classes)
    assert torch.equal(clear, adversary.judge(drawn.real, drawn.classes))
    assert (clear - adversary.judge(drawn.real, drawn.classes, 0.5)).abs().min() > 0


# --- the game ---------------------------------------------------------------------------------


def train_discriminator(shift, steps=300):
    """Fresh N(0, I) voxels of two classes each step, the fake ones shifted by class.

    Returns held-out accuracy per head and the mean loss of the last 50 steps.
    """
    adversary, config = make_adversary(2)
    player = make_discriminator_player(config, list(adversary.discriminator.parameters()))
    generator = torch.Generator().manual_seed(1)
    shifts = torch.tensor(shift)[:, None, None]

    def draw():
        real, fake = torch.randn(2, 2, 512, 64, generator=generator)
        return drawn_of(real, fake + shifts)

    losses = []
    for _ in range(steps):
        loss, _ = adversary.discriminator_objective(draw())
        player.optimizer.zero_grad()
        loss.backward()
        player.optimizer.step()
        losses.append(loss.item())
    held_out = draw()
    with torch.no_grad():
        _, observed = adversary.discriminator_objective(held_out)
    return (observed["accuracy_labeled"] + observed["accuracy_unlabeled"]) / 2, np.mean(losses[-50:])


@pytest.mark.parametrize("shift", [[1.0, 1.0], [1.0, -1.0]])
def test_the_discriminator_finds_a_shift(shift):
    # With opposite shifts a discriminator without class heads would be at chance.
    accuracy, _ = train_discriminator(shift)
    assert (accuracy >= 0.95).all()


def test_the_discriminator_finds_nothing_where_nothing_is():
    accuracy, loss = train_discriminator([0.0, 0.0])
    assert (accuracy - 0.5).abs().max() <= 0.06
    assert loss == pytest.approx(1.386, abs=0.02)


@pytest.mark.slow
def test_the_generator_fools_it():
    adversary, config = make_adversary(2)
    player = make_discriminator_player(config, list(adversary.discriminator.parameters()))
    generator = torch.Generator().manual_seed(2)
    means = torch.tensor([1.0, -1.0])[:, None].repeat(1, 64).requires_grad_()
    mover = torch.optim.SGD([means], 0.05, momentum=0.9)
    gaps, accuracies = [], []
    for _ in range(1000):
        real, noise = torch.randn(2, 2, 512, 64, generator=generator)
        real.requires_grad_()
        drawn = drawn_of(real, noise + means[:, None])
        loss, observed = adversary.discriminator_objective(drawn)
        player.optimizer.zero_grad()
        loss.backward()
        player.optimizer.step()
        mover.zero_grad()
        adversary.adversarial_objective(drawn).backward(inputs=[means])
        mover.step()
        assert real.grad is None
        gaps.append(means.detach().norm(dim=1).mean().item() / 8)  # 1 at the start
        accuracies.append(((observed["accuracy_labeled"] + observed["accuracy_unlabeled"]) / 2).mean().item())
    assert np.mean(gaps[-100:]) < 0.5
    assert np.mean(accuracies[-100:]) < 0.7


# --- the honest gate --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["nonsaturating", "lsgan"])
def test_the_gate_opens_with_held_out_accuracy(form):
    adversary, _ = make_adversary(1, adv_form=form)
    assert adversary.gate() == 0  # nothing is known yet
    with torch.no_grad():  # a discriminator that reads the first feature's sign
        for p in adversary.discriminator.parameters():
            p.zero_()
        adversary.discriminator.heads.bias.fill_(adversary.chance)
        for layer in (adversary.fusion.levels[0], adversary.fusion.last):
            layer.weight[0, 0] = 1
        for layer in (adversary.discriminator.perceptron[0], adversary.discriminator.perceptron[2]):
            layer.weight[0, 0] = 1
        adversary.discriminator.heads.weight[0, 0] = 1
    apart = drawn_of(torch.ones(1, 8, 64), -torch.ones(1, 8, 64))
    alike = drawn_of(torch.ones(1, 8, 64), torch.ones(1, 8, 64))
    for _ in range(200):
        adversary.note_held_out(apart)
    assert adversary.gate() == pytest.approx(1, abs=1e-3)
    for _ in range(200):
        adversary.note_held_out(alike)
    assert adversary.gate() == pytest.approx(0, abs=1e-3)
