"""The order of review, from what the predictions say of themselves."""

import json
from pathlib import Path

import pytest

from Testing.project.conftest import write_prediction
from VoxelAdvSegLib.project import predictions
from VoxelAdvSegLib.project.project import Project


def said(need: float, value: float | None = None, unlike: bool = False) -> dict:
    mean = None if value is None else {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {
        "predicted_dice": None, "predicted_dice_mean": mean, "novelty": 0.5, "unlike_training": unlike, "warning": "",
        "need": need, "why": "",
    }  # fmt: skip


def predict(project: Project, folder: Path, case_id: str, means: list | None, model: str = "m", **words) -> None:
    write_prediction(folder)
    about = {"assessment": said(**words), "means": means}
    (folder / "prediction.json").write_text(json.dumps(about))
    project.record_prediction(case_id, folder, model=model, score=0.5, reason="Because.")


def order(project: Project) -> list[str]:
    return [case.id for case in project.queue().cases]


def test_the_case_that_needs_it_most_comes_first_and_keeps_its_place_on_disk(project, filled, tmp_path):
    a, b, c = filled(0, 3)
    for case_id, need in ((a, 0.1), (b, 0.4), (c, 0.2)):
        predict(project, tmp_path / "job", case_id, None, need=need, value=1 - need)
    assert order(project) == [a, b, c]  # all as certain: nothing was reckoned yet
    project.rank_predictions()
    assert order(project) == [b, c, a] and project.case(b).place == 1
    assert project.case(b).predicted == pytest.approx((0.6, 0.5, 0.7))
    project.close()
    with Project.open(project.path) as again:
        assert order(again) == [b, c, a] and again.case(b).predicted == pytest.approx((0.6, 0.5, 0.7))


def test_what_is_like_a_completed_case_can_wait(project, filled, tmp_path):
    done, like, unlike = filled(0, 3)
    for case_id, means in ((done, [0.0, 0.0]), (like, [0.1, None]), (unlike, [5.0, 5.0])):
        predict(project, tmp_path / "job", case_id, means, need=0.5, value=0.5)
    project.add_organ("liver")
    project.add_organ("spleen")
    assert project.case(done).predicted is not None
    project.accept(done, tmp_path / "job" / "segmentation.seg.nrrd", decision="accepted")
    assert project.case(done).predicted is None  # it was said of the proposal, not of what a person made of it
    project.rank_predictions()
    assert order(project) == [unlike, like]
    project.rank_predictions()  # again: the reason is not told twice
    assert project.case(unlike).reason.count("differs most") == 1


def test_predictions_that_say_nothing_keep_the_old_order_behind_the_others(project, filled, tmp_path):
    a, b, c = filled(0, 3)
    predict(project, tmp_path / "job", c, None, need=0.3)
    for case_id, score in ((a, 0.9), (b, 0.1)):
        source = write_prediction(tmp_path / case_id)
        project.record_prediction(case_id, source, model="m", score=score)
    project.rank_predictions()
    assert order(project) == [c, b, a] and project.case(a).place is None


def test_models_are_not_mixed(project, filled, tmp_path, monkeypatch):
    """Only what the last model has predicted has places: needs and features of two models cannot be compared."""
    a, b, c = filled(0, 3)
    predict(project, tmp_path / "job", a, [0.0, 1.0], need=0.9, model="m")
    project.rank_predictions()
    assert project.case(a).place == 1
    monkeypatch.setattr(predictions, "now", lambda: "2999-01-01T00:00:00+00:00")
    predict(project, tmp_path / "job", b, [0.0, 1.0, 2.0], need=0.1, model="n")
    predict(project, tmp_path / "job", c, [0.0, 1.0, 2.0], need=0.4, model="n")
    project.rank_predictions()
    assert order(project) == [c, b, a] and project.case(a).place is None


def test_a_damaged_prediction_has_no_place_and_stops_nothing(project, filled, tmp_path):
    a, b = filled(0, 2)
    for case_id in (a, b):
        predict(project, tmp_path / "job", case_id, None, need=0.4)
    (project.case_folder(a) / "prediction" / "prediction.json").write_text("{")
    project.rank_predictions()
    assert project.case(a).place is None and project.case(b).place == 1


def test_a_new_prediction_and_a_removed_one_have_no_old_place(project, filled, tmp_path):
    (a,) = filled(0, 1)
    predict(project, tmp_path / "job", a, None, need=0.4, value=0.6, unlike=True)
    project.rank_predictions()
    assert project.case(a).place == 1 and project.case(a).unlike
    predict(project, tmp_path / "job", a, None, need=0.4, value=0.7)
    assert project.case(a).place is None and not project.case(a).unlike
    project.clean(["predictions"])
    assert project.case(a).predicted is None and project.case(a).state == "not started"
