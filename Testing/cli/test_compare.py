"""`compare` and `train --verdict` with real trainings of a few steps, and planted predictions for clear answers."""

import json

import pytest

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.cli import compare as command
from VoxelAdvSegLib.cli.main import BAD_INPUT, main
from VoxelAdvSegLib.data.labels import read_label
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.training.again import TWIN, make_folds
from VoxelAdvSegLib.training.run_folder import RunFolder, read_description

SETTINGS = [f"--set={key}={value}" for key, value in TINY.items()]
LABELED = "abfghijk"


def labeled(name):
    return {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """data/dataset.json with six validation scans, and run/ trained with its verdict for 6 steps."""
    folder = tmp_path_factory.mktemp("compare")
    for seed, name in enumerate("abcdefghijk"):
        write_scan(folder / "data", name, seed, labeled=name in LABELED)
    manifest = write_manifest(folder / "data", validation=[labeled(name) for name in LABELED[2:]])
    words = ["--data", str(manifest), "--run", str(folder / "run"), "--steps", "6", "--verdict", *SETTINGS]
    assert main(["train", *words]) == 0
    return folder


def test_train_with_verdict_leaves_both_models_and_the_answer(folder):
    run, twin = folder / "run", folder / "run" / TWIN
    verdict = json.loads((run / "verdict.json").read_text())
    assert verdict["overall"]["cases"] == 6 and set(verdict["organs"]) == {"ball", "pebble"}
    assert verdict["sentence"].lower().startswith(verdict["answer"])
    first, second = (read_description(RunFolder(path)).config for path in (twin, run))
    assert (first.training.method, second.training.method) == ("supervised", "voxel_adversarial")
    assert first.training.steps == second.training.steps == 6
    assert first.patches == second.patches and first.network == second.network


def test_the_command_gives_the_verdict_of_the_training(folder, tmp_path, capsys):
    words = ["compare", "--data", str(folder / "data" / "dataset.json"), "--output", str(tmp_path / "v.json")]
    runs = ["--run", str(folder / "run" / TWIN), "--run", str(folder / "run")]
    assert main([*words, *runs]) == 0
    assert json.loads((tmp_path / "v.json").read_text()) == json.loads((folder / "run" / "verdict.json").read_text())
    assert "without the unlabeled scans" in capsys.readouterr().out
    # The order of the runs is not part of the question.
    assert main([*words, *runs[2:], *runs[:2]]) == 0
    assert (
        json.loads((tmp_path / "v.json").read_text())["overall"]
        == json.loads((folder / "run" / "verdict.json").read_text())["overall"]
    )


@pytest.mark.parametrize(("better", "answer"), [("second", "yes"), ("first", "no")])
def test_a_model_that_is_right_beats_one_that_is_not(folder, tmp_path, capsys, monkeypatch, better, answer):
    """The references themselves as one model's predictions; the other finds half of each organ."""
    runs = {"first": folder / "run" / TWIN, "second": folder / "run"}
    manifest = read_manifest(folder / "data" / "dataset.json")

    def predictions_of(model, device, manifest):
        def predict(case, geometry):
            label = read_label(case.label, manifest.organs, geometry).copy()
            if model != runs[better]:
                label[:, label.shape[1] // 2 :] = 0
            return label

        return predict

    monkeypatch.setattr(command, "predictions_of", predictions_of)
    words = ["compare", "--data", str(manifest.path), "--output", str(tmp_path / "v.json")]
    assert main([*words, "--run", str(runs["first"]), "--run", str(runs["second"])]) == 0
    verdict = json.loads((tmp_path / "v.json").read_text())
    assert verdict["answer"] == answer
    assert capsys.readouterr().out.startswith(answer.capitalize())


def test_without_validation_cases_the_labeled_ones_take_turns(folder, tmp_path, capsys):
    content = json.loads((folder / "data" / "dataset.json").read_text())
    manifest = folder / "data" / "three.json"
    manifest.write_text(json.dumps(content | {"validation": [], "training": [labeled(name) for name in "abf"]}))
    words = ["compare", "--data", str(manifest), "--output", str(tmp_path / "v.json")]
    words += ["--run", str(folder / "run" / TWIN), "--run", str(folder / "run")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "3 trainings of each of the 2 kinds, about" in said
    assert json.loads((tmp_path / "v.json").read_text())["overall"]["cases"] == 3
    for model in (1, 2):
        for fold in (1, 2, 3):
            used = json.loads(
                (tmp_path / "cross_validation" / f"model_{model}" / f"fold_{fold}" / "dataset.json").read_text()
            )
            assert len(used["training"]) == 2 and not used["validation"]
            held_out = {"abf"[fold - 1]}
            assert not held_out & {entry["name"] for entry in used["training"]}
    # What is whole is kept: the second call trains nothing.
    models = sorted((tmp_path / "cross_validation").glob("model_*/fold_*/run/model/model.json"))
    times = [model.stat().st_mtime_ns for model in models]
    assert len(models) == 6 and main(words) == 0
    assert [model.stat().st_mtime_ns for model in models] == times
    # But a model that was trained on other cases scores none of these.
    content["training"] = [labeled(name) for name in "bfa"]
    manifest.write_text(json.dumps(content | {"validation": []}))
    assert main(words) == 0
    assert all(model.stat().st_mtime_ns != time for model, time in zip(models, times, strict=True))


def test_folds_hold_every_case_once():
    for n in (3, 5, 7, 23):
        folds = make_folds(list(range(n)))
        assert sorted(case for fold in folds for case in fold) == list(range(n))
        assert len(folds) == min(5, n) and max(map(len, folds)) - min(map(len, folds)) <= 1


def test_the_twin_begins_where_the_training_began(folder, tmp_path):
    words = ["--data", str(folder / "data" / "dataset.json"), "--run", str(tmp_path / "r"), "--steps", "2"]
    assert main(["train", *words, "--verdict", "--init", str(folder / "run")]) == 0
    first, second = (read_description(RunFolder(path)) for path in (tmp_path / "r" / TWIN, tmp_path / "r"))
    assert first.init == second.init == str(folder / "run" / "model")
    assert first.recipe == second.recipe and first.config.network == second.config.network


def test_a_twin_is_not_trained_from_other_cases(folder, tmp_path, capsys):
    manifest = folder / "data" / "changing.json"
    content = json.loads((folder / "data" / "dataset.json").read_text())
    manifest.write_text(json.dumps(content))
    words = ["train", "--data", str(manifest), "--run", str(tmp_path / "r"), "--steps", "2", *SETTINGS]
    assert main(words) == 0
    manifest.write_text(json.dumps(content | {"training": [labeled(name) for name in "abg"]}))
    capsys.readouterr()
    assert main([*words, "--resume", "--verdict"]) == BAD_INPUT
    assert "the cases have changed since the training" in capsys.readouterr().err
    assert not (tmp_path / "r" / TWIN).exists()


def test_two_semi_supervised_models_leave_no_verdict_on_unlabeled_scans(folder, tmp_path, capsys):
    verdict = (folder / "run" / "verdict.json").read_bytes()
    words = ["compare", "--data", str(folder / "data" / "dataset.json"), "--run", str(folder / "run")]
    assert main([*words, "--run", str(folder / "run")]) == 0
    assert (folder / "run" / "verdict.json").read_bytes() == verdict
    assert "with the first model" in json.loads((folder / "run" / "comparison.json").read_text())["sentence"]
    assert main([*words, "--run", str(folder / "run" / "model")]) == BAD_INPUT
    assert "add --output" in capsys.readouterr().err
    assert main([*words, "--run", str(tmp_path / "typo")]) == BAD_INPUT and not (tmp_path / "typo").exists()


def test_a_supervised_training_has_no_verdict(folder, tmp_path, capsys):
    words = ["train", "--data", str(folder / "data" / "dataset.json"), "--run", str(tmp_path / "r"), "--steps", "2"]
    assert main([*words, "--verdict", "--method", "supervised"]) == BAD_INPUT
    assert "no verdict on unlabeled scans" in capsys.readouterr().err and not (tmp_path / "r").exists()


@pytest.fixture
def without_validation(folder):
    """The manifest of the folder, its list of validation cases empty."""
    path = folder / "data" / "without_validation.json"
    path.write_text(json.dumps(json.loads((folder / "data" / "dataset.json").read_text()) | {"validation": []}))
    return str(path)


def test_a_verdict_needs_validation_cases(without_validation, tmp_path, capsys):
    words = ["train", "--data", without_validation, "--run", str(tmp_path / "r"), "--steps", "2", "--verdict"]
    assert main(words) == BAD_INPUT
    assert "the list 'validation' is empty" in capsys.readouterr().err and not (tmp_path / "r").exists()


def test_one_run_alone_and_too_few_cases_are_refused(folder, without_validation, tmp_path, capsys):
    words = ["compare", "--data", without_validation, "--output", str(tmp_path / "v.json")]
    assert main([*words, "--run", str(folder / "run")]) == BAD_INPUT
    assert "two runs are needed" in capsys.readouterr().err
    assert main([*words, "--run", str(folder / "run" / TWIN), "--run", str(folder / "run")]) == BAD_INPUT
    assert "at least 3" in capsys.readouterr().err
