"""Per voxel, how much its fused feature looks like one from a labeled scan (method.md 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from VoxelAdvSegLib.config import Config, Inference
from VoxelAdvSegLib.inference.windows import slide
from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.fusion import FeatureFusion
from VoxelAdvSegLib.networks.vnet import VNet


def predict_with_map(
    segmenter: nn.Module,
    student: VNet,
    discriminator: Discriminator,
    fusion: FeatureFusion,
    volume: Tensor,
    config: Config,
    settings: Inference,
    watch: Callable[[int], None] = lambda windows: None,
) -> tuple[Tensor, Tensor]:
    """Softmax (K, D, H, W) and discriminator map (D, H, W), both fp32, of a volume (1, C, D, H, W).

    The map is the sigmoid of the logit of the predicted class's head, averaged over windows;
    the discriminator judges the student's features, whatever network segments. watch: see `slide`.
    """
    levels = config.adversarial.feature_levels
    assert config.patches.patch is not None
    patch = config.patches.patch[::-1]

    def predictor(windows: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = segmenter(windows).float().softmax(1)
        _, features = student.forward_features(windows)
        fused = fusion.dense([features[level - 1].float() for level in levels], windows.shape[2:])
        logits = discriminator.judge_everywhere(fused, probabilities.argmax(1))
        return probabilities, logits.sigmoid()[:, None]

    # One window at a time: the dense fused map has 64 channels at full size.
    outputs = slide(volume, patch, predictor, settings, windows_at_once=1, watch=watch)
    assert isinstance(outputs, tuple)
    probabilities, looks_labeled = outputs
    return probabilities[0], looks_labeled[0, 0]


def mean_by_organ(values: np.ndarray, label: np.ndarray, names: Sequence[str]) -> dict[str, float | None]:
    """Mean of a map (z, y, x) over the voxels of each organ, and over all organs; None where there are none."""
    regions = {name: label == index for index, name in enumerate(names, 1)}
    regions["all organs"] = label > 0
    return {
        name: float(values[inside].mean(dtype=np.float64)) if inside.any() else None for name, inside in regions.items()
    }


def quantize(values: Tensor) -> Tensor:
    """0 to 1 as uint8 0 to 255, for previews."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)
