"""How sure the network is of each organ, counted by hand; in slabs as at once."""

import numpy as np
import pytest
import torch

from VoxelAdvSegLib.inference.confidence import ConfidenceSums, confidence_by_organ


def test_a_row_of_voxels_by_hand():
    """Background, background, organ, organ, background along x: the surface is crossed twice."""
    organ = torch.tensor([0.1, 0.4, 0.7, 0.9, 0.2])
    probabilities = torch.stack([1 - organ, organ])[:, None, None]
    (found,) = confidence_by_organ(probabilities, ["liver"]).values()
    assert found.voxels == 2 and found.peak == pytest.approx(0.9)
    assert found.inside == pytest.approx((0.7 + 0.9) / 2)
    # Voxels on both sides: 0.6 (background), 0.7, 0.9 (organ), 0.8 (background).
    assert found.boundary == pytest.approx((0.6 + 0.7 + 0.9 + 0.8) / 4)


def test_an_organ_that_is_nowhere():
    probabilities = torch.full((3, 2, 2, 2), 0.3)
    probabilities[0] = 0.4
    liver, spleen = confidence_by_organ(probabilities, ["liver", "spleen"]).values()
    assert liver == spleen and (liver.voxels, liver.inside, liver.boundary) == (0, None, None)
    assert liver.peak == pytest.approx(0.3)


def test_an_organ_that_is_everywhere_has_no_boundary():
    probabilities = torch.stack([torch.full((2, 3, 4), 0.2), torch.full((2, 3, 4), 0.8)])
    (found,) = confidence_by_organ(probabilities, ["liver"]).values()
    assert found.voxels == 24 and found.boundary is None and found.inside == pytest.approx(0.8)


@pytest.mark.parametrize("slab", [1, 2, 3, 5, 100])
def test_slabs_change_nothing(slab: int):
    """Against the definition on the whole volume, in numpy."""
    shape, names = (11, 9, 10), ["a", "b", "c"]
    logits = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)) * 2
    probabilities = logits.softmax(0)
    found = confidence_by_organ(probabilities, names, slab)
    whole = probabilities.numpy().astype(np.float64)
    label, sure = whole.argmax(0), whole.max(0)
    for index, name in enumerate(names, 1):
        organ = np.pad(label == index, 1, mode="edge")
        near = np.zeros(shape, bool)
        for axis in range(3):
            for shift in (-1, 1):
                near |= (np.roll(organ, shift, axis) != organ)[1:-1, 1:-1, 1:-1]
        assert found[name].voxels == np.count_nonzero(label == index)
        assert found[name].inside == pytest.approx(sure[label == index].mean())
        assert found[name].boundary == pytest.approx(sure[near].mean())
        assert found[name].peak == pytest.approx(whole[index].max())


@pytest.mark.parametrize("depths", [[9], [1] * 9, [2, 1, 4, 2], [8, 1]])
def test_a_few_slices_after_the_other_are_the_whole(depths: list[int]):
    probabilities = torch.rand(3, 9, 5, 6, generator=torch.Generator().manual_seed(1)).softmax(0)
    sums = ConfidenceSums(["liver", "spleen"])
    for part in probabilities.split(depths, 1):
        sums.add(part)
    whole = confidence_by_organ(probabilities, ["liver", "spleen"])
    for name, found in sums.by_organ().items():
        assert vars(found) == pytest.approx(vars(whole[name]), rel=1e-12)
