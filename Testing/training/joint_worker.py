"""A process of several, as Testing/training/test_parallel.py starts them: joint_worker.py TASK FOLDER."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.methods import METHODS, method_class, with_own_settings
from VoxelAdvSegLib.methods.contract import Batch
from VoxelAdvSegLib.networks.joint import share
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.training.checkpoint import save_tensors
from VoxelAdvSegLib.training.loop import take_step
from VoxelAdvSegLib.training.parallel import Team, join, team
from VoxelAdvSegLib.training.session import Request, train

STEPS = 2  # a draw of voxels is a leap: what rounding does before it, later steps magnify
SHAPE = (16, 16, 32)
BASE = {
    "filters": 4, "patch": [32, 16, 16], "norm": "group", "dropout": False, "optimizer": "sgd", "lr": 0.02,
    "batch_labeled": 2, "batch_unlabeled": 2, "steps": 40, "consistency_weight": 1.0, "feature_weight": 1.0,
    "consistency_noise": 0.1, "pseudo_threshold": 0.3, "adv_weight": 0.5, "disc_start": 0.0, "adv_start": 0.0,
    "adv_ramp": 0.0, "min_class_voxels": 1, "disc_voxels_per_class": 64, "feature_voxels_per_class": 64,
    "copy_paste_warmup": 0.0, "adv_gate": "off", "uamt_passes": 2, "duwm_passes": 2,
}  # fmt: skip
# name: method and what differs from BASE
VARIANTS = {
    "pasting": ("voxel_adversarial", {"copy_paste": "bidirectional"}),
    "batch norm": ("voxel_adversarial", {"norm": "batch", "copy_paste": "none"}),
    "own voxels": ("voxel_adversarial", {"copy_paste": "labeled", "feature_cross_sample": "false",
                                         "feature_on_unlabeled": "false"}),
    "labels of one": ("voxel_adversarial", {"copy_paste": "none", "min_class_voxels": 600}),
    **{name: (name, {"copy_paste": "labeled"}) for name in METHODS if name != "voxel_adversarial"},
}  # fmt: skip


# Of whole trainings. Steps are small: with larger ones a change of the rate by a millionth is seen after six steps.
RUN = {
    "method": "supervised", "steps": 6, "patch": "32,16,16", "filters": 4, "norm": "group", "optimizer": "sgd",
    "lr": 0.0005, "checkpoint_every": 3, "validate_every": 4, "preview_every": 4, "bn_recalibrate": 2, "device": "cpu",
}  # fmt: skip


def stopper(run: Path) -> Callable[[dict[str, Any]], None]:
    """Stops a training when it has saved its third step."""

    def watch(event: dict[str, Any]) -> None:
        if event["type"] == "checkpoint" and event["step"] == 3:
            (run / "STOP").touch()

    return watch


def batch_at(step: int, sizes: tuple[int, int], mine: Team) -> Batch:
    """The own share of patches whose intensities follow their labels; only the first one shows class 2."""
    generator = torch.Generator().manual_seed(step)
    label = torch.randint(2, (sum(sizes), *SHAPE), generator=generator)
    label[0, :8, :8, :16] = 2
    images = label[:, None] + 0.5 * torch.randn(len(label), 1, *SHAPE, generator=generator)
    own = list(share(sizes[0], mine.rank, mine.size))
    others = [sizes[0] + slot for slot in share(sizes[1], mine.rank, mine.size)]
    return Batch(images[own], label[own], images[others], torch.tensor(own))


def two_steps(
    variant: str, mine: Team, steps: int = STEPS, patches_of: Team | None = None
) -> tuple[dict[str, torch.Tensor], set[str]]:
    """All weights and buffers after two steps, and the terms that were there."""
    name, changes = VARIANTS[variant]
    chosen = {**BASE, "method": name, **changes}
    config = resolve("auto", with_own_settings("auto", chosen))
    torch.manual_seed(1)
    made = method_class(name)(config, VNet(1, 3, 4, config.network.norm, config.network.dropout), 3, 40, 2)
    join(made, config, mine.size)
    terms: set[str] = set()
    for step in range(20, 20 + steps):
        report = take_step(
            made, batch_at(step, made.batch_sizes(step), patches_of or mine), step, 40, 0,
            torch.amp.GradScaler("cpu", enabled=False), measure_ratios=step == 20,
        )  # fmt: skip
        report = mine.average(report)
        terms |= {term for values in report.terms.values() for term in values}
    return dict(made.networks.state_dict()), terms


def main(task: str, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with team() as mine:
        if task == "fail":
            if mine.rank == 1:
                raise InputError("scan 7 cannot be read", do="repair it")
            mine.agree("waits for the other one")
        for variant in VARIANTS:
            weights, terms = two_steps(variant, mine)
            if mine.leads:
                save_tensors(folder / f"{variant}.safetensors", weights, {"terms": sorted(terms)})
        train(Request(folder / "data" / "dataset.json", folder / "two-one", overrides=RUN), stopper(folder / "two-one"))
        train(Request(folder / "data" / "dataset.json", folder / "one-two", resume=True))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
