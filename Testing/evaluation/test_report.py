"""Means per organ and over organs, absent organs, the file and the table."""

import json

import numpy as np
import pytest

from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.evaluation.report import format_report, score_case, summarize, write_report

ORGANS = organs_of({"liver": 6, "left kidney": 2})  # class index 1: left kidney, 2: liver
MM = (3.0, 1.0, 1.0)


def row(*classes):
    return np.array(classes, np.uint8).reshape(1, 1, -1)


@pytest.fixture
def cases():
    """Dice of the kidney 1, 0 (missed), none; of the liver 2/3, 1, 0 (false)."""
    return [
        score_case("a", row(1, 1, 2, 0), row(1, 1, 2, 2), ORGANS, MM),
        score_case("b", row(0, 0, 2, 2), row(1, 0, 2, 2), ORGANS, MM),
        score_case("c", row(0, 0, 2, 0), row(0, 0, 0, 0), ORGANS, MM),
    ]


def test_means_are_over_cases_then_over_organs(cases):
    report = summarize(cases)
    kidney, liver = report["organs"]["left kidney"], report["organs"]["liver"]
    assert kidney["dice"] == 0.5
    assert liver["dice"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert report["mean"]["dice"] == pytest.approx((0.5 + 5 / 9) / 2)
    assert liver["jaccard"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    # liver of a: distances 0 from the prediction; 0, 1 from the reference; c has none to average
    assert liver["hd95_voxel"] == pytest.approx(0.9 / 2)  # 95 % of (0, 0, 1) lies at rank 1.9
    assert liver["assd_mm"] == pytest.approx((1 / 3 + 0) / 2)
    assert liver["asd_voxel"] == 0


def test_absent_organs_are_counted(cases):
    organs = summarize(cases)["organs"]
    counts = ("n", "missed", "false_present", "true_absent")
    assert [organs["left kidney"][count] for count in counts] == [2, 1, 0, 1]
    assert [organs["liver"][count] for count in counts] == [3, 0, 1, 0]


def test_missed_organ_costs_the_diagonal_unless_told_otherwise(cases):
    # 1 x 1 x 4 voxels of 3 x 1 x 1 mm; the mean is over a (0) and b (the diagonal)
    assert summarize(cases)["organs"]["left kidney"]["hd95_mm"] == pytest.approx((9 + 1 + 16) ** 0.5 / 2)
    missed = score_case("b", row(0, 0), row(1, 0), ORGANS, MM, empty_distance="null")
    assert summarize([missed])["organs"]["left kidney"]["hd95_mm"] is None


def test_an_organ_that_is_nowhere_is_left_out_of_the_mean():
    report = summarize([score_case("a", row(2, 2, 0), row(2, 0, 0), ORGANS, MM)])
    assert report["organs"]["left kidney"]["dice"] is None
    assert report["mean"]["dice"] == pytest.approx(2 / 3)


def test_the_file_holds_what_the_documented_form_says(cases, tmp_path):
    path = tmp_path / "new" / "report.json"
    write_report(summarize(cases), path)
    report = json.loads(path.read_text(encoding="utf-8"))
    assert set(report) >= {"mean", "organs", "cases"}
    metrics = {f"{metric}_{unit}" for metric in ("hd95", "asd", "reverse_asd", "assd") for unit in ("voxel", "mm")}
    metrics |= {"dice", "jaccard"}
    assert set(report["mean"]) == metrics
    assert set(report["organs"]["liver"]) == metrics | {"n", "missed", "false_present", "true_absent"}
    assert [case["name"] for case in report["cases"]] == ["a", "b", "c"]
    assert report["cases"][0]["organs"]["liver"]["dice"] == pytest.approx(2 / 3)
    assert report["cases"][2]["organs"]["left kidney"]["dice"] is None
    assert report["cases"][2]["organs"]["liver"]["outcome"] == "false_present"
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_a_place_that_cannot_be_written_is_named(cases, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written") as caught:
        write_report(summarize(cases), tmp_path / "file" / "report.json")
    assert "report.json" in caught.value.file
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError):
        write_report(summarize(cases), tmp_path / "folder")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


def test_the_table_says_per_organ_and_case_what_was_found(cases):
    lines = format_report(summarize(cases)).splitlines()
    assert lines[0].split()[:3] == ["organ", "cases", "Dice"]
    assert lines[1].startswith("left kidney      2  0.5000")
    assert lines[1].split()[-2:] == ["1", "0"]  # missed, false
    assert lines[3].split()[:2] == ["mean", "0.5278"]
    table = {line.split()[0]: line.split()[1:] for line in lines[-3:]}
    assert table == {"a": ["1.0000", "0.6667"], "b": ["missed", "1.0000"], "c": ["-", "false"]}
