"""Labels of every format end as class indices on the image's grid, or are refused by name."""

from pathlib import Path

import highdicom as hd
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.sr.codedict import codes

from VoxelAdvSegLib.data.labels import LabelMap, read_label, read_label_map
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.volume import Geometry, read_geometry
from VoxelAdvSegLib.errors import InputError

ORGANS = organs_of({"Left Atrium": 3, "aorta": 7})
IMAGE = Geometry((4, 5, 6), (0.5, 1.0, 2.0), (-10.0, 20.0, 5.0))
FLIPPED_Y = (1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)


def truth() -> np.ndarray:
    """Class indices: 1 the atrium, 2 the aorta."""
    array = np.zeros(IMAGE.shape_zyx, np.uint8)
    array[1, 1:3, 2:5] = 1
    array[2:, 3, 0] = 2
    return array


def values(array=None) -> np.ndarray:
    """The same as voxel values of a label map."""
    return np.array([0, 3, 7], np.uint8)[truth() if array is None else array]


def write(path: Path, array, geometry=IMAGE) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_xyz_mm)
    image.SetOrigin(geometry.origin_lps_mm)
    image.SetDirection(geometry.direction)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_values_become_class_indices(tmp_path, dtype):
    path = write(tmp_path / "label.nrrd", values().astype(dtype))
    label = read_label_map(path, ORGANS, IMAGE)
    assert label.array.dtype == np.uint8
    assert np.array_equal(label.array, truth())
    assert (label.overlap_voxels, label.ignored_segments, label.missing_segments) == (0, (), ())


@pytest.mark.parametrize(("value", "dtype"), [(5, np.uint8), (-1, np.int16), (1.5, np.float32), (256, np.int16)])
def test_unknown_values_are_named(tmp_path, value, dtype):
    array = values().astype(dtype)
    array[0, 0, 0] = value
    with pytest.raises(InputError, match="no organ has") as refused:
        read_label(write(tmp_path / "label.nii.gz", array), ORGANS, IMAGE)
    assert refused.value.found == f"{value:g}"
    assert refused.value.expected == "some of 0, 3, 7"


def test_a_label_without_organs_is_refused_unless_allowed(tmp_path):
    path = write(tmp_path / "label.nii.gz", np.zeros(IMAGE.shape_zyx, np.uint8))
    with pytest.raises(InputError, match="none of the organs") as refused:
        read_label(path, ORGANS, IMAGE)
    assert "Left Atrium, aorta" in refused.value.expected
    assert not read_label(path, ORGANS, IMAGE, allow_empty=True).any()


def grid(**changes) -> Geometry:
    return Geometry(
        **{
            "shape_zyx": IMAGE.shape_zyx,
            "spacing_xyz_mm": IMAGE.spacing_xyz_mm,
            "origin_lps_mm": IMAGE.origin_lps_mm,
            "direction": IMAGE.direction,
            **changes,
        }
    )


OTHER_GRIDS = {
    "size": (grid(shape_zyx=(4, 5, 7)), "size 6 x 5 x 4 voxels", "size 7 x 5 x 4 voxels"),
    "spacing": (
        grid(spacing_xyz_mm=(0.5, 1.0, 2.5)), "spacing (0.5, 1, 2) mm", "spacing (0.5, 1, 2.5) mm",
    ),
    "origin": (
        grid(origin_lps_mm=(-10, 20.5, 5)), "origin (-10, 20, 5) mm", "origin (-10, 20.5, 5) mm",
    ),
    "direction": (
        grid(direction=(0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)), "direction (1, 0, 0, 0, 1, 0, 0, 0, 1)",
        "direction (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)",
    ),
    # the header says that rows run backwards from the same corner: other points in space
    "mirrored place": (grid(direction=FLIPPED_Y), "origin (-10, 20, 5) mm", "origin (-10, 16, 5) mm"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_GRIDS)
def test_another_grid_is_refused_with_the_difference(tmp_path, name):
    geometry, expected, found = OTHER_GRIDS[name]
    path = write(tmp_path / "label.nrrd", np.ones(geometry.shape_zyx, np.uint8) * 3, geometry)
    with pytest.raises(InputError, match="not on the image's grid") as refused:
        read_label(path, ORGANS, IMAGE)
    assert (refused.value.expected, refused.value.found) == (expected, found)
    assert refused.value.file == str(path)


def test_single_precision_headers_are_no_other_grid(tmp_path):
    turn = 0.7123
    direction = (np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0, 0, 0, 1)
    image = grid(spacing_xyz_mm=(0.7, 0.7, 3.3), origin_lps_mm=(-211.37, 318.9, -1204.77), direction=direction)
    path = write(tmp_path / "label.nii.gz", values(), image)
    assert read_geometry(path) != image
    assert np.array_equal(read_label(path, ORGANS, image), truth())


def test_axes_that_run_the_other_way_are_turned_by_the_header(tmp_path):
    # rows from the far end: first row at y = 20 + 4 * 1 mm
    turned = grid(origin_lps_mm=(-10.0, 24.0, 5.0), direction=FLIPPED_Y)
    path = write(tmp_path / "label.nii.gz", values()[:, ::-1], turned)
    assert np.array_equal(read_label(path, ORGANS, IMAGE), truth())


def test_axes_in_another_order_are_turned_by_the_header(tmp_path):
    # stored index order y, z, x: voxel [x, z, y] of the array
    turned = Geometry((6, 4, 5), (1.0, 2.0, 0.5), IMAGE.origin_lps_mm, (0, 0, 1, 1, 0, 0, 0, 1, 0))
    path = write(tmp_path / "label.nrrd", values().transpose(2, 0, 1), turned)
    assert np.array_equal(read_label(path, ORGANS, IMAGE), truth())


def test_a_label_whose_rows_run_against_its_dicom_scan(shared_data):
    # by hand: the file's second axis is reversed, nothing else
    path = shared_data / "dicom" / "ct_body_labels.nii.gz"
    organs = organs_of({"spleen": 1, "liver": 5, "stomach": 6, "pancreas": 7})
    label = read_label(path, organs, read_geometry(shared_data / "dicom" / "ct_body"))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    for index, organ in enumerate(organs):
        assert np.array_equal(label == index + 1, (stored == organ.value)[:, ::-1])
    assert np.bincount(label.ravel())[1:].tolist() == [130634, 366708, 74102, 1327]


def write_seg(path: Path, layers: list[np.ndarray], segments: list[dict], start_xyz=(0, 0, 0)) -> Path:
    """A file as Slicer writes it: one layer as 3-D, several as a 4-D list."""
    origin = np.add(IMAGE.origin_lps_mm, np.multiply(start_xyz, IMAGE.spacing_xyz_mm))
    axes = np.diag(IMAGE.spacing_xyz_mm)
    header = {"space": "left-posterior-superior", "space origin": origin, "encoding": "gzip"}
    header["Segmentation_ReferenceImageExtentOffset"] = " ".join(map(str, start_xyz))
    if len(layers) == 1:
        data = layers[0].transpose(2, 1, 0)
        header |= {"kinds": ["domain"] * 3, "space directions": axes}
    else:
        data = np.stack([layer.transpose(2, 1, 0) for layer in layers])
        header |= {
            "kinds": ["list", "domain", "domain", "domain"],
            "space directions": np.vstack([np.full(3, np.nan), axes]),
        }
    for number, segment in enumerate(segments):
        header |= {f"Segment{number}_{key}": str(value) for key, value in segment.items()}
        header[f"Segment{number}_ID"] = f"Segment_{number + 1}"
    nrrd.write(str(path), data, header)
    return path


def segment(name: str, value: int = 1, layer: int = 0) -> dict:
    return {"Name": name, "LabelValue": value, "Layer": layer}


def masks() -> tuple[np.ndarray, np.ndarray]:
    return (truth() == 1).astype(np.uint8), (truth() == 2).astype(np.uint8)


def test_segments_are_matched_by_name_not_by_value_or_order(tmp_path):
    atrium, aorta = masks()
    # values as in the manifest, but swapped; then other values, in two layers of the other order
    one = write_seg(tmp_path / "a.seg.nrrd", [atrium * 7 + aorta * 3], [segment("left_atrium", 7), segment("Aorta", 3)])
    two = write_seg(
        tmp_path / "b.seg.nrrd", [aorta * 2, atrium * 9], [segment("AORTA", 2), segment("Left-Atrium", 9, 1)]
    )
    assert np.array_equal(read_label(one, ORGANS, IMAGE), truth())
    assert np.array_equal(read_label(two, ORGANS, IMAGE), truth())


def test_a_segmentation_is_known_by_its_header_too(tmp_path):
    atrium, aorta = masks()
    path = write_seg(tmp_path / "a.nrrd", [atrium + aorta * 2], [segment("aorta", 2), segment("left atrium")])
    assert np.array_equal(read_label(path, ORGANS, IMAGE), truth())


def test_files_of_older_slicers_keep_each_segment_in_a_layer(tmp_path):
    atrium, aorta = masks()
    path = write_seg(tmp_path / "a.seg.nrrd", [aorta, atrium], [{"Name": "aorta"}, {"Name": "left atrium"}])
    assert np.array_equal(read_label(path, ORGANS, IMAGE), truth())


def test_overlaps_go_to_the_later_organ_and_are_counted(tmp_path):
    atrium, aorta = masks()
    aorta[1, 1, 2:4] = 1  # two voxels of the atrium
    path = write_seg(tmp_path / "a.seg.nrrd", [aorta, atrium], [segment("aorta"), segment("left atrium", 1, 1)])
    label = read_label_map(path, ORGANS, IMAGE)
    assert label.overlap_voxels == 2
    assert np.array_equal(label.array == 2, aorta == 1)
    assert np.count_nonzero(label.array == 1) == 4


def test_missing_and_further_segments_are_reported_by_name(tmp_path):
    atrium, _ = masks()
    path = write_seg(tmp_path / "a.seg.nrrd", [atrium], [segment("left atrium"), segment("tumour", 2)])
    label = read_label_map(path, ORGANS, IMAGE)
    assert isinstance(label, LabelMap)
    assert label.missing_segments == ("aorta",)
    assert label.ignored_segments == ("tumour",)
    assert np.array_equal(label.array, atrium)


def test_double_names_are_refused_by_name(tmp_path):
    atrium, aorta = masks()
    path = write_seg(tmp_path / "a.seg.nrrd", [atrium + aorta * 2], [segment("aorta"), segment("Aorta ", 2)])
    with pytest.raises(InputError, match="several segments are called aorta") as refused:
        read_label(path, ORGANS, IMAGE)
    assert refused.value.found == "'aorta', 'Aorta'"


def test_a_segmentation_of_other_organs_is_refused_by_name(tmp_path):
    # its values are the organs' own: they must not count
    path = write_seg(tmp_path / "a.seg.nrrd", [values()], [segment("liver", 3), segment("spleen", 7)])
    with pytest.raises(InputError, match="name of an organ") as refused:
        read_label(path, ORGANS, IMAGE, allow_empty=True)
    assert refused.value.expected == "some of Left Atrium, aorta"
    assert refused.value.found == "liver, spleen"


@pytest.mark.parametrize("layers", [1, 2])
def test_a_cropped_segmentation_is_put_in_its_place(tmp_path, layers):
    # Slicer keeps only the box with voxels; here a single slice of it
    box = truth()[1:2, 1:3, 2:5]
    stored = [box] if layers == 1 else [box * 0, box]
    path = write_seg(tmp_path / "a.seg.nrrd", stored, [segment("left atrium", 1, layers - 1)], (2, 1, 1))
    assert np.array_equal(read_label(path, ORGANS, IMAGE), truth() * (truth() == 1))


def test_a_segmentation_may_reach_beyond_the_image_where_it_is_empty(tmp_path):
    atrium, _ = masks()
    path = write_seg(
        tmp_path / "a.seg.nrrd",
        [np.pad(atrium, ((1, 0), (2, 2), (0, 3)))],
        [segment("left atrium")],
        (0, -2, -1),
    )
    assert np.array_equal(read_label(path, ORGANS, IMAGE), atrium)


def test_a_segmentation_outside_the_image_is_refused(tmp_path):
    atrium, _ = masks()
    path = write_seg(tmp_path / "a.seg.nrrd", [atrium], [segment("left atrium")], (3, 0, 0))
    with pytest.raises(InputError, match="beyond the image") as refused:
        read_label(path, ORGANS, IMAGE)
    assert refused.value.found == "4 voxels outside"  # columns 2, 3, 4 of six move to 5, 6, 7


def test_a_segmentation_between_the_voxels_is_refused(tmp_path):
    atrium, _ = masks()
    path = write_seg(tmp_path / "a.seg.nrrd", [atrium], [segment("left atrium")], (0, 0, 0.5))
    with pytest.raises(InputError, match="not on the image's grid") as refused:
        read_label(path, ORGANS, IMAGE)
    assert refused.value.found == "origin (0, 0, 0.5)"


def test_a_segment_of_a_layer_that_is_not_there(tmp_path):
    atrium, _ = masks()
    path = write_seg(tmp_path / "a.seg.nrrd", [atrium], [segment("left atrium", 1, 4)])
    with pytest.raises(InputError, match="'left atrium' has no voxels"):
        read_label(path, ORGANS, IMAGE)


def test_dicom_seg_of_a_liver(shared_data):
    folder = shared_data / "dicom" / "ct_liver_seg"
    label = read_label(folder / "seg" / "liver.dcm", organs_of({"liver": 9}), read_geometry(folder / "ct"))
    assert np.count_nonzero(label) == 107098
    # ITK knows nothing of segments, but here its frames are the slices
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "seg" / "liver.dcm")))
    assert np.array_equal(label > 0, frames > 0)


def test_dicom_seg_with_five_overlapping_segments(shared_data):
    folder = shared_data / "dicom" / "ct_liver_seg"
    path = folder / "seg" / "partial_overlaps.dcm"
    image = read_geometry(folder / "ct")
    names = ["GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE"]
    label = read_label_map(path, organs_of({name: i + 1 for i, name in enumerate(names)}), image)
    # highdicom as a second opinion; it stacks slices from the top
    stacked = hd.seg.segread(path).get_volume(combine_segments=False).array[::-1]
    expected = np.zeros(image.shape_zyx, np.uint8)
    for index in range(5):
        expected[stacked[..., index] > 0] = index + 1
    assert np.array_equal(label.array, expected)
    assert label.overlap_voxels == np.count_nonzero(stacked.sum(-1) > 1) == 3106
    for index, name in enumerate(names):
        alone = read_label_map(path, organs_of({name.lower().replace("_", " "): 1}), image)
        assert np.array_equal(alone.array, stacked[..., index])
        assert set(alone.ignored_segments) == set(names) - {name}


def test_a_folder_with_two_segmentations_is_refused(shared_data):
    folder = shared_data / "dicom" / "ct_liver_seg"
    with pytest.raises(InputError, match="not one DICOM segmentation") as refused:
        read_label(folder / "seg", organs_of({"liver": 1}), read_geometry(folder / "ct"))
    assert refused.value.found == "liver.dcm, partial_overlaps.dcm"


def test_a_scan_is_no_dicom_label(shared_data):
    folder = shared_data / "dicom" / "ct_liver_seg"
    with pytest.raises(InputError, match="no DICOM segmentation"):
        read_label(folder / "ct", organs_of({"liver": 1}), read_geometry(folder / "ct"))


def test_dicom_seg_on_another_scan_is_refused(shared_data):
    folder = shared_data / "dicom"
    with pytest.raises(InputError, match="not on the image's grid"):
        read_label(
            folder / "ct_liver_seg" / "seg" / "liver.dcm",
            organs_of({"liver": 1}),
            read_geometry(folder / "ct_body"),
        )


def write_dicom_seg(path: Path, source: Path, array: np.ndarray, kind: str) -> Path:
    images = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(source.iterdir())]
    images.sort(key=lambda image: image.ImagePositionPatient[2])
    descriptions = [
        hd.seg.SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
        for number, name in ((1, "aorta"), (2, "left atrium"))
    ]
    images[0].SpecificCharacterSet = "ISO_IR 100"  # empty there, which highdicom refuses
    dataset = hd.seg.Segmentation(
        images, array, kind, descriptions, hd.UID(), 1, hd.UID(), 1, "maker", "model", "1", "1",
    )  # fmt: skip
    dataset.save_as(path)
    return path


@pytest.mark.filterwarnings("ignore")  # highdicom's remarks on the old scan's header
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_dicom_seg_of_some_slices(shared_data, tmp_path, kind):
    source = shared_data / "dicom" / "ct_liver_seg" / "ct"
    image = read_geometry(source)
    array = np.zeros(image.shape_zyx, np.uint8)
    array[2, 10:20, 30:50] = 1
    array[2, 5:8, 7:9] = 2
    path = write_dicom_seg(tmp_path / "seg.dcm", source, array, kind)
    expected = np.array([0, 2, 1], np.uint8)[array]  # by name: segment 1 is the aorta, class 2
    assert np.array_equal(read_label(path, ORGANS, image), expected)


@pytest.mark.filterwarnings("ignore")
def test_fractional_dicom_seg_is_refused(shared_data, tmp_path):
    source = shared_data / "dicom" / "ct_liver_seg" / "ct"
    array = np.ones((3, 512, 512, 2), np.float32) / 2
    path = write_dicom_seg(tmp_path / "seg.dcm", source, array, "FRACTIONAL")
    with pytest.raises(InputError, match="no clear borders") as refused:
        read_label(path, ORGANS, read_geometry(source))
    assert refused.value.found == "FRACTIONAL"
