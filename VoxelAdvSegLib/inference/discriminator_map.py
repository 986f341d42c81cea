"""Per voxel, how much its fused feature looks like one from a labeled scan (method.md 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config, Inference
from VoxelAdvSegLib.inference.windows import forward_precision, slabs, windows_at_once
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
    parts = slabs_with_map(segmenter, student, discriminator, fusion, volume, config, settings, watch)
    probabilities, looks_labeled = zip(*parts, strict=True)
    return torch.cat(probabilities, 1), torch.cat(looks_labeled)


def slabs_with_map(
    segmenter: nn.Module,
    student: VNet,
    discriminator: Discriminator,
    fusion: FeatureFusion,
    volume: Tensor,
    config: Config,
    settings: Inference,
    watch: Callable[[int], None] = lambda windows: None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """As predict_with_map, a few slices (K, d, H, W) and (d, H, W) after the other."""
    levels = config.adversarial.feature_levels
    assert config.patches.patch is not None
    patch = config.patches.patch[::-1]

    def predictor(windows: Tensor) -> tuple[Tensor, Tensor]:
        with forward_precision(config, windows.device):
            logits, features = student.forward_features(windows)
            if segmenter is not student:
                logits = segmenter(windows)
        probabilities = logits.float().softmax(1)
        label = probabilities.argmax(1)
        # One window after the other: the judged features have 64 channels at full size.
        logits = [
            judge_everywhere(discriminator, fusion, [features[level - 1][i : i + 1].float() for level in levels], own)
            for i, own in enumerate(label.split(1))
        ]
        return probabilities, torch.cat(logits).sigmoid()[:, None]

    at_once = windows_at_once(volume.device, patch, 2000.0)
    for probabilities, looks_labeled in slabs(volume, patch, predictor, settings, at_once, watch):
        yield probabilities, looks_labeled[0]


def judge_everywhere(
    discriminator: Discriminator, fusion: FeatureFusion, features: Sequence[Tensor], classes: Tensor
) -> Tensor:
    """Logit of every voxel by the head of its class, (B, D, H, W) as classes; features as for `fusion.dense`.

    Fusion and first layer of the perceptron are one affine map of the levels, and affine maps change
    places with interpolation (method.md 5.3): so each level is interpolated in the fewer channels, raw
    or mapped, and nothing is mapped twice at full size. Equal to fusing densely.
    """
    if fusion.kernel != 1:
        return discriminator.judge_everywhere(fusion.dense(features, classes.shape[1:]), classes)
    first = discriminator.perceptron[0]
    assert isinstance(first, nn.Linear)
    onto = first.weight @ fusion.last.weight.flatten(1)  # (hidden, dim)
    bias = first.weight @ fusion.last.bias + first.bias if fusion.last.bias is not None else first.bias
    hidden: Tensor | None = None  # (B, hidden, voxels)
    for convolution, level in zip(fusion.levels, features, strict=True):
        assert isinstance(convolution, nn.Conv3d) and convolution.bias is not None
        weight, bias = onto @ convolution.weight.flatten(1), bias + onto @ convolution.bias
        if level.shape[1] > len(weight):
            mapped = _resized((weight @ level.flatten(2)).unflatten(2, level.shape[2:]), classes, fusion).flatten(2)
        else:
            mapped = weight @ _resized(level, classes, fusion).flatten(2)
        hidden = mapped if hidden is None else hidden.add_(mapped)
    assert hidden is not None
    rows = hidden.add_(bias[:, None]).movedim(1, 2).flatten(0, 1)
    return discriminator.judge_hidden(rows, classes.flatten()).reshape(classes.shape)


def _resized(level: Tensor, classes: Tensor, fusion: FeatureFusion) -> Tensor:
    """The level (B, C, d, h, w) at the size of the classes (B, D, H, W)."""
    size = tuple(classes.shape[1:])
    if tuple(level.shape[2:]) == size:
        return level
    return F.interpolate(level, size=size, mode="trilinear", align_corners=fusion.align_corners)


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
