"""The bed for every test of the panel, and the form of the module on it."""

from pathlib import Path

import pytest
import slicer.util
import torch
from panel_bed.fixtures import bed  # noqa: F401

from VoxelAdvSegLib.bundle import Bundle, make_network, write_bundle
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.preprocess import Recipe

FORM = Path(__file__).resolve().parents[2] / "VoxelAdvSeg" / "Resources" / "UI" / "VoxelAdvSeg.ui"


@pytest.fixture
def form(bed):  # noqa: F811
    return slicer.util.loadUI(str(FORM))


@pytest.fixture
def ui(form):
    """The widgets of the form by name."""
    return slicer.util.childWidgetVariables(form)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A model of a tiny untrained network, without a discriminator."""
    return _untrained(tmp_path_factory.mktemp("untrained") / "model", seed=1)


@pytest.fixture(scope="session")
def other_model_folder(tmp_path_factory):
    return _untrained(tmp_path_factory.mktemp("untrained") / "model", seed=2)


def _untrained(folder, seed):
    config = resolve("auto", {"filters": 4, "norm": "instance", "patch": "32,32,32"})
    organs = organs_of({"liver": 1, "spleen": 2})
    torch.manual_seed(seed)
    weights = {"student": make_network(config, len(organs) + 1).state_dict()}
    write_bundle(folder, Bundle(organs, Recipe(), config, "student", weights, {}), "# Model\n")
    return folder
