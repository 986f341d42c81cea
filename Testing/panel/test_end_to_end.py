"""The whole loop with real processes and the real scene: train, segment, review, correct, accept, train again."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer

from VoxelAdvSegLib.data.phantoms import write_phantoms
from VoxelAdvSegLib.data.volume import read_volume
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.panel.workbench import Workbench
from VoxelAdvSegLib.scene.editing import Correction
from VoxelAdvSegLib.scene.grids import ijk_to_ras
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask, segment_names
from VoxelAdvSegLib.scene.status import Status, status_of

SHORT = {"patch": "32,32,32", "filters": 4, "disc_voxels_per_class": 64, "feature_voxels_per_class": 32,
         "checkpoint_every": 20, "preview_every": 20, "validate_every": 20, "gradient_ratio_every": 20}  # fmt: skip


@pytest.fixture
def workbench(bed):
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    made = Workbench(slicer.mrmlScene, Interpreter(Path(sys.executable), environment))
    made.threads = 1  # other tests run beside
    yield made
    made.clean_up()


def correct_by_hand(workbench: Workbench) -> str:
    """Draws a ball of 25 mm into the first segment that has voxels, as with the brush; its name."""
    review = workbench.review
    assert review is not None
    node, volume_node = review.segmentation_node, review.volume_node
    for segment_id in segment_ids(node):
        mask = segment_mask(node, segment_id, volume_node)
        if mask.any():
            break
    else:
        segment_id, mask = segment_ids(node)[0], np.ones(1, bool)
    place = np.argwhere(mask)[0][::-1] if mask.ndim == 3 else np.array([10, 10, 10])
    ras = (ijk_to_ras(volume_node) @ [*place, 1])[:3]
    correction = Correction(workbench.scene, node, volume_node)
    correction.draw_ball(segment_id, tuple(float(x) for x in ras), 25.0)
    correction.close()
    return segment_names(node)[segment_id]


def add_phantoms(workbench: Workbench, place: Path) -> None:
    counts = {"training": (2, 0), "unlabeled": (2, 1), "validation": (1, 0), "test": (1, 0)}
    workbench.add_manifest(write_phantoms(place / "scans", counts=counts, voxel_factor=2.0))


def add_hippocampus(workbench: Workbench, data: Path) -> None:
    """2 labeled, 3 unlabeled, 1 validation and 1 other scan of real patients."""
    content = json.loads((data / "hippocampus" / "dataset_10.json").read_text())
    folder = data / "hippocampus"
    labeled = [(folder / c["image"], folder / c["label"]) for c in (*content["training"][:2], content["validation"][0])]
    project = workbench.project
    assert project is not None
    added = workbench.add_files([*labeled, *(folder / image for image in content["unlabeled"][:4])]).added
    assert len(added) == 7
    project.set_role(added[2], "validation")
    project.set_role(added[6], "excluded")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_loop_on_phantoms(workbench: Workbench, tmp_path: Path):
    workbench.create_project(tmp_path / "project")
    add_phantoms(workbench, tmp_path)
    go_through_the_loop(workbench, steps=60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_loop_on_hippocampus(workbench: Workbench, tmp_path: Path, shared_data: Path):
    workbench.create_project(tmp_path / "project")
    add_hippocampus(workbench, shared_data)
    go_through_the_loop(workbench, steps=40)


def go_through_the_loop(workbench: Workbench, steps: int) -> None:
    """Train, segment, review, correct, accept and train again; prints the figures."""
    project = workbench.project
    assert project is not None
    assert [c.role for c in project.cases].count("unlabeled") == 3 and workbench.can_train() == ""

    job = workbench.train(steps=steps, settings=SHORT, seed=0, wait=True)
    assert job.state is JobState.FINISHED, job.failure
    model_id = workbench.default_model()
    assert model_id is not None and workbench.models()[0].dice["mean"] is not None
    losses = workbench.chart("losses")
    assert losses.GetNumberOfPlotSeriesNodes() >= 4
    assert workbench.chart("dice").GetNumberOfPlotSeriesNodes() >= 1

    # One click on a loaded volume that the project does not know.
    known = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    scan = next(case for case in project.cases if case.role == "excluded")
    volume_node = workbench._volume_of(scan)
    workbench.segment(volume_node, wait=True)
    result = workbench.result
    assert result is not None and result.segmentation_node is not None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == known + 1
    assert [v.name for v in result.volumes] == [organ.name for organ in project.organs]
    assert workbench.show_map(True) and workbench.show_map(False)
    shape = read_volume(scan.image).array.shape
    assert segment_mask(result.segmentation_node, segment_ids(result.segmentation_node)[0], volume_node).shape == shape

    # Too few scans for a predicted Dice, and the panel says that and not a number.
    assert result.assessment is not None and result.assessment["predicted_dice"] is None
    assert "at least 8 validation cases" in result.assessment["warning"]

    # The queue, corrected and accepted.
    workbench.segment_cases(wait=True)
    queue = workbench.queue()
    assert len(queue.cases) == 3 and all(case.reason for case in queue.cases)
    assert [case.place for case in queue.cases] == [1, 2, 3]  # by what correcting them would teach
    review = workbench.next_case()
    assert review is not None and review.case.id == queue.cases[0].id and not review.is_changed
    correct_by_hand(workbench)
    assert review.is_changed and workbench.save_draft()
    assert project.draft(review.case.id) is not None and project.case(review.case.id).state == "in progress"
    node = review.segmentation_node
    workbench.accept_corrected()
    case = project.case(review.case.id)
    assert case.role == "labeled" and case.state == "completed" and project.draft(case.id) is None
    version = project.versions(case.id)[-1]
    assert version.decision == "corrected" and version.model == model_id
    assert version.mean_dice is not None and version.mean_dice < 1
    assert status_of(node.GetSegmentation().GetSegment(segment_ids(node)[0])) is Status.COMPLETED

    second = workbench.next_case()
    assert second is not None
    workbench.accept()
    assert project.versions(second.case.id)[-1].decision == "accepted"
    assert project.versions(second.case.id)[-1].mean_dice == pytest.approx(1.0)

    job = workbench.retrain(steps=40, settings=SHORT, wait=True)
    assert job.state is JobState.FINISHED, job.failure
    rows = workbench.rounds().rows
    assert [row.labeled for row in rows] == [2, 4] and workbench.rounds_chart() is not None
    scores = ", ".join(f"{row.labeled} labeled: Dice {row.validation_dice:.3f}" for row in rows)
    print(f"{scores}; corrected to Dice {version.mean_dice:.3f}; longest turn {1000 * workbench.longest_turn:.0f} ms")
