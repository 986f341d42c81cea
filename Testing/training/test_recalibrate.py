"""Running statistics rebuilt: plain averages over the passes, and nothing else touched."""

import numpy as np
import torch
from torch import nn

from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.data.sampling import PatchPlan
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.recalibrate import recalibrate


def make_batches() -> Batches:
    rng = np.random.default_rng(0)
    labeled = [
        LabeledArrays("a", rng.normal(2, 3, (20, 20, 36)).astype(np.float16), np.zeros((20, 20, 36), np.uint8), "")
    ]
    unlabeled = [UnlabeledArrays("b", rng.normal(-1, 1, (20, 20, 36)).astype(np.float16), "")]
    plan = PatchPlan((16, 16, 32), "none", (1.0, 1.0, 1.0), (False, False, False))
    return Batches(labeled, unlabeled, plan, 0.0, 0, torch.device("cpu"))


def test_buffers_are_the_average_over_the_passes():
    batches = make_batches()
    norm = nn.BatchNorm3d(1, momentum=0.3)
    norm.running_mean.fill_(77)  # what was before is forgotten
    network = nn.Sequential(norm, nn.Dropout3d(0.5))
    recalibrate(network, batches, step=10, sizes=(2, 1), passes=3)
    seen = [torch.cat([b.labeled, b.unlabeled]) for b in (batches.at(10 + n, 2, 1) for n in range(3))]
    assert torch.allclose(norm.running_mean, torch.stack([x.mean() for x in seen]).mean(), atol=1e-5)
    assert torch.allclose(norm.running_var, torch.stack([x.var() for x in seen]).mean(), rtol=1e-4)
    assert norm.momentum == 0.3 and norm.training and network.training


def test_weights_mode_and_gradients_are_left_alone():
    network = VNet(1, 2, filters=4, norm="batch").eval()
    before = {k: v.clone() for k, v in network.state_dict().items() if "running" not in k and "tracked" not in k}
    old = network.state_dict()["blocks.8.1.running_mean"].clone()
    recalibrate(network, make_batches(), 0, (1, 1), passes=2)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in before.items())
    assert not torch.equal(old, network.state_dict()["blocks.8.1.running_mean"])
    assert not any(m.training for m in network.modules())
    assert all(p.grad is None for p in network.parameters())


def test_other_norms_cost_no_pass():
    class Unused:
        def at(self, *_: int):
            raise AssertionError("no batch is needed")

    network = VNet(1, 2, filters=4, norm="instance")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recalibrate(network, Unused(), 0, (1, 1), passes=2)  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
