"""Patches of a step as tensors: crop, turn, zoom and intensity in one pass over the volume."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.data.sampling import PatchDraw, PatchPlan, cases_at, draw_patch
from VoxelAdvSegLib.methods.contract import Batch
from VoxelAdvSegLib.networks.joint import share

VOXELS_KEPT_PER_CLASS = 20_000  # places around which foreground patches are centred


class Batches:
    """The batch of any step, as a function of seed and step.

    foreground: chance that a labeled patch is centred on a voxel of a random class (row 60). Of
    `processes`, the one with this rank gets its share of the same patches, equally many as each other.
    """

    def __init__(
        self,
        labeled: Sequence[LabeledArrays],
        unlabeled: Sequence[UnlabeledArrays],
        plan: PatchPlan,
        foreground: float,
        seed: int,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.labeled = labeled
        self.unlabeled = unlabeled
        self.plan = plan
        self.foreground = foreground
        self.seed = seed
        self.device = device
        self.rank = rank
        self.processes = processes
        # What is cut ahead depends on seed and step alone, as all is: asked for or not, it changes nothing.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="patches")
        self._ahead: tuple[tuple[int, int, int], Future[Batch]] | None = None
        self.places = [_class_places(case.label) for case in labeled] if foreground > 0 else []

    def at(self, step: int, labeled: int, unlabeled: int) -> Batch:
        """The batch of a step, on the device; that of the next step is cut meanwhile, in a thread."""
        asked = (step, labeled, unlabeled)
        ahead, self._ahead = self._ahead, None
        batch = ahead[1].result() if ahead is not None and ahead[0] == asked else self.cut_at(*asked)
        after = (step + 1, labeled, unlabeled)
        self._ahead = (after, self._thread.submit(self.cut_at, *after))
        return Batch(*(getattr(batch, f.name).to(self.device, non_blocking=True) for f in fields(batch)))

    def close(self) -> None:
        """Waits for what is being cut ahead, and ends the thread."""
        self._thread.shutdown()

    def cut_at(self, step: int, labeled: int, unlabeled: int) -> Batch:
        """The batch of a step in the host's memory, pinned where the device is a GPU."""
        images, labels, cases = [], [], []
        everyone = cases_at(self.seed, step, labeled, len(self.labeled))
        for slot in share(labeled, self.rank, self.processes):
            number = everyone[slot]
            cases.append(number)
            case = self.labeled[number]
            rng = np.random.default_rng([self.seed, step, 0, slot])
            around = self._foreground_voxel(rng, number)
            draw = draw_patch(rng, self.plan, case.image.shape, around)
            image, label = cut(case.image, case.label, draw, self.plan.shape_zyx)
            images.append(image)
            labels.append(label)
        others = []
        if unlabeled and self.unlabeled:
            everyone = cases_at(self.seed + 1, step, unlabeled, len(self.unlabeled))
            for slot in share(unlabeled, self.rank, self.processes):
                volume = self.unlabeled[everyone[slot]].image
                rng = np.random.default_rng([self.seed, step, 1, slot])
                draw = draw_patch(rng, self.plan, volume.shape)
                others.append(cut(volume, None, draw, self.plan.shape_zyx)[0])
        empty = torch.zeros(0, 1, *self.plan.shape_zyx)
        made = (
            torch.stack(images)[:, None],
            torch.stack([label for label in labels if label is not None]),
            torch.stack(others)[:, None] if others else empty,
            torch.tensor(cases),
        )
        return Batch(*(tensor.pin_memory() for tensor in made)) if self.device.type == "cuda" else Batch(*made)

    def names_at(self, step: int, labeled: int, unlabeled: int) -> list[str]:
        """The cases of a step's patches: those of the labeled ones, then of the unlabeled."""
        everyone = cases_at(self.seed, step, labeled, len(self.labeled))
        names = [self.labeled[everyone[slot]].name for slot in share(labeled, self.rank, self.processes)]
        if unlabeled and self.unlabeled:
            everyone = cases_at(self.seed + 1, step, unlabeled, len(self.unlabeled))
            names += [self.unlabeled[everyone[slot]].name for slot in share(unlabeled, self.rank, self.processes)]
        return names

    def _foreground_voxel(self, rng: np.random.Generator, number: int) -> np.ndarray | None:
        if not self.places or rng.random() >= self.foreground or not self.places[number]:
            return None
        of_class = self.places[number][int(rng.integers(len(self.places[number])))]
        return of_class[int(rng.integers(len(of_class)))]


def cut(
    image: np.ndarray, label: np.ndarray | None, draw: PatchDraw, shape_zyx: tuple[int, int, int]
) -> tuple[Tensor, Tensor | None]:
    """Patch (D, H, W) float32 and its label int64, interpolated linearly and by the nearest voxel.

    Outside the volume the image is 0, the mean of its intensities, and the label background.
    """
    corner = (np.asarray(shape_zyx) - 1) / 2
    reach = np.abs(draw.matrix) @ corner
    low = np.maximum(np.floor(draw.centre_zyx - reach).astype(int) - 1, 0)
    high = np.minimum(np.ceil(draw.centre_zyx + reach).astype(int) + 2, image.shape)
    box = tuple(slice(a, max(a + 1, b)) for a, b in zip(low, high, strict=True))
    source = torch.from_numpy(np.ascontiguousarray(image[box], np.float32))
    grid = _grid(draw, low, source.shape, shape_zyx)
    patch = F.grid_sample(source[None, None], grid, "bilinear", "zeros", align_corners=False)[0, 0]
    patch = _change_intensity(patch, draw)
    if label is None:
        return patch, None
    classes = torch.from_numpy(np.ascontiguousarray(label[box], np.float32))
    nearest = F.grid_sample(classes[None, None], grid, "nearest", "zeros", align_corners=False)[0, 0]
    return patch, nearest.long()


def _grid(draw: PatchDraw, low: np.ndarray, source: Sequence[int], patch: Sequence[int]) -> Tensor:
    """Sampling grid (1, D, H, W, 3) in the normalized x, y, z that grid_sample wants."""
    scale_in, scale_out = np.asarray(source) / 2, np.asarray(patch) / 2
    matrix = draw.matrix * scale_out / scale_in[:, None]
    shift = (draw.centre_zyx - low + 0.5) / scale_in - 1
    theta = np.concatenate([matrix[::-1, ::-1], shift[::-1, None]], 1)
    return F.affine_grid(torch.from_numpy(theta[None].copy()), [1, 1, *patch], align_corners=False).float()


def _change_intensity(patch: Tensor, draw: PatchDraw) -> Tensor:
    if draw.blur_sd > 0:
        patch = _blur(patch, draw.blur_sd)
    if draw.gamma != 1:
        low, high = patch.min(), patch.max()
        span = (high - low).clamp_min(1e-6)
        patch = ((patch - low) / span) ** draw.gamma * span + low
    if draw.gain != 1 or draw.offset != 0:
        patch = patch * draw.gain + draw.offset
    if draw.noise_sd > 0:
        generator = torch.Generator().manual_seed(draw.noise_seed)
        patch = patch + draw.noise_sd * torch.randn(patch.shape, generator=generator)
    return patch


def _blur(patch: Tensor, sd: float) -> Tensor:
    reach = max(1, round(3 * sd))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
    weights = weights / weights.sum()
    out = patch[None, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = -1
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        out = F.conv3d(F.pad(out, padding, mode="replicate"), weights.reshape(shape))
    return out[0, 0]


def _class_places(label: np.ndarray) -> list[np.ndarray]:
    """For each organ in the label, some of its voxels (n, 3) in z, y, x."""
    places = []
    for index in np.unique(label):
        if index == 0:
            continue
        found = np.argwhere(label == index)
        every = max(1, len(found) // VOXELS_KEPT_PER_CLASS)
        places.append(found[::every].astype(np.int32))  # a copy, so that the rest is let go
    return places
