"""Pairs of equation 3, and what a constant output looks like (method.md 1.4)."""

import copy

import pytest
import torch

from VoxelAdvSegLib.config import Representation
from VoxelAdvSegLib.methods.representation import FeatureLayer, FeaturePairs
from VoxelAdvSegLib.networks.fusion import FeatureFusion
from VoxelAdvSegLib.networks.teacher import make_teacher

SHAPE = (4, 6, 8)
VOXELS = 4 * 6 * 8


def labels(patches=2, classes=3, seed=0):
    return torch.randint(classes, (patches, *SHAPE), generator=torch.Generator().manual_seed(seed))


def with_unlabeled(label):
    return torch.cat([label, torch.full_like(label, -1)])


def positions(pairs, student_label, teacher_label):
    return [drawn.positions for drawn in pairs.draw(student_label, teacher_label)]


def layers(norm="batch", seed=0):
    torch.manual_seed(seed)
    student = FeatureLayer(FeatureFusion([5], 16), 16, norm)
    return student, make_teacher(student)


def features(patches=4, seed=0):
    return torch.randn(patches, 5, *SHAPE, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_both_of_a_pair_have_the_same_class():
    label = labels()
    first, second = positions(FeaturePairs(Representation(), 3, 16), with_unlabeled(label), label)
    assert first.shape == second.shape == (3, 256)
    expected = torch.arange(3)[:, None].expand(3, 256)
    assert torch.equal(with_unlabeled(label).flatten()[first], expected)
    assert torch.equal(label.flatten()[second], expected)
    assert (first != second).float().mean() > 0.9


def test_pairs_within_and_across_patches():
    label = labels()
    first, second = positions(FeaturePairs(Representation(), 3, 16), with_unlabeled(label), label)
    same = (first // VOXELS == second // VOXELS).float().mean().item()
    assert same == pytest.approx(0.5, abs=0.1)
    alone = Representation(feature_cross_sample=False)
    first, second = positions(FeaturePairs(alone, 3, 16), with_unlabeled(label), label)
    assert torch.equal(first // VOXELS, second // VOXELS)
    assert torch.equal(with_unlabeled(label).flatten()[first], label.flatten()[second])
    assert (first != second).float().mean() > 0.9


def test_pairs_of_mixed_patches_find_their_source():
    # Patches i and 2 + i of the student are made of the teacher's patch i (bidirectional copy-paste).
    label = labels()
    box = torch.rand(SHAPE) < 0.5
    mixed = torch.cat([torch.where(box, -1, label), torch.where(box, label, -1)])
    same = Representation(feature_pairing="same_voxel")
    first, second = positions(FeaturePairs(same, 3, 16), mixed, label)
    assert torch.equal(mixed.flatten()[first], label.flatten()[second])
    assert torch.equal(first % (2 * VOXELS), second)
    alone = Representation(feature_cross_sample=False)
    first, second = positions(FeaturePairs(alone, 3, 16), mixed, label)
    assert torch.equal(mixed.flatten()[first], label.flatten()[second])
    assert torch.equal(first // VOXELS % 2, second // VOXELS)


def test_rare_and_absent_classes_take_no_part():
    label = torch.zeros(2, *SHAPE, dtype=torch.long)
    label[0].flatten()[:16] = 1
    label[1].flatten()[:15] = 2  # one voxel short; class 3 is absent
    first, _ = positions(FeaturePairs(Representation(), 4, 16), label, label)
    assert label.flatten()[first].unique().tolist() == [0, 1]
    without = Representation(feature_include_background=False)
    first, _ = positions(FeaturePairs(without, 4, 16), label, label)
    assert label.flatten()[first].unique().tolist() == [1]


def test_without_a_class_the_loss_is_nothing():
    nothing = torch.full((2, *SHAPE), -1)
    student, teacher = layers()
    loss, signs = FeaturePairs(Representation(), 3, 16).objective(
        student, teacher, [features(2)], [features(2)], nothing, nothing
    )
    assert loss.item() == 0 and signs == {}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"feature_cross_sample": False},
        {"feature_symmetric": True},
        {"feature_pairing": "same_voxel"},
        {"feature_pairing": "class_mean"},
        {"feature_mlp_norm": "layer"},
        {"feature_mlp_norm": "none"},
    ],
)
def test_gradient_reaches_student_encoder_and_layers_only(settings):
    options = Representation(**settings)
    student, teacher = layers(options.feature_mlp_norm)
    before = copy.deepcopy(teacher.state_dict())
    label, seen, taught = labels(), features(4, 1), features(2, 2)
    loss, signs = FeaturePairs(options, 3, 16).objective(
        student, teacher, [seen], [taught], with_unlabeled(label), label
    )
    loss.backward()
    assert 0 < loss.item() < 4
    assert seen.grad[:2].abs().max() > 0 and (seen.grad[2:] == 0).all()
    assert taught.grad is None
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert -1 <= signs["class_cosine"] <= 1 and 0 < signs["feature_spread"] < 0.5


def test_reduction_divides_by_the_dimension():
    label = labels()
    values = []
    for reduction in ("sum", "mean_dim"):
        student, teacher = layers()
        torch.manual_seed(1)
        pairs = FeaturePairs(Representation(feature_reduction=reduction), 3, 16)
        values.append(pairs.objective(student, teacher, [features(2)], [features(2)], label, label)[0].item())
    assert values[0] == pytest.approx(16 * values[1], rel=1e-5)


def test_a_collapsed_output_is_seen():
    # The same direction for every voxel: no loss at all, but also no spread and one direction.
    student, teacher = layers("none")
    with torch.no_grad():
        for layer in (student.projector, student.predictor, teacher.projector):
            layer[-1].weight.zero_()
            layer[-1].bias.fill_(1.0)
    label = labels()
    loss, signs = FeaturePairs(Representation(), 3, 16).objective(
        student, teacher, [features(2)], [features(2)], label, label
    )
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert signs["class_cosine"].item() == pytest.approx(1, abs=1e-5)
    assert signs["feature_spread"].item() == pytest.approx(0, abs=1e-6)
