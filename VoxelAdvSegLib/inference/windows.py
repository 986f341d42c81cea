"""A sliding window of the training patch's size (method.md 1.6, 2.1); MONAI's is the test's oracle."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.config import Config, Inference
from VoxelAdvSegLib.methods.optimizers import autocast, cpu_computes_bf16


def window_stride(patch_zyx: Sequence[int], settings: Inference) -> list[int]:
    """Voxels from one window to the next along each axis."""
    if settings.stride is not None:
        return list(settings.stride[::-1])
    return [max(1, round(p * (1 - settings.overlap))) for p in patch_zyx]


def window_starts(size: int, patch: int, stride: int) -> list[int]:
    """First voxels of the windows along one axis; the last window ends with the volume."""
    last = max(0, size - patch)
    return [*range(0, last, stride), last]


def count_windows(shape_zyx: Sequence[int], patch_zyx: Sequence[int], settings: Inference) -> int:
    """Number of windows that `slide` looks through on a volume of that shape."""
    stride = window_stride(patch_zyx, settings)
    return math.prod(len(window_starts(*axis)) for axis in zip(shape_zyx, patch_zyx, stride, strict=True))


def slide(
    volume: Tensor,
    patch_zyx: Sequence[int],
    predictor: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    settings: Inference,
    at_once: int = 1,
    watch: Callable[[int], None] = lambda windows: None,
) -> Tensor | tuple[Tensor, ...]:
    """Window averages fp32 of the predictor's outputs over a volume (1, C, D, H, W) of any size, on its device.

    predictor: windows (B, C, *patch) to one or several (B, K, *patch). Smaller volumes are padded with
    0, the mean intensity, as training patches are. watch: gets the number of windows each time some
    are done; what it raises ends the work.
    """
    whole: list[Tensor] = []
    first, several = 0, False

    def noted(windows: Tensor) -> Tensor | tuple[Tensor, ...]:
        nonlocal several
        seen = predictor(windows)
        several = isinstance(seen, tuple)
        return seen

    for slab in slabs(volume, patch_zyx, noted, settings, at_once, watch):
        if not whole:
            whole = [part.new_empty(len(part), *volume.shape[2:]) for part in slab]
        for total, part in zip(whole, slab, strict=True):
            total[:, first : first + part.shape[1]] = part
        first += slab[0].shape[1]
    averages = tuple(total[None] for total in whole)
    return averages if several else averages[0]


@torch.no_grad()
def slabs(
    volume: Tensor,
    patch_zyx: Sequence[int],
    predictor: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    settings: Inference,
    at_once: int = 1,
    watch: Callable[[int], None] = lambda windows: None,
) -> Iterator[tuple[Tensor, ...]]:
    """As `slide`, but a few slices (K, d, H, W) after the other, each once no further window reaches them.

    What is held is as deep as a patch, however deep the volume.
    """
    size = volume.shape[2:]
    before = [max(0, p - n) // 2 for p, n in zip(patch_zyx, size, strict=True)]
    after = [max(0, p - n - b) for p, n, b in zip(patch_zyx, size, before, strict=True)]
    padded = F.pad(volume, [n for axis in (2, 1, 0) for n in (before[axis], after[axis])]) if any(after) else volume
    stride = window_stride(patch_zyx, settings)
    rows, *across = [window_starts(*axis) for axis in zip(padded.shape[2:], patch_zyx, stride, strict=True)]
    boxes = [
        tuple(slice(a, a + p) for a, p in zip(at, patch_zyx[1:], strict=True)) for at in itertools.product(*across)
    ]
    weight = None if settings.window_weight == "constant" else gaussian_weight(patch_zyx).to(volume.device)
    inner = tuple(slice(b, b + n) for b, n in zip(before[1:], size[1:], strict=True))
    sums: list[Tensor] = []
    shares = padded.new_zeros(patch_zyx[0], *padded.shape[3:], dtype=torch.float32)  # sum of the windows' weights
    for row, z in enumerate(rows):
        for first in range(0, len(boxes), at_once):
            chosen = boxes[first : first + at_once]
            seen = predictor(torch.cat([padded[:, :, z : z + patch_zyx[0], y, x] for y, x in chosen]))
            outputs = seen if isinstance(seen, tuple) else (seen,)
            if not sums:
                sums = [padded.new_zeros(o.shape[1], *shares.shape, dtype=torch.float32) for o in outputs]
            for total, output in zip(sums, outputs, strict=True):
                for (y, x), window in zip(chosen, output, strict=True):
                    place = total[:, :, y, x]
                    place.add_(window) if weight is None else place.addcmul_(window.float(), weight)
            for y, x in chosen:
                shares[:, y, x] += 1 if weight is None else weight
            watch(len(chosen))
        done = rows[row + 1] - z if row + 1 < len(rows) else patch_zyx[0]
        # A volume that is less deep than a patch has one row, and slices of padding around its own.
        own = slice(before[0], before[0] + size[0]) if before[0] or after[0] else slice(0, done)
        yield tuple((total[:, own] / shares[own])[:, :, inner[0], inner[1]] for total in sums)
        for held in (*sums, shares[None]):
            held[:, : patch_zyx[0] - done] = held[:, done:].clone()
            held[:, patch_zyx[0] - done :] = 0


def gaussian_weight(patch_zyx: Sequence[int]) -> Tensor:
    """Weight (D, H, W) of a window's voxels: an eighth of the patch as deviation, at least 1e-3, as MONAI has it."""
    weight = torch.ones(())
    for length in patch_zyx:
        offset = torch.arange(length) - (length - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (offset / (0.125 * length)).square())
    return weight.clamp_min(max(float(weight.min()), 1e-3))


def flipped_views(flip_axes_zyx: Sequence[int], settings: Inference) -> list[list[int]]:
    """Axes of a (B, C, D, H, W) tensor to reverse for each view; the first view is the scan as it is."""
    views: list[list[int]] = [[]]
    for axis in flip_axes_zyx if settings.flips else ():
        views += [[*view, 2 + axis] for view in views]
    return views


def windows_at_once(device: torch.device, patch_zyx: Sequence[int], bytes_per_voxel: float = 600.0) -> int:
    """Windows that go through the network together: on a GPU as many as half of its free memory holds, at most 16.

    One on the CPU, where more are slower for they do not fit the caches. bytes_per_voxel: of a forward
    without gradient with 16 filters in fp32, twice what was measured.
    """
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(16, max(1, 0.5 * free // (bytes_per_voxel * math.prod(patch_zyx)))))


def forward_precision(config: Config, device: torch.device) -> contextlib.AbstractContextManager:
    """As the network was trained, where the device can: half precision on a GPU, on the CPU if it was asked for."""
    cannot = device.type == "cpu" and (config.training.amp != "bf16" or not cpu_computes_bf16())
    return contextlib.nullcontext() if cannot else autocast(config, device)


def probability_slabs(
    network: torch.nn.Module, volume: Tensor, config: Config, watch: Callable[[int], None] = lambda windows: None
) -> Iterator[Tensor]:
    """As predict_probabilities without flips, a few slices (K, d, H, W) after the other."""
    assert config.patches.patch is not None
    patch_zyx = config.patches.patch[::-1]
    at_once = windows_at_once(volume.device, patch_zyx)
    for (part,) in slabs(volume, patch_zyx, _softmax(network, config), config.inference, at_once, watch):
        yield part


def _softmax(network: torch.nn.Module, config: Config) -> Callable[[Tensor], Tensor]:
    def softmax(windows: Tensor) -> Tensor:
        with forward_precision(config, windows.device):
            logits = network(windows)
        return logits.float().softmax(1)

    return softmax


def predict_probabilities(
    network: torch.nn.Module,
    volume: Tensor,
    config: Config,
    settings: Inference | None = None,
    flip_axes_zyx: Sequence[int] = (),
    watch: Callable[[int], None] = lambda windows: None,
) -> Tensor:
    """Softmax (K, D, H, W) fp32 of a volume (1, C, D, H, W), averaged over windows and allowed flips.

    settings: in place of the configuration's own for inference.
    """
    settings = settings or config.inference
    assert config.patches.patch is not None
    patch_zyx = config.patches.patch[::-1]

    softmax = _softmax(network, config)
    at_once = windows_at_once(volume.device, patch_zyx)
    views = flipped_views(flip_axes_zyx, settings)
    total: Tensor | None = None
    for view in views:
        seen = slide(volume.flip(view) if view else volume, patch_zyx, softmax, settings, at_once, watch)
        assert isinstance(seen, Tensor)
        seen = seen.flip(view) if view else seen
        total = seen if total is None else total.add_(seen)
    assert total is not None
    return total[0].div_(len(views)) if len(views) > 1 else total[0]
