"""The discriminator's size, its heads, and its norms (method.md 1.3)."""

import copy

import pytest
import torch

from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.fusion import FeatureFusion


@pytest.mark.parametrize(("classes", "count"), [(2, 28_226), (9, 28_681)])
def test_number_of_parameters(classes, count):
    discriminator = Discriminator(FeatureFusion([16, 32, 64, 128]), classes)
    assert sum(p.numel() for p in discriminator.parameters()) == count


def test_a_voxel_is_judged_by_the_head_of_its_class():
    discriminator = Discriminator(None, 3, dim=8)
    rows, classes = torch.randn(6, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    before = discriminator.judge(rows, classes)
    with torch.no_grad():
        discriminator.heads.bias[2] += 7
    change = discriminator.judge(rows, classes) - before
    torch.testing.assert_close(change, 7.0 * (classes == 2))


def test_permuting_classes_permutes_the_heads():
    discriminator = Discriminator(None, 3, dim=8)
    permuted = copy.deepcopy(discriminator)
    order = torch.tensor([2, 0, 1])  # class c of the copy is class order[c]
    with torch.no_grad():
        permuted.heads.weight.copy_(discriminator.heads.weight[order])
        permuted.heads.bias.copy_(discriminator.heads.bias[order])
    rows, classes = torch.randn(50, 8), torch.randint(3, (50,))
    assert torch.equal(permuted.judge(rows, classes), discriminator.judge(rows, order[classes]))


def test_a_single_head_ignores_the_class():
    discriminator = Discriminator(None, 3, dim=8, heads="single")
    rows = torch.randn(4, 8)
    judged = [discriminator.judge(rows, torch.full((4,), c)) for c in range(3)]
    assert torch.equal(judged[0], judged[1]) and torch.equal(judged[0], judged[2])


def test_judging_everywhere_is_judging_each_voxel():
    discriminator = Discriminator(None, 3, dim=8)
    fused, classes = torch.randn(2, 8, 2, 3, 4), torch.randint(3, (2, 2, 3, 4))
    everywhere = discriminator.judge_everywhere(fused, classes)
    one = discriminator.judge(fused[1, :, 1, 2, 3][None], classes[1, 1, 2, 3][None])
    assert everywhere.shape == (2, 2, 3, 4)
    assert everywhere[1, 1, 2, 3].item() == pytest.approx(one.item(), abs=1e-6)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_spectral_norm_bounds_every_layer_by_one(layers):
    discriminator = Discriminator(None, 2, dim=16, hidden_layers=layers, norm="spectral")
    linear = [m for m in discriminator.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linear) == layers + 1
    with torch.no_grad():
        for layer in linear:
            layer.parametrizations.weight.original.mul_(50)
        for _ in range(50):  # power iterations run in training mode
            discriminator.judge(torch.randn(4, 16), torch.zeros(4, dtype=torch.long))
        discriminator.eval()
        for layer in linear:
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-2)


def test_judging_in_evaluation_mode_moves_no_buffer():
    discriminator = Discriminator(None, 2, dim=16, norm="spectral").eval()
    before = copy.deepcopy(discriminator.state_dict())
    discriminator.judge(torch.randn(4, 16), torch.zeros(4, dtype=torch.long)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in discriminator.state_dict().items())


def test_layer_norm_makes_the_first_layers_blind_to_scale():
    discriminator = Discriminator(None, 2, dim=16, norm="layer")
    with torch.no_grad():
        discriminator.perceptron[0].bias.zero_()
        rows, classes = torch.randn(5, 16), torch.zeros(5, dtype=torch.long)
        small, large = discriminator.judge(rows, classes), discriminator.judge(1000 * rows, classes)
    torch.testing.assert_close(small, large, rtol=1e-3, atol=1e-3)
