"""Whether labeling more still pays: one row for each training with a model, and a plain sentence."""

import json
from dataclasses import replace

import pytest

from Testing.project.conftest import LIVER, write_prediction, write_segments
from VoxelAdvSegLib.project.rounds import Round, whether_it_pays
from VoxelAdvSegLib.training.events import EventWriter


def add_round(project, run, labeled, dice, told_by_events=True):
    """A training that has ended with a model, as far as the rounds read it."""
    folder = project.path / "runs" / run
    (folder / "model").mkdir(parents=True)
    scores = {} if dice is None else {"liver": dice, "mean": dice}
    provenance = {
        "labeled_scans": labeled, "unlabeled_scans": 30, "validation_scans": 2, "date": "2026-11-25",
        "validation_dice": scores,
    }  # fmt: skip
    about = {
        "format": 1, "sha256": {"student.safetensors": run},
        "organs": [{"name": "liver", "color_rgb": [1, 2, 3], "terminology": ""}], "provenance": provenance,
    }  # fmt: skip
    (folder / "model" / "model.json").write_text(json.dumps(about))
    if told_by_events:
        writer = EventWriter(folder / "events.jsonl")
        writer.write("start", steps=10)
        writer.write("end", reason="finished", step=10, steps=10, dice=scores)
        writer.close()
    return f"runs/{run}"


FIRST, SECOND = "20261125-101500", "20261126-101500"


def test_without_a_model_there_is_no_round(project):
    assert project.rounds().rows == ()
    assert project.rounds().text == "No model has been trained yet."
    project.new_run()
    assert project.rounds().rows == ()


def test_a_round_knows_its_cases_its_dice_and_its_corrections(tmp_path, filled, project):
    project.add_organ("liver")
    half = LIVER.copy()
    half[1] = False
    whole, corrected, drawn = filled(0, 3)
    model = add_round(project, FIRST, 4, 0.7)
    add_round(project, SECOND, 6, 0.75, told_by_events=False)
    for case_id in (whole, corrected, drawn):
        project.record_prediction(case_id, write_prediction(tmp_path / "job", {"liver": LIVER}), model=model)
    project.accept(whole, project.prediction(whole).segmentation, decision="accepted")  # Dice 1
    again = write_segments(tmp_path / "no.seg.nrrd", {"liver": ~LIVER})  # Dice 0: corrected once more later
    project.accept(corrected, again, decision="corrected")
    project.accept(corrected, write_segments(tmp_path / "c.seg.nrrd", {"liver": half}), decision="corrected")  # 2/3
    project.accept(drawn, write_segments(tmp_path / "d.seg.nrrd", {"liver": half}), decision="drawn")
    project.restore(corrected, 1)
    first, second = project.rounds().rows
    assert (first.run, first.model, first.labeled, first.unlabeled, first.validation) == (FIRST, model, 4, 30, 2)
    assert first.validation_dice == 0.7
    assert first.correction_dice == pytest.approx((1 + 2 / 3) / 2)
    assert first.corrections == 2
    assert (second.validation_dice, second.correction_dice, second.corrections) == (0.75, None, 0)
    assert "from 0.700 to 0.750" in project.rounds().text


def test_rounds_outlive_their_trainings(project):
    add_round(project, FIRST, 4, 0.7)
    add_round(project, SECOND, 6, 0.75)
    before = project.rounds()
    project.delete_run(FIRST, even_if_needed=True)
    assert not (project.path / "runs" / FIRST).exists()
    assert project.rounds() == before
    project.close()
    with type(project).open(project.path) as opened:
        assert opened.rounds() == before


def test_a_damaged_model_is_left_out(project):
    add_round(project, FIRST, 4, 0.7)
    (project.path / "runs" / FIRST / "model" / "model.json").write_text("{")
    assert project.rounds().rows == ()


ROW = Round(FIRST, f"runs/{FIRST}", "2026-11-25", 4, 30, 10, 0.7, None, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation_dice": 0.75, "labeled": 6}, ["With 2 more labeled cases", "0.700 to 0.750", "still pays"]),
        ({"validation_dice": 0.75, "labeled": 5}, ["With 1 more labeled case the"]),
        ({"validation_dice": 0.705, "labeled": 6}, ["brought little", "unlike those labeled so far"]),
        (
            {"validation_dice": 0.705, "labeled": 6, "correction_dice": 0.97, "corrections": 5},
            ["More corrections will hardly change the model.", "overlap by 0.97 (Dice, 5 cases)"],
        ),
        ({"validation_dice": 0.65, "labeled": 6}, ["Look at the newest labels"]),
        ({"validation_dice": 0.75, "labeled": 4}, ["Without more labeled cases"]),
        ({"validation_dice": 0.75, "labeled": 6, "validation": 2}, ["With 2 validation cases", "by chance"]),
        ({"validation_dice": None, "labeled": 6}, ["no validation cases"]),
    ],
)
def test_the_sentence_says_whether_it_still_pays(changes, words):
    text = whether_it_pays([ROW, replace(ROW, run=SECOND, **changes)])
    for part in words:
        assert part in text
    assert ("chance" in text) == (changes.get("validation", 10) < 5)


def test_the_first_round_only_states_where_it_begins():
    assert whether_it_pays([ROW]).startswith("First round: Dice 0.700 on the validation cases with 4 labeled cases.")
    later = replace(ROW, run=SECOND)
    assert whether_it_pays([replace(ROW, validation_dice=None), later]).startswith("First round")
