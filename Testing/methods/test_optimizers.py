"""Who is moved how fast (rows 10, 11, 55 to 58)."""

import pytest
import torch
from torch import nn

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.methods.optimizers import (
    autocast,
    make_discriminator_player,
    make_student_player,
    precision,
)

CPU = torch.device("cpu")


def one():
    return [nn.Parameter(torch.zeros(1))]


def test_the_papers_optimizers():
    config = resolve("la-paper", {})
    student, discriminator = make_student_player(config, one()), make_discriminator_player(config, one())
    group = student.optimizer.param_groups[0]
    assert isinstance(student.optimizer, torch.optim.SGD) and student.clip is None
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.01, 0.9, 1e-4)
    group = discriminator.optimizer.param_groups[0]
    assert isinstance(discriminator.optimizer, torch.optim.Adam)
    assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-4, (0.5, 0.999), 0)


@pytest.mark.parametrize(("preset", "kind"), [("mo-paper", torch.optim.Adam), ("auto", torch.optim.AdamW)])
def test_other_presets(preset, kind):
    config = resolve(preset, {})
    player = make_student_player(config, one())
    assert type(player.optimizer) is kind
    assert player.optimizer.param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(("schedule", "rate"), [("constant", 2e-4), ("follow", 2e-5)])
def test_the_discriminators_rate(schedule, rate):
    config = resolve("la-paper", {"disc_lr_schedule": schedule})
    assert make_discriminator_player(config, one()).lr_at(2500, 6000) == pytest.approx(rate)
    assert make_student_player(config, one()).lr_at(2500, 6000) == pytest.approx(1e-3)


def test_the_cpu_computes_in_fp32():
    assert precision(resolve("la-paper", {}), CPU) is None
    with autocast(resolve("la-paper", {}), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "knows"), [("fp16", {"avx512_bf16": True}), ("bf16", {"avx512_bf16": False}), ("bf16", {})]
)
def test_a_processor_that_cannot_is_not_asked_to(monkeypatch, kind, knows):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: knows, raising=False)
    with pytest.raises(ConfigError, match="half precision"):
        precision(resolve("la-paper", {"amp": kind}), CPU)


@pytest.mark.parametrize("knows", ["avx512_bf16", "amx_bf16"])
def test_a_processor_with_bf16_uses_it_when_asked(monkeypatch, knows):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {knows: True}, raising=False)
    assert precision(resolve("la-paper", {"amp": "bf16"}), CPU) is torch.bfloat16
    assert precision(resolve("la-paper", {}), CPU) is None


def test_half_precision_on_request_elsewhere():
    cuda = torch.device("cuda")
    assert precision(resolve("la-paper", {"amp": "bf16"}), cuda) is torch.bfloat16
    assert precision(resolve("la-paper", {"amp": "fp16"}), cuda) is torch.float16
    assert precision(resolve("la-paper", {"amp": "off"}), cuda) is None
