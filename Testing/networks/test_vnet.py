"""The V-Net's size, shapes and cost are the benchmark's (method.md 1.2, 5.1)."""

import pytest
import torch
from torch import nn

from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.networks.decoders import ManyDecoders
from VoxelAdvSegLib.networks.vnet import Convolution, Head, VNet, block_channels, block_strides


@pytest.mark.parametrize(
    ("channels", "classes", "norm", "count"),
    [
        (1, 2, "batch", 9_448_866),
        (1, 3, "batch", 9_448_883),
        (1, 9, "batch", 9_448_985),
        (2, 2, "batch", 9_449_298),
        (1, 2, "group", 9_448_866),
        (1, 2, "none", 9_443_266),
    ],
)
def test_number_of_parameters(channels, classes, norm, count):
    network = VNet(channels, classes, norm=norm)
    assert sum(p.numel() for p in network.parameters()) == count


def test_batch_norm_keeps_5629_numbers():
    assert sum(b.numel() for b in VNet(1, 2).buffers()) == 5629


def test_multiplications_of_one_patch():
    network = VNet(1, 2).to("meta")
    count = 0

    def add(module, inputs, output):
        nonlocal count
        taps = module.kernel_size[0] ** 3
        if isinstance(module, nn.ConvTranspose3d):  # every input voxel meets every tap
            count += inputs[0].numel() * module.out_channels * taps
        else:
            count += output.numel() * module.in_channels * taps

    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.register_forward_hook(add)
    network(torch.zeros(1, 1, 80, 112, 112, device="meta"))
    assert count == 40_108_687_360


@pytest.mark.parametrize("shape", [(32, 48, 16), (16, 16, 16)])
def test_shapes_of_logits_and_blocks(shape):
    network = VNet(2, 5, filters=4).eval()
    with torch.no_grad():
        logits, features = network.forward_features(torch.randn(2, 2, *shape))
    assert logits.shape == (2, 5, *shape)
    assert block_channels(4) == (4, 8, 16, 32, 64, 32, 16, 8, 4)
    for feature, channels, stride in zip(features, block_channels(4), block_strides(), strict=True):
        assert feature.shape == (2, channels, *[n // stride for n in shape])


def test_a_size_that_cannot_be_halved_four_times_is_refused_by_axis():
    with pytest.raises(ConfigError) as caught:
        VNet(1, 2, filters=2)(torch.zeros(1, 1, 16, 40, 16))
    assert "along y" in str(caught.value)
    assert "multiple of 16" in str(caught.value)


def test_instance_norm_of_a_single_voxel_is_refused():
    with pytest.raises(ConfigError, match="instance norm"):
        VNet(1, 2, 2, "instance")(torch.zeros(1, 1, 16, 16, 16))


def test_dropout_only_in_training_and_only_where_wanted():
    volumes = torch.randn(1, 1, 16, 16, 32)
    with torch.no_grad():
        dropping, steady = VNet(1, 2, 4, "instance"), VNet(1, 2, 4, "instance", dropout=False)
        assert not torch.equal(dropping(volumes), dropping(volumes))
        dropping.eval()
        assert torch.equal(dropping(volumes), dropping(volumes))
        assert torch.equal(steady(volumes), steady(volumes))
        steady_in_training = steady(volumes)
        assert torch.equal(steady.eval()(volumes), steady_in_training)


def test_hidden_features_are_taken_before_dropout():
    # Blocks 5 and 9 are followed by channel dropout; D would otherwise see its noise.
    network = VNet(1, 2, 4, "instance")
    volumes = torch.randn(1, 1, 16, 16, 32)
    with torch.no_grad():
        first, second = network.forward_features(volumes)[1], network.forward_features(volumes)[1]
    assert torch.equal(first[4], second[4])
    assert not torch.equal(first[8], second[8])  # behind the dropout of block 5


def test_output_prior_is_the_class_frequency():
    # An untrained head of zero weight predicts the prior itself.
    network = VNet(1, 3, 4)
    network.set_output_prior([90, 9, 1])
    nn.init.zeros_(network.head.weight)
    with torch.no_grad():
        guess = network.eval()(torch.randn(1, 1, 16, 16, 16)).softmax(1)
    assert guess[0, :, 3, 4, 5].tolist() == pytest.approx([0.9, 0.09, 0.01], abs=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_gradients_in_bfloat16_are_those_of_fp32_to_its_rounding(depth):
    # oneDNN's own weight gradient of two slices is off by 100 %, now and then by 1e36.
    torch.manual_seed(0)
    layer = Convolution(16, 16).to(memory_format=torch.channels_last_3d)
    hidden = torch.randn(2, 16, depth, 4, 3).to(memory_format=torch.channels_last_3d).requires_grad_()
    upstream = torch.randn(2, 16, depth, 4, 3)
    exact = torch.autograd.grad(layer(hidden), [hidden, layer.weight], upstream)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(hidden)
    rounded = torch.autograd.grad(out.float(), [hidden, layer.weight], upstream)
    for a, b in zip(exact, rounded, strict=True):
        assert b.dtype == torch.float32 and (a - b).norm() < 0.01 * a.norm()


@pytest.mark.parametrize("network", [VNet(1, 2, 2), ManyDecoders(VNet(1, 2, 2), 2, 3)])
def test_every_3x3x3_convolution_is_guarded_so(network):
    found = [m for m in network.modules() if isinstance(m, nn.Conv3d) and m.kernel_size == (3, 3, 3)]
    assert len(found) > 20 and all(isinstance(m, Convolution) for m in found)


def test_the_head_is_a_plain_convolution():
    head = Head(8, 3)
    hidden = torch.randn(2, 8, 4, 5, 6).to(memory_format=torch.channels_last_3d).requires_grad_()
    upstream = torch.randn(2, 3, 4, 5, 6)
    plain = nn.functional.conv3d(hidden, head.weight, head.bias)
    wanted = [hidden, head.weight, head.bias]
    expected = [plain, *torch.autograd.grad(plain, wanted, upstream)]
    out = head(hidden)
    for a, b in zip([out, *torch.autograd.grad(out, wanted, upstream)], expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
