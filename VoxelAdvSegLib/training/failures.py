"""What a step that failed is told as: which cases it had, and what a device's own words mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.networks.device import is_out_of_memory

DEVICE_WORDS = ("CUDA error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "device-side assert")


def with_cases(error: RunError, names: Sequence[str], patches: Sequence[Tensor]) -> RunError:
    """The error of a step with the cases of its batch; where patches hold what is no number, with those alone.

    names: case of each patch.
    """
    broken = [name for name, patch in zip(names, patches, strict=True) if not torch.isfinite(patch).all()]
    where = f"values that are no numbers in {_listed(broken)}" if broken else f"the patches were of {_listed(names)}"
    found = "; ".join(part for part in (error.found, where) if part)
    return RunError(error.what, file=error.file, expected=error.expected, found=found, do=error.do)


def device_failure(error: MemoryError | RuntimeError) -> RunError | None:
    """A failure of memory or of the graphics card in words; None for one that is a mistake of the program.

    After an error of the card its memory cannot be trusted, so nothing is saved from it: the run goes on
    from its last checkpoint.
    """
    text = str(error).strip()
    first = text.splitlines()[0][:200] if text else type(error).__name__
    if is_out_of_memory(error):
        return RunError(
            "there is too little memory for this training", expected="room for a step of the training", found=first,
            do="close other programs, or train with a smaller patch or batch (docs/config.md); what was saved is "
            "untouched",
        )  # fmt: skip
    if any(word in text for word in DEVICE_WORDS):
        return RunError(
            "the graphics card reported an error", expected="a card and a driver that work", found=first,
            do="restart the computer and go on with --resume: the last checkpoint is untouched; if it happens again, "
            "update the driver, or train with --device cpu",
        )  # fmt: skip
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
