"""Known answers of distance maps, mutual consistency and the atlas (method.md 3)."""

import math

import numpy as np
import pytest
import torch

from Testing.methods.test_every_method import build
from VoxelAdvSegLib.data.phantoms import sphere
from VoxelAdvSegLib.methods.atlas import SIZE, Atlas
from VoxelAdvSegLib.methods.dap import focal
from VoxelAdvSegLib.methods.distance_maps import signed_distance, signed_distances
from VoxelAdvSegLib.methods.dtc import mask_of_distance
from VoxelAdvSegLib.methods.mc_net import mutual_consistency, sharpen
from VoxelAdvSegLib.methods.sassnet import adversarial_weight, organ_terms
from VoxelAdvSegLib.networks.decoders import ManyDecoders
from VoxelAdvSegLib.networks.map_discriminators import PatchDiscriminator, VolumeDiscriminator
from VoxelAdvSegLib.networks.two_heads import TwoHeads
from VoxelAdvSegLib.networks.vnet import VNet

SHAPE, CENTER, RADIUS = (24, 20, 22), (11, 9, 10), 6.0


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_are_those_of_the_public_code():
    assert parameters(TwoHeads(VNet(1, 2))) == 9_448_866
    assert parameters(VolumeDiscriminator(1, 1)) == 11_020_290
    assert parameters(ManyDecoders(VNet(1, 2), 2, 2)) == 12_347_716
    assert parameters(ManyDecoders(VNet(1, 2), 2, 3)) == 15_246_566
    assert parameters(PatchDiscriminator(2)) == 2_646_465


def test_distance_map_of_a_ball():
    ball = sphere(SHAPE, CENTER, RADIUS)
    found = signed_distance(ball)
    assert found.dtype == np.float32
    offsets = np.moveaxis(np.indices(SHAPE), 0, -1) - np.asarray(CENTER)
    radius = np.sqrt((offsets**2).sum(-1))
    assert found[CENTER] == -1 and found.max() == 1
    assert found[np.unravel_index(radius.argmax(), SHAPE)] == 1  # the farthest voxel
    assert (found[ball] <= 0).all() and (found[~ball] > 0).all()
    # Radially monotone, up to the width of a voxel.
    for near, far in ((0.0, 2.5), (2.5, 5.0), (7.0, 9.0), (9.0, 12.0)):
        ring = [found[np.abs(radius - r) < 0.4] for r in (near, far)]
        assert ring[0].max() < ring[1].min()
    border = ball & (found == 0)
    assert border.sum() > 50 and (radius[border] > RADIUS - math.sqrt(3)).all()


def test_distance_maps_of_no_organ_and_of_nothing_else():
    assert not signed_distance(np.zeros(SHAPE, bool)).any()
    assert not signed_distance(np.ones(SHAPE, bool)).any()


def test_an_organ_that_the_patch_cuts_has_no_border_there():
    slab = np.zeros((8, 8, 8), bool)
    slab[:4] = True
    found = signed_distance(slab)
    assert (found[3] == 0).all() and (found[0] == -1).all() and (found[7] == 1).all()


def test_every_organ_has_its_own_map():
    label = torch.zeros(2, *SHAPE, dtype=torch.long)
    label[0][torch.from_numpy(sphere(SHAPE, CENTER, RADIUS))] = 2
    maps = signed_distances(label, 4)
    assert maps.shape == (2, 3, *SHAPE)
    assert maps[0, 1].min() == -1 and not maps[0, 0].any() and not maps[0, 2].any() and not maps[1].any()


def test_the_exact_distance_map_gives_the_mask_back():
    ball = sphere(SHAPE, CENTER, RADIUS)
    distance = torch.from_numpy(signed_distance(ball))
    found = mask_of_distance(distance)
    border = distance == 0
    assert torch.equal(found[border], torch.full_like(found[border], 0.5))
    assert torch.allclose(found[~border], torch.from_numpy(ball).float()[~border], atol=1e-3)
    extreme = torch.tensor([-1.0, 1.0], requires_grad=True)
    mask_of_distance(extreme).sum().backward()
    assert torch.isfinite(extreme.grad).all()


def test_two_heads_begin_as_the_network_they_are_made_of():
    torch.manual_seed(0)
    network = VNet(1, 3, 4)
    network.set_output_prior([0.9, 0.07, 0.03])
    volumes = torch.randn(1, 1, 16, 16, 32)
    with torch.no_grad():
        before = network.eval()(volumes)
        heads = TwoHeads(network).eval()
        after, (organs, distances) = heads(volumes), heads.forward_both(volumes)
    assert torch.allclose(before.softmax(1), after.softmax(1), atol=1e-6)
    assert organs.shape == distances.shape == (1, 2, 16, 16, 32)
    assert distances.abs().max() <= 1
    # The published rule: background where no sigmoid is above one half, else the largest.
    rule = torch.where(organs.sigmoid().amax(1) > 0.5, organs.argmax(1) + 1, 0)
    assert torch.equal(after.argmax(1), rule)


def test_dice_of_sigmoid_maps_is_that_of_two_classes():
    logits, label = torch.randn(2, 1, 4, 4, 4), torch.randint(2, (2, 4, 4, 4))
    p, y = logits.sigmoid()[:, 0], label.float()
    by_hand = 1 - (2 * (p * y).sum() + 1e-5) / (p.square().sum() + y.sum() + 1e-5)
    settings = build("sassnet").config.supervision
    assert float(organ_terms(settings, logits, label)["dice"].value) == pytest.approx(float(by_hand), abs=1e-6)


def test_published_weight_by_number_of_labels():
    assert [adversarial_weight(None, n) for n in (4, 8, 16)] == [0.015, 0.015, 0.01]
    assert adversarial_weight(0.3, 8) == 0.3


def test_sharpening():
    p = torch.tensor([[0.6, 0.4], [1.0, 0.0], [0.5, 0.5]]).reshape(3, 2, 1, 1, 1)
    found = sharpen(p).flatten(1)
    assert found[0].tolist() == pytest.approx([0.983, 0.017], abs=1e-3)
    assert found[1].tolist() == [1, 0] and found[2].tolist() == [0.5, 0.5]
    many = torch.full((1, 20, 1, 1, 1), 1 / 20, requires_grad=True)
    sharpen(many)[0, 0].sum().backward()
    assert torch.isfinite(many.grad).all()


def test_equal_and_certain_decoders_have_nothing_to_learn_from_each_other():
    certain = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1)
    assert float(mutual_consistency([certain, certain])) == 0
    unsure = torch.tensor([0.6, 0.4]).reshape(1, 2, 1, 1, 1)
    sharp = 0.6**10 / (0.6**10 + 0.4**10)
    assert float(mutual_consistency([unsure, unsure])) == pytest.approx(2 * (sharp - 0.6) ** 2, abs=1e-6)
    assert float(mutual_consistency([unsure] * 3)) == pytest.approx(6 * (sharp - 0.6) ** 2, abs=1e-6)


def test_the_sharpened_side_may_be_held():
    first = torch.tensor([0.6, 0.4]).reshape(1, 2, 1, 1, 1).requires_grad_()
    second = torch.tensor([0.7, 0.3]).reshape(1, 2, 1, 1, 1)
    held = torch.autograd.grad(mutual_consistency([first, second], True), first)[0]
    sharp = 0.7**10 / (0.7**10 + 0.3**10)
    assert held.flatten()[0].item() == pytest.approx(0.6 - sharp, abs=1e-5)  # of (p1 - s(p2))^2 / 2 classes alone
    free = torch.autograd.grad(mutual_consistency([first, second]), first)[0]
    assert not torch.allclose(held, free)


def test_a_flat_atlas_leaves_the_focal_loss():
    logits, label = torch.randn(2, 3, 8, 8, 8), torch.randint(3, (2, 8, 8, 8))
    weight = 1 + Atlas(3).uncertainty(label)
    assert float(focal(logits, label, weight)) == pytest.approx(float(focal(logits, label)), abs=1e-6)
    p = logits.softmax(1).gather(1, label[:, None])
    assert float(focal(logits, label)) == pytest.approx(float((-((1 - p) ** 2) * p.log()).mean()), abs=1e-6)


def test_an_atlas_is_unsure_where_shapes_differ():
    """Balls of any place and size fill the same atlas; its doubt lies at their surface, here as well as there."""
    atlas = Atlas(2)
    for center, radius in (((10, 12, 12), 5.0), ((14, 10, 12), 7.0), ((12, 12, 10), 6.0)):
        atlas.add(torch.from_numpy(sphere((24, 24, 24), center, radius)).long()[None])
    assert int(atlas.seen) == 3
    middle = SIZE // 2
    assert atlas.mean[1, middle, middle, middle] > 0.99 and atlas.mean[0, 0, 0, 0] > 0.99
    assert torch.allclose(atlas.mean.sum(0), torch.ones(SIZE, SIZE, SIZE), atol=1e-5)
    center, radius = (11, 12, 13), 6.0
    label = torch.from_numpy(sphere((24, 24, 24), center, radius)).long()[None]
    doubt = atlas.uncertainty(label)[0]
    offsets = torch.stack(torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij"), -1) - torch.tensor(center)
    distance = (offsets.norm(dim=-1) - radius).abs()
    assert doubt[distance < 0.6].mean() > 0.5
    assert doubt[distance > 3].max() < 0.1


def test_patches_without_an_organ_leave_the_atlas_alone():
    atlas = Atlas(2)
    empty = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    atlas.add(empty)
    assert int(atlas.seen) == 0 and not atlas.uncertainty(empty).any()
