"""Evaluating a folder of segmentations: matching by name, formats, and what is refused."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.cli.main import main

SHAPE = (6, 8, 10)
SPACING_XYZ = (1.0, 1.0, 2.0)
LABELS = {"0": "background", "1": "liver", "5": "spleen"}


def label(*boxes):
    """Label map with boxes (value, first x, last x) over rows 2..4 of slices 1..3."""
    array = np.zeros(SHAPE, np.uint8)
    for value, first, last in boxes:
        array[1:4, 2:5, first : last + 1] = value
    return array


def write(path, array, spacing=SPACING_XYZ):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


def write_segmentation(path, segments):
    """A .seg.nrrd of one layer with segments {name: (stored value, mask)}."""
    image = sitk.GetImageFromArray(sum(value * mask.astype(np.uint8) for value, mask in segments.values()))
    image.SetSpacing(SPACING_XYZ)
    for index, (name, (value, _)) in enumerate(segments.items()):
        keys = {"ID": f"Segment_{index}", "Name": name, "LabelValue": str(value), "Layer": "0"}
        for key, text in keys.items():
            image.SetMetaData(f"Segment{index}_{key}", text)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def data(tmp_path):
    """Two validation cases with references; a test case without one; a folder for predictions."""
    rng = np.random.default_rng(0)
    for name, boxes in {"a": [(1, 0, 3), (5, 6, 8)], "b": [(1, 0, 3)], "t": []}.items():
        write(tmp_path / f"{name}.nii.gz", rng.normal(size=SHAPE).astype(np.float32))
        write(tmp_path / f"{name}_label.nrrd", label(*boxes))
    content = {
        "labels": LABELS,
        "validation": [{"image": f"{name}.nii.gz", "label": f"{name}_label.nrrd"} for name in "ab"],
        "test": ["t.nii.gz", {"image": "a.nii.gz", "label": "a_label.nrrd"}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    (tmp_path / "predictions").mkdir()
    return tmp_path


def evaluate(data, *more, split="validation"):
    return main(
        [
            "evaluate", "--data", str(data / "dataset.json"), "--split", split,
            "--predictions", str(data / "predictions"), "--output", str(data / "out" / "report.json"), *more,
        ]
    )  # fmt: skip


def report(data):
    return json.loads((data / "out" / "report.json").read_text())


def test_label_maps_and_segmentations_are_matched_by_case_name(data, capsys):
    # a: liver one column too narrow, stored values unlike the manifest's; b: exact, spleen false
    predictions = data / "predictions"
    segments = {"Spleen": (1, label((1, 6, 8)) == 1), "liver": (2, label((1, 1, 3)) == 1)}
    write_segmentation(predictions / "a.seg.nrrd", segments)
    write(predictions / "b.nii.gz", label((1, 0, 3), (5, 9, 9)))
    (predictions / "a_discriminator.nii.gz").touch()
    (predictions / "volumes.csv").touch()
    (predictions / ".b.nii.gz").touch()
    assert evaluate(data) == 0
    result = report(data)
    liver, spleen = result["organs"]["liver"], result["organs"]["spleen"]
    assert liver["dice"] == pytest.approx((2 * 27 / (27 + 36) + 1) / 2)
    assert liver["hd95_voxel"] == pytest.approx(0.5)  # 1 in a: a whole face of 9 among 61 voxels
    assert liver["hd95_mm"] == pytest.approx(0.5)
    assert (spleen["dice"], spleen["n"], spleen["false_present"]) == (0.5, 2, 1)
    assert result["mean"]["dice"] == pytest.approx((liver["dice"] + 0.5) / 2)
    key = json.loads((data / "out" / "report.key.json").read_text())
    assert [key["cases"][case["name"]]["name"] for case in result["cases"]] == ["a", "b"]
    assert result["about"] == {
        "data": "dataset.json",
        "split": "validation",
        "predicted_by": "predictions",
        "empty_distance": "diagonal",
    }
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].startswith("liver       2  0.9286")
    assert captured.err == ""


@pytest.mark.parametrize(
    ("rule", "voxel", "mm"),
    # 6 x 8 x 10 voxels: sqrt(200); in mm slices of 2: sqrt(144 + 64 + 100)
    [(None, 200**0.5, 308**0.5), ("zero", 0, 0), ("null", None, None)],
)
def test_an_empty_prediction_is_a_missed_organ(data, rule, voxel, mm):
    write(data / "predictions" / "a.nrrd", label())
    write(data / "predictions" / "b.nrrd", label((1, 0, 3)))
    assert evaluate(data, *(["--empty-distance", rule] if rule else [])) == 0
    case = report(data)["cases"][0]["organs"]["spleen"]
    assert (case["dice"], case["outcome"]) == (0, "missed")
    assert (case["hd95_voxel"], case["hd95_mm"]) == pytest.approx((voxel, mm))
    assert report(data)["organs"]["spleen"]["missed"] == 1


def refuse(data, capsys, *more, **options):
    assert evaluate(data, *more, **options) == 2
    assert not (data / "out" / "report.json").exists()
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_case_without_prediction_is_named(data, capsys):
    write(data / "predictions" / "a.nii.gz", label((1, 0, 3)))
    assert "b has no prediction" in refuse(data, capsys)


def test_two_predictions_for_one_case_are_named(data, capsys):
    for name in ("a.nii.gz", "a.seg.nrrd", "b.nii.gz"):
        write(data / "predictions" / name, label((1, 0, 3)))
    message = refuse(data, capsys)
    assert "a has several predictions" in message
    assert "a.nii.gz, a.seg.nrrd" in message


def test_a_folder_that_is_not_there_is_named(data, capsys):
    (data / "predictions").rmdir()
    assert "no such folder of predictions" in refuse(data, capsys)


def test_cases_without_reference_are_named(data, capsys):
    message = refuse(data, capsys, split="test")
    assert "cases of 'test' have no label" in message
    assert "no label for t\n" in message
    assert "the list 'training' is empty" in refuse(data, capsys, split="training")


def test_a_prediction_on_another_grid_or_with_other_values_is_refused(data, capsys):
    write(data / "predictions" / "b.nii.gz", label((1, 0, 3)))
    write(data / "predictions" / "a.nii.gz", label((1, 0, 3)), spacing=(1, 1, 1))
    message = refuse(data, capsys)
    assert "not on the image's grid" in message
    assert "a.nii.gz" in message
    write(data / "predictions" / "a.nii.gz", label((2, 0, 3)))
    assert "values that no organ has" in refuse(data, capsys)


def test_an_output_that_cannot_be_written_is_told_before_the_work(data, capsys):
    (data / "out").write_text("")
    assert evaluate(data) == 2
    assert "the report cannot be written" in capsys.readouterr().err  # not: a has no prediction


def test_perfect_predictions_of_real_scans(shared_data, tmp_path, capsys):
    folder = shared_data / "headneck"
    arguments = ["--data", folder / "dataset_5.json", "--split", "validation"]
    arguments += ["--predictions", folder / "labelsTr", "--output", tmp_path / "report.json"]
    assert main(["evaluate", *map(str, arguments)]) == 0
    result = json.loads((tmp_path / "report.json").read_text())
    assert len(result["organs"]) == 6
    assert result["mean"]["dice"] == 1
    assert result["mean"]["hd95_mm"] == 0
    assert all(organ["n"] == 4 for organ in result["organs"].values())


@pytest.fixture
def model(tmp_path):
    """Writes a model that calls every voxel its first organ, whatever the scan."""
    from VoxelAdvSegLib.bundle import Bundle, make_network, write_bundle
    from VoxelAdvSegLib.config import Config, Network, Patches
    from VoxelAdvSegLib.data.organs import organs_of
    from VoxelAdvSegLib.data.preprocess import Recipe

    def write(*names):
        config = Config(network=Network(filters=2), patches=Patches(patch=(16, 16, 16)))
        network = make_network(config, len(names) + 1)
        last_bias = [parameter for parameter in network.parameters() if parameter.ndim == 1][-1]
        last_bias.data[1] += 1000
        organs = organs_of({name: value for value, name in enumerate(names, start=1)})
        weights = {"student": network.state_dict()}
        write_bundle(tmp_path / "model", Bundle(organs, Recipe(), config, "student", weights, {}), "a card")
        return tmp_path / "model"

    return write


def evaluate_model(data, model):
    arguments = ["--data", data / "dataset.json", "--split", "validation", "--model", model]
    arguments += ["--device", "cpu", "--output", data / "out" / "report.json"]
    return main(["evaluate", *map(str, arguments)])


def test_organs_of_a_model_are_matched_by_name(data, model):
    assert evaluate_model(data, model("Spleen", "kidney", "liver")) == 0
    result = report(data)
    # the model says spleen everywhere: 27 of 480 voxels in a, none in b
    assert result["organs"]["spleen"]["dice"] == pytest.approx((2 * 27 / (480 + 27) + 0) / 2)
    assert result["organs"]["spleen"]["false_present"] == 1
    assert result["organs"]["liver"]["missed"] == 2
    assert result["about"]["predicted_by"] == "model"
    # an organ that the manifest does not ask for is no organ here
    assert evaluate_model(data, model("kidney", "spleen", "liver")) == 0
    assert report(data)["organs"]["spleen"]["missed"] == 1


def test_an_organ_that_the_model_lacks_is_named(data, model, capsys):
    assert evaluate_model(data, model("liver", "kidney")) == 2
    message = capsys.readouterr().err
    assert "the model does not know every organ" in message
    assert "remove spleen from 'labels' of dataset.json" in message
    assert not (data / "out" / "report.json").exists()
