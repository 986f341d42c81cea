"""Everything that can be wrong with a data set, put into one on purpose."""

import json
import os

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.data.doctor import check_training_data, content_hash, diagnose, examine, examine_case
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.errors import InputError

LABELS = {"0": "background", "1": "left kidney", "2": "right kidney"}
SHAPE = (24, 20, 32)  # z, y, x
LEFT_OF_X = 18


def noise(seed, shape_zyx=SHAPE):
    return np.random.default_rng(seed).normal(100, 20, shape_zyx).astype(np.float32)


def kidneys(left=1, right=2):
    """Two boxes of 4 x 5 x 6 voxels; the left one at larger x, as in a scan with an identity direction."""
    label = np.zeros(SHAPE, np.uint8)
    label[8:12, 6:11, LEFT_OF_X + 4 : LEFT_OF_X + 10] = left
    label[8:12, 6:11, 4:10] = right
    return label


class DataSet:
    """A data set on disk that tests damage."""

    def __init__(self, folder):
        self.folder = folder
        self.content = {"labels": LABELS, "training": [], "unlabeled": [], "validation": [], "test": []}

    def write(self, name, array, spacing=(1, 1, 1), direction=None):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        if direction:
            image.SetDirection(direction)
        sitk.WriteImage(image, str(self.folder / name))
        return name

    def add(self, name, role="unlabeled", array=None, label=None, **geometry):
        seed = sum(map(ord, name))
        array = noise(seed) if array is None else array
        entry = {"image": self.write(f"{name}.nrrd", array, **geometry)}
        if role != "unlabeled":
            label = kidneys() if label is None else label
            entry["label"] = self.write(f"{name}_label.nrrd", label, **geometry)
        self.content[role].append(entry)

    @property
    def path(self):
        path = self.folder / "dataset.json"
        path.write_text(json.dumps(self.content))
        return path

    def findings(self):
        """(severity, case, role, message) of everything found, and whether all can be used."""
        diagnosis = examine(self.path)
        rows = [(f.severity, f.case, f.role, f.message) for f in diagnosis.findings]
        assert all(finding.do for finding in diagnosis.findings)
        assert diagnosis.usable == (not any(row[0] == "error" for row in rows))
        return rows


@pytest.fixture
def data(tmp_path):
    """Five labeled and two unlabeled cases that have nothing wrong."""
    data = DataSet(tmp_path)
    for name in ("a", "b", "c", "d"):
        data.add(name, "training")
    data.add("v", "validation")
    data.add("x")
    data.add("y")
    return data


def test_nothing_is_said_about_a_sound_data_set(data):
    assert data.findings() == []


def test_facts_of_a_case(data):
    data.add("s", "training", spacing=(0.5, 1, 2))
    diagnosis = examine(data.path)
    case = next(case for case in diagnosis.cases if case.name == "s")
    assert case.orientation == "LPS"
    kidney = case.organs["left kidney"]
    assert kidney.volume_ml == pytest.approx(4 * 5 * 6 * 1 / 1000)
    # centers of voxels 22..27, 6..10, 8..11
    assert kidney.center_lps_mm == pytest.approx((24.5 * 0.5, 8, 9.5 * 2))
    assert not kidney.at_border


def test_each_case_that_cannot_be_used_is_told_and_the_others_are_still_looked_at(data):
    nan = noise(1)
    nan[3, 3, 3] = np.nan
    wrong = kidneys()
    wrong[0, 0, 0] = 7
    data.add("constant", array=np.full(SHAPE, 5, np.float32))
    data.add("nan", "training", array=nan, label=wrong)  # both are told
    data.add("empty", "training", label=np.zeros(SHAPE, np.uint8))
    data.add("flat", array=noise(2)[0])
    data.add("grid", "validation")
    data.write("grid_label.nrrd", kidneys(), spacing=(1, 1, 1.5))
    data.add("cut")
    whole = (data.folder / "cut.nrrd").read_bytes()
    (data.folder / "cut.nrrd").write_bytes(whole[: len(whole) // 2])
    data.content["unlabeled"] += ["nowhere.nrrd", "../outside.nrrd", 5]
    data.content["training"].append("x.nrrd")
    data.content["colour"] = "red"

    rows = data.findings()
    errors = {(case, role): [] for severity, case, role, _ in rows if severity == "error"}
    for severity, case, role, message in rows:
        if severity == "error":
            errors[case, role].append(message)
    assert {key: len(messages) for key, messages in errors.items()} == {
        ("", ""): 1,
        ("x", "training"): 1,
        ("nan", "training"): 2,
        ("empty", "training"): 1,
        ("constant", "unlabeled"): 1,
        ("flat", "unlabeled"): 1,
        ("cut", "unlabeled"): 1,
        ("nowhere", "unlabeled"): 1,
        ("outside", "unlabeled"): 1,
        ("", "unlabeled"): 1,
        ("grid", "validation"): 1,
    }
    assert "colour" in errors["", ""][0]
    assert "not numbers" in errors["nan", "training"][0]
    assert "found 7" in errors["nan", "training"][1]
    assert "none of the organs" in errors["empty", "training"][0]
    assert "5 in every voxel" in errors["constant", "unlabeled"][0]
    assert "2-D" in errors["flat", "unlabeled"][0]
    assert "spacing (1, 1, 1.5)" in errors["grid", "validation"][0]
    assert errors["grid", "validation"][0].startswith("grid_label.nrrd: the label is not on the image's grid")
    assert rows == sorted(rows, key=lambda row: ("error", "warning", "note").index(row[0]))


def test_the_same_scan_in_two_roles_by_path_and_by_content(data):
    data.content["unlabeled"].append("a.nrrd")
    data.content["validation"].append({"image": "b.nrrd", "label": "b_label.nrrd"})
    data.content["unlabeled"].append("x.nrrd")
    # content: the scan of c in other axes, once more as unlabeled and once as training
    turned = np.ascontiguousarray(noise(sum(map(ord, "c")))[:, ::-1, ::-1])
    data.add("copy", array=turned, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    data.add("again", "training", array=noise(sum(map(ord, "c"))))
    rows = [row for row in data.findings() if row[0] != "note"]
    assert sorted(rows) == sorted(
        [
            ("error", "a", "unlabeled", "the same file stands in 'training' too"),
            ("error", "b", "validation", "the same file stands in 'training' too"),
            ("error", "x", "unlabeled", "the same file stands twice in this list"),
            ("error", "copy", "unlabeled", "the same scan as c in 'training': every voxel is equal"),
            ("warning", "again", "training", "the same scan as c in 'training': every voxel is equal"),
        ]
    )


def test_labels_of_unlabeled_entries_are_not_opened(data):
    os.mkfifo(data.folder / "fifo.nrrd")  # would hang
    (data.folder / "garbage.nrrd").write_text("no image")
    data.content["unlabeled"] = [
        {"image": "x.nrrd", "label": "fifo.nrrd"},
        {"image": "y.nrrd", "label": "garbage.nrrd"},
    ]
    assert data.findings() == []


def test_a_mirrored_scan_is_noticed_by_the_names_of_sides(data):
    data.add("mirrored", "training", label=kidneys(left=2, right=1))
    assert data.findings() == [
        ("warning", "mirrored", "training", "left kidney lies on the patient's right of right kidney")
    ]


def test_a_data_set_with_all_sides_swapped_is_told_once(data):
    data.content["labels"] = {"1": "kidney_R", "2": "Kidney L"}
    (row,) = data.findings()
    assert row == ("warning", "", "", "Kidney L lies on the patient's right of kidney_R in all 5 labels")


def test_organs_the_other_way_round_than_in_the_other_cases(data):
    data.content["labels"] = {"1": "anterior", "2": "posterior"}
    for name in "abcdv":  # anterior at small y, as LPS counts; a little different in each
        label = np.zeros(SHAPE, np.uint8)
        shift = ord(name) % 3
        label[9:12, 2:5, 8 + shift : 12 + shift] = 1 if name != "d" else 2
        label[8:12, 13 + shift : 16 + shift, 8:12] = 2 if name != "d" else 1
        data.write(f"{name}_label.nrrd", label)
    assert data.findings() == [
        ("warning", "d", "training", "anterior lies behind posterior, unlike in the other cases")
    ]


def test_values_on_another_scale_and_ct_without_air(data):
    data.content["modality"] = {"0": "CT"}
    data.add("bright", array=noise(3) * 1000)
    rows = data.findings()
    without_air = [row for row in rows if "Hounsfield" in row[3]]
    assert {row[1] for row in without_air} >= {"a", "x", "bright"}
    (scale,) = [row for row in rows if row not in without_air]
    assert scale[:3] == ("warning", "", "")
    assert scale[3].startswith("intensities of 1 of 8 scans are on another scale")
    assert scale[3].endswith(": bright")


def test_odd_grids(data):
    data.add("coarse", spacing=(1, 1, 2.5))
    data.add("slab", array=noise(4)[:6])
    data.add("sagittal", direction=(0, 0, 1, 1, 0, 0, 0, 1, 0), array=noise(5, (32, 24, 20)))
    rows = data.findings()
    assert [row[:2] for row in rows] == [
        ("warning", "coarse"),
        ("warning", "slab"),
        ("warning", "slab"),
        ("note", ""),
    ]
    assert "1.00 x 1.00 x 2.50 mm, in most scans 1.00 x 1.00 x 1.00 mm" in rows[0][3]
    assert "very small: 32 x 20 x 6 voxels" in rows[1][3]
    assert "covers 32 x 20 x 6 mm" in rows[2][3]
    assert "LPS (9), PSL (1)" in rows[3][3]  # of the sagittal one: x points back, y up, z left


def test_organs_absent_cut_off_or_of_odd_volume(data):
    data.content["labels"] = {**LABELS, "3": "spleen"}
    large = kidneys()
    large[1:23, 2:18, 19:31] = 1
    data.add("large", "training", label=large)
    cut = kidneys()
    cut[:, 6:11, 4:10][cut[:, 6:11, 4:10] == 2] = 0
    cut[8:12, 6:11, 0:6] = 2
    data.add("cut", "training", label=cut)
    data.add("single", "validation", label=kidneys(right=0))
    rows = data.findings()
    assert rows == [
        ("warning", "", "training", "no label in 'training' has spleen"),
        ("warning", "", "", "right kidney reaches the edge of the scan in 1 of 7 labels: cut"),
        ("warning", "large", "training", "left kidney has 4.22 ml, in most cases about 0.12 ml"),
        ("note", "", "validation", "right kidney is missing in 1 of 2 labels: single"),
        ("note", "", "validation", "no label in 'validation' has spleen"),
    ]


def test_overlaps_and_misnamed_segments(data):
    layers = np.stack([kidneys() == 1, kidneys() >= 1, kidneys() == 2], axis=-1).astype(np.uint8)
    image = sitk.GetImageFromArray(layers, isVector=True)
    for index, name in enumerate(("left kidney", "Right Kidney", "tumor")):
        keys = {"ID": f"s{index}", "Name": name, "LabelValue": "1", "Layer": str(index)}
        for key, value in keys.items():
            image.SetMetaData(f"Segment{index}_{key}", value)
    sitk.WriteImage(image, str(data.folder / "a.seg.nrrd"))
    data.content["training"][0]["label"] = "a.seg.nrrd"
    notes = [row for row in data.findings() if row[1] == "a"]
    assert ("note", "a", "training", "organs overlap in 120 voxels") in notes
    assert (
        "note", "a", "training", "segments that are no organ of the manifest: tumor",
    ) in notes  # fmt: skip


@pytest.mark.parametrize(
    ("empty", "expected"),
    [
        (("training",), ("error", "", "training", "the list 'training' is empty or has no usable entry")),
        (("unlabeled",), ("note", "", "unlabeled", "the list 'unlabeled' is empty")),
        (
            ("training", "unlabeled"),
            ("warning", "", "training", "the list 'training' is empty or has no usable entry"),
        ),
    ],
)
def test_empty_lists(data, empty, expected):
    for role in empty:
        data.content[role] = []
    assert expected in data.findings()


def test_progress_is_reported_before_each_case(data):
    seen = []
    examine(data.path, lambda done, total, name: seen.append((done, total, name)))
    assert seen == [(done, 7, name) for done, name in enumerate("abcdxyv")]


def test_a_manifest_that_cannot_be_read_is_raised(tmp_path):
    with pytest.raises(InputError, match="no such manifest"):
        examine(tmp_path / "none.json")


def test_content_hash_is_of_voxels_alone():
    array = noise(0)
    assert content_hash(array) == content_hash(array.copy(order="F"))
    assert content_hash(np.zeros((2, 2, 2))) == content_hash(-np.zeros((2, 2, 2)))
    changed = array.copy()
    changed[-1, -1, -1] += 1
    others = (changed, array.reshape(20, 24, 32), array[:, ::-1])
    assert len({content_hash(array), *map(content_hash, others)}) == 4


def test_training_refuses_one_scan_in_two_roles_and_no_labels(data):
    data.add("copy", array=noise(sum(map(ord, "v"))))
    manifest = read_manifest(data.path)
    images = [case.image for case in (*manifest.training, *manifest.unlabeled, *manifest.validation)]
    hashes = {image: content_hash(sitk.GetArrayFromImage(sitk.ReadImage(str(image)))) for image in images}
    check_training_data(manifest, {})
    with pytest.raises(InputError, match="v in 'validation' is the same scan as copy in 'unlabeled'"):
        check_training_data(manifest, hashes)
    data.content["unlabeled"] = ["a.nrrd"]
    with pytest.raises(InputError, match="a stands in 'training' and in 'unlabeled'"):
        check_training_data(read_manifest(data.path), {})
    data.content["training"] = []
    with pytest.raises(InputError, match="no labeled case"):
        check_training_data(read_manifest(data.path), {})


@pytest.mark.parametrize(
    "dataset",
    [
        "hippocampus/dataset_4.json",
        "headneck/dataset_5.json",
        pytest.param("la/dataset_4_dev.json", marks=pytest.mark.slow),
    ],
)
def test_real_data_sets_can_be_used(shared_data, dataset):
    diagnosis = examine(shared_data / dataset)
    assert diagnosis.usable
    manifest = diagnosis.manifest
    assert len(diagnosis.cases) == len(manifest.training + manifest.unlabeled + manifest.validation)
    assert not any("lies" in finding.message for finding in diagnosis.findings)  # sides are right


def test_a_real_scan_with_swapped_parotids_is_noticed(shared_data, tmp_path):
    source = shared_data / "headneck"
    content = json.loads((source / "dataset_5.json").read_text())
    content |= {"unlabeled": []}
    for entry in content["training"] + content["validation"]:
        for key, path in entry.items():
            name = path.removeprefix("./")
            entry[key] = name
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).symlink_to(source / name)
    first = tmp_path / content["training"][0]["label"]
    label = sitk.ReadImage(str(source / content["training"][0]["label"]))
    first.unlink()
    sitk.WriteImage(sitk.ChangeLabel(label, {3: 4, 4: 3}), str(first))
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    (odd,) = [finding for finding in examine(path).findings if finding.case == "hn_001"]
    assert odd.message == "left parotid lies on the patient's right of right parotid"


def test_one_case_may_be_looked_at_by_itself_and_remembered(data):
    """The seam for whoever keeps what was found: each case is looked at once, the comparison is always made."""
    manifest = read_manifest(data.path)
    seen = []

    def look(case, role, manifest):
        seen.append((case.name, role))
        return examine_case(case, role, manifest)

    whole = examine(data.path)
    own = diagnose(manifest, look=look)
    assert seen == [(name, role) for role, names in SPLIT_NAMES.items() for name in names]
    assert own.findings == whole.findings
    assert [vars(case) for case in own.cases] == [vars(case) for case in whole.cases]


SPLIT_NAMES = {"training": "abcd", "unlabeled": "xy", "validation": "v"}


def test_files_anywhere_are_examined_when_that_is_allowed(data, tmp_path):
    inside = tmp_path / "project"
    inside.mkdir()
    content = json.loads(data.path.read_text())
    for split in ("training", "unlabeled", "validation"):
        content[split] = [{key: str(tmp_path / file) for key, file in entry.items()} for entry in content[split]]
    path = inside / "dataset.json"
    path.write_text(json.dumps(content))
    assert not examine(path).usable
    assert examine(path, anywhere=True).findings == ()
