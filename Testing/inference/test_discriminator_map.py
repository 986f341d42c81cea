"""The map of what looks labeled: the discriminator's own judgement at every voxel."""

import numpy as np
import pytest
import torch

from Testing.test_bundle import make_bundle
from VoxelAdvSegLib.config import Inference
from VoxelAdvSegLib.inference.discriminator_map import mean_by_organ, predict_with_map, quantize


@pytest.mark.parametrize(
    "settings", [{}, {"disc_heads": "single"}, {"feature_levels": "9"}, {"fusion_kernel": 3}, {"feature_dim": 4}]
)
def test_one_window_is_judged_voxel_by_voxel(settings: dict):
    """At voxels picked by hand: features of the student, gathered sparsely, by the head of the teacher's class."""
    bundle = make_bundle(**settings)
    teacher, student, discriminator = bundle.network(), bundle.network("student"), bundle.discriminator()
    assert discriminator is not None and discriminator.fusion is not None
    volume = torch.randn(1, 1, 16, 16, 32, generator=torch.Generator().manual_seed(0))
    probabilities, looks = predict_with_map(
        teacher, student, discriminator, discriminator.fusion, volume, bundle.config, Inference(stride=None)
    )
    with torch.no_grad():
        expected = teacher(volume).softmax(1)[0]
        features = student.forward_features(volume)[1]
        chosen = [features[level - 1] for level in bundle.config.adversarial.feature_levels]
        voxels = torch.tensor([0, 31, 5000, 16 * 16 * 32 - 1])
        fused = discriminator.fusion.fuse(discriminator.fusion.gather(chosen, voxels, (16, 16, 32)))
        logits = discriminator.judge(fused, expected.argmax(0).reshape(-1)[voxels])
    assert torch.allclose(probabilities, expected, atol=1e-5)
    assert looks.shape == (16, 16, 32)
    assert torch.allclose(looks.reshape(-1)[voxels], logits.sigmoid(), atol=1e-5)


def test_any_size_of_scan_has_a_map():
    bundle = make_bundle()
    discriminator = bundle.discriminator()
    assert discriminator is not None and discriminator.fusion is not None
    for size in ((9, 12, 20), (18, 17, 40)):
        probabilities, looks = predict_with_map(
            bundle.network(), bundle.network("student"), discriminator, discriminator.fusion,
            torch.randn(1, 1, *size), bundle.config, bundle.config.inference,
        )  # fmt: skip
        assert probabilities.shape == (3, *size) and looks.shape == size
        assert torch.allclose(probabilities.sum(0), torch.ones(size), atol=1e-4)
        assert looks.min() >= 0 and looks.max() <= 1


def test_means_are_per_organ():
    values = np.array([[[0.0, 0.2, 0.4, 0.9]]], np.float32)
    label = np.array([[[0, 1, 1, 2]]], np.uint8)
    means = mean_by_organ(values, label, ["liver", "spleen", "kidney"])
    assert means == {
        "liver": pytest.approx(0.3), "spleen": pytest.approx(0.9), "kidney": None, "all organs": pytest.approx(0.5),
    }  # fmt: skip
    assert set(mean_by_organ(values, label * 0, ["liver"]).values()) == {None}


def test_previews_hold_the_map_in_a_byte():
    assert quantize(torch.tensor([0.0, 0.5, 1.0, 1.2, -1])).tolist() == [0, 128, 255, 255, 0]
