"""MONAI's sliding window with windows of the training patch (method.md 1.6, 2.1)."""

from __future__ import annotations

import math
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


def count_windows(shape_zyx: Sequence[int], patch_zyx: Sequence[int], settings: Inference) -> int:
    """Number of windows that `slide` looks through on a volume of that shape."""
    stride = None if settings.stride is None else settings.stride[::-1]
    overlaps = window_overlap(patch_zyx, settings.overlap, stride)
    counts = []
    for size, patch, overlap in zip(shape_zyx, patch_zyx, overlaps, strict=True):
        step = max(1, int(patch * (1 - overlap)))
        counts.append(1 + max(0, math.ceil((size - patch) / step)))
    return math.prod(counts)


def slide(
    volume: Tensor,
    patch_zyx: Sequence[int],
    predictor: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    settings: Inference,
    windows_at_once: int = 4,
    watch: Callable[[int], None] = lambda windows: None,
) -> Tensor | tuple[Tensor, ...]:
    """Window averages of the predictor's outputs over a volume (1, C, D, H, W) of any size.

    Smaller volumes are padded with 0, the mean intensity, as training patches are. watch: gets the
    number of windows each time some are done; what it raises ends the work.
    """

    def watched(windows: Tensor) -> Tensor | tuple[Tensor, ...]:
        seen = predictor(windows)
        watch(len(windows))
        return seen

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
                watched,
                overlap=window_overlap(patch_zyx, settings.overlap, stride),
                mode=settings.window_weight,
                padding_mode="constant",
                cval=0.0,
            )
    assert not isinstance(outputs, dict)  # MONAI's third form
    return outputs


def flipped_views(flip_axes_zyx: Sequence[int], settings: Inference) -> list[list[int]]:
    """Axes of a (B, C, D, H, W) tensor to reverse for each view; the first view is the scan as it is."""
    views: list[list[int]] = [[]]
    for axis in flip_axes_zyx if settings.flips else ():
        views += [[*view, 2 + axis] for view in views]
    return views


def predict_probabilities(
    network: torch.nn.Module,
    volume: Tensor,
    patch_zyx: Sequence[int],
    settings: Inference,
    flip_axes_zyx: Sequence[int] = (),
    watch: Callable[[int], None] = lambda windows: None,
) -> Tensor:
    """Softmax (K, D, H, W) fp32 of a volume (1, C, D, H, W), averaged over windows and allowed flips."""

    def softmax(windows: Tensor) -> Tensor:
        return network(windows).float().softmax(1)

    views = flipped_views(flip_axes_zyx, settings)
    total: Tensor | None = None
    for view in views:
        seen = slide(volume.flip(view) if view else volume, patch_zyx, softmax, settings, watch=watch)
        assert isinstance(seen, Tensor)
        seen = seen.flip(view) if view else seen
        total = seen if total is None else total + seen
    assert total is not None
    return total[0] / len(views)
