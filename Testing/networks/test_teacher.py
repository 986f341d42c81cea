"""The teacher's average, and what its forward leaves alone (rows 32 to 37)."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from VoxelAdvSegLib.networks.teacher import decay_at, make_teacher, move_teacher, teacher_mode
from VoxelAdvSegLib.networks.vnet import VNet


def one_weight(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_average_by_hand():
    # decays 0, 1/2, 2/3: the plain mean of what was seen; the start, 10, is forgotten at once
    teacher = make_teacher(one_weight(10))
    seen = []
    for step, value in enumerate((1.0, 2.0, 3.0)):
        move_teacher(teacher, one_weight(value), decay_at(step))
        seen.append(teacher.weight.item())
    assert seen == pytest.approx([1.0, 1.5, 2.0], abs=1e-6)


def test_decay_rises_to_its_ceiling():
    assert decay_at(98) == pytest.approx(0.98990, abs=1e-5)
    assert decay_at(99) == 0.99
    assert decay_at(100_000) == 0.99
    assert decay_at(998, 0.999) == pytest.approx(0.998999, abs=1e-6)


def test_average_equals_torch_with_buffers():
    torch.manual_seed(0)
    student = VNet(1, 2, 4)
    teacher = make_teacher(student)
    oracle = AveragedModel(student, avg_fn=lambda old, new, n: 0.9 * old + 0.1 * new, use_buffers=True)
    oracle.update_parameters(student)  # its first update copies
    move_teacher(teacher, student, 0.0)
    for _ in range(2):
        with torch.no_grad():
            student(torch.randn(2, 1, 16, 16, 32))  # moves the running statistics
            for p in student.parameters():
                p.add_(torch.randn_like(p) * 0.1)
        oracle.update_parameters(student)
        move_teacher(teacher, student, 0.9)
    theirs = dict(oracle.module.named_buffers()) | dict(oracle.module.named_parameters())
    ours = dict(teacher.named_buffers()) | dict(teacher.named_parameters())
    counters = [name for name in ours if name.endswith("num_batches_tracked")]
    assert counters and all(ours[name] == 2 for name in counters)  # ours copies the counter
    for name in ours.keys() - set(counters):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(("buffers", "expected"), [("ema", 7.5), ("copy", 0.0), ("own", 10.0)])
def test_running_statistics_follow_as_set(buffers, expected):
    student, teacher = nn.BatchNorm3d(1), make_teacher(nn.BatchNorm3d(1))
    nn.init.constant_(teacher.running_mean, 10.0)
    move_teacher(teacher, student, 0.75, buffers)
    assert teacher.running_mean.item() == pytest.approx(expected)


def test_decay_one_freezes_and_zero_copies():
    student, teacher = one_weight(3.3), make_teacher(one_weight(1.1))
    before = teacher.weight.clone()
    move_teacher(teacher, student, 1.0)
    assert torch.equal(teacher.weight, before)
    move_teacher(teacher, student, 0.0)
    assert torch.equal(teacher.weight, student.weight)


@pytest.mark.parametrize("norm", ["batch", "buffers"])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_look_of_the_teacher_changes_nothing_in_it(norm, dropout):
    teacher = make_teacher(VNet(1, 2, 4))
    before = copy.deepcopy(teacher.state_dict())
    with torch.no_grad(), teacher_mode(teacher, norm, dropout):
        teacher(torch.randn(2, 1, 16, 16, 32))
    after = teacher.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert teacher.training and not any(p.requires_grad for p in teacher.parameters())


def test_batch_statistics_are_those_of_the_student_in_training():
    student = VNet(1, 2, 4, dropout=False)
    teacher = make_teacher(student)
    volumes = 5 + 3 * torch.randn(2, 1, 16, 16, 32)
    with torch.no_grad(), teacher_mode(teacher):
        seen = teacher(volumes)
        torch.testing.assert_close(seen, student(volumes), rtol=0, atol=1e-6)
    with torch.no_grad(), teacher_mode(teacher, "buffers"):
        assert not torch.allclose(teacher(volumes), seen, atol=1e-2)


def test_only_a_teacher_with_dropout_varies():
    teacher = make_teacher(VNet(1, 2, 4))
    volumes = torch.randn(2, 1, 16, 16, 32)
    with torch.no_grad(), teacher_mode(teacher):
        assert torch.equal(teacher(volumes), teacher(volumes))
    with torch.no_grad(), teacher_mode(teacher, dropout=True):
        assert not torch.equal(teacher(volumes), teacher(volumes))


def test_own_buffers_are_filled_by_what_the_teacher_sees():
    # As in UA-MT, whose teacher stays in training mode: 0.1 of the batch's mean enters the average.
    teacher = make_teacher(nn.Sequential(nn.BatchNorm3d(1)))
    with torch.no_grad(), teacher_mode(teacher, buffers="own"):
        teacher(torch.full((1, 1, 2, 2, 2), 4.0))
    assert teacher[0].running_mean.item() == pytest.approx(0.4)
