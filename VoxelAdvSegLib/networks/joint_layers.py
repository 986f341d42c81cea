"""Layers whose result depends on the whole batch, for processes that share one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from VoxelAdvSegLib.networks.joint import average, joint_sum, processes, rank


class JointBatchNorm3d(nn.BatchNorm3d):
    """Batch norm by the statistics of the patches of all processes, on any device.

    torch's SyncBatchNorm knows GPUs only, and in evaluation mode takes the own patches' statistics,
    which the teacher must not (row 32).
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        axes = (0, 2, 3, 4)
        wide = input.float()
        own_var, own_mean = torch.var_mean(wide, axes, correction=0)
        mean = joint_sum(own_mean) / processes()
        variance = joint_sum(own_var + (own_mean - mean).square()) / processes()
        if self.training and self.track_running_stats:
            self._follow(mean.detach(), variance.detach(), input.numel() // input.shape[1] * processes())
        weight, bias = self.get_parameter("weight"), self.get_parameter("bias")
        scale = weight * (variance + self.eps).rsqrt()
        shape = (1, -1, 1, 1, 1)
        return (wide * scale.view(shape) + (bias - mean * scale).view(shape)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        # None: a cumulative average (recalibrate.py).
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(count - 1, 1), share)


class JointDropout3d(nn.Dropout3d):
    """Channel dropout whose masks differ from process to process, though all draw the same random numbers."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.p:
            return input
        size = len(input)
        masks = input.new_empty(processes() * size, input.shape[1], 1, 1, 1).bernoulli_(1 - self.p)
        return input * (masks[rank() * size : (rank() + 1) * size] / (1 - self.p))


def join_layers(networks: nn.Module, batch_norm: bool) -> None:
    """Puts the joint layers in the place of the plain ones, with the same weights; batch_norm: those too."""
    for parent in list(networks.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Dropout3d:
                setattr(parent, name, JointDropout3d(layer.p))
            elif type(layer) is nn.BatchNorm3d and batch_norm:
                joint = JointBatchNorm3d(layer.num_features, layer.eps, layer.momentum)
                joint.weight, joint.bias = layer.weight, layer.bias
                joint.running_mean, joint.running_var = layer.running_mean, layer.running_var
                joint.num_batches_tracked = layer.num_batches_tracked
                joint.train(layer.training)
                setattr(parent, name, joint)


@torch.no_grad()
def average_statistics(networks: nn.Module) -> None:
    """Running means and variances that each process has gathered from its own patches, made one."""
    buffers = [
        buffer
        for layer in networks.modules()
        if isinstance(layer, _BatchNorm)
        for buffer in (layer.running_mean, layer.running_var)
        if buffer is not None
    ]
    for buffer, mean in zip(buffers, average(buffers), strict=True):
        buffer.copy_(mean)
