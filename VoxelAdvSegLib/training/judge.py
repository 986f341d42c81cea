"""A discriminator trained after the training, on features that no longer move (method.md 4.4, `post_disc`).

The one of the training is uninformative by design: at the adversarial optimum it says one half everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.optim import Adam

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.methods.adversary import Adversary, make_discriminator, make_fusion
from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.vnet import VNet
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
    optimizer = Adam(judge.parameters(), lr=RATE)
    for step in range(steps):
        batch = batches.at(step, PATCHES, PATCHES)
        with torch.no_grad():
            logits, features = student.forward_features(torch.cat([batch.labeled, batch.unlabeled]))
        guess = logits[PATCHES:].argmax(1)
        nowhere = torch.full_like(guess, -1)
        chosen = [features[level - 1].float() for level in config.adversarial.feature_levels]
        drawn = adversary.draw(
            chosen, torch.cat([batch.label, nowhere]), torch.cat([torch.full_like(batch.label, -1), guess])
        )
        loss, _ = adversary.discriminator_objective(drawn)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        watch(step + 1)
        if is_over():
            break
    return judge.eval()
