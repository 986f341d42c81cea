"""Patches of a step: cut exactly, label on its image, the same whenever a step is asked for."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.data.sampling import PatchDraw, PatchPlan, draw_patch
from VoxelAdvSegLib.training.batches import Batches, cut

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float16)


def still(centre: tuple[float, float, float], **changes: float) -> PatchDraw:
    return PatchDraw(np.array(centre), np.eye(3), **changes)


@given(start=st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 14)))
@settings(max_examples=20, deadline=None)
def test_an_unturned_cut_is_a_slice(start: tuple[int, int, int]):
    image = noise(20, 34, 30)
    label = np.random.default_rng(1).integers(0, 5, image.shape).astype(np.uint8)
    shape = (16, 32, 16)
    patch, classes = cut(image, label, still(tuple(a + (n - 1) / 2 for a, n in zip(start, shape, strict=True))), shape)
    box = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    assert np.abs(patch.numpy() - image[box].astype(np.float32)).max() < 1e-3
    assert classes is not None and classes.dtype == torch.int64
    assert np.array_equal(classes.numpy(), label[box])


@pytest.mark.parametrize("augment", ["uamt", "d4"])
def test_quarter_turns_are_those_of_numpy(augment: str):
    """uamt: k x 90 degrees about the slice axis, then always a flip: four mirror images; d4: all eight."""
    image = noise(16, 32, 32)
    turned = [np.rot90(image, k, (1, 2)) for k in range(4)]
    mirrored = [np.flip(t, 1) for t in turned]
    allowed = mirrored if augment == "uamt" else turned + mirrored
    seen = set()
    for seed in range(100):
        draw = draw_patch(
            np.random.default_rng(seed), PatchPlan((16, 32, 32), augment, (1, 1, 1), (False,) * 3), image.shape
        )
        patch = cut(image, None, draw, (16, 32, 32))[0].numpy()
        errors = [np.abs(patch - known.astype(np.float32)).max() for known in allowed]
        assert min(errors) < 1e-3
        seen.add(int(np.argmin(errors)))
    assert len(seen) == len(allowed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), augment=st.sampled_from(["mild", "strong"]), axis=st.integers(0, 2))
def test_image_and_label_stay_together_under_rotation_and_zoom(seed: int, augment: str, axis: int):
    """The image tells each voxel's own index, so does the label: nearest is within half a voxel of linear."""
    index = np.indices((90, 90, 90))[axis].astype(np.uint8)
    plan = PatchPlan((16, 16, 32), augment, (1.0, 1.3, 0.8), (True, True, True))
    draw = draw_patch(np.random.default_rng(seed), plan, index.shape, np.array([45.0, 45, 45]))
    bare = PatchDraw(draw.centre_zyx, draw.matrix)  # intensities as they are
    patch, label = cut(index.astype(np.float16), index, bare, plan.shape_zyx)
    assert label is not None
    assert float((patch - label).abs().max()) <= 0.5 + 1e-3
    # and both are where the draw says: voxel o of the patch shows centre + matrix @ o
    offsets = np.indices(plan.shape_zyx).reshape(3, -1) - (np.array(plan.shape_zyx)[:, None] - 1) / 2
    expected = (draw.centre_zyx[:, None] + draw.matrix @ offsets)[axis].reshape(plan.shape_zyx)
    assert np.abs(patch.numpy() - expected).max() < 1e-2


def test_a_smaller_volume_is_padded_with_the_mean_and_background():
    image, label = np.full((10, 32, 20), 3, np.float16), np.ones((10, 32, 20), np.uint8)
    draw = draw_patch(np.random.default_rng(0), PatchPlan((16, 32, 32), "none", (1, 1, 1), (False,) * 3), image.shape)
    patch, classes = cut(image, label, draw, (16, 32, 32))
    assert classes is not None
    inside = np.zeros((16, 32, 32), bool)
    inside[3:13, :, 6:26] = True
    assert np.allclose(patch.numpy(), 3 * inside, atol=1e-3)
    assert np.array_equal(classes.numpy(), inside)


def test_intensities_change_as_drawn():
    image = noise(16, 16, 16)
    plain = cut(image, None, still((7.5, 7.5, 7.5)), (16, 16, 16))[0]
    louder = cut(image, None, still((7.5, 7.5, 7.5), gain=2.0, offset=1.0), (16, 16, 16))[0]
    assert torch.allclose(louder, 2 * plain + 1)
    curved = cut(image, None, still((7.5, 7.5, 7.5), gamma=2.0), (16, 16, 16))[0]
    low, high = plain.min(), plain.max()
    assert torch.allclose(curved, (plain - low) ** 2 / (high - low) + low, atol=1e-4)
    noisy = [cut(image, None, still((7.5, 7.5, 7.5), noise_sd=0.1, noise_seed=5), (16, 16, 16))[0] for _ in range(2)]
    assert torch.equal(*noisy) and float((noisy[0] - plain).std()) == pytest.approx(0.1, abs=0.01)
    point = np.zeros((15, 15, 15), np.float16)
    point[7, 7, 7] = 1
    soft = cut(point, None, still((7.0, 7.0, 7.0), blur_sd=1.0), (15, 15, 15))[0]
    # a Gaussian of sd 1 on whole voxels, three times over: (1 / 2.5066) ** 3 at its middle
    assert float(soft.sum()) == pytest.approx(1, abs=1e-3) and float(soft[7, 7, 7]) == pytest.approx(0.0635, abs=1e-3)
    assert float(soft[7, 7, 8] / soft[7, 7, 7]) == pytest.approx(np.exp(-0.5), abs=1e-3)


def batches(augment: str = "mild", foreground: float = 0.5, seed: int = 0, shape=(16, 16, 16)) -> Batches:
    labeled = []
    for number in range(3):
        label = np.zeros((40, 36, 44), np.uint8)
        label[15:25, 14:24, 15:30] = 1
        label[18:20, 15 + number, 20] = 2  # two voxels of the rare organ
        labeled.append(LabeledArrays(str(number), noise(40, 36, 44, seed=number), label, str(number)))
    unlabeled = [UnlabeledArrays(str(n), noise(30, 30, 30, seed=9 + n), str(n)) for n in range(4)]
    plan = PatchPlan(shape, augment, (1.0, 1.0, 1.0), (False, False, True))
    return Batches(labeled, unlabeled, plan, foreground, seed, CPU)


@pytest.mark.parametrize("augment", ["mild", "uamt"])
def test_a_step_has_the_same_batch_whenever_it_is_asked_for(augment: str):
    first, again = batches(augment), batches(augment)
    again.at(9, 2, 2)  # whatever came before
    one, two = first.at(4, 2, 2), again.at(4, 2, 2)
    for name in ("labeled", "label", "unlabeled", "labeled_case"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert one.labeled.shape == one.unlabeled.shape == (2, 1, 16, 16, 16) and one.label.shape == (2, 16, 16, 16)
    assert not torch.equal(one.labeled, first.at(5, 2, 2).labeled)
    assert not torch.equal(one.labeled, batches(augment, seed=1).at(4, 2, 2).labeled)


def test_the_case_of_each_labeled_patch_is_told():
    made = batches("none", foreground=0, shape=(48, 48, 48))  # the whole scan in its middle
    batch = made.at(2, 3, 0)
    for image, number in zip(batch.labeled[:, 0], batch.labeled_case.tolist(), strict=True):
        own = torch.from_numpy(made.labeled[number].image.astype(np.float32))
        assert torch.allclose(image[4:44, 6:42, 2:46], own, atol=1e-3)
    assert sorted(batch.labeled_case.tolist()) == [0, 1, 2]
    assert batch.unlabeled.shape == (0, 1, 48, 48, 48)


@pytest.mark.parametrize("augment", ["mild", "uamt", "none"])
def test_foreground_patches_show_their_organ(augment: str):
    """Each organ is as likely as the other, so the one of two voxels is in about half of the patches or more."""
    made = batches(augment, foreground=1.0)
    labels = torch.cat([made.at(step, 2, 0).label for step in range(15)])
    assert all((label > 0).any() for label in labels)
    rare = sum(bool((label == 2).any()) for label in labels) / len(labels)
    assert rare > 0.3
    none = batches(augment, foreground=0.0)
    anywhere = torch.cat([none.at(step, 2, 0).label for step in range(15)])
    assert sum(bool((label == 2).any()) for label in anywhere) / len(anywhere) < rare


def test_a_case_without_organs_gives_patches_too():
    made = batches(foreground=1.0)
    empty = LabeledArrays("e", noise(20, 20, 20), np.zeros((20, 20, 20), np.uint8), "e")
    alone = Batches([empty], [], made.plan, 1.0, 0, CPU)
    assert alone.at(0, 2, 2).labeled.shape == (2, 1, 16, 16, 16)


def test_what_is_cut_ahead_changes_nothing():
    """A run asks step after step; one that skips, goes back or asks for other numbers gets the same patches."""
    made, plain = batches(), batches()
    for asked in ((0, 2, 2), (1, 2, 2), (2, 2, 2), (3, 3, 0), (9, 2, 2), (9, 2, 2), (0, 2, 2)):
        batch, expected = made.at(*asked), plain.cut_at(*asked)
        for name in ("labeled", "label", "unlabeled", "labeled_case"):
            assert torch.equal(getattr(batch, name), getattr(expected, name))


def test_the_next_steps_patches_are_cut_while_a_step_is_taken(monkeypatch):
    made = batches()
    cut = []
    plain = made.cut_at
    main = threading.main_thread()
    monkeypatch.setattr(made, "cut_at", lambda *a: cut.append((a[0], threading.current_thread() is main)) or plain(*a))
    for step in range(3):
        made.at(step, 2, 2)
    made.close()
    assert cut == [(0, True), (1, False), (2, False), (3, False)]


def test_a_failure_of_the_patches_comes_up_where_they_are_asked_for(monkeypatch):
    made = batches()
    made.at(0, 2, 2)
    plain = made.cut_at
    monkeypatch.setattr(made, "cut_at", lambda *asked: plain(*asked) if asked[0] < 2 else 1 / 0)
    made.at(1, 2, 2)
    with pytest.raises(ZeroDivisionError):
        made.at(2, 2, 2)
