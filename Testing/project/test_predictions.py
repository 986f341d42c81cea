"""Predictions that are kept whole, and the order in which they are reviewed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Testing.project.conftest import LIVER, write_prediction, write_segments
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project import predictions
from VoxelAdvSegLib.project.records import ROLES, STATES, Case
from VoxelAdvSegLib.project.review import order_queue


def test_a_prediction_is_copied_in_with_what_was_found(tmp_path, filled, project):
    (case_id,) = filled(0, 1)
    source = write_prediction(tmp_path / "job")
    given_back = project.record_prediction(
        case_id, source, model="runs/x", score=0.25, reason="the liver is pale", volumes_ml={"liver": 1.5},
        looks_labeled_mean={"liver": 0.5, "spleen": None},
    )  # fmt: skip
    prediction = project.prediction(case_id)
    assert prediction == given_back
    assert prediction.segmentation.read_bytes() == (source / "segmentation.seg.nrrd").read_bytes()
    assert prediction.looks_labeled is not None
    assert (prediction.score, prediction.volumes_ml["liver"]) == (0.25, 1.5)
    case = project.case(case_id)
    assert (case.state, case.score, case.reason, case.model) == ("predicted", 0.25, "the liver is pale", "runs/x")


def test_a_newer_prediction_replaces_all_of_the_older(tmp_path, filled, project):
    (case_id,) = filled(0, 1)
    project.record_prediction(case_id, write_prediction(tmp_path / "one"), model="a")
    project.skip(case_id)
    write_segments(tmp_path / "two" / "segmentation.seg.nrrd", {"liver": LIVER})
    project.record_prediction(case_id, tmp_path / "two", model="b")
    prediction = project.prediction(case_id)
    assert prediction.looks_labeled is None
    assert prediction.model == "b"
    assert not project.case(case_id).skipped
    assert sorted(path.name for path in project.case_folder(case_id).iterdir()) == ["prediction"]


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan, math.inf])
def test_a_score_that_cannot_be_is_refused(tmp_path, filled, project, score):
    (case_id,) = filled(0, 1)
    with pytest.raises(ProjectError, match="score"):
        project.record_prediction(case_id, write_prediction(tmp_path / "job"), model="a", score=score)
    assert project.prediction(case_id) is None


def test_a_job_without_a_result_is_told(tmp_path, filled, project):
    (case_id,) = filled(0, 1)
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ProjectError, match="no prediction"):
            project.record_prediction(case_id, folder, model="a")
    assert project.case(case_id).state == "not started"


def test_killed_between_the_renames_the_old_prediction_is_there(tmp_path, filled, project):
    (case_id,) = filled(0, 1)
    project.record_prediction(case_id, write_prediction(tmp_path / "job"), model="a")
    folder = project.case_folder(case_id)
    (folder / predictions.FOLDER).rename(folder / ".prediction-old.partial")
    assert project.prediction(case_id).model == "a"


def test_a_damaged_description_is_told(tmp_path, filled, project):
    (case_id,) = filled(0, 1)
    project.record_prediction(case_id, write_prediction(tmp_path / "job"), model="a")
    (project.case_folder(case_id) / "prediction" / "prediction.json").write_text("{")
    with pytest.raises(ProjectError, match="damaged"):
        project.prediction(case_id)


def case(number, state="predicted", score=None, role="unlabeled", skipped=False):
    return Case(f"case-{number:04}", "", None, role, state, score=score, skipped=skipped)


def test_the_least_certain_come_first_and_what_is_begun_before_all():
    queue = order_queue(
        [case(1, score=0.9), case(2), case(3, score=0.1), case(4, "in progress", 0.95), case(5, score=0.1)]
    )
    assert [c.id for c in queue.cases] == ["case-0004", "case-0003", "case-0005", "case-0001", "case-0002"]
    assert queue.text == "5 cases to review, 1 of them begun."


def test_skipped_cases_wait_and_are_counted(tmp_path, filled, project):
    first, second = filled(0, 2)
    for case_id in (first, second):
        project.record_prediction(case_id, write_prediction(tmp_path / "job"), model="a", score=0.5)
    project.skip(first)
    queue = project.queue()
    assert ([c.id for c in queue.cases], queue.skipped) == ([second], 1)
    project.skip(second)
    assert project.queue().text == "Nothing else to review. 2 cases are put back for later."
    project.unskip()
    assert len(project.queue().cases) == 2


@pytest.mark.parametrize(
    ("cases", "text"),
    [
        ([], "The project has no cases yet."),
        (
            [case(1, "not started")],
            "Nothing to review: 1 case is not yet segmented. Segment all unlabeled cases first.",
        ),
        ([case(1, "completed"), case(2, "flagged")], "Nothing left to review; 1 case is flagged."),
        ([case(1, "completed"), case(2, role="excluded")], "Nothing left to review: all cases are completed."),
        ([case(1)], "1 case to review."),
    ],
)
def test_an_empty_queue_is_a_state_with_a_text(cases, text):
    assert order_queue(cases).text == text


@given(
    st.lists(
        st.tuples(st.sampled_from(STATES), st.none() | st.floats(0, 1), st.sampled_from(ROLES), st.booleans()),
        max_size=20,
    )
)
def test_the_queue_holds_what_is_to_be_done_and_nothing_else(rows):
    cases = [case(n, *row) for n, row in enumerate(rows)]
    queue = order_queue(cases)
    wanted = {c.id for c in cases if c.state in ("predicted", "in progress") and c.role != "excluded"}
    assert {c.id for c in queue.cases} | {c.id for c in cases if c.skipped and c.id in wanted} == wanted
    assert len(queue.cases) + queue.skipped == len(wanted)
    scores = [1.0 if c.score is None else c.score for c in queue.cases if c.state == "predicted"]
    assert scores == sorted(scores)
    assert queue.text.endswith(".")
