"""Small networks, batches and configurations for the methods."""

import pytest
import torch

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.methods.contract import Batch
from VoxelAdvSegLib.methods.voxel_adversarial import VoxelAdversarial
from VoxelAdvSegLib.networks.vnet import VNet

SHAPE = (16, 16, 32)  # z, y, x
TOTAL = 100  # steps of the schedules


@pytest.fixture
def make_method():
    """The method on a V-Net of four filters: make_method(classes=3, channels=1, **settings).

    Untrained teachers are unsure, so every voxel gets a pseudo-label unless said otherwise.
    """

    def make(preset="la-paper", classes=3, channels=1, labeled_cases=4, seed=0, **settings):
        torch.manual_seed(seed)
        defaults = {
            "filters": 4,
            "patch": [32, 16, 16],
            "batch_labeled": 2,
            "batch_unlabeled": 2,
            "steps": TOTAL,
            "pseudo_threshold": 0.0,
            "disc_voxels_per_class": 64,
            "feature_voxels_per_class": 64,
        }
        config = resolve(preset, defaults | settings)
        network = VNet(channels, classes, 4, config.network.norm, config.network.dropout)
        return VoxelAdversarial(config, network, classes, TOTAL, labeled_cases)

    return make


@pytest.fixture
def make_batch():
    """Patches whose intensities follow their (random) labels: make_batch(labeled=2, unlabeled=2, ...)."""

    def make(labeled=2, unlabeled=2, classes=3, channels=1, seed=0):
        generator = torch.Generator().manual_seed(seed)
        label = torch.randint(classes, (labeled + unlabeled, *SHAPE), generator=generator)
        noise = torch.randn(len(label), channels, *SHAPE, generator=generator)
        images = label[:, None] + 0.5 * noise
        return Batch(images[:labeled], label[:labeled], images[labeled:], torch.arange(labeled))

    return make
