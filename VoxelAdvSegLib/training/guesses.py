"""The unlabeled scans, whole and as they are, labeled by the model in training (pseudo_refresh).

A teacher is better on a whole scan in its usual pose than on a turned and zoomed patch of it; the
student then has to find the same classes in the changed patch. The labels are kept beside the
checkpoints, so that a resumed run goes on with those it had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.data.cache import UnlabeledArrays
from VoxelAdvSegLib.inference.segment import keep_largest
from VoxelAdvSegLib.inference.windows import predict_probabilities
from VoxelAdvSegLib.training.previews import evaluating


def guess_labels(
    network: nn.Module,
    cases: Sequence[UnlabeledArrays],
    config: Config,
    organs: int,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> list[np.ndarray]:
    """Classes (z, y, x) uint8 of every scan; of each organ only the largest part where so configured."""
    assert config.patches.patch is not None
    guesses = []
    with evaluating(network):
        for done, case in enumerate(cases, 1):
            volume = torch.from_numpy(np.ascontiguousarray(case.image, np.float32))[None, None].to(device)
            found = predict_probabilities(network, volume, config.patches.patch[::-1], config.inference)
            label = found.argmax(0).to(torch.uint8).cpu().numpy()
            guesses.append(keep_largest(label, organs) if config.supervision.pseudo_largest_component else label)
            progress(done, len(cases))
    return guesses


def save_guesses(folder: Path, step: int, guesses: Sequence[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".partial.npz"
    np.savez_compressed(temporary, *guesses)
    temporary.replace(_file(folder, step))


def load_guesses(folder: Path, step: int) -> list[np.ndarray]:
    """The labels that a run at `step` works with (none before the first labeling); later ones are dropped."""
    files = sorted(folder.glob("step_*.npz"))
    for file in files:
        if _step(file) > step:
            file.unlink()
    known = [file for file in files if _step(file) <= step]
    if not known:
        return []
    with np.load(known[-1], allow_pickle=False) as content:
        return [content[f"arr_{i}"] for i in range(len(content.files))]


def drop_old_guesses(folder: Path, step: int) -> None:
    """Leaves of the labels made up to `step`, where a checkpoint now is, only the last."""
    for file in [f for f in sorted(folder.glob("step_*.npz")) if _step(f) <= step][:-1]:
        file.unlink()


def _file(folder: Path, step: int) -> Path:
    return folder / f"step_{step:08d}.npz"


def _step(file: Path) -> int:
    return int(file.stem.removeprefix("step_"))
