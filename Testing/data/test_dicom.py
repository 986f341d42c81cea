"""DICOM series: the shared real ones, and small ones made here with everything that goes wrong."""

import copy
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from VoxelAdvSegLib.data.dicom import series_files
from VoxelAdvSegLib.data.volume import Geometry, read_geometry, read_volume
from VoxelAdvSegLib.errors import InputError

SERIES = generate_uid()
AXIAL = (1, 0, 0, 0, 1, 0)


def pixels(z: int) -> np.ndarray:
    """4 rows, 3 columns: every voxel of a series different."""
    return (100 * z + np.arange(12).reshape(4, 3)).astype(np.int16)


def write_slice(folder: Path, z: int, position, **changes) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.SeriesInstanceUID = SERIES
    image.SeriesNumber = 3
    image.SeriesDescription = "Thorax"
    image.Modality = "CT"
    image.ImagePositionPatient = [float(f"{value:.10g}") for value in position]
    image.ImageOrientationPatient = list(AXIAL)
    image.PixelSpacing = [0.5, 0.75]  # rows 0.5 mm apart, columns 0.75
    image.Rows, image.Columns = 4, 3
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1
    image.RescaleSlope, image.RescaleIntercept = 1, -1024
    image.PixelData = pixels(z).tobytes()
    for name, value in changes.items():
        setattr(image, name, value)
    # the names' order says nothing about the slices' order
    path = folder / f"{(7 * z) % 10}{z}.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, heights=(0, 2, 4, 6), **changes) -> Path:
    folder.mkdir(exist_ok=True)
    for z, height in enumerate(heights):
        write_slice(folder, z, (-10, 20, height), **changes)
    return folder


def test_slices_are_put_in_order(tmp_path):
    volume = read_volume(write_series(tmp_path / "ct", heights=(6, 0, 2, 4)))
    expected = np.stack([pixels(1), pixels(2), pixels(3), pixels(0)]) - 1024.0
    assert np.array_equal(volume.array, expected)
    assert volume.geometry == Geometry((4, 4, 3), (0.75, 0.5, 2.0), (-10.0, 20.0, 0.0))
    assert volume.modality == "CT"


def test_each_slice_is_rescaled_by_its_own_header(tmp_path):
    # a PET-like series: the slope changes from slice to slice, and is no whole number
    for z, slope in enumerate((0.5, 0.25)):
        write_slice(tmp_path, z, (0, 0, z), RescaleSlope=slope, RescaleIntercept=3)
    array = read_volume(tmp_path).array
    assert array[0, 0, 1] == 3.5  # 1 * 0.5 + 3
    assert array[1, 0, 1] == 28.25  # 101 * 0.25 + 3


def test_an_oblique_series(tmp_path):
    # rows run along (0.6, 0.8, 0), columns down along -z: the normal is (-0.8, 0.6, 0)
    for z in range(3):
        position = np.array([1.0, 2.0, 3.0]) + 1.5 * z * np.array([-0.8, 0.6, 0])
        write_slice(tmp_path, z, position, ImageOrientationPatient=[0.6, 0.8, 0, 0, 0, -1])
    volume = read_volume(tmp_path)
    geometry = volume.geometry
    assert geometry.spacing_xyz_mm == pytest.approx((0.75, 0.5, 1.5))
    assert geometry.origin_lps_mm == (1.0, 2.0, 3.0)
    assert geometry.direction == pytest.approx((0.6, 0, -0.8, 0.8, 0, 0.6, 0, -1, 0))
    assert volume.array[2, 0, 0] == 200 - 1024


def test_two_series_in_a_folder_are_named(tmp_path):
    write_series(tmp_path)
    write_slice(tmp_path, 9, (0, 0, 0), SeriesInstanceUID=generate_uid(), SeriesDescription="Scout")
    with pytest.raises(InputError, match="2 DICOM series") as refused:
        read_volume(tmp_path)
    assert "CT 3 (4 files" in refused.value.found
    assert "CT 3 (1 files" in refused.value.found


def test_other_objects_and_files_of_the_study_do_not_disturb(tmp_path):
    write_series(tmp_path)
    write_slice(tmp_path, 9, (0, 0, 0), SeriesInstanceUID=generate_uid(), Modality="SEG")
    (tmp_path / "readme.txt").write_text("no image")
    assert read_volume(tmp_path).array.shape == (4, 4, 3)


def test_one_slice_of_a_series_is_no_volume(tmp_path):
    with pytest.raises(InputError, match="2-D") as refused:
        read_volume(write_slice(tmp_path, 0, (0, 0, 0)))
    assert "folder" in refused.value.do


def colour(folder: Path) -> None:
    for z in range(2):
        write_slice(
            folder, z, (0, 0, z), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
            BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, PixelData=bytes(36),
        )  # fmt: skip


def truncated(folder: Path) -> None:
    write_series(folder)
    last = folder / "13.dcm"
    last.write_bytes(last.read_bytes()[:-10])


def tilted(folder: Path) -> None:
    for z in range(4):
        write_slice(folder, z, (0, 0.4 * z, 2 * z))


def scout(folder: Path) -> None:
    write_series(folder)
    write_slice(folder, 9, (0, 0, 20), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])


def other_spacing(folder: Path) -> None:
    write_series(folder)
    write_slice(folder, 9, (0, 0, 8), PixelSpacing=[0.6, 0.75])


BAD = {
    "empty folder": (lambda d: None, "no DICOM image", "0 other files"),
    "series one level deeper": (lambda d: write_series(d / "ct"), "no DICOM image", "folders ct"),
    "missing slice": (lambda d: write_series(d, (0, 2, 4, 8, 10, 12)), "missing", "4 mm between 42.dcm"),
    "double slice": (lambda d: write_series(d, (0, 2, 2, 4)), "same place", "1 double positions"),
    "uneven": (lambda d: write_series(d, (0, 2, 4, 7)), "evenly", "3 mm"),
    "tilted": (tilted, "tilt", "0.4 mm"),
    "a scout among them": (scout, "differ in orientation", "-1"),
    "another spacing": (other_spacing, "differ in pixel spacing", "0.6"),
    "no position": (lambda d: write_series(d, ImagePositionPatient=None), "where it lies", "nothing"),
    "no spacing": (lambda d: write_series(d, PixelSpacing=None), "where it lies", "nothing"),
    "zero spacing": (lambda d: write_series(d, PixelSpacing=[0, 0]), "spacing is not positive", "0 x 0 x 2"),
    "colour": (colour, "several numbers", "3"),
    "truncated": (truncated, "cannot be decoded", ""),
    "constant": (lambda d: write_series(d, PixelData=bytes(24)), "the same", "-1024"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_series_are_refused_in_one_message(tmp_path, capfd, name):
    build, what, found = BAD[name]
    build(tmp_path)
    with pytest.raises(InputError, match=what) as refused:
        read_volume(tmp_path)
    assert found in refused.value.found
    assert refused.value.file.startswith(str(tmp_path))
    assert refused.value.do
    assert capfd.readouterr() == ("", "")


def test_rounded_positions_are_no_gap(tmp_path):
    # 0.625 mm slices with positions rounded to 0.01 mm
    heights = [round(0.625 * z, 2) for z in range(8)]
    geometry = read_geometry(write_series(tmp_path, heights))
    assert geometry.spacing_xyz_mm[2] == pytest.approx(0.625, abs=2e-3)


def test_jpeg_2000_ct(shared_data):
    folder = shared_data / "dicom" / "ct_body"
    volume = read_volume(folder)
    assert volume.geometry == Geometry(
        (20, 512, 512), (0.9765625, 0.9765625, 2.0), (-249.51171875, -437.51171875, -804.5)
    )
    assert volume.modality == "CT"
    assert (volume.array.min(), volume.array.max()) == (-1024, 1839)
    # the slice in the middle, decoded on its own
    file = series_files(folder)[10]
    one = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
    assert np.array_equal(volume.array[10], one)
    assert float(pydicom.dcmread(file).ImagePositionPatient[2]) == -804.5 + 10 * 2


@pytest.mark.parametrize(
    ("patient", "shape"), [("patient1", (32, 51, 35)), ("patient2", (35, 48, 36)), ("patient3", (40, 50, 34))]
)
def test_mr_of_the_hippocampus(shared_data, patient, shape):
    volume = read_volume(shared_data / "dicom" / "mr_hippocampus_crop" / patient)
    assert volume.geometry == Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 1.0))
    assert volume.modality == "MR"
    assert volume.array.min() >= 0


def test_three_slices_of_a_liver(shared_data):
    volume = read_volume(shared_data / "dicom" / "ct_liver_seg" / "ct")
    assert volume.array.shape == (3, 512, 512)
    assert volume.geometry.spacing_xyz_mm == pytest.approx((0.810547, 0.810547, 1.0))
    assert volume.array.min() == -3024


def test_enhanced_multiframe_equals_its_single_frames(shared_data):
    folder = shared_data / "dicom" / "ct_enhanced_multiframe"
    multi, single = read_volume(folder / "multiframe.dcm"), read_volume(folder / "single_frames")
    assert np.array_equal(multi.array, single.array)
    assert multi.geometry == single.geometry == Geometry((3, 38, 24), (0.7, 0.7, 2.5), (46.4649, 5.01881, -177.75))
    assert multi.modality == single.modality == "CT"
    assert np.count_nonzero(multi.array[1]) == 315
    assert read_geometry(folder / "multiframe.dcm") == multi.geometry


def test_multiframe_with_frames_in_any_order_and_own_rescaling(shared_data, tmp_path):
    # GDCM alone stacks frames as stored and rescales all of them as the first
    folder = shared_data / "dicom" / "ct_enhanced_multiframe"
    image = pydicom.dcmread(folder / "multiframe.dcm")
    stored, order = image.pixel_array, [1, 2, 0]
    shared = image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    groups = [copy.deepcopy(image.PerFrameFunctionalGroupsSequence[index]) for index in order]
    for number, group in enumerate(groups):
        rescale = copy.deepcopy(shared)
        rescale.RescaleSlope, rescale.RescaleIntercept = number + 2, 10 * number
        group.PixelValueTransformationSequence = Sequence([rescale])
    del image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    image.PerFrameFunctionalGroupsSequence = Sequence(groups)
    image.PixelData = stored[order].tobytes()
    image.save_as(tmp_path / "scrambled.dcm")

    whole = read_volume(folder / "multiframe.dcm")
    volume = read_volume(tmp_path / "scrambled.dcm")
    assert volume.geometry == whole.geometry
    assert np.array_equal(volume.array[0], whole.array[0] * 4 + 20)  # stored third
    assert np.array_equal(volume.array[1], whole.array[1] * 2)  # stored first
    assert np.array_equal(volume.array[2], whole.array[2] * 3 + 10)  # stored second
