"""Small pictures of the training at work: prediction and discriminator map of one unlabeled scan."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.data.cache import UnlabeledArrays
from VoxelAdvSegLib.inference.discriminator_map import predict_with_map, quantize
from VoxelAdvSegLib.inference.windows import predict_probabilities
from VoxelAdvSegLib.methods.contract import Method
from VoxelAdvSegLib.networks.vnet import VNet


@contextlib.contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode, each put back as it was."""
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)


def write_preview(
    path: Path, case: UnlabeledArrays, step: int, method: Method, config: Config, device: torch.device
) -> None:
    """An .npz with image (float16), label and, where there is a discriminator, looks_labeled (uint8).

    All (z, y, x) on the working grid; looks_labeled 0 to 255 stands for 0 to 1. With them case, step
    and, in ITK's terms, spacing_xyz_mm, origin_lps_mm and direction of the grid: where it lies over the
    scan. Read by jobs/previews.py.
    """
    volume = torch.from_numpy(np.ascontiguousarray(case.image, np.float32))[None, None].to(device)
    settings = config.inference
    segmenter = method.segmenter()
    networks = method.networks
    content: dict[str, Any] = {"image": np.asarray(case.image, np.float16), "case": case.name, "step": step}
    if case.grid is not None:
        content["spacing_xyz_mm"] = np.array(case.grid.spacing_xyz_mm)
        content["origin_lps_mm"] = np.array(case.grid.origin_lps_mm)
        content["direction"] = np.array(case.grid.direction)
    adversary = getattr(method, "adversary", None)
    assert config.patches.patch is not None
    with evaluating(*networks.values()):
        if adversary is not None:
            student = networks["student"]
            assert isinstance(student, VNet)
            probabilities, looks = predict_with_map(
                segmenter,
                student,
                adversary.discriminator,
                adversary.fusion,
                volume,
                config,
                settings,
            )
            content["looks_labeled"] = quantize(looks).cpu().numpy()
        else:
            probabilities = predict_probabilities(segmenter, volume, config)
    content["label"] = probabilities.argmax(0).to(torch.uint8).cpu().numpy()
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial.npz")
    np.savez_compressed(temporary, **content)
    temporary.replace(path)
