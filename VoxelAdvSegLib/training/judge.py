"""A discriminator trained after the training, on features that no longer move (method.md 4.4, `post_disc`).

The one of the training is uninformative by design: at the adversarial optimum it says one half everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from torch.optim import Adam

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.methods.adversary import Adversary, Drawn, make_discriminator, make_fusion
from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.networks.voxels import draw_class_voxels
from VoxelAdvSegLib.training.batches import Batches

STEPS = 200
RATE = 1e-3
PATCHES = 2  # of each side


def train_judge(
    student: VNet,
    config: Config,
    classes: int,
    batches: Batches,
    steps: int = STEPS,
    watch: Callable[[int], None] = lambda done: None,
    is_over: Callable[[], bool] = lambda: False,
) -> Discriminator:
    """Tells voxels of labeled scans, by reference, from those of unlabeled ones, by the student's own class.

    student: in evaluation mode, not moved. Draws depend on the configured seed alone. is_over: ends it early.
    """
    device = batches.device
    torch.manual_seed(config.training.seed)
    judge = make_discriminator(config, classes, make_fusion(config, student.filters)).to(device)
    adversary = Adversary(config.adversarial, classes, judge)
    # Of several processes one is at work here: it takes whole batches, and asks no other for its voxels.
    batches = Batches(batches.labeled, batches.unlabeled, batches.plan, batches.foreground, batches.seed, device)
    optimizer = Adam(judge.parameters(), lr=RATE)
    with closing(batches):
        for step in range(steps):
            batch = batches.at(step, PATCHES, PATCHES)
            with torch.no_grad():
                logits, features = student.forward_features(torch.cat([batch.labeled, batch.unlabeled]))
            guess = logits[PATCHES:].argmax(1)
            nowhere = torch.full_like(guess, -1)
            chosen = [features[level - 1].float() for level in config.adversarial.feature_levels]
            real, fake = torch.cat([batch.label, nowhere]), torch.cat([torch.full_like(batch.label, -1), guess])
            drawn = _draw(config, judge, chosen, real, fake, classes)
            loss, _ = adversary.discriminator_objective(drawn)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            watch(step + 1)
            if is_over():
                break
    return judge.eval()


def _draw(
    config: Config, judge: Discriminator, features: list[torch.Tensor], real: torch.Tensor, fake: torch.Tensor,
    classes: int,
) -> Drawn:  # fmt: skip
    """As Adversary.draw, for one process."""
    a = config.adversarial
    per_class = max(1, min(a.disc_voxels_per_class, a.disc_points_max // classes))
    sides = [draw_class_voxels(side, classes, per_class) for side in (real, fake)]
    fusion, shape = judge.fusion, tuple(real.shape[1:])
    assert fusion is not None
    enough = (torch.minimum(sides[0].counts, sides[1].counts) >= a.min_class_voxels).float()
    voxels = [fusion.gather(features, side.positions.reshape(-1), shape) for side in sides]
    own = torch.arange(classes, device=real.device).repeat_interleave(per_class)
    return Drawn(voxels[0], voxels[1], own, enough, sides[0].counts, sides[1].counts)
