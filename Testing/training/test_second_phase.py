"""A training whose model says how good its segmentations are: from the command line to the report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.benchmark.faults import FAULTS
from VoxelAdvSegLib.bundle import JUDGE, OPPONENT, read_bundle
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.inference import segment as segmenting
from VoxelAdvSegLib.inference.quality import UNLIKE, Quality
from VoxelAdvSegLib.training import course

SETTINGS = [f"--set={key}={value}" for key, value in TINY.items()]
VALIDATION = "hijklmno"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with data/dataset.json, eight validation scans in it, and a run of 60 steps."""
    folder = tmp_path_factory.mktemp("quality")
    for seed, name in enumerate("abcdefg" + VALIDATION):
        write_scan(folder / "data", name, seed, labeled=name in "ab" + VALIDATION)
    validation = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in VALIDATION]
    manifest = write_manifest(folder / "data", validation=validation)
    words = ["--data", str(manifest), "--run", str(folder / "run"), "--steps", "60", *SETTINGS]
    assert main(["train", *words, "--set=validate_every=1000"]) == 0
    return folder


def segment(trained: Path, scan: Path, output: Path, *words: str) -> dict:
    command = ["segment", "--model", str(trained / "run"), "--input", str(scan), "--output", str(output), *words]
    assert main(command) == 0
    return json.loads((output / "segmentation.json").read_text())[0]


def test_the_model_has_a_judge_and_a_calibration(trained: Path):
    bundle = read_bundle(trained / "run" / "model")
    assert {JUDGE, OPPONENT} <= set(bundle.weights) and bundle.quality is not None
    quality = Quality.from_dict(bundle.quality)
    assert quality.calibration is not None and quality.calibration.cases == len(VALIDATION)
    assert quality.familiarity.scans == 5 and quality.refused == ""
    assert quality.anchors is not None and len(quality.anchors.means) == 2
    assert bundle.discriminator() is not None and bundle.discriminator(OPPONENT) is not None


def test_a_new_scan_gets_a_probable_dice_and_the_words_for_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    entry = segment(trained, trained / "data" / "images" / "g.nii.gz", tmp_path)
    assert set(entry["predicted_dice"]) == {"ball", "pebble"}
    for found in [*entry["predicted_dice"].values(), entry["predicted_dice_mean"]]:
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert entry["predicted_dice"]["ball"]["value"] > 0.7
    assert entry["unlike_training"] is False
    assert "probable Dice, with 90 % interval: ball 0." in capsys.readouterr().out


def test_a_scan_of_another_kind_is_said_to_be_one(trained: Path, tmp_path: Path):
    image = sitk.ReadImage(trained / "data" / "images" / "g.nii.gz")
    noise = np.random.default_rng(0).exponential(50, sitk.GetArrayFromImage(image).shape).astype(np.float32)
    other = sitk.GetImageFromArray(noise)
    other.CopyInformation(image)
    sitk.WriteImage(other, tmp_path / "noise.nii.gz")
    entry = segment(trained, tmp_path / "noise.nii.gz", tmp_path / "out")
    assert entry["unlike_training"] is True and UNLIKE in entry["warning"] and entry["novelty"] > 1


def test_without_quality_nothing_is_said_and_the_segmentation_is_the_same(trained: Path, tmp_path: Path):
    scan = trained / "data" / "images" / "g.nii.gz"
    entry = segment(trained, scan, tmp_path / "a", "--no-quality")
    assert "predicted_dice" not in entry and "novelty" not in entry
    segment(trained, scan, tmp_path / "b")
    with_it, without = (sitk.ReadImage(tmp_path / name / "g.seg.nrrd") for name in "ba")
    assert np.array_equal(sitk.GetArrayFromImage(with_it), sitk.GetArrayFromImage(without))


def test_the_same_scan_is_judged_alike(trained: Path, tmp_path: Path):
    scan = trained / "data" / "images" / "g.nii.gz"
    assert segment(trained, scan, tmp_path / "a") == segment(trained, scan, tmp_path / "b")


def test_the_map_is_the_judges_unless_the_trainings_is_asked_for(trained: Path, tmp_path: Path):
    scan = trained / "data" / "images" / "g.nii.gz"
    maps = {}
    for name, words in {"default": (), "post": ("post",), "training": ("training",)}.items():
        segment(trained, scan, tmp_path / name, "--discriminator-map", *words)
        maps[name] = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / name / "g_looks_labeled.nii.gz"))
    assert np.array_equal(maps["default"], maps["post"]) and not np.array_equal(maps["post"], maps["training"])


def test_rank_orders_the_unlabeled_cases_with_reasons(trained: Path, tmp_path: Path):
    words = ["rank", "--model", str(trained / "run"), "--data", str(trained / "data" / "dataset.json")]
    assert main([*words, "--output", str(tmp_path / "a.json")]) == 0
    assert main([*words, "--output", str(tmp_path / "b.json")]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert report == json.loads((tmp_path / "b.json").read_text())
    assert report["calibrated_on"] == len(VALIDATION) and report["refused"] == ""
    assert [case["rank"] for case in report["cases"]] == [1, 2, 3]
    assert {case["name"] for case in report["cases"]} == {"c", "d", "e"}
    assert all("probably the least right" in case["reason"] for case in report["cases"])
    assert all(case["image"].startswith("images") for case in report["cases"])


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labeled scans, one validation scan, no unlabeled one."""
    folder = tmp_path_factory.mktemp("supervised")
    for seed, name in enumerate("abcdef"):
        write_scan(folder / "data", name, seed, labeled=name in "abf")
    manifest = write_manifest(folder / "data")
    words = ["--data", str(manifest), "--run", str(folder / "run"), "--steps", "8", "--method", "supervised", *SETTINGS]
    assert main(["train", *words]) == 0
    return folder


def test_with_too_few_scans_it_refuses_and_says_how_many_it_takes(
    supervised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    entry = segment(supervised, supervised / "data" / "images" / "c.nii.gz", tmp_path)
    assert entry["predicted_dice"] is None and entry["predicted_dice_mean"] is None
    assert "at least 8 validation cases, and the training had 1" in capsys.readouterr().out
    words = ["rank", "--model", str(supervised / "run"), "--data", str(supervised / "data" / "dataset.json")]
    assert main([*words, "--output", str(tmp_path / "order.json")]) == 0
    assert "by how unsure the network is instead" in capsys.readouterr().out
    report = json.loads((tmp_path / "order.json").read_text())
    assert report["calibrated_on"] is None and len(report["cases"]) == 3


def test_a_model_without_the_second_phase_cannot_rank(
    supervised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = str(supervised / "data" / "dataset.json")
    words = ["--data", data, "--run", str(tmp_path / "run"), "--steps", "2", "--method", "supervised", *SETTINGS]
    assert main(["train", *words, "--set=quality=false"]) == 0
    assert read_bundle(tmp_path / "run" / "model").quality is None
    words = ["rank", "--model", str(tmp_path / "run"), "--data", data, "--output", str(tmp_path / "o.json")]
    assert main(words) == 2
    assert "cannot tell which case to correct" in capsys.readouterr().err
    assert not (tmp_path / "o.json").exists()


def test_calibrate_learns_from_validation_cases_that_came_later(
    supervised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The networks stay, bit for bit; a case in two roles is refused and changes nothing."""
    shutil.copytree(supervised, tmp_path / "all")
    data, run = tmp_path / "all" / "data", tmp_path / "all" / "run"
    for seed, name in enumerate("pqrstuvw"):
        write_scan(data, name, 100 + seed, labeled=True)
    before = read_bundle(run / "model")

    def calibrate(validation: str) -> int:
        entries = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in validation]
        return main(["calibrate", "--run", str(run), "--data", str(write_manifest(data, validation=entries))])

    assert calibrate("apqrstuvw") == 2
    assert read_bundle(run / "model").quality == before.quality
    assert calibrate("pqrstuvw") == 0
    assert "calibrated on 8 cases" in capsys.readouterr().out
    after = read_bundle(run / "model")
    assert after.quality is not None and after.quality["calibration"]["cases"] == 8
    assert all(
        torch.equal(value, after.weights[name][key]) for name, w in before.weights.items() for key, value in w.items()
    )
    assert JUDGE in after.weights  # the manifest names unlabeled scans now


def test_quality_is_measured_on_scans_that_did_not_calibrate(trained: Path, tmp_path: Path):
    data = trained / "data"
    ninth = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in VALIDATION]
    for seed, name in enumerate("xyz"):
        write_scan(data, name, 200 + seed, labeled=True)
        ninth.append({"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"})
    manifest = write_manifest(data, validation=ninth)
    words = ["benchmark", "quality", "--model", str(trained / "run"), "--data", str(manifest)]
    assert main([*words, "--output", str(tmp_path / "q.json"), "--other", str(data / "images" / "a.nii.gz")]) == 0
    report = json.loads((tmp_path / "q.json").read_text())
    assert report["cases"] == 11 and 0 <= report["error"] < 0.3 and 0.5 <= report["coverage"] <= 1
    assert set(report["faults"]) == {*FAULTS, "another kind"}
    assert report["faults"]["noise"] == {"auc": 1.0, "told": 1.0}
    assert report["faults"]["another kind"]["auc"] < 1  # it is a scan of the training


def test_labeled_cases_take_turns_where_there_is_no_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Eight labeled cases, none for validation: refused, with the way out, and then calibrated on the eight."""
    for seed, name in enumerate("abcdefghkl"):
        write_scan(tmp_path / "data", name, seed, labeled=name in "abcdefgh")
    entries = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in "abcdefgh"]
    unlabeled = [f"images/{n}.nii.gz" for n in "kl"]
    data = str(write_manifest(tmp_path / "data", training=entries, unlabeled=unlabeled, validation=[]))
    run = tmp_path / "run"
    assert main(["train", "--data", data, "--run", str(run), "--steps", "6", *SETTINGS]) == 0
    refused = read_bundle(run / "model").quality
    assert refused is not None and "'calibrate'" in refused["refused"] and refused["calibration"] is None
    assert main(["calibrate", "--run", str(run), "--data", data, "--leave-out"]) == 0
    assert "calibrated on 8" in capsys.readouterr().out
    kept = read_bundle(run / "model").quality
    assert kept is not None and kept["calibration"]["cases"] == 8 and kept["refused"] == ""
    assert sorted(path.name for path in (run / "calibration").glob("fold_*")) == [f"fold_{k}" for k in range(1, 6)]


def test_a_second_phase_that_fails_costs_no_model(supervised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What was trained is there, and the diary says what is missing."""

    def fail(*_words, **_more):
        raise RuntimeError("no room")

    monkeypatch.setattr(course, "with_quality", fail)
    data = str(supervised / "data" / "dataset.json")
    words = ["--data", data, "--run", str(tmp_path / "run"), "--steps", "2", "--method", "supervised", *SETTINGS]
    assert main(["train", *words]) == 0
    assert read_bundle(tmp_path / "run" / "model").quality is None
    diary = (tmp_path / "run" / "events.jsonl").read_text()
    assert "could not learn how good its segmentations are" in diary and '"end"' in diary


def test_a_case_that_was_learned_from_calibrates_nothing(
    supervised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(supervised, tmp_path / "all")
    data, run = tmp_path / "all" / "data", tmp_path / "all" / "run"
    words = ["train", "--data", str(data / "dataset.json"), "--run", str(run) + "2", "--steps", "2", *SETTINGS]
    assert main([*words, "--method", "supervised"]) == 0
    moved = [{"image": "images/b.nii.gz", "label": "labels/b.nii.gz"}]
    kept = [{"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}]
    other = write_manifest(data, training=kept, validation=moved).rename(data / "other.json")
    write_manifest(data)
    assert main(["calibrate", "--run", str(run) + "2", "--data", str(other)]) == 2
    assert "a validation case was learned from" in capsys.readouterr().err


def test_a_scan_too_large_to_look_at_twice_is_segmented_and_no_more(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(segmenting, "LARGEST_ASSESSED", 1000)
    entry = segment(trained, trained / "data" / "images" / "g.nii.gz", tmp_path)
    assert entry["predicted_dice"] is None and "too large" in entry["warning"]
    assert "too large" in capsys.readouterr().out
    words = ["rank", "--model", str(trained / "run"), "--data", str(trained / "data" / "dataset.json")]
    assert main([*words, "--output", str(tmp_path / "order.json")]) == 0
    assert "too large" in json.loads((tmp_path / "order.json").read_text())["cases"][0]["reason"]
