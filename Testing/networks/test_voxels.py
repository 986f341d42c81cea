"""Draws of class voxels: exact, uniform, repeatable (method.md 1.3, sampling)."""

import pytest
import torch
from scipy import stats

from VoxelAdvSegLib.networks.voxels import draw_class_voxels, draw_in_patches


def labels(shape=(2, 4, 6, 8), classes=3, seed=0):
    return torch.randint(-1, classes, shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_counts_and_classes_are_exact():
    label = labels()
    drawn = draw_class_voxels(label, 3, 200, seeded(1))
    assert drawn.counts.tolist() == [int((label == c).sum()) for c in range(3)]
    assert torch.equal(label.flatten()[drawn.positions], torch.arange(3)[:, None].expand(3, 200))


def test_draws_are_uniform_over_both_patches():
    # Patches share in proportion to their voxels of the class: 40 of 48 voxels lie in the second.
    label = torch.zeros(2, 4, 4, 4, dtype=torch.long)
    label[0, 0, :2] = 1
    label[1, 1:3] = 1
    label[1, 0, :2] = 1
    positions = draw_class_voxels(label, 2, 10_000, seeded(2)).positions[1]
    places = (label.flatten() == 1).nonzero()[:, 0]
    hits = torch.bincount(positions, minlength=label.numel())[places]
    assert len(places) == 48 and hits.sum() == 10_000
    assert stats.chisquare(hits.numpy()).pvalue > 1e-3


def test_the_first_and_the_last_voxel_can_be_drawn():
    label = torch.full((1, 2, 2, 2), -1)
    label[0, 0, 0, 0] = label[0, 1, 1, 1] = 0
    assert set(draw_class_voxels(label, 1, 100, seeded(0)).positions[0].tolist()) == {0, 7}


def test_the_seed_decides():
    label = labels()
    first, again = (draw_class_voxels(label, 3, 50, seeded(5)).positions for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, draw_class_voxels(label, 3, 50, seeded(6)).positions)


def test_an_absent_class_counts_zero_and_stays_inside():
    drawn = draw_class_voxels(torch.zeros(1, 2, 2, 2, dtype=torch.long), 3, 10)
    assert drawn.counts.tolist() == [8, 0, 0]
    assert drawn.positions.shape == (3, 10)
    assert drawn.positions.max() < 8


def test_draws_from_named_patches_stay_there():
    label = labels((3, 4, 6, 8))
    patches = torch.tensor([[0, 2, 2, 1] * 50, [1, 1, 0, 2] * 50])
    positions = draw_in_patches(label, patches, torch.tensor([2, 0]), seeded(3))
    assert torch.equal(positions // label[0].numel(), patches)
    assert (label.flatten()[positions[0]] == 2).all() and (label.flatten()[positions[1]] == 0).all()


def test_draws_from_a_named_patch_are_uniform():
    label = torch.ones(2, 2, 4, 5, dtype=torch.long)
    positions = draw_in_patches(label, torch.ones(1, 10_000, dtype=torch.long), torch.tensor([1]), seeded(4))
    hits = torch.bincount(positions[0] - 40, minlength=40)
    assert hits.sum() == 10_000
    assert stats.chisquare(hits.numpy()).pvalue > 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_host_never_waits_for_the_device():
    label = labels().cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        drawn = draw_class_voxels(label, 3, 100)  # raises where the host would wait
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert drawn.counts.tolist() == [int((labels() == index).sum()) for index in range(3)]
