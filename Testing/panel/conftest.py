"""The bed for every test of the panel, and the form of the module on it."""

from pathlib import Path

import pytest
import slicer.util
from panel_bed.fixtures import bed  # noqa: F401

FORM = Path(__file__).resolve().parents[2] / "VoxelAdvSeg" / "Resources" / "UI" / "VoxelAdvSeg.ui"


@pytest.fixture
def form(bed):  # noqa: F811
    return slicer.util.loadUI(str(FORM))


@pytest.fixture
def ui(form):
    """The widgets of the form by name."""
    return slicer.util.childWidgetVariables(form)
