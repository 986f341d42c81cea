"""The bed for every test of the panel; the form of the module, a workbench, one section and a small project on it."""

import os
import sys
from pathlib import Path

import pytest
import slicer
import slicer.util
import torch
from panel_bed.fixtures import bed  # noqa: F401

from Testing.project.conftest import BOTH, write_scan, write_segments
from VoxelAdvSegLib.bundle import Bundle, make_network, write_bundle
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.panel.workbench import Workbench

FORM = Path(__file__).resolve().parents[2] / "VoxelAdvSeg" / "Resources" / "UI" / "VoxelAdvSeg.ui"


@pytest.fixture
def form(bed):  # noqa: F811
    return slicer.util.loadUI(str(FORM))


@pytest.fixture
def ui(form):
    """The widgets of the form by name."""
    return slicer.util.childWidgetVariables(form)


@pytest.fixture
def workbench(bed):  # noqa: F811
    """Without a project; its children are of this Python and keep to one core."""
    made = Workbench(slicer.mrmlScene, Interpreter(Path(sys.executable), {**os.environ, "OMP_NUM_THREADS": "1"}))
    made.threads = 1
    yield made
    made.clean_up()


@pytest.fixture
def section(request, ui, workbench):
    """The section that the test's file is about: its SECTION."""
    made = request.module.SECTION(ui, workbench)
    yield made
    made.clean_up()


@pytest.fixture
def make_project(workbench, tmp_path):
    """make_project(labeled, unlabeled): a project that is open, with scans of these names."""

    def make(labeled, unlabeled):
        scans = tmp_path / "scans"
        images = [write_scan(scans / f"{name}.nrrd", seed) for seed, name in enumerate((*labeled, *unlabeled))]
        pairs = [(image, write_segments(image.with_suffix(".seg.nrrd"), BOTH)) for image in images[: len(labeled)]]
        workbench.create_project(tmp_path / "project")
        workbench.add_files([*pairs, *images[len(labeled) :]])
        return workbench.project

    return make


@pytest.fixture
def segmented(bed, workbench):  # noqa: F811
    """segmented(): the segmentation at work is followed to its end, as the panel's timer does."""

    def over():
        workbench.turn()
        return not workbench.is_segmenting and not workbench.behind

    return lambda: bed.wait_for(over, 60, "the segmentation")


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
