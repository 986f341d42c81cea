"""The module as Slicer loads it: panel, sections, reload, scene close, no main window; and the count of clicks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import slicer
from panel_bed.screenshots import assert_texts_fit

from VoxelAdvSegLib.data.phantoms import write_phantoms
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.scene.editing import Correction
from VoxelAdvSegLib.scene.segments import segment_ids

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "VoxelAdvSeg" / "VoxelAdvSeg.py"
SHORT = {"patch": "32,32,32", "filters": 4, "disc_voxels_per_class": 32, "feature_voxels_per_class": 32}


@pytest.fixture
def panel(bed):
    """The widget of the open module; it works with this Python, on one core."""
    bed.load_module(MODULE)
    bed.start_up_completed()
    widget = bed.open_module("VoxelAdvSeg")
    use_this_python(widget)
    return widget


def use_this_python(widget):
    workbench = widget.logic.workbench
    workbench._interpreter = Interpreter(Path(sys.executable), {**os.environ, "OMP_NUM_THREADS": "1"})
    workbench.threads = 1
    workbench.notify("training")


def test_the_panel_opens_without_a_project(panel):
    ui = panel.ui
    assert not ui.trainButton.enabled and ui.trainReasonLabel.text
    assert not ui.segmentButton.enabled and ui.segmentReasonLabel.text
    assert_texts_fit(panel.parent)


@pytest.mark.parametrize("bed", [{"window": False}], indirect=True)
def test_the_panel_is_built_without_a_main_window(panel):
    assert panel.ui.trainButton.text


@pytest.mark.parametrize("bed", [{"release": "5.10"}], indirect=True)
def test_the_panel_is_built_in_the_oldest_release(panel):
    assert panel.ui.trainButton.text


def test_reload_and_leaving_let_everything_go(bed, panel):
    bed.leave_module("VoxelAdvSeg")
    again = bed.reload_module("VoxelAdvSeg")
    assert again is not panel and again.timer.active and not panel.timer.active
    assert sys.modules["VoxelAdvSegLib.jobs.interpreter"].Interpreter is not Interpreter
    bed.unload_module("VoxelAdvSeg")


def test_after_a_reload_other_tests_find_the_library_of_before():
    """The test before this one has reloaded it."""
    assert sys.modules["VoxelAdvSegLib.jobs.interpreter"].Interpreter is Interpreter


def test_the_scene_may_close_at_any_time(bed, panel, tmp_path):
    workbench = panel.logic.workbench
    workbench.make_sample_project(tmp_path / "sample")
    workbench.next_case(workbench.project.cases[0].id)
    assert workbench.review is not None
    slicer.mrmlScene.Clear(0)
    bed.process(0.1)
    assert workbench.review is None and workbench.result is None
    assert panel.ui.trainButton.enabled, panel.ui.trainReasonLabel.text


def test_sample_data_has_a_category_of_ours(bed, panel):
    assert any(category == "VoxelAdvSeg" for category, _ in bed.samples())


def test_torch_is_not_loaded_by_the_panel():
    """In a process of its own: the panel's modules with the bed, and then no torch."""
    code = (
        "import sys; sys.path[:0] = ['.', 'Testing']\n"
        "import panel_bed.bed\n"
        "import VoxelAdvSegLib.panel.sections, VoxelAdvSegLib.panel.workbench\n"
        "assert 'torch' not in sys.modules and 'monai' not in sys.modules\n"
    )
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


class Person:
    """Counts clicks: one per button, per choice in a list, per dialog answered."""

    def __init__(self, bed):
        self.bed = bed
        self.clicks = 0

    def click(self, button):
        assert button.enabled, button.text
        self.clicks += 1
        button.click()

    def answer(self, kind, value):
        self.clicks += 1
        self.bed.answers.expect(kind, value)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twelve_clicks_from_a_folder_to_a_corrected_segmentation(bed, panel, tmp_path):
    """4 labeled and 30 unlabeled scans in a folder: a reviewed, corrected segmentation in at most 12 clicks."""
    scans = tmp_path / "scans"
    write_phantoms(scans, counts={"training": (4, 0), "unlabeled": (20, 10)}, voxel_factor=3.0)
    (scans / "dataset.json").unlink()  # a folder as a clinician has it
    for kind, place in (("images", "imagesTr"), ("labels", "labelsTr")):
        (scans / kind).rename(scans / place)
    ui, workbench = panel.ui, panel.logic.workbench
    ui.projectsFolderEdit.currentPath = str(tmp_path / "projects")
    person = Person(bed)

    person.answer("QFileDialog.getExistingDirectory", str(scans))
    person.click(ui.addFolderButton)
    roles = [case.role for case in workbench.project.cases]
    assert roles.count("labeled") == 4 and roles.count("unlabeled") == 30

    # A few steps in place of a quarter of an hour; the clicks are those of the long training.
    train = workbench.train
    workbench.train = lambda *args, **named: train(steps=6, settings=SHORT)
    person.click(ui.trainButton)
    del workbench.train
    bed.wait_for(lambda: workbench.training.state.is_over, 300, "the training")
    assert workbench.training.failure is None, workbench.training.failure
    bed.wait_for(lambda: ui.segmentAllButton.enabled, 20, "a model")

    person.click(ui.segmentAllButton)
    bed.wait_for(lambda: not workbench.is_segmenting and not workbench.behind, 300, "the queue")
    assert len(workbench.queue().cases) == 30

    person.click(ui.nextCaseButton)
    review = workbench.review
    correction = Correction(slicer.mrmlScene, review.segmentation_node, review.volume_node)
    person.clicks += 2  # the brush, and one stroke
    correction.draw_ball(segment_ids(review.segmentation_node)[0], (0.0, 0.0, 0.0), 30.0)
    correction.close()
    bed.process(0.1)
    person.click(ui.acceptCorrectedButton)
    case = workbench.project.case(review.case.id)
    assert case.state == "completed" and workbench.project.versions(case.id)[-1].decision == "corrected"
    assert person.clicks <= 12
    print(f"{person.clicks} clicks, longest turn {1000 * workbench.longest_turn:.0f} ms")
