"""The yardstick: the same loop, labeled scans alone."""

import pytest
import torch

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.losses import cross_entropy, dice_loss
from VoxelAdvSegLib.methods.supervised import Supervised, supervised_terms
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.training.loop import take_step

NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def make_supervised(preset="la-paper", **settings):
    torch.manual_seed(0)
    defaults = {"filters": 4, "patch": [32, 16, 16], "batch_labeled": 2, "batch_unlabeled": 2, "steps": 100}
    config = resolve(preset, defaults | settings)
    return Supervised(config, VNet(1, 3, 4, config.network.norm, config.network.dropout), 3, 100, 2)


@pytest.mark.parametrize(("weight", "shares"), [(1.0, (0.5, 0.5)), (3.0, (0.25, 0.75))])
def test_cross_entropy_takes_its_share(weight, shares):
    settings = resolve("la-paper", {"ce_weight": weight}).supervision
    logits, label = torch.randn(2, 3, 4, 4, 4), torch.randint(3, (2, 4, 4, 4))
    terms = supervised_terms(settings, logits, logits.softmax(1), label)
    assert [t.weight for t in terms.values()] == pytest.approx(shares)
    assert torch.equal(terms["dice"].value, dice_loss(logits.softmax(1), label))
    assert torch.equal(terms["cross_entropy"].value, cross_entropy(logits, label))


def test_patches_of_a_step():
    assert make_supervised().batch_sizes(0) == (2, 0)  # the paper's
    assert make_supervised(supervised_equal_patches=True).batch_sizes(0) == (4, 0)  # the fair one


@pytest.mark.parametrize(("preset", "teacher"), [("la-paper", False), ("auto", True)])
def test_one_step_moves_the_network_and_the_teacher_that_is_evaluated(make_batch, preset, teacher):
    method = make_supervised(preset)
    before = method.student.head.weight.clone()
    report = take_step(method, make_batch(4, 0), 0, 100, 0, NO_SCALER)
    assert set(report.terms) == {"student"}
    assert not torch.equal(before, method.student.head.weight)
    assert set(method.networks) == set(method.exports()) == {"student", "teacher"} if teacher else {"student"}
    assert method.segmenter() is method.networks["teacher" if teacher else "student"]
    if teacher:
        assert torch.equal(method.student.head.weight, method.segmenter().head.weight)  # t = 0 copies


def test_bidirectional_becomes_labeled_copy_paste(make_batch):
    batch, seen = make_batch(4, 0), []
    method = make_supervised(copy_paste="bidirectional")
    method.student.blocks[0][0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    take_step(method, batch, 0, 100, 0, NO_SCALER)
    own = seen[0] == batch.labeled
    assert torch.equal(seen[0], torch.where(own, batch.labeled, batch.labeled.roll(1, 0)))
    assert (~own)[0].sum() == round(16 * 2 / 3) * round(16 * 2 / 3) * round(32 * 2 / 3)
