"""Fixtures that every part of the tests may use."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples in every run: a failure belongs to a change, not to a draw.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
torch.set_num_threads(1)  # the tensors are small, and two workers share the cores

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real scans beside the checkout; tests that need them say so when they are not there."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared scans are not beside this checkout")
    return folder
