"""Projector and predictor (method.md 1.4)."""

import pytest
import torch
from torch import nn

from VoxelAdvSegLib.networks.projection import make_mlp


def test_number_of_parameters():
    assert sum(p.numel() for p in make_mlp().parameters()) == 8_448


@pytest.mark.parametrize(("norm", "kinds"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_norm_stands_between_the_layers(norm, kinds):
    assert [type(m) for m in make_mlp(8, norm)] == [nn.Linear, kinds, nn.ReLU, nn.Linear]


def test_without_norm_a_row_is_projected_the_same_in_any_company():
    mlp, rows = make_mlp(8, "none"), torch.randn(5, 8)
    torch.testing.assert_close(mlp(rows)[:2], mlp(rows[:2]))
