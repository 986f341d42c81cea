"""MONAI's sliding window with windows of the training patch (method.md 1.6, 2.1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from VoxelAdvSegLib.config import Inference


def window_overlap(patch_zyx: Sequence[int], overlap: float, stride_zyx: Sequence[int] | None) -> list[float]:
    """MONAI's overlap per axis that gives the stride exactly: it truncates patch * (1 - overlap)."""
    if stride_zyx is None:
        stride_zyx = [max(1, round(p * (1 - overlap))) for p in patch_zyx]
    return [max(0.0, 1 - (s + 0.5) / p) if s < p else 0.0 for s, p in zip(stride_zyx, patch_zyx, strict=True)]


def slide(
    volume: Tensor,
    patch_zyx: Sequence[int],
    predictor: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    settings: Inference,
    windows_at_once: int = 4,
) -> Tensor | tuple[Tensor, ...]:
    """Window averages of the predictor's outputs over a volume (1, C, D, H, W) of any size.

    Smaller volumes are padded with 0, the mean intensity, as training patches are.
    """
    with warnings.catch_warnings():
        # MONAI imports what this library does not use, and some of that is deprecated.
        warnings.simplefilter("ignore")
        from monai.inferers.utils import sliding_window_inference

        stride = None if settings.stride is None else settings.stride[::-1]
        with torch.no_grad():
            outputs = sliding_window_inference(
                volume,
                tuple(patch_zyx),
                windows_at_once,
                predictor,
                overlap=window_overlap(patch_zyx, settings.overlap, stride),
                mode=settings.window_weight,
                padding_mode="constant",
                cval=0.0,
            )
    assert not isinstance(outputs, dict)  # MONAI's third form
    return outputs


def predict_probabilities(
    network: torch.nn.Module,
    volume: Tensor,
    patch_zyx: Sequence[int],
    settings: Inference,
    flip_axes_zyx: Sequence[int] = (),
) -> Tensor:
    """Softmax (K, D, H, W) fp32 of a volume (1, C, D, H, W), averaged over windows and allowed flips."""

    def softmax(windows: Tensor) -> Tensor:
        return network(windows).float().softmax(1)

    axes = [2 + axis for axis in flip_axes_zyx] if settings.flips else []
    views = [[]]
    for axis in axes:
        views += [[*view, axis] for view in views]
    total: Tensor | None = None
    for view in views:
        seen = slide(volume.flip(view) if view else volume, patch_zyx, softmax, settings)
        assert isinstance(seen, Tensor)
        seen = seen.flip(view) if view else seen
        total = seen if total is None else total + seen
    assert total is not None
    return total[0] / len(views)
