"""What a segmented scan shows of its own quality without any reference: the signs that a quality estimate reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.bundle import JUDGE, Bundle
from VoxelAdvSegLib.config import Config, Inference
from VoxelAdvSegLib.data.components import largest_share
from VoxelAdvSegLib.inference.confidence import surface
from VoxelAdvSegLib.inference.windows import forward_precision, predict_probabilities, slide, windows_at_once
from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.networks.voxels import draw_class_voxels

NOISE = 0.2  # sd added to normalized intensities for the changed view
GAIN, OFFSET = 1.15, 0.1  # of the other changed view
VOXELS_PER_WINDOW = 256  # of each class, judged by the discriminator
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LAYOUT = 4  # cells along each axis of the scan whose mean intensities tell where things are


@dataclass(frozen=True)
class OrganSigns:
    """Of one organ as it was segmented, on the working grid.

    agreement: mean Dice with the segmentations of changed views (noise, contrast, allowed flips); disagreement:
    1 - Dice of student and teacher, where there are two networks; overlap: Dice of the probabilities with
    the segmentation; entropy: mean near the boundary, as part of ln K; typicality: mean over the organ of the
    post-hoc discriminator's "looks labeled", 0 to 1; distance: of the organ's mean fused feature from that of the
    nearest labeled scan (`Anchors`); scattered: share of voxels outside the largest part.
    Measures are None where the organ was not found, or there is nothing to measure with.
    """

    voxels: int
    agreement: float | None = None
    disagreement: float | None = None
    overlap: float | None = None
    entropy: float | None = None
    typicality: float | None = None
    distance: float | None = None
    scattered: float | None = None


@dataclass(frozen=True)
class CaseSigns:
    """organs: by name; look: descriptors of the whole scan by group, (n,) each; means: (K, dim) class means
    of the fused features, NaN for a class that was not found, None without discriminator."""

    organs: dict[str, OrganSigns]
    look: dict[str, np.ndarray]
    means: np.ndarray | None

    def doubt(self) -> float:
        """How wrong the segmentation may be, without calibration: 0 to 2 (method.md 4.4).

        Mean over the organs of 1 - typicality and the boundary's entropy; 2 for an organ that was not found.
        """
        doubts = [
            2.0 if not o.voxels else 1 - (1.0 if o.typicality is None else o.typicality) + (o.entropy or 0.0)
            for o in self.organs.values()
        ]
        return sum(doubts) / max(len(doubts), 1)


@dataclass(frozen=True)
class Anchors:
    """Where the labeled scans lie in the fused features.

    means: (n, K, dim) of each labeled scan, NaN for a class that was not found; scale: (K, dim), deviation of the
    means over the scans of the training.
    """

    means: np.ndarray
    scale: np.ndarray

    def distances(self, means: np.ndarray) -> list[float | None]:
        """Of each class's mean (K, dim) from the nearest labeled scan's, root mean square over dimensions."""
        away = np.sqrt((((means - self.means) / self.scale) ** 2).mean(2))  # (n, K)
        known = np.isfinite(away)
        return [float(away[rows, k].min()) if (rows := known[:, k]).any() else None for k in range(len(means))]

    def place(self, signs: CaseSigns) -> CaseSigns:
        """The signs with the distance of every organ."""
        if signs.means is None:
            return signs
        away = self.distances(signs.means)[1:]
        organs = {
            name: replace(organ, distance=own if organ.voxels else None)
            for (name, organ), own in zip(signs.organs.items(), away, strict=True)
        }
        return replace(signs, organs=organs)


def make_anchors(labeled: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> Anchors | None:
    """From class means (K, dim) of the labeled scans and of further ones of the training; None without labeled."""
    if not labeled:
        return None
    every = np.stack([*labeled, *others])
    known = np.isfinite(every)
    counts = np.maximum(known.sum(0), 1)
    mean = np.where(known, every, 0).sum(0) / counts
    scale = np.sqrt(np.where(known, (every - mean) ** 2, 0).sum(0) / counts)
    return Anchors(np.stack(labeled), np.where(scale > 1e-6, scale, 1.0))


@dataclass(frozen=True)
class Networks:
    """What looks at a scan: the segmenting network, the student whose features are judged, the judge."""

    segmenter: nn.Module
    student: VNet
    judge: Discriminator | None = None

    @staticmethod
    def of(bundle: Bundle, device: torch.device, segmenter: VNet | None = None) -> Networks:
        """Those of a model, with its judge where it has one. A student that segments is one network, not two.

        segmenter: where it is on the device already.
        """
        segmenter = segmenter or bundle.network().to(device)
        student = segmenter if bundle.segmenter == "student" else bundle.network("student").to(device)
        judge = bundle.discriminator(JUDGE)
        return Networks(segmenter, student, None if judge is None else judge.to(device))


@torch.no_grad()
def read_signs(
    networks: Networks,
    volume: Tensor,
    probabilities: Tensor,
    names: Sequence[str],
    config: Config,
    flip_axes_zyx: Sequence[int] = (),
    watch: Callable[[int], None] = lambda windows: None,
) -> CaseSigns:
    """The signs of a scan (1, 1, D, H, W) on the working grid with its probabilities (K, D, H, W).

    names: of classes 1 to K - 1; flip_axes_zyx: axes that may be mirrored. Costs three further passes of the
    network (and one where flips are allowed); always the same for the same scan. watch: as of `slide`.
    """
    settings = sparse(config.inference)
    label = probabilities.argmax(0)
    student, pooled = _features(networks, volume, len(names) + 1, config, settings, watch)
    views = [
        predict_probabilities(networks.segmenter, changed, config, settings, watch=watch).argmax(0)
        for changed in _changed(volume)
    ]
    if flip_axes_zyx:
        axes = [2 + axis for axis in flip_axes_zyx]
        seen = predict_probabilities(networks.segmenter, volume.flip(axes), config, settings, watch=watch)
        views.append(seen.flip([axis - 1 for axis in axes]).argmax(0))
    two = networks.segmenter is not networks.student
    organs = {
        name: _organ(index, label, probabilities, views, student if two else None, pooled)
        for index, name in enumerate(names, 1)
    }
    return CaseSigns(organs, _look(volume, student, pooled), pooled.means)


@dataclass
class _Pooled:
    """Sums over windows of a pass through the student."""

    classes: int
    moments: np.ndarray  # mean and deviation of every channel of the encoder
    typicality: list[float | None]
    means: np.ndarray | None


@torch.no_grad()
def look_at(
    networks: Networks, volume: Tensor, config: Config, classes: int
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """`look` and `means` of CaseSigns of a scan (1, 1, D, H, W) alone: one pass of the student."""
    seen, pooled = _features(networks, volume, classes, config, sparse(config.inference), lambda windows: None)
    return _look(volume, seen, pooled), pooled.means


def mirrored_axes(config: Config) -> list[int]:
    """Axes (0 z, 1 y, 2 x) along which a model's scans may be mirrored."""
    allowed = config.patches.mirror_axes or ()
    return [axis for axis, name in enumerate("zyx") if name in allowed]


def signs_passes(flip_axes_zyx: Sequence[int]) -> int:
    """Passes over the windows that `read_signs` makes."""
    return 4 if flip_axes_zyx else 3


def sparse(settings: Inference) -> Inference:
    """Windows that overlap by a quarter: a third of the work of a half, and fine enough for signs."""
    return replace(settings, flips=False, overlap=0.25, stride=None, window_weight="gaussian")


def _changed(volume: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)  # on the CPU: the same noise on every device
    noise = torch.randn(volume.shape, generator=generator).to(volume.device)
    return [volume + NOISE * noise, GAIN * volume + OFFSET]


def _features(
    networks: Networks, volume: Tensor, classes: int, config: Config, settings: Inference, watch: Callable[[int], None]
) -> tuple[Tensor, _Pooled]:
    """The student's classes (D, H, W), and what its features say, in one pass."""
    assert config.patches.patch is not None
    levels = config.adversarial.feature_levels
    judge, dim = networks.judge, config.adversarial.feature_dim
    generator = torch.Generator(volume.device).manual_seed(0)
    sums = torch.zeros(0, dtype=torch.float64)
    counts = torch.zeros(classes, dtype=torch.float64)
    typical = torch.zeros(classes, dtype=torch.float64)
    fused_sums = torch.zeros(classes, dim, dtype=torch.float64)
    windows_seen = 0

    def predictor(windows: Tensor) -> Tensor:
        nonlocal sums, windows_seen
        with forward_precision(config, windows.device):
            logits, features = networks.student.forward_features(windows)
        probabilities = logits.float().softmax(1)
        flat = [level.float().flatten(2) for level in features[:5]]
        moments = (
            torch.cat([torch.cat([f.mean(2), f.std(2, unbiased=False)], 1) for f in flat], 1).sum(0).double().cpu()
        )
        sums = moments if not windows_seen else sums + moments
        windows_seen += len(windows)
        if judge is not None and judge.fusion is not None:
            # One after the other: how many come at once depends on the memory that happens to be free.
            for i, label in enumerate(probabilities.argmax(1)):
                chosen = [features[level - 1][i : i + 1].float() for level in levels]
                drawn = draw_class_voxels(label[None], classes, VOXELS_PER_WINDOW, generator)
                fused = judge.fusion.fuse(judge.fusion.gather(chosen, drawn.positions.reshape(-1), tuple(label.shape)))
                own = torch.arange(classes, device=fused.device).repeat_interleave(VOXELS_PER_WINDOW)
                looks = judge.judge(fused, own).sigmoid().reshape(classes, -1).mean(1).double().cpu()
                here = drawn.counts.double().cpu()
                counts.add_(here)
                typical.add_(looks * here)
                fused_sums.add_(fused.reshape(classes, -1, dim).mean(1).double().cpu() * here[:, None])
        return probabilities

    patch = config.patches.patch[::-1]
    seen = slide(volume, patch, predictor, settings, windows_at_once(volume.device, patch), watch)
    assert isinstance(seen, Tensor)
    shares = [None if judge is None or not n else float(t / n) for t, n in zip(typical, counts, strict=True)]
    means = None
    if judge is not None:
        means = np.where(counts.numpy()[:, None] > 0, fused_sums.numpy() / counts.clamp_min(1).numpy()[:, None], np.nan)
    return seen[0].argmax(0), _Pooled(classes, (sums / max(windows_seen, 1)).numpy(), shares, means)


def _organ(
    index: int, label: Tensor, probabilities: Tensor, views: Sequence[Tensor], student: Tensor | None, pooled: _Pooled
) -> OrganSigns:
    organ = label == index
    voxels = int(organ.sum())
    if not voxels:
        return OrganSigns(0)
    own = probabilities[index]
    classes = len(probabilities)
    near = surface(organ)
    entropy = None
    if near.any():  # an organ that fills the scan has no boundary
        there = probabilities[:, near]
        entropy = float(-(there * there.clamp_min(1e-12).log()).sum(0).mean() / math.log(classes))
    return OrganSigns(
        voxels=voxels,
        agreement=float(np.mean([_dice(organ, view == index) for view in views])),
        disagreement=None if student is None else 1 - _dice(organ, student == index),
        overlap=float(2 * own[organ].sum() / (own.sum() + voxels)),
        entropy=entropy,
        typicality=pooled.typicality[index],
        scattered=1 - largest_share(organ.cpu().numpy()),
    )


def _dice(a: Tensor, b: Tensor) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()).clamp_min(1))


def _look(volume: Tensor, student: Tensor, pooled: _Pooled) -> dict[str, np.ndarray]:
    """Intensities, where they lie, what the encoder makes of them, and where the student sees organs."""
    values = volume.flatten().float().cpu().numpy()
    cells = F.adaptive_avg_pool3d(volume.float(), LAYOUT).flatten().cpu().numpy()
    return {
        "intensities": np.quantile(values, QUANTILES),
        "arrangement": cells.astype(np.float64),
        "features": pooled.moments,
        "organs": _places(student.cpu().numpy(), pooled.classes),
    }


def _places(label: np.ndarray, classes: int) -> np.ndarray:
    """Centre of each organ (z, y, x) as parts of the scan's size, NaN for one that was not found."""
    centres = np.full((classes - 1, 3), np.nan)
    found = np.unique(label)
    found = found[found > 0]
    if len(found):
        centres[found - 1] = ndimage.center_of_mass(np.ones(label.shape, np.uint8), label, found)
    return (centres / np.array(label.shape)).ravel()
