"""Projector q and predictor p of the voxel-wise representation learning (figure 3b; method.md 1.4)."""

from __future__ import annotations

from torch import nn


def make_mlp(dim: int = 64, norm: str = "batch") -> nn.Sequential:
    """Linear, norm (batch, layer or none), ReLU, Linear: all of width dim."""
    norms = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
    middle = [norms[norm](dim)] if norm in norms else []
    return nn.Sequential(nn.Linear(dim, dim), *middle, nn.ReLU(), nn.Linear(dim, dim))
