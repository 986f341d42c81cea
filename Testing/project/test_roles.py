"""Roles and states: what a case may be, how it gets there, and the validation split that is drawn once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Testing.project.conftest import BOTH, write_prediction, write_scan, write_segments
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project import roles
from VoxelAdvSegLib.project.project import Project
from VoxelAdvSegLib.project.records import ROLES


def test_labeled_and_validation_need_a_label(filled, project):
    labeled, unlabeled = filled(1, 1)
    for role in ("labeled", "validation"):
        with pytest.raises(ProjectError, match=f"cannot be a {role} case"):
            project.set_role(unlabeled, role)
    assert project.set_role(unlabeled, "excluded").role == "excluded"
    assert project.set_role(unlabeled, "unlabeled").role == "unlabeled"
    for role in ROLES[:3]:
        assert project.set_role(labeled, role, leave_validation=True).role == role
    with pytest.raises(ProjectError, match="no role"):
        project.set_role(labeled, "teacher")
    with pytest.raises(ProjectError, match="no case case-9999"):
        project.set_role("case-9999", "labeled")


def test_a_case_leaves_the_validation_only_when_the_person_says_so(filled, project):
    case_id, other = filled(2)
    project.set_role(case_id, "validation")
    for role in ("labeled", "unlabeled", "excluded"):
        with pytest.raises(ProjectError, match="is a validation case"):
            project.set_role(case_id, role)
    project.accept(case_id, project.label_file(other), decision="corrected")
    project.flag(case_id, "blurred")
    project.reopen(case_id)
    project.save_draft(case_id, lambda path: path.write_bytes(b"x"))
    project.discard_draft(case_id)
    assert project.case(case_id).role == "validation"
    assert project.set_role(case_id, "labeled", leave_validation=True).role == "labeled"


def test_the_split_is_drawn_once_and_new_cases_stay_out(tmp_path, filled, project):
    filled(10, 2)
    drawn = project.draw_validation(0.3)
    assert len(drawn) == 3
    assert {case.id for case in project.cases if case.role == "validation"} == set(drawn)
    assert project.validation["cases"] == list(drawn)
    assert project.validation["fraction"] == 0.3
    new = project.add_files([(write_scan(tmp_path / "n.nrrd", 99), write_segments(tmp_path / "n.seg.nrrd", BOTH))])
    assert project.case(new.added[0]).role == "labeled"
    with pytest.raises(ProjectError, match="drawn before"):
        project.draw_validation(0.3)
    project.close()
    with Project.open(project.path) as opened:
        assert opened.validation["cases"] == list(drawn)
        with pytest.raises(ProjectError, match="drawn before"):
            opened.draw_validation()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_cannot_be_is_refused(filled, project, fraction):
    filled(3)
    with pytest.raises(ProjectError, match="share"):
        project.draw_validation(fraction)
    assert project.validation is None


def test_at_least_one_labeled_case_stays_for_training(filled, project):
    filled(1, 3)
    with pytest.raises(ProjectError, match="too few labeled"):
        project.draw_validation()
    assert [case.role for case in project.cases].count("labeled") == 1


ids = st.lists(st.integers(1, 500).map(lambda n: f"case-{n:04}"), min_size=2, max_size=40, unique=True)


@given(ids, st.text(min_size=1, max_size=36), st.randoms())
def test_the_order_of_the_draw_depends_on_nothing_but_ids(case_ids, project_id, random):
    shuffled = list(case_ids)
    random.shuffle(shuffled)
    order = roles._in_drawing_order(case_ids, project_id)
    assert roles._in_drawing_order(shuffled, project_id) == order
    # what is drawn from more cases, among the old ones, comes in the same order
    assert [c for c in roles._in_drawing_order([*case_ids, "case-9999"], project_id) if c != "case-9999"] == order


def test_another_project_draws_other_cases():
    case_ids = [f"case-{n:04}" for n in range(100)]
    assert roles._in_drawing_order(case_ids, "a")[:10] != roles._in_drawing_order(case_ids, "b")[:10]


def test_flags_need_a_reason_and_take_the_label_out_of_use(filled, project):
    case_id, _ = filled(2)
    with pytest.raises(ProjectError, match="without a reason"):
        project.flag(case_id, "  ")
    flagged = project.flag(case_id, " motion ")
    assert (flagged.state, flagged.reason, flagged.has_usable_label) == ("flagged", "motion", False)
    assert project.reopen(case_id).has_usable_label


def test_excluded_cases_are_not_taken_up(filled, project):
    (case_id,) = filled(1)
    project.set_role(case_id, "excluded")
    for act in (
        project.reopen,
        lambda i: project.accept(i, project.label_file(i), decision="corrected"),
        lambda i: project.restore(i, 1),
    ):
        with pytest.raises(ProjectError, match="excluded"):
            act(case_id)


def test_a_prediction_changes_the_state_only_where_no_person_has_begun(tmp_path, filled, project):
    fresh, begun, done, flagged = filled(0, 4)
    project.add_organ("liver")
    project.save_draft(begun, lambda path: path.write_bytes(b"x"))
    project.accept(done, write_segments(tmp_path / "l.seg.nrrd", BOTH), decision="drawn")
    project.flag(flagged, "why")
    source = write_prediction(tmp_path / "result")
    for case_id in (fresh, begun, done, flagged):
        project.record_prediction(case_id, source, model="runs/a", score=0.4, reason="pale")
        assert project.prediction(case_id) is not None
    assert [case.state for case in project.cases] == ["predicted", "in progress", "completed", "flagged"]
    assert project.case(flagged).reason == "why"
