"""What a .seg.nrrd says of its segments besides their voxels, on a real header of 3D Slicer's."""

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.data.segments import list_segments, read_seg_nrrd
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.data.volume import read_header


@pytest.fixture
def write(tmp_path):
    """Writes a segmentation of one segment with voxels, its header fields over the usual ones."""

    def write(**fields):
        image = sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8))
        usual = {"ID": "Segment_1", "Name": "liver", "LabelValue": "1", "Layer": "0"}
        for key, text in {**usual, **fields}.items():
            image.SetMetaData(f"Segment0_{key}", text)
        path = tmp_path / "s.seg.nrrd"
        sitk.WriteImage(image, str(path))
        return path

    return write


def read(path):
    _, (segment,) = read_seg_nrrd(read_header(path), path)
    return segment


def test_color_code_and_status_are_read(write):
    code = terminology_of("liver")
    path = write(
        Color="0.866667 0.509804 0.396078",
        Tags=f"DicomRtImport.RoiNumber:3|Segmentation.Status:inprogress|TerminologyEntry:{code}|",
    )
    segment = read(path)
    assert segment.color_rgb == (221, 130, 101)
    assert segment.terminology == code
    assert segment.status == "inprogress"
    assert list_segments(read_header(path)) == [("liver", code)]


@pytest.mark.parametrize(
    ("fields", "color", "terminology", "status"),
    [
        ({}, None, "", ""),
        ({"Color": "red", "Tags": "nothing"}, None, "", ""),
        ({"Color": "1 1", "Tags": "|||"}, None, "", ""),
        ({"Color": "2 -1 nan"}, None, "", ""),
        ({"Color": "2 -1 0.5", "Tags": "TerminologyEntry:a:b~c"}, (255, 0, 128), "a:b~c", ""),
    ],
)
def test_what_is_missing_or_strange_says_nothing(write, fields, color, terminology, status):
    segment = read(write(**fields))
    assert (segment.color_rgb, segment.terminology, segment.status) == (color, terminology, status)
