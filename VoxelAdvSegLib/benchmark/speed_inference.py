"""Segmenting and measuring, beside what others' code takes for the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch

from VoxelAdvSegLib.benchmark.speed_training import CLASSES, Setup, shape_of_an_organ
from VoxelAdvSegLib.benchmark.stopwatch import Lap, in_turn
from VoxelAdvSegLib.bundle import make_network
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.evaluation.metrics import score_organ
from VoxelAdvSegLib.inference.windows import (
    count_windows,
    forward_precision,
    predict_probabilities,
    window_stride,
    windows_at_once,
)

ATRIUM_ZYX = (88, 146, 196)  # a usual scan of the left-atrium benchmark
ATRIUM_MM = 0.625


def time_segmenting(setup: Setup, device: torch.device, rounds: int) -> tuple[dict[str, Lap], int]:
    """Laps of `segment` (probabilities of a scan), `bare` (its windows through the network) and `monai`; windows.

    The scan is as much larger than a patch as makes twelve windows at the benchmark's stride. MONAI's
    inferer is called the plain way: one window at a time, in fp32, softmax in the predictor.
    """
    config = resolve(setup.preset, {"patch": list(setup.patch_zyx[::-1]), "filters": setup.filters})
    torch.manual_seed(0)
    network = make_network(config, CLASSES).to(device).to(memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    stride = window_stride(setup.patch_zyx, config.inference)
    shape = [n + s * k for n, s, k in zip(setup.patch_zyx, stride, (2, 1, 1), strict=True)]
    volume = torch.randn(1, 1, *shape, device=device)
    windows = count_windows(shape, setup.patch_zyx, config.inference)
    at_once = windows_at_once(device, setup.patch_zyx)
    batch = torch.randn(at_once, 1, *setup.patch_zyx, device=device)

    def bare() -> None:
        for _ in range(0, windows, at_once):
            with torch.no_grad(), forward_precision(config, device):
                network(batch)

    def monai() -> None:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # it imports what is deprecated
            from monai.inferers.utils import sliding_window_inference

            # Its overlap is a part of the patch, and it truncates: half a voxel makes the same stride.
            overlap = [1 - (s + 0.5) / p for s, p in zip(stride, setup.patch_zyx, strict=True)]
            sliding_window_inference(volume, setup.patch_zyx, 1, lambda w: network(w).float().softmax(1), overlap)

    laps = in_turn(
        {"segment": lambda: predict_probabilities(network, volume, config), "bare": bare, "monai": monai},
        rounds,
        device,
    )
    return laps, windows


def time_metrics(shape_zyx: tuple[int, int, int], rounds: int) -> dict[str, Lap]:
    """Laps of `own` (all metrics of an organ, in voxels and mm) and `medpy` (the same figures, each once).

    Raises ModuleNotFoundError without medpy.
    """
    rng = np.random.default_rng(0)
    reference = shape_of_an_organ(shape_zyx, rng)
    prediction = np.roll(reference, (1, 2, -1), (0, 1, 2)) & ~shape_of_an_organ(shape_zyx, rng)[::-1, ::2].repeat(2, 1)
    prediction |= np.roll(reference, (2, 0, 1), (0, 1, 2))
    return in_turn(
        {
            "own": lambda: score_organ(prediction, reference, (ATRIUM_MM,) * 3),
            "medpy": _medpy(prediction, reference),
        },
        rounds,
        torch.device("cpu"),
    )


def _medpy(prediction: np.ndarray, reference: np.ndarray) -> Callable[[], object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from medpy.metric import binary

    def measure() -> list[float]:
        spacing = (ATRIUM_MM,) * 3
        return [
            binary.dc(prediction, reference),
            binary.jc(prediction, reference),
            binary.hd95(prediction, reference, spacing),
            binary.asd(prediction, reference, spacing),
            binary.asd(reference, prediction, spacing),
            binary.assd(prediction, reference, spacing),
        ]

    return measure
