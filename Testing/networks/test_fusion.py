"""Fusion at sampled voxels is the same function as fusion everywhere (method.md 5.3)."""

import pytest
import torch

from VoxelAdvSegLib.networks.fusion import FeatureFusion
from VoxelAdvSegLib.networks.vnet import block_channels, block_strides

SHAPE = (16, 32, 48)  # z, y, x
PATCHES = 2


def features_of(levels, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    channels, strides = block_channels(2), block_strides()
    return [
        torch.randn(
            PATCHES, channels[i - 1], *[n // strides[i - 1] for n in SHAPE], generator=generator, dtype=dtype
        ).requires_grad_()
        for i in levels
    ]


def make_fusion(levels, dim=6, **options):
    torch.manual_seed(2)
    return FeatureFusion([block_channels(2)[i - 1] for i in levels], dim, **options).double()


def points():
    """Corners and faces of both patches, and random voxels."""
    ends = torch.cartesian_prod(*[torch.tensor((0, n - 1)) for n in (PATCHES, *SHAPE)])
    depth, height, width = SHAPE
    corners = ((ends[:, 0] * depth + ends[:, 1]) * height + ends[:, 2]) * width + ends[:, 3]
    inside = torch.randint(PATCHES * depth * height * width, (200,), generator=torch.Generator().manual_seed(3))
    return torch.cat([corners, inside])


def rows(dense, positions):
    return dense.permute(0, 2, 3, 4, 1).reshape(-1, dense.shape[1])[positions]


def assert_equal_with_gradients(fusion, features, positions):
    sampled = fusion.fuse(fusion.gather(features, positions, SHAPE))
    dense = rows(fusion.dense(features, SHAPE), positions)
    torch.testing.assert_close(sampled, dense, rtol=0, atol=1e-12)
    direction = torch.randn(sampled.shape, dtype=sampled.dtype, generator=torch.Generator().manual_seed(4))
    leaves = [*features, *fusion.parameters()]
    ours = torch.autograd.grad((sampled * direction).sum(), leaves)
    theirs = torch.autograd.grad((dense * direction).sum(), leaves)
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_number_of_parameters():
    full = block_channels(16)
    for levels, count in (((1, 2, 3, 4), 19_776), ((2, 3, 4, 5), 35_136)):
        fusion = FeatureFusion([full[i - 1] for i in levels])
        assert sum(p.numel() for p in fusion.parameters()) == count


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("levels", [(1, 2, 3, 4), (2, 3, 4, 5), (9,)])
def test_sampled_equals_dense(levels, align_corners):
    fusion = make_fusion(levels, align_corners=align_corners)
    assert_equal_with_gradients(fusion, features_of(levels), points())


@pytest.mark.parametrize("align_corners", [False, True])
def test_sampled_equals_dense_with_a_3x3x3_kernel(align_corners):
    levels = (1, 2, 3, 4)
    fusion = make_fusion(levels, kernel=3, align_corners=align_corners)
    assert_equal_with_gradients(fusion, features_of(levels), points())


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_dense_path_gives_the_same(kernel):
    levels = (1, 3)
    features, positions = features_of(levels), points()
    sampled, dense = make_fusion(levels, kernel=kernel), make_fusion(levels, kernel=kernel, path="dense")
    expected = sampled.fuse(sampled.gather(features, positions, SHAPE))
    found = dense.fuse(dense.gather(features, positions, SHAPE))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3])
def test_sampled_equals_dense_in_half_precision(kernel):
    levels = (1, 2, 3, 4)
    fusion = make_fusion(levels, kernel=kernel).float()
    features = [f.detach().to(torch.bfloat16) for f in features_of(levels)]
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        sampled = fusion.fuse(fusion.gather(features, points(), SHAPE)).float()
        dense = rows(fusion.dense(features, SHAPE), points()).float()
    assert (sampled - dense).abs().max() < 2e-2 * dense.abs().max()


def test_half_precision_features_are_fused_in_fp32():
    fusion = make_fusion((1, 2)).float()
    features = [f.detach().to(torch.bfloat16) for f in features_of((1, 2))]
    voxels = fusion.gather(features, points(), SHAPE)
    assert {level.dtype for level in voxels.levels} == {torch.float32}
    assert fusion.fuse(voxels).dtype == torch.float32


def test_upsampling_by_hand():
    # One axis of 2 level voxels for 4 patch voxels: half-voxel convention gives 0, 1/4, 3/4, 1.
    fusion = FeatureFusion([1], dim=1).double()
    with torch.no_grad():
        for p in fusion.parameters():
            p.fill_(1.0 if p.ndim > 1 else 0.0)
    level = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 1, 2)
    fused = fusion.fuse(fusion.gather([level], torch.arange(4), (1, 1, 4)))
    assert fused[:, 0].tolist() == pytest.approx([0.0, 0.25, 0.75, 1.0])
    fusion.align_corners = True
    fused = fusion.fuse(fusion.gather([level], torch.arange(4), (1, 1, 4)))
    assert fused[:, 0].tolist() == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize("path", ["sampled", "dense"])
def test_a_frozen_fusion_passes_gradient_to_features_only(path):
    fusion = make_fusion((1, 2), path=path)
    features = features_of((1, 2))
    fusion.fuse(fusion.gather(features, points(), SHAPE), frozen=True).square().sum().backward()
    assert all(p.grad is None for p in fusion.parameters())
    assert all(f.grad is not None and f.grad.abs().max() > 0 for f in features)


@pytest.mark.parametrize("path", ["sampled", "dense"])
def test_detached_features_pass_gradient_to_the_weights_only(path):
    fusion = make_fusion((1, 2), path=path)
    features = features_of((1, 2))
    fusion.fuse(fusion.gather(features, points(), SHAPE).detached()).square().sum().backward()
    assert all(f.grad is None for f in features)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in fusion.parameters())


def test_gradient_is_the_same_bit_for_bit_with_two_threads():
    # Many points on few voxels: their sum must not depend on which thread comes first.
    fusion, generator = FeatureFusion([16], 16), torch.Generator().manual_seed(5)
    level = torch.randn(2, 16, 8, 16, 24, generator=generator).requires_grad_()
    crowded = 163 * torch.randint(300, (6000,), generator=generator)  # all over both patches
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, *others = [
            torch.autograd.grad(fusion.fuse(fusion.gather([level], crowded, SHAPE)).square().sum(), level)[0]
            for _ in range(4)
        ]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(first, other) for other in others)
