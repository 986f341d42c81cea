"""A training that says at some of its steps how much memory and how many files it has.

MANIFEST RUN STEPS METHOD [tiny]. With the last word the network is one convolution: then a step is cheap, and
what is looked at is all that goes on around it, for a very long time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from Testing.load.measure import open_files, resident_mb
from VoxelAdvSegLib.training import session
from VoxelAdvSegLib.training.session import Request, train

LOOKS = 20
CHEAP = {
    "patch": "16,16,16", "filters": 4, "norm": "batch", "disc_voxels_per_class": 8,
    "feature_voxels_per_class": 8, "bn_recalibrate": 2, "augment": "none",
}  # fmt: skip


class Tiny(nn.Module):
    """Stands where the V-Net stands."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Conv3d(1, classes, 1)

    def set_output_prior(self, shares: list[float]) -> None:
        del shares

    def forward(self, volumes: Tensor) -> Tensor:
        return self.head(volumes)


def main(data: Path, run: Path, steps: int, method: str, *words: str) -> None:
    looked = [0]
    settings = {**CHEAP, "steps": steps, "method": method}
    if words == ("tiny",):
        settings["gradient_ratio_every"] = 0  # it has no encoder to compare gradients on
        session.make_network = lambda config, classes: Tiny(classes)

    def look(event: dict[str, Any]) -> None:
        if event["type"] == "step" and event["step"] * LOOKS >= steps * (looked[0] + 1):
            looked[0] += 1
            print("LOOK", event["step"], f"{resident_mb(os.getpid()):.1f}", open_files(os.getpid()), flush=True)

    torch.set_num_threads(1)
    train(Request(data, run, overrides=settings), watch=look)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
