"""Pasted boxes keep image, label, origin and targets together (row 66)."""

import pytest
import torch

from VoxelAdvSegLib.methods.copy_paste import draw_box, near_seam, paste_bidirectional, paste_labeled

SHAPE = (6, 9, 12)


def marked(number, patches=2):
    """Patches whose every voxel is 10 * number + patch."""
    return torch.stack([torch.full(SHAPE, 10 * number + i) for i in range(patches)])


@pytest.mark.parametrize(("edge", "size"), [(2 / 3, 4 * 6 * 8), (1.0, 6 * 9 * 12), (0.01, 1)])
def test_size_of_the_box(edge, size):
    for _ in range(5):
        assert int(draw_box(SHAPE, edge, torch.device("cpu")).sum()) == size


def test_the_box_lies_anywhere_inside():
    torch.manual_seed(0)
    boxes = torch.stack([draw_box(SHAPE, 0.5, torch.device("cpu")) for _ in range(2000)])
    assert boxes.any(0).all()  # every voxel, corners too, is sometimes pasted


def test_labels_and_cases_move_with_their_image():
    label = marked(0, 3)
    images, labels, cases = paste_labeled((label[:, None].float().expand(-1, 2, *SHAPE), label, label), 2 / 3)
    assert torch.equal(images[:, 0], labels.float()) and torch.equal(images[:, 1], labels.float())
    assert torch.equal(cases, labels)
    for i in range(3):
        assert sorted(labels[i].unique().tolist()) == sorted({i, (i - 1) % 3})
        assert int((labels[i] != i).sum()) == 4 * 6 * 8


def test_a_single_patch_has_nothing_to_paste():
    label = marked(0, 1)
    images, labels = paste_labeled((label[:, None].float(), label), 2 / 3)
    assert torch.equal(labels, label) and torch.equal(images, label[:, None].float())


def test_every_voxel_of_both_origins_is_seen_once():
    label = marked(1)
    labeled, unlabeled = marked(1)[:, None].float(), marked(2)[:, None].float()
    mixed = paste_bidirectional(labeled, label, unlabeled, 2 / 3)
    assert mixed.images.shape == (4, 1, *SHAPE)
    assert torch.equal(mixed.images[:, 0] < 20, mixed.from_labeled)
    expected = torch.where(mixed.from_labeled, mixed.images[:, 0].long(), -1)
    assert torch.equal(mixed.label, expected)
    for i in range(2):
        assert torch.equal(mixed.from_labeled[i], ~mixed.from_labeled[2 + i])
        assert {10 + i, 20 + i} == set(mixed.images[i].unique().int().tolist())
        assert {10 + i, 20 + i} == set(mixed.images[2 + i].unique().int().tolist())
    assert int((~mixed.from_labeled[0]).sum()) == 4 * 6 * 8  # the unlabeled box in a labeled patch
    targets = torch.cat([labeled, unlabeled]).expand(-1, 3, *SHAPE)  # K = 3
    assert torch.equal(mixed.mix(targets[:2], targets[2:])[:, 2], mixed.images[:, 0])


def test_voxels_near_the_seam():
    origin = torch.zeros(1, 5, 5, 8, dtype=torch.bool)
    origin[..., 4:] = True
    assert not near_seam(origin, 0).any()
    assert near_seam(origin, 1)[0, 2, 2].tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert near_seam(origin, 2)[0, 2, 2].tolist() == [False] * 2 + [True] * 4 + [False] * 2
