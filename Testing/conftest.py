"""Fixtures that every part of the tests may use."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from slicer_bed.machine import why_no_qt

# The same examples in every run: a failure belongs to a change, not to a draw.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
torch.set_num_threads(1)  # the tensors are small, and two workers share the cores

# Their files load Qt; test_machine.py says what to install.
collect_ignore = ["panel", "panel_bed"] if why_no_qt() else []

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real scans beside the checkout; tests that need them say so when they are not there."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared scans are not beside this checkout")
    return folder
