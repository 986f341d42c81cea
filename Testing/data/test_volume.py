"""Reading volumes: every format, every geometry, and one message for everything that is wrong."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.data.volume import read_geometry, read_volume
from VoxelAdvSegLib.errors import InputError

SHAPE = (4, 5, 6)
TURN = math.radians(17)
# 17 degrees about z, then mirrored: axes of determinant -1.
LEFT_HANDED = (math.cos(TURN), math.sin(TURN), 0, math.sin(TURN), -math.cos(TURN), 0, 0, 0, 1)


def ramp(dtype=np.int16) -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=dtype).reshape(SHAPE)


def write(path: Path, array=None, spacing=(0.7, 0.7, 5.0), origin=(-12.5, 30.25, 7.0), direction=None) -> Path:
    image = sitk.GetImageFromArray(ramp() if array is None else array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "img", "nrrd", "nhdr", "mha", "mhd", "gipl", "vtk"])
def test_reads_every_format(tmp_path, ending):
    volume = read_volume(write(tmp_path / f"scan.{ending}"))
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, ramp())
    assert volume.geometry.shape_zyx == SHAPE
    assert volume.geometry.spacing_xyz_mm == pytest.approx((0.7, 0.7, 5.0), rel=1e-6)
    assert volume.modality == ""


@pytest.mark.parametrize(("ending", "tolerance"), [("nrrd", 1e-12), ("mha", 0), ("nii.gz", 1e-5)])
def test_geometry_of_an_oblique_left_handed_scan(tmp_path, ending, tolerance):
    path = write(tmp_path / f"scan.{ending}", direction=LEFT_HANDED)
    geometry = read_geometry(path)
    assert geometry == read_volume(path).geometry
    assert geometry.direction == pytest.approx(LEFT_HANDED, abs=tolerance)
    assert geometry.origin_lps_mm == pytest.approx((-12.5, 30.25, 7.0), abs=tolerance)


def test_nifti_keeps_single_precision_axes_without_alarm(tmp_path):
    # an angle whose sine and cosine NIfTI must round
    turn = math.radians(63.123456)
    direction = (math.cos(turn), -math.sin(turn), 0, math.sin(turn), math.cos(turn), 0, 0, 0, 1)
    geometry = read_geometry(write(tmp_path / "scan.nii", direction=direction))
    assert geometry.direction != direction
    assert geometry.direction == pytest.approx(direction, abs=1e-6)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_a_series_of_one_volume_is_a_volume(tmp_path, ending):
    image = sitk.GetImageFromArray(ramp()[np.newaxis], isVector=False)
    sitk.WriteImage(image, str(tmp_path / f"scan.{ending}"))
    assert np.array_equal(read_volume(tmp_path / f"scan.{ending}").array, ramp())


def test_a_scan_of_the_left_atrium(shared_data):
    volume = read_volume(shared_data / "la" / "imagesTr" / "la_001.nii.gz")
    assert volume.array.shape == volume.geometry.shape_zyx == (88, 140, 183)
    assert volume.geometry.spacing_zyx_mm == pytest.approx((0.625, 0.625, 0.625))


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def edit(path: Path, offset: int, form: str, value: float) -> Path:
    """Overwrites one number of a binary header."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, value)
    path.write_bytes(content)
    return path


def replace(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def damaged_gzip(folder: Path) -> Path:
    path = write(folder / "a.nii.gz", noise())
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # the checksum
    path.write_bytes(content)
    return path


def short_content(folder: Path) -> Path:
    """A whole gzip file whose content is cut."""
    nifti = write(folder / "a.nii", noise()).read_bytes()
    (folder / "b.nii.gz").write_bytes(gzip.compress(nifti[:-40]))
    return folder / "b.nii.gz"


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def with_value(folder: Path, value: float) -> Path:
    array = noise()
    array[1, 2, 3] = value
    return write(folder / "a.nrrd", array)


def colour(folder: Path) -> Path:
    image = sitk.GetImageFromArray(np.zeros((*SHAPE, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(folder / "a.nrrd"))
    return folder / "a.nrrd"


def four_volumes(folder: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, *SHAPE)), isVector=False), str(folder / "a.nii.gz"))
    return folder / "a.nii.gz"


SHEARED = (1, 0, 0, 0.4, 1, 0, 0, 0, 1)
BAD = {
    "missing": (lambda d: d / "none.nii.gz", "no such file"),
    "empty file": (lambda d: text(d / "a.nii.gz", ""), "cut short"),
    "no image": (lambda d: text(d / "a.nrrd", "hello"), "cannot be read"),
    "no gzip": (lambda d: text(d / "a.nii.gz", "hello"), "cut short"),
    "cut nii": (lambda d: cut(write(d / "a.nii"), 0.9), "cut short"),
    "cut nii.gz": (lambda d: cut(write(d / "a.nii.gz", noise()), 0.5), "cut short"),
    "nii.gz cut at its end": (lambda d: cut(write(d / "a.nii.gz", noise()), 0.995), "cut short"),
    "damaged nii.gz": (damaged_gzip, "cut short"),
    "short nii in a whole gz": (short_content, "cut short"),
    "cut nrrd": (lambda d: cut(write(d / "a.nrrd"), 0.9), "cannot be read"),
    "cut mha": (lambda d: cut(write(d / "a.mha"), 0.9), "cut short"),
    "cut img": (lambda d: cut(write(d / "a.img"), 0.9), "cut short"),
    "cut gipl": (lambda d: cut(write(d / "a.gipl", noise()), 0.5), "cut short"),
    "cut vtk": (lambda d: cut(write(d / "a.vtk", noise()), 0.5), "cut short"),
    "2-D": (lambda d: write(d / "a.nrrd", ramp()[0], (1, 1), (0, 0)), "2-D"),
    "picture": (lambda d: write(d / "a.png", ramp()[0].astype(np.uint8), (1, 1), (0, 0)), "2-D"),
    "one slice": (lambda d: write(d / "a.nii.gz", ramp()[:1]), "2-D"),
    "4-D": (four_volumes, "4-D"),
    "colour": (colour, "several numbers"),
    "NaN": (lambda d: with_value(d, math.nan), "not numbers"),
    "infinite": (lambda d: with_value(d, math.inf), "not numbers"),
    "constant": (lambda d: write(d / "a.nii.gz", np.full(SHAPE, 7, np.int16)), "the same"),
    "zero spacing nii": (lambda d: edit(write(d / "a.nii"), 80, "<f", 0), "spacing"),
    "negative spacing nii": (lambda d: edit(write(d / "a.nii"), 84, "<f", -1), "spacing"),
    "NaN spacing nii": (lambda d: edit(write(d / "a.nii"), 88, "<f", math.nan), "spacing"),
    "zero spacing mha": (
        lambda d: replace(write(d / "a.mha", spacing=(0.5, 1, 2)), b"Spacing = 0.5", b"Spacing = 0.0"),
        "spacing",
    ),
    "negative spacing mha": (
        lambda d: replace(write(d / "a.mha", spacing=(0.5, 1, 2)), b"Spacing = 0.5", b"Spacing = -.5"),
        "spacing",
    ),
    "sheared mha": (lambda d: write(d / "a.mha", direction=SHEARED), "right angles"),
    "sheared nrrd": (lambda d: write(d / "a.nrrd", direction=SHEARED), "right angles"),
    "absurd size": (
        lambda d: replace(write(d / "a.mha"), b"DimSize = 6 5 4", b"DimSize = 60000 50000 4"),
        "too large",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_volumes_are_refused_in_one_message(tmp_path, capfd, name):
    build, words = BAD[name]
    path = build(tmp_path)
    with pytest.raises(InputError) as refused:
        read_volume(path)
    error = refused.value
    assert words in error.what
    assert error.file == str(path)
    assert error.expected
    assert error.found
    assert error.do
    assert capfd.readouterr() == ("", "")  # ITK's own words would only be noise


@pytest.mark.parametrize("name", ["missing", "2-D", "4-D", "zero spacing nii", "sheared mha", "absurd size"])
def test_headers_alone_show_what_headers_can(tmp_path, name):
    build, words = BAD[name]
    with pytest.raises(InputError, match=words):
        read_geometry(build(tmp_path))


def test_the_message_counts_what_is_not_a_number(tmp_path):
    with pytest.raises(InputError) as refused:
        read_volume(with_value(tmp_path, math.nan))
    assert refused.value.found == "1 voxels are NaN or infinite"


def test_standard_error_is_back_after_reading(tmp_path, capfd):
    import os

    read_volume(write(tmp_path / "a.mha"))
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
