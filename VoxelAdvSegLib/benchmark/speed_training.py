"""A training made of nothing but its steps, to be timed: no files, made-up patches, the real method and loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from VoxelAdvSegLib.bundle import make_network
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.data.sampling import PatchPlan
from VoxelAdvSegLib.methods import method_class, with_own_settings
from VoxelAdvSegLib.methods.contract import Batch
from VoxelAdvSegLib.methods.optimizers import autocast
from VoxelAdvSegLib.networks.teacher import make_teacher, teacher_mode
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.loop import take_step

STEPS = 6000  # of the paper
STARTED = 3000  # the steps measured are from the middle of a run, when every term counts
CLASSES = 2
CASES = 4


@dataclass(frozen=True)
class Setup:
    """What is trained: patch in voxels (z, y, x), width of the V-Net, preset, settings by name."""

    patch_zyx: tuple[int, int, int]
    filters: int
    preset: str = "la-paper"
    method: str = "voxel_adversarial"
    settings: Mapping[str, Any] = field(default_factory=dict)


class Training:
    """step: all that a step of the run does with a batch that is there; bare: the same networks and nothing else."""

    def __init__(self, setup: Setup, device: torch.device) -> None:
        own = {
            "patch": list(setup.patch_zyx[::-1]), "filters": setup.filters, "steps": STEPS, "method": setup.method,
            "batch_labeled": 2, "batch_unlabeled": 2, "mirror_axes": [],
            "pseudo_threshold": 0.5,  # two classes: nearly every voxel is sure, as in a trained network
        }  # fmt: skip
        self.config = resolve(setup.preset, with_own_settings(setup.preset, {**own, **setup.settings}))
        self.device = device
        torch.manual_seed(0)
        network = make_network(self.config, CLASSES).to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.method = method_class(setup.method)(self.config, network, CLASSES, STEPS, CASES)
        self.method.networks.to(device)
        self.network = network
        self.teacher = make_teacher(network)
        self.batches = made_up_batches(self.config.patches.augment, setup.patch_zyx, device)
        self.sizes = self.method.batch_sizes(STARTED)
        self.batch = self.batches.at(STARTED, *self.sizes)
        self.scaler = torch.amp.GradScaler(device.type, enabled=False)
        self.done = STARTED

    def step(self, batch: Batch | None = None, measure_ratios: bool = False) -> None:
        take_step(
            self.method, batch or self.batch, self.done, STEPS, self.config.training.seed, self.scaler, measure_ratios
        )
        self.done += 1

    def step_with_ratios(self) -> None:
        """As every hundredth step of a run is: the terms' gradients are compared."""
        self.step(measure_ratios=True)

    def bare(self) -> None:
        """The student's forward and backward on all patches and the teacher's forward, with a trivial loss."""
        images = torch.cat([self.batch.labeled, self.batch.unlabeled])
        self.network.zero_grad(set_to_none=True)
        with torch.no_grad(), teacher_mode(self.teacher), autocast(self.config, self.device):
            self.teacher.forward_features(images)
        with autocast(self.config, self.device):
            logits, _ = self.network.forward_features(images)
        logits.float().mean().backward()


def made_up_batches(augment: str, patch_zyx: tuple[int, int, int], device: torch.device) -> Batches:
    """Scans somewhat larger than a patch, half precision and on the host as prepared scans are."""
    rng = np.random.default_rng(0)
    shape = tuple(int(1.4 * n) for n in patch_zyx)
    labeled, unlabeled = [], []
    for number in range(CASES):
        label = shape_of_an_organ(shape, rng)
        image = (label + 0.5 * rng.standard_normal(shape, np.float32)).astype(np.float16)
        labeled.append(LabeledArrays(f"labeled {number}", image, label.astype(np.uint8), ""))
        unlabeled.append(UnlabeledArrays(f"unlabeled {number}", image, ""))
    plan = PatchPlan(patch_zyx, augment, (1.0, 1.0, 1.0), (False, False, False))
    return Batches(labeled, unlabeled, plan, 0.0, 0, device)


def shape_of_an_organ(shape_zyx: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Bool (z, y, x): a lumpy body over about an eighth of the array."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 6, 6, 6)).astype(np.float32))
    lumps = F.interpolate(coarse, size=tuple(shape_zyx), mode="trilinear")[0, 0].numpy()
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape_zyx], indexing="ij", sparse=True)
    radius = sum(np.square(axis) for axis in axes)
    return radius < 0.42 + 0.1 * lumps
