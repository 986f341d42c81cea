"""Known answers of the methods that follow a teacher (method.md 3)."""

import math

import pytest
import torch

from Testing.methods.test_every_method import NO_SCALER, TOTAL, build
from VoxelAdvSegLib.losses import entropy
from VoxelAdvSegLib.methods.contract import Term
from VoxelAdvSegLib.methods.cvrl import Queue, info_nce
from VoxelAdvSegLib.methods.duwm import feature_uncertainty, weighted_difference
from VoxelAdvSegLib.methods.lg_er_mt import draw_block, local_structure, self_information
from VoxelAdvSegLib.methods.student import epoch_ramp
from VoxelAdvSegLib.methods.ua_mt import certain_consistency, entropy_limit
from VoxelAdvSegLib.training.loop import take_step

QUIET = {"mt_noise": 0.0, "dropout": False, "copy_paste": "none"}


def student_terms(method, batch, step=50):
    terms = next(method.turns(batch, step)).terms
    return {name: Term(term.value.detach(), term.weight) for name, term in terms.items()}


def shift_teacher(method, by=0.3):
    with torch.no_grad():
        method.networks["teacher"].head.bias[0] += by


def test_the_published_ramp_rises_by_epochs_of_150_steps():
    assert epoch_ramp(0, 6000) == epoch_ramp(149, 6000) == pytest.approx(math.exp(-5))
    assert epoch_ramp(150, 6000) == pytest.approx(math.exp(-5 * (39 / 40) ** 2))
    assert epoch_ramp(6000, 6000) == epoch_ramp(9000, 6000) == 1


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_teacher_equal_to_the_student_leaves_nothing_to_follow(norm, make_batch):
    method = build("mean_teacher", norm=norm, **QUIET)
    assert float(student_terms(method, make_batch())["consistency"].value) == 0
    shift_teacher(method)
    assert float(student_terms(method, make_batch())["consistency"].value) > 1e-4


def test_consistency_weighs_a_tenth_after_the_ramp(make_batch):
    method = build("mean_teacher")
    assert student_terms(method, make_batch(), TOTAL)["consistency"].weight == pytest.approx(0.1)
    assert student_terms(method, make_batch(), 0)["consistency"].weight == pytest.approx(0.1 * math.exp(-5))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_entropy_limit_rises_to_the_largest_entropy(classes):
    assert entropy_limit(0, 6000, classes) / math.log(classes) == pytest.approx(0.7517, abs=1e-4)
    assert entropy_limit(6000, 6000, classes) == pytest.approx(math.log(classes))
    undecided = entropy(torch.full((1, classes, 2, 2, 2), 1 / classes))
    assert torch.allclose(undecided, torch.tensor(math.log(classes)))
    assert not (undecided < entropy_limit(0, 6000, classes)).any()


def test_only_certain_voxels_are_followed():
    student, teacher = torch.zeros(1, 2, 1, 1, 2), torch.zeros(1, 2, 1, 1, 2)
    teacher[0, :, 0, 0, 0] = torch.tensor([0.5, 0.1])  # 0.25 + 0.01 over two classes
    teacher[0, :, 0, 0, 1] = 9.0
    certain = torch.tensor([True, False]).reshape(1, 1, 1, 2)
    assert float(certain_consistency(student, teacher, certain)) == pytest.approx(0.13)
    assert float(certain_consistency(student, teacher, torch.zeros_like(certain))) == 0


def test_entropy_of_a_certain_voxel_is_zero_with_a_finite_gradient():
    certain = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    entropy(certain).sum().backward()
    assert float(entropy(certain.detach())) == 0 and torch.isfinite(certain.grad).all()
    zero = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    self_information(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_structures_of_identical_predictions_are_alike(make_batch):
    method = build("lg_er_mt", **QUIET)
    terms = student_terms(method, make_batch())
    assert [float(terms[n].value) for n in ("consistency", "local_structure", "global_structure")] == [0, 0, 0]
    shift_teacher(method)
    terms = student_terms(method, make_batch())
    assert min(float(terms[n].value) for n in ("consistency", "local_structure", "global_structure")) > 0


def test_entropy_term_of_one_hot_predictions_is_zero(make_batch):
    method = build("lg_er_mt", **QUIET)
    with torch.no_grad():
        method.student.head.weight.zero_()
        method.student.head.bias.copy_(torch.tensor([200.0, 0.0, 0.0]))
    assert float(student_terms(method, make_batch())["entropy"].value) == 0
    with torch.no_grad():
        method.student.head.bias.zero_()
    assert float(student_terms(method, make_batch())["entropy"].value) == pytest.approx(1)


def test_self_information_by_hand():
    halves = self_information(torch.full((1, 2, 1, 1, 1), 0.5))
    assert halves.flatten().tolist() == pytest.approx([0.5, 0.5])  # -1/2 log2(1/2) / log2(2)


def test_cosines_within_a_block():
    positions = draw_block((20, 18, 16), 512)
    assert len(positions.unique()) == 512
    z, y, x = positions // (18 * 16), positions // 16 % 18, positions % 16
    assert all(int(axis.max() - axis.min()) < 16 for axis in (z, y, x)) and int(z.max()) < 20
    probabilities = torch.zeros(1, 2, 1, 1, 3)
    probabilities[0, 0] = torch.tensor([1.0, 0.0, 0.6])
    probabilities[0, 1] = torch.tensor([0.0, 1.0, 0.8])
    cosines = local_structure(probabilities, torch.arange(3))[0]
    assert torch.allclose(cosines, torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8], [0.6, 0.8, 1.0]]))


def test_without_dropout_features_are_certain_and_weigh_one(make_batch):
    method = build("duwm", **QUIET)
    shift_teacher(method)
    batch = make_batch()
    passes = [method.teach(torch.cat([batch.labeled, batch.unlabeled]))[1][8] for _ in range(4)]
    uncertainty = feature_uncertainty(torch.stack(passes))
    assert float(uncertainty.abs().max()) == 0
    student = torch.randn_like(passes[0])
    assert float(weighted_difference(student, passes[0], uncertainty)) == pytest.approx(
        float((student - passes[0]).square().mean()), rel=1e-5
    )
    noisy = build("duwm", mt_noise=0.0)
    stochastic = [noisy.teach(batch.labeled, dropout=True)[1][8] for _ in range(4)]
    assert float(feature_uncertainty(torch.stack(stochastic)).max()) == 1


def test_unsure_voxels_weigh_less():
    student, teacher = torch.zeros(1, 1, 1, 1, 2), torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 1, 2)
    sure = weighted_difference(student, teacher, torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2))
    assert float(sure) == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize("negatives", [1, 50, 1000])
def test_contrast_of_a_perfect_positive_among_orthogonal_negatives(negatives):
    anchor = torch.zeros(1, negatives + 1)
    anchor[0, 0] = 3.0
    others = torch.eye(negatives + 1)[1:] * 7  # lengths do not matter
    assert float(info_nce(anchor, anchor, others)) == pytest.approx(math.log(1 + negatives * math.exp(-10)), abs=1e-5)


def test_the_queue_forgets_the_oldest():
    queue = Queue(4)
    rows = torch.eye(64)
    queue.add(rows[:3])
    queue.add(rows[3:5])
    assert queue.rows.argmax(1)[[0, 1, 2, 3]].tolist() == [4, 1, 2, 3] and int(queue.place) == 1
    queue.add(2 * rows[10:20])  # more than fit: whole, and of length one
    assert queue.rows.norm(dim=1).tolist() == pytest.approx([1] * 4)


def test_the_queue_takes_in_what_the_teacher_saw(make_batch):
    method = build("cvrl", cvrl_queue=512)
    before = method.queue.rows.clone()
    take_step(method, make_batch(), 0, TOTAL, 0, NO_SCALER)
    changed = (before != method.queue.rows).any(1)
    assert int(changed.sum()) == int(method.queue.place) == 4 * 32
