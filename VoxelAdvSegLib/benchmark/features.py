"""Features of voxels of labeled and unlabeled scans, before and after training (figure 7, Table III)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from VoxelAdvSegLib.benchmark.plan import Run
from VoxelAdvSegLib.bundle import Bundle, make_network
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays, prepare_labeled, prepare_unlabeled
from VoxelAdvSegLib.data.manifest import Manifest
from VoxelAdvSegLib.inference.windows import predict_probabilities
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.training.loop import SEED_STRIDE

CASES = 4  # of each role
POINTS = 960  # of all scans and classes together: an embedding of more takes minutes
FEWEST, MOST = 12, 60  # of each class and case
LEVELS = (1, 2, 3, 4, 9)


def write_features(run: Run, manifest: Manifest, bundle: Bundle, device: torch.device) -> Path:
    """An .npz of drawn voxels: class, role and case of each, and their features by level.

    before_L, after_L: (n, C) float16 of level L, of the network as it was initialized and of the
    shipped student; label: (n,) class, of labeled scans by reference, of unlabeled ones by the trained
    network (their labels are never read); unlabeled: (n,) bool; case: (n,) number of the scan.
    """
    rng = np.random.default_rng(0)  # the same places for every seed and row, as far as classes agree
    config, recipe, cache = bundle.config, bundle.recipe, run.folder / "cache"
    labeled = prepare_labeled(manifest.training[:CASES], manifest.organs, recipe, cache)
    unlabeled = prepare_unlabeled(manifest.unlabeled[:CASES], recipe, cache)
    after = bundle.network("student").to(device)
    torch.manual_seed(run.seed * SEED_STRIDE - 1)  # as the training drew its first weights
    before = make_network(config, len(manifest.organs) + 1, dropout=False).to(device).eval()
    columns: dict[str, list[np.ndarray]] = {}
    for number, case in enumerate([*labeled, *unlabeled]):
        image, label = _patch(case, after, bundle, device)
        places, classes = draw_places(label, len(manifest.organs) + 1, rng)
        entries = {
            "label": classes,
            "unlabeled": np.full(len(classes), number >= len(labeled)),
            "case": np.full(len(classes), number),
        }
        for when, network in (("before", before), ("after", after)):
            levels = at_places(network, image, places)
            entries |= {f"{when}_{level}": values for level, values in levels.items()}
        for name, values in entries.items():
            columns.setdefault(name, []).append(values)
    run.features.parent.mkdir(parents=True, exist_ok=True)
    temporary = run.features.with_name(f".{run.features.stem}.partial.npz")
    content: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    np.savez_compressed(temporary, **content)
    temporary.replace(run.features)
    return run.features


def draw_places(label: np.ndarray, classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Different voxels (n, 3; z, y, x) of a patch, about as many of each class, and their classes (n,) uint8."""
    wanted = int(np.clip(POINTS // (2 * CASES * classes), FEWEST, MOST))
    places = []
    for index in range(classes):
        found = np.argwhere(label == index)
        if len(found):
            places.append(rng.permutation(found)[:wanted])
    chosen = np.concatenate(places)
    return chosen, label[tuple(chosen.T)].astype(np.uint8)


@torch.no_grad()
def at_places(network: VNet, image: torch.Tensor, places: np.ndarray) -> dict[int, np.ndarray]:
    """Features (n, C) float16 of each level, of the coarse voxel in which a place lies."""
    _, features = network.forward_features(image)
    result = {}
    for level in LEVELS:
        values = features[level - 1][0]
        ratio = np.asarray(image.shape[2:]) // np.asarray(values.shape[1:])
        z, y, x = (torch.from_numpy(axis) for axis in (places // ratio).T)
        result[level] = values[:, z, y, x].T.float().cpu().numpy().astype(np.float16)
    return result


def _patch(
    case: LabeledArrays | UnlabeledArrays, network: VNet, bundle: Bundle, device: torch.device
) -> tuple[torch.Tensor, np.ndarray]:
    """A patch (1, 1, D, H, W) around the organs, and its classes (D, H, W)."""
    assert bundle.config.patches.patch is not None
    shape = bundle.config.patches.patch[::-1]
    volume = torch.from_numpy(np.ascontiguousarray(case.image, np.float32))[None, None]
    if isinstance(case, LabeledArrays):
        label = np.asarray(case.label)
    else:
        probabilities = predict_probabilities(network, volume.to(device), bundle.config)
        label = probabilities.argmax(0).cpu().numpy().astype(np.uint8)
    box, padding = _around(label, shape)
    image = np.pad(volume[0, 0].numpy()[box], padding)
    return torch.from_numpy(image)[None, None].to(device), np.pad(label[box], padding)


def _around(label: np.ndarray, shape: Sequence[int]) -> tuple[tuple[slice, ...], list[tuple[int, int]]]:
    """The part of a volume that a patch around its organs (or its middle) shows, and what fills the patch up."""
    organs = np.argwhere(label > 0)
    center = organs.mean(0) if len(organs) else np.asarray(label.shape) / 2
    box, padding = [], []
    for middle, size, wanted in zip(center, label.shape, shape, strict=True):
        start = int(np.clip(round(middle - wanted / 2), 0, max(0, size - wanted)))
        stop = min(size, start + wanted)
        box.append(slice(start, stop))
        padding.append((0, wanted - (stop - start)))
    return tuple(box), padding
