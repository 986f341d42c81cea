"""One-click segmentation: from a trained model and a scan to classes on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from VoxelAdvSegLib.bundle import JUDGE, OPPONENT, Bundle, read_bundle
from VoxelAdvSegLib.config import Inference
from VoxelAdvSegLib.data.components import keep_largest
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.preprocess import LabelOnOwnGrid, prepare, restore_map
from VoxelAdvSegLib.data.volume import Geometry, Volume
from VoxelAdvSegLib.errors import BundleError
from VoxelAdvSegLib.inference.certainty import Certainty, case_certainty
from VoxelAdvSegLib.inference.confidence import ConfidenceSums, OrganConfidence
from VoxelAdvSegLib.inference.discriminator_map import mean_by_organ, slabs_with_map
from VoxelAdvSegLib.inference.quality import Assessment, Quality
from VoxelAdvSegLib.inference.signs import (
    CaseSigns,
    Networks,
    mirrored_axes,
    read_signs,
    signs_passes,
    sparse,
)
from VoxelAdvSegLib.inference.windows import count_windows, flipped_views, predict_probabilities, probability_slabs
from VoxelAdvSegLib.model_folder import ABOUT
from VoxelAdvSegLib.networks.device import choose_device, is_out_of_memory
from VoxelAdvSegLib.networks.vnet import VNet


@dataclass(frozen=True)
class Segmented:
    """A segmented scan, on its own grid.

    array: (z, y, x) uint8, 0 background, i + 1 = the model's i-th organ; looks_labeled: the
    discriminator map, (z, y, x) float32 from 0 to 1, where it was asked for; confidence: how sure
    the network was of each organ; assessment: how good it probably is, where it was asked for, and the signs
    behind that, None for a scan that is too large for them.
    """

    array: np.ndarray
    geometry: Geometry
    looks_labeled: np.ndarray | None = None
    confidence: Mapping[str, OrganConfidence] = field(default_factory=dict)
    assessment: Assessment | None = None
    signs: CaseSigns | None = None

    def looks_labeled_by_organ(self) -> dict[str, float | None] | None:
        """Mean of the map over each organ and over "all organs"; None without map."""
        if self.looks_labeled is None:
            return None
        return mean_by_organ(self.looks_labeled, self.array, list(self.confidence))

    def certainty(self) -> Certainty:
        """The case's score, as a review queue sorts by it."""
        return case_certainty(self.confidence, self.looks_labeled_by_organ(), len(self.confidence) + 1)


# Bytes of all probabilities together, which quality is read from; larger scans are segmented slab by slab alone.
LARGEST_ASSESSED = 2**30
TOO_LARGE = Assessment(
    dice=None, novelty=0.0, group="", need=1.0,
    refused="This scan is too large to be looked at twice: nothing is said of its quality.",
    why="It is too large to be looked at twice.",
)  # fmt: skip


class Segmenter:
    """A model made ready on a device."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle
        self.device = device
        self.organs: tuple[Organ, ...] = bundle.organs
        self.network = _ready(bundle.network(), device)
        self.quality = _read_quality(bundle)
        self._looking: Networks | None = None

    @staticmethod
    def open(path: Path, device: str = "auto") -> Segmenter:
        """The model of a bundle, or of a run folder; raises BundleError when there is none."""
        return Segmenter(read_bundle(find_bundle(Path(path))), choose_device(device))

    def segment(
        self,
        volume: Volume,
        looks_labeled: bool | str = False,
        largest_component: bool | None = None,
        flips: bool | None = None,
        quality: bool = False,
        watch: Callable[[float], None] = lambda fraction: None,
    ) -> Segmented:
        """Classes on the scan's own grid.

        looks_labeled: also the discriminator map, by the judge that was trained after the training, or by
        the one that is named (bundle.JUDGE, bundle.OPPONENT); largest_component, flips: instead of the model's
        own setting; quality: also how good it probably is, where the model has learned that and the scan is not
        too large for it, for about as much time again; watch: gets the part of the network's work that is done, 0
        to 1, and what it raises ends the work. Raises BundleError when a map is asked of a model without that
        discriminator.
        """
        config = self.bundle.config
        settings = config.inference
        if flips is not None:
            settings = replace(settings, flips=flips)
        assert config.patches.patch is not None
        patch = config.patches.patch[::-1]
        axes = mirrored_axes(config)
        prepared = prepare(volume, self.bundle.recipe)
        whole_bytes = 4 * prepared.array.size * (len(self.organs) + 1)
        wanted = quality and self.quality is not None
        assessed = wanted and whole_bytes <= LARGEST_ASSESSED
        plain = not looks_labeled or settings.flips
        passes = bool(looks_labeled) + plain * len(flipped_views(axes, settings))
        windows = count_windows(prepared.array.shape, patch, settings) * passes
        if assessed:
            windows += count_windows(prepared.array.shape, patch, sparse(settings)) * signs_passes(axes)
        seen = _Share(windows, watch)
        tensor = torch.from_numpy(prepared.array)[None, None].to(self.device)
        names = [organ.name for organ in self.organs]
        label, confidence = LabelOnOwnGrid(prepared, self.bundle.recipe), ConfidenceSums(names)
        judge = looks_labeled if isinstance(looks_labeled, str) else None
        values = np.empty(prepared.array.shape, np.float32) if looks_labeled else None
        together: list[Tensor] = []  # all slices, where signs are read from them
        for probabilities in self._slabs(tensor, settings, axes, judge, values, seen):
            confidence.add(probabilities)
            label.add(probabilities.cpu().numpy())
            if assessed:
                together.append(probabilities)
        signs = None
        if assessed:
            whole = torch.cat(together, 1)
            together.clear()
            try:
                signs = read_signs(self._networks(), tensor, whole, names, config, axes, seen)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            del whole
        closeness = None if values is None else restore_map(values, prepared, self.bundle.recipe)
        array = without_islands(label.result(), self.bundle, settings, largest_component)
        assessment = None
        if wanted and self.quality is not None:
            # Without the room to look again, the segmentation is there all the same.
            assessment = TOO_LARGE if signs is None else self.quality.assess(signs)
        return Segmented(array, volume.geometry, closeness, confidence.by_organ(), assessment, signs)

    @property
    def has_map(self) -> bool:
        """Whether the model has a discriminator that can judge every voxel."""
        return JUDGE in self.bundle.weights or OPPONENT in self.bundle.weights

    def _networks(self) -> Networks:
        if self._looking is None:
            self._looking = Networks.of(self.bundle, self.device, self.network)
        return self._looking

    def _slabs(
        self, tensor: Tensor, settings: Inference, axes: Sequence[int], judge: str | None,
        values: np.ndarray | None, watch: Callable[[int], None],
    ) -> Iterator[Tensor]:  # fmt: skip
        """Probabilities (K, d, H, W), some slices after the other; `values` is filled with the map of the judge.

        Views that are mirrored along z begin at the other end, so that with flips all come at once.
        """
        if values is not None:
            first = 0
            for probabilities, looks in self._with_map(tensor, judge, watch):
                values[first : first + len(looks)] = looks.cpu().numpy()
                first += len(looks)
                if not settings.flips:
                    yield probabilities
        if settings.flips:
            yield predict_probabilities(self.network, tensor, self.bundle.config, settings, axes, watch)
        elif values is None:
            yield from probability_slabs(self.network, tensor, self.bundle.config, watch)

    def _with_map(
        self, tensor: Tensor, name: str | None, watch: Callable[[int], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        discriminator = self.bundle.discriminator(name)
        if discriminator is None or discriminator.fusion is None:
            raise BundleError(
                "this model has no such discriminator, so there is no discriminator map",
                expected="a model of the method voxel_adversarial with adv_weight above 0"
                if name == OPPONENT
                else "a model that was trained with unlabeled scans",
                found=f"a model of the method {self.bundle.config.training.method}",
                do="leave out --discriminator-map",
            )
        discriminator = discriminator.to(self.device)
        assert discriminator.fusion is not None
        student = self.network
        if self.bundle.segmenter != "student":
            student = _ready(self.bundle.network("student"), self.device)
        return slabs_with_map(
            self.network, student, discriminator, discriminator.fusion, tensor, self.bundle.config,
            self.bundle.config.inference, watch,
        )  # fmt: skip


def _read_quality(bundle: Bundle) -> Quality | None:
    if bundle.quality is None:
        return None
    try:
        return Quality.from_dict(bundle.quality)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            "the model is damaged", expected="what it says of its quality, as it was saved",
            found=f"{type(error).__name__}: {error}", do="copy the model folder again, or train the model anew",
        ) from error  # fmt: skip


def _ready(network: VNet, device: torch.device) -> VNet:
    """On the device, and in memory as convolutions are fastest there."""
    return network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def without_islands(
    array: np.ndarray, bundle: Bundle, settings: Inference, largest_component: bool | None = None
) -> np.ndarray:
    """Classes (z, y, x) with organs cut down to their largest part, as the settings, or a person, want it.

    largest_component: all organs or none; None: as the settings say, which may mean those that are one part in
    every label of the training.
    """
    if largest_component if largest_component is not None else settings.largest_component:
        return keep_largest(array, len(bundle.organs))
    if largest_component is None and settings.one_part:
        known = range(1, len(bundle.organs) + 1)
        return keep_largest(array, [i for i in bundle.provenance.get("one_part_organs", ()) if i in known])
    return array


class _Share:
    """Turns counts of windows into the part that is done."""

    def __init__(self, total: int, watch: Callable[[float], None]) -> None:
        self.done, self.total, self.watch = 0, total, watch

    def __call__(self, windows: int) -> None:
        self.done += windows
        self.watch(min(1.0, self.done / self.total))


def find_bundle(path: Path) -> Path:
    """The model folder at the path itself, or in a run folder."""
    if (path / ABOUT).is_file():
        return path
    if (path / "model" / ABOUT).is_file():
        return path / "model"
    if (path / "config.json").is_file():
        raise BundleError(
            "this training has not left a model yet",
            file=path,
            expected="a training that has ended, by itself or by a file named STOP",
            found="a run folder without a model",
            do="wait for it, or end it gracefully: make an empty file named STOP in the run folder",
        )
    return path
