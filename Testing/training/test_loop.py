"""The loop: players in turn, random numbers by seed and step, and a stop before anything breaks."""

import copy
import math

import pytest
import torch
from torch import nn

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods.contract import Batch, Player, Term, Turn
from VoxelAdvSegLib.methods.supervised import Supervised
from VoxelAdvSegLib.methods.voxel_adversarial import VoxelAdversarial
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.training.loop import take_step

NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)
BATCH = Batch(*(torch.zeros(0) for _ in range(4)))


class Duel:
    """Two players of one weight each: `up` minimizes f(up), `down` minimizes up * down."""

    def __init__(self, objective=torch.square, clip=None):
        self.up, self.down = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(2.0))
        self.networks = nn.ModuleDict()
        self.objective = objective
        self.players = {
            "student": Player(torch.optim.SGD([self.up], 1.0), lambda step, total: 0.1, clip, scaled=True),
            "rival": Player(torch.optim.SGD([self.down], 1.0), lambda step, total: step / total),
        }
        self.after = []

    def turns(self, batch, step):
        yield Turn("student", {"f": Term(self.objective(self.up), 2.0)}, {"seen": 1.0})
        yield Turn("rival", {"product": Term(self.up * self.down)})

    def after_step(self, step):
        self.after.append((step, self.up.item(), self.down.item()))

    def shared_parameters(self):
        return [self.up]

    def note_gradient_ratios(self, ratios):
        self.ratios = ratios


def test_turns_follow_each_other():
    # up: 3 - .1 * 2 * 2 * 3 = 1.8; down sees the new one: 2 - .5 * 1.8 = 1.1
    duel = Duel()
    report = take_step(duel, BATCH, 5, 10, 0, NO_SCALER)
    assert duel.after == [(5, pytest.approx(1.8), pytest.approx(1.1))]
    assert duel.up.grad.item() == 12  # nothing of the rival's turn reached it
    assert report.terms["student"]["f"].item() == 9 and report.weights == {"f": 2.0, "product": 1.0}
    assert report.lr == {"student": 0.1, "rival": 0.5} and report.observed == {"seen": 1.0}


def test_clipping_bounds_the_gradient():
    duel = Duel(clip=0.5)
    take_step(duel, BATCH, 0, 10, 0, NO_SCALER)
    assert duel.up.item() == pytest.approx(3 - 0.1 * 0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("objective", "what"),
    [
        (lambda x: x * math.inf, "objective of the student"),
        (lambda x: (x - 3).abs().sqrt(), "gradient of the student"),  # 0 with an infinite slope
    ],
)
def test_what_is_not_finite_moves_nothing(objective, what):
    duel = Duel(objective)
    with pytest.raises(RunError) as caught:
        take_step(duel, BATCH, 7, 10, 0, NO_SCALER)
    assert f"step 7: the {what} is not finite" in str(caught.value)
    assert "f " in caught.value.found and "--resume" in caught.value.do
    assert (duel.up.item(), duel.down.item(), duel.after) == (3.0, 2.0, [])


def test_an_overflow_in_fp16_is_passed_over():
    # The scaler halves its factor and leaves the weights; the rival is in fp32 and goes on.
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=2.0**8)
    duel = Duel(lambda x: (x - 3).abs().sqrt())
    take_step(duel, BATCH, 5, 10, 0, scaler)
    assert duel.up.item() == 3.0 and duel.down.item() == 0.5
    assert scaler.get_scale() == 2.0**7


def patches(labeled=2, unlabeled=2):
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(3, (labeled + unlabeled, 16, 16, 32), generator=generator)
    images = label[:, None] + 0.5 * torch.randn(label[:, None].shape, generator=generator)
    return Batch(images[:labeled], label[:labeled], images[labeled:], torch.arange(labeled))


def train(seed=0, steps=3, scaler=NO_SCALER, start=None, **settings):
    """Losses and final tensors of a short training of the method, dropout on."""
    torch.manual_seed(0)
    defaults = {"filters": 4, "patch": [32, 16, 16], "steps": 10, "pseudo_threshold": 0.0}
    config = resolve("la-paper", defaults | settings)
    method = VoxelAdversarial(config, VNet(1, 3, 4), 3, 10, 2)
    losses = []
    for step in range(steps):
        report = take_step(method, patches(), step, 10, seed, scaler)
        losses += [v.item() for terms in report.terms.values() for v in terms.values()]
    return losses, copy.deepcopy(method.networks.state_dict())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_run_bit_for_bit(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        steps = 3 - threads  # threads that wait for each other are slow on a busy machine
        (losses, tensors), (again, same) = train(steps=steps), train(steps=steps)
    finally:
        torch.set_num_threads(before)
    assert losses == again
    assert all(torch.equal(tensors[name], same[name]) for name in tensors)


def test_another_seed_gives_another_run():
    assert train(steps=1)[0] != train(seed=1, steps=1)[0]


def test_what_was_drawn_before_a_step_does_not_matter():
    # As after a resume: the step's random numbers are its own.
    def first_losses(disturb):
        torch.manual_seed(0)
        config = resolve("la-paper", {"filters": 4, "patch": [32, 16, 16], "steps": 10})
        method = VoxelAdversarial(config, VNet(1, 3, 4), 3, 10, 2)
        torch.rand(disturb)
        report = take_step(method, patches(), 4, 10, 0, NO_SCALER)
        return {k: v.item() for k, v in report.terms["student"].items()}

    assert first_losses(0) == first_losses(17)


def test_scaling_changes_nothing_but_overflow():
    # A power of two in and out again; the discriminator may be moved twice in a step.
    losses, tensors = train(steps=2, disc_steps=2)
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=2.0**10)
    scaled_losses, scaled = train(steps=2, disc_steps=2, scaler=scaler)
    assert scaled_losses == pytest.approx(losses, rel=1e-5)
    for name in tensors:
        torch.testing.assert_close(scaled[name], tensors[name], rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_give_its_gradient_where_patches_are_alone():
    """Cross-entropy of equally many voxels and no batch norm: the mean of the parts is the whole."""
    config = resolve("auto", {"filters": 4, "patch": [32, 16, 16], "optimizer": "sgd", "method": "supervised",
                              "norm": "group", "batch_labeled": 2, "batch_unlabeled": 2, "steps": 10,
                              "dice_pool": "sample", "copy_paste": "none", "gradient_ratio_every": 0})  # fmt: skip
    torch.manual_seed(0)
    network = VNet(1, 2, 4, "group", dropout=False)
    images = torch.randn(4, 1, 16, 16, 32)
    label = (images[:, 0] > 0).long()
    batch = Batch(images, label, images[:0], torch.arange(4))
    results = {}
    for parts in (1, 2, 4):
        made = Supervised(config, copy.deepcopy(network), 2, 10, 4)
        report = take_step(made, batch, 0, 10, 0, NO_SCALER, parts=parts)
        results[parts] = [*made.student.parameters(), report.terms["student"]["dice"]]
    for parts in (2, 4):
        for a, b in zip(results[1], results[parts], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert not torch.equal(results[1][0], next(network.parameters()))


def test_players_move_once_after_the_last_part():
    duel = Duel()
    report = take_step(duel, Batch(*(torch.zeros(4) for _ in range(4))), 5, 10, 0, NO_SCALER, parts=2)
    # up: 3 - .1 * 12 as without parts; down meets the old up: 2 - .5 * 3 = .5
    assert duel.after == [(5, pytest.approx(1.8), pytest.approx(0.5))]
    assert report.terms["student"]["f"].item() == 9 and report.lr == {"student": 0.1, "rival": 0.5}
