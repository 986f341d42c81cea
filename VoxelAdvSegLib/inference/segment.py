"""One-click segmentation: from a trained model and a scan to classes on the scan's own grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from VoxelAdvSegLib.bundle import MODEL, Bundle, read_bundle
from VoxelAdvSegLib.data.components import keep_largest
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.preprocess import prepare, restore, restore_map
from VoxelAdvSegLib.data.volume import Geometry, Volume
from VoxelAdvSegLib.errors import BundleError
from VoxelAdvSegLib.inference.discriminator_map import predict_with_map
from VoxelAdvSegLib.inference.windows import predict_probabilities
from VoxelAdvSegLib.networks.device import choose_device


@dataclass(frozen=True)
class Segmented:
    """A segmented scan, on its own grid.

    array: (z, y, x) uint8, 0 background, i + 1 = the model's i-th organ; looks_labeled: the
    discriminator map, (z, y, x) float32 from 0 to 1, where it was asked for.
    """

    array: np.ndarray
    geometry: Geometry
    looks_labeled: np.ndarray | None = None


class Segmenter:
    """A model made ready on a device."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle
        self.device = device
        self.organs: tuple[Organ, ...] = bundle.organs
        self.network = bundle.network().to(device)

    @staticmethod
    def open(path: Path, device: str = "auto") -> Segmenter:
        """The model of a bundle, or of a run folder; raises BundleError when there is none."""
        return Segmenter(read_bundle(find_bundle(Path(path))), choose_device(device))

    def segment(
        self,
        volume: Volume,
        looks_labeled: bool = False,
        largest_component: bool | None = None,
        flips: bool | None = None,
    ) -> Segmented:
        """Classes on the scan's own grid.

        looks_labeled: also the discriminator map; largest_component, flips: instead of the
        model's own setting. Raises BundleError when a map is asked of a model without discriminator.
        """
        config = self.bundle.config
        settings = config.inference
        if flips is not None:
            settings = replace(settings, flips=flips)
        prepared = prepare(volume, self.bundle.recipe)
        tensor = torch.from_numpy(prepared.array)[None, None].to(self.device)
        closeness = None
        if looks_labeled:
            probabilities, values = self._with_map(tensor)
            closeness = restore_map(values.cpu().numpy(), prepared, self.bundle.recipe)
        if not looks_labeled or settings.flips:
            assert config.patches.patch is not None
            mirror = config.patches.mirror_axes or ()
            axes = [axis for axis, name in enumerate("zyx") if name in mirror]
            probabilities = predict_probabilities(self.network, tensor, config.patches.patch[::-1], settings, axes)
        array = restore(probabilities.cpu().numpy(), prepared, self.bundle.recipe)
        if settings.largest_component if largest_component is None else largest_component:
            array = keep_largest(array, len(self.organs))
        return Segmented(array, volume.geometry, closeness)

    def _with_map(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        discriminator = self.bundle.discriminator()
        if discriminator is None or discriminator.fusion is None:
            raise BundleError(
                "this model has no discriminator, so there is no discriminator map",
                expected="a model of the method voxel_adversarial with adv_weight above 0",
                found=f"a model of the method {self.bundle.config.training.method}",
                do="leave out --discriminator-map",
            )
        discriminator = discriminator.to(self.device)
        assert discriminator.fusion is not None
        student = self.bundle.network("student").to(self.device)
        return predict_with_map(
            self.network, student, discriminator, discriminator.fusion, tensor, self.bundle.config,
            self.bundle.config.inference,
        )  # fmt: skip


def find_bundle(path: Path) -> Path:
    """The model folder at the path itself, or in a run folder."""
    if (path / MODEL).is_file() or not (path / "config.json").is_file():
        return path
    if not (path / "model" / MODEL).is_file():
        raise BundleError(
            "this training has not left a model yet",
            file=path,
            expected="a training that has ended, by itself or by a file named STOP",
            found="a run folder without a model",
            do="wait for it, or end it gracefully: make an empty file named STOP in the run folder",
        )
    return path / "model"
