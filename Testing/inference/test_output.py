"""Results on disk: read back by our own readers and by others', on exactly the input's grid."""

import subprocess
import sys

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicerio

from VoxelAdvSegLib.data.labels import read_label, read_label_map
from VoxelAdvSegLib.data.organs import Organ, organs_of
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.data.volume import Geometry, read_geometry, read_volume
from VoxelAdvSegLib.errors import ConfigError, InputError, RunError
from VoxelAdvSegLib.inference.output import organ_volumes_ml, write_map, write_segmentation

ORGANS = organs_of({"left kidney": 2, "liver": 5, "Ösophagus": 11})
GRID = Geometry((4, 5, 6), (0.5, 1.0, 2.0), (-10.0, 20.0, 5.0))


def oblique(signs=(1, 1, 1)) -> tuple[float, ...]:
    """17 degrees about x, then about z; signs mirror axes."""
    turn = np.deg2rad(17)
    c, s = np.cos(turn), np.sin(turn)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return tuple((about_z @ about_x * signs).ravel().tolist())


GRIDS = {
    "plain": GRID,
    "anisotropic": Geometry((4, 5, 6), (0.7, 0.7, 5.0), (-211.37, 318.9, -1204.77)),
    "oblique": Geometry((4, 5, 6), (0.7, 0.8, 5.0), (-211.37, 318.9, -1204.77), oblique()),
    "left-handed": Geometry((4, 5, 6), (0.7, 0.8, 5.0), (-211.37, 318.9, -1204.77), oblique((1, -1, 1))),
    "permuted": Geometry((4, 5, 6), (1.0, 2.0, 0.5), (1.0, 2.0, 3.0), (0, 0, 1.0, 1.0, 0, 0, 0, -1.0, 0)),
}


def classes() -> np.ndarray:
    array = np.zeros(GRID.shape_zyx, np.uint8)
    array[1, 1:3, 2:5] = 1
    array[2:, 3, 0] = 2
    return array


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha", "seg.nrrd"])
@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_comes_back(tmp_path, grid, ending):
    path = tmp_path / f"case.{ending}"
    write_segmentation(classes(), GRIDS[grid], ORGANS, path)
    assert np.array_equal(read_label(path, ORGANS, GRIDS[grid]), classes())
    back = read_geometry(path)
    # MetaImage keeps every bit; NRRD multiplies axes by spacing (one rounding); NIfTI has single
    # precision, so there the second trip is the exact one (next test).
    tolerance = {"mha": 0, "nrrd": 2e-15, "seg.nrrd": 2e-15}.get(ending, 1e-7)
    assert back.spacing_xyz_mm == pytest.approx(GRIDS[grid].spacing_xyz_mm, rel=tolerance, abs=0)
    assert back.origin_lps_mm == pytest.approx(GRIDS[grid].origin_lps_mm, rel=tolerance, abs=0)
    assert back.direction == pytest.approx(GRIDS[grid].direction, rel=0, abs=tolerance)


@pytest.mark.parametrize("name", ["la/imagesTr/la_001.nii.gz", "headneck/imagesTr/hn_001.nii.gz"])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "seg.nrrd"])
def test_a_real_scans_grid_comes_back_bit_for_bit(shared_data, tmp_path, name, ending):
    geometry = read_geometry(shared_data / name)
    array = np.zeros(geometry.shape_zyx, np.uint8)
    array[3, 4, 5] = 1
    write_segmentation(array, geometry, ORGANS, tmp_path / f"case.{ending}")
    assert read_geometry(tmp_path / f"case.{ending}") == geometry


def test_label_maps_hold_the_organs_values_in_the_smallest_type(tmp_path):
    write_segmentation(classes(), GRID, ORGANS, tmp_path / "case.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "case.nii.gz"))
    assert image.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(image), np.array([0, 2, 5, 11])[classes()])
    many = (Organ("a", 300, (1, 2, 3)),)
    write_segmentation(np.minimum(classes(), 1), GRID, many, tmp_path / "many.nrrd")
    assert sitk.ReadImage(str(tmp_path / "many.nrrd")).GetPixelID() == sitk.sitkUInt16


def test_slicer_segmentation_as_slicerio_reads_it(tmp_path):
    path = tmp_path / "case.seg.nrrd"
    write_segmentation(classes(), GRIDS["oblique"], ORGANS[:2], path)
    read = slicerio.read_segmentation(str(path))
    kidney, liver = read["segments"]
    assert [segment["name"] for segment in read["segments"]] == ["left kidney", "liver"]
    assert [segment["labelValue"] for segment in read["segments"]] == [2, 5]
    assert [segment["id"] for segment in read["segments"]] == ["Segment_1", "Segment_2"]
    assert all(segment["layer"] == 0 for segment in read["segments"])
    assert all(segment["extent"] == [0, 5, 0, 4, 0, 3] for segment in read["segments"])
    assert kidney["color"] == pytest.approx([c / 255 for c in ORGANS[0].color_rgb], abs=1e-5)
    assert kidney["terminology"]["type"] == ["SCT", "64033007", "Kidney"]
    assert kidney["terminology"]["typeModifier"] == ["SCT", "7771000", "Left"]
    assert liver["terminology"]["category"] == ["SCT", "123037004", "Anatomical Structure"]
    assert liver["status"] == "inprogress"
    assert read["referenceImageExtentOffset"] == [0, 0, 0]
    assert read["containedRepresentationNames"] == ["Binary labelmap"]
    # index to LPS: axes times spacing, then the origin
    axes = np.reshape(GRIDS["oblique"].direction, (3, 3)) * GRIDS["oblique"].spacing_xyz_mm
    assert read["ijkToLPS"][:3, :3] == pytest.approx(axes)
    assert np.array_equal(read["voxels"].transpose(2, 1, 0), np.array([0, 2, 5])[classes()])


def test_the_models_own_terminology_is_kept(tmp_path):
    text = terminology_of("spleen")
    organ = Organ("Größe der Milz", 1, (51, 102, 255), text)
    write_segmentation(np.minimum(classes(), 1), GRID, (organ,), tmp_path / "a.seg.nrrd")
    header = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert header.GetMetaData("Segment0_Name") == "Größe der Milz"
    assert header.GetMetaData("Segment0_Color") == "0.2 0.4 1"
    assert header.GetMetaData("Segment0_Tags") == f"Segmentation.Status:inprogress|TerminologyEntry:{text}|"


@pytest.fixture(scope="module")
def ct_body(shared_data, tmp_path_factory):
    """A DICOM scan, its organs, their true classes, and the DICOM SEG written of them."""
    folder = shared_data / "dicom" / "ct_body"
    organs = organs_of({"spleen": 1, "left kidney": 2, "liver": 5, "stomach": 6, "pancreas": 7})
    truth = read_label(shared_data / "dicom" / "ct_body_labels.nii.gz", organs, read_geometry(folder))
    path = tmp_path_factory.mktemp("seg") / "ct_body.dcm"
    write_segmentation(truth, read_geometry(folder), organs, path, source=folder)
    return folder, organs, truth, path


def test_dicom_seg_comes_back_identical(ct_body):
    folder, organs, truth, path = ct_body
    label = read_label_map(path, organs, read_geometry(folder))
    assert np.array_equal(label.array, truth)
    assert label.missing_segments == ("left kidney",)  # not in view: no segment
    assert label.overlap_voxels == 0


def test_dicom_seg_names_codes_colours_and_source(ct_body):
    folder, organs, truth, path = ct_body
    seg = hd.seg.segread(path)
    assert seg.segmentation_type == hd.seg.SegmentationTypeValues.BINARY
    descriptions = [seg.get_segment_description(number) for number in seg.segment_numbers]
    assert [d.segment_label for d in descriptions] == ["spleen", "liver", "stomach", "pancreas"]
    assert [d.segmented_property_type.value for d in descriptions] == [
        "78961009", "10200004", "69695003", "15776009",
    ]  # fmt: skip
    assert descriptions[1].segmented_property_category.value == "123037004"
    colour = hd.color.CIELabColor.from_dicom_value(descriptions[1].RecommendedDisplayCIELabValue)
    assert np.abs(np.subtract(colour.to_rgb(), organs[2].color_rgb)).max() <= 1
    image = pydicom.dcmread(next(folder.iterdir()))
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[name] == image[name]
    assert seg.SeriesInstanceUID != image.SeriesInstanceUID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    # another reader's voxels: highdicom stacks slices from the top
    stacked = seg.get_volume(combine_segments=True)
    found = np.zeros(truth.shape, np.uint8)
    start = round((stacked.position[2] - (-804.5)) / 2) + 1 - stacked.shape[0]
    found[start : start + stacked.shape[0]] = stacked.array[::-1]
    assert np.array_equal(np.array([0, 1, 3, 4, 5])[found], truth)


@pytest.mark.parametrize(
    "name", ["mr_hippocampus_crop/patient1", "ct_enhanced_multiframe/multiframe.dcm", "ct_liver_seg/ct"]
)
@pytest.mark.parametrize("empty", [False, True])
def test_dicom_seg_of_every_kind_of_source(shared_data, tmp_path, name, empty):
    source = shared_data / "dicom" / name
    geometry = read_geometry(source)
    array = np.zeros(geometry.shape_zyx, np.uint8)
    if not empty:
        array[0, 3:6, 4:9] = 3  # the lowest slice of a stack that is stored from the top
        array[1, 3:5, 2:9] = 1
    write_segmentation(array, geometry, ORGANS, tmp_path / "case.dcm", source=source)
    label = read_label_map(tmp_path / "case.dcm", ORGANS, geometry, allow_empty=True)
    assert np.array_equal(label.array, array)
    # nothing found: all organs are listed, without voxels
    assert label.missing_segments == (() if empty else ("liver",))


def test_dicom_seg_needs_its_dicom_source(shared_data, tmp_path):
    for source in (None, shared_data / "la" / "imagesTr" / "la_001.nii.gz"):
        with pytest.raises(ConfigError, match="needs the DICOM series"):
            write_segmentation(classes(), GRID, ORGANS, tmp_path / "case.dcm", source=source)
    with pytest.raises(InputError, match="not on the image's grid"):
        write_segmentation(classes(), GRID, ORGANS, tmp_path / "case.dcm", source=shared_data / "dicom" / "ct_body")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_maps_keep_their_values(tmp_path, ending):
    array = np.random.default_rng(0).random(GRID.shape_zyx)
    write_map(array, GRIDS["left-handed"], tmp_path / f"map.{ending}")
    volume = read_volume(tmp_path / f"map.{ending}")
    assert np.array_equal(volume.array, array.astype(np.float32))
    assert sitk.ReadImage(str(tmp_path / f"map.{ending}")).GetPixelID() == sitk.sitkFloat32


def test_unknown_endings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="output format"):
        write_segmentation(classes(), GRID, ORGANS, tmp_path / "case.xyz")
    with pytest.raises(ConfigError, match="output format"):
        write_map(classes(), GRID, tmp_path / "map.seg.nrrd")


def test_volumes_in_millilitres():
    # 6 and 2 voxels of 0.5 * 1 * 2 = 1 mm3
    volumes = organ_volumes_ml(classes(), GRID, ORGANS)
    assert volumes == pytest.approx({"left kidney": 0.006, "liver": 0.002, "Ösophagus": 0.0})


@pytest.fixture
def little_room():
    """Files may grow to 20 kB, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")  # not on Windows
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, little_room, ending):
    path = tmp_path / f"map.{ending}"
    path.write_bytes(b"old")
    noise = np.random.default_rng(0).random((30, 30, 30))
    with pytest.raises(RunError, match="cannot be written") as failed:
        write_map(noise, Geometry(noise.shape, (1.0, 1.0, 1.0)), path)
    assert failed.value.file == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_map(classes(), GRID, tmp_path / "out" / "map.nrrd")


def test_dicom_libraries_are_loaded_for_dicom_only():
    code = (
        "import sys, VoxelAdvSegLib.data.labels, VoxelAdvSegLib.inference.output;"
        "print(sorted({'pydicom', 'highdicom', 'slicerio', 'nrrd', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
