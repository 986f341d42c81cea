"""A segmentation as a DICOM SEG object that refers to the series it was made on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.data import terminology
from VoxelAdvSegLib.data.alignment import align
from VoxelAdvSegLib.data.dicom import read_series_geometry, series_files
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.volume import Geometry, is_dicom
from VoxelAdvSegLib.errors import ConfigError, InputError

PRODUCT = "VoxelAdvSeg"
# Attributes DICOM wants present, if empty, in every image; anonymized images often lack them.
MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
MUST_BE_THERE = ("StudyInstanceUID", "FrameOfReferenceUID")
UTF_8 = "ISO_IR 192"
LONGEST_LABEL = 64  # of DICOM's values of the kind LO, in which a backslash parts several
SERIES_NUMBER_OFFSET = 1000  # sorts behind the scanner's own series


def build_dicom_seg(
    array: np.ndarray, geometry: Geometry, organs: Sequence[Organ], source: Path | None, path: Path
) -> Segmentation:
    """A binary DICOM SEG of class indices (z, y, x), one segment for each organ that is there.

    source: the series the volume was read from; its patient and study are taken over and its
    slices referred to. Where no organ was found all organs are listed with empty frames, as DICOM
    knows no segmentation without segments. Raises ConfigError when the source is not DICOM,
    InputError when it lies on another grid.
    """
    if source is None or not is_dicom(Path(source)):
        raise ConfigError(
            "DICOM SEG needs the DICOM series that was segmented", file=path,
            expected="a DICOM folder as input", found=str(source or "none"),
            do="choose the format seg.nrrd or nii.gz",
        )  # fmt: skip
    source = Path(source)
    grid = read_series_geometry(source)
    array = align(np.asarray(array), geometry, grid, path)
    present = [index for index in range(len(organs)) if np.any(array == index + 1)]
    listed = present or list(range(len(organs)))
    for index in listed:
        if len(organs[index].name) > LONGEST_LABEL or "\\" in organs[index].name:
            raise InputError(
                "DICOM cannot hold the name of an organ", file=path,
                expected=f"at most {LONGEST_LABEL} characters without a backslash", found=organs[index].name[:200],
                do="choose the format seg.nrrd or nii.gz, or train with shorter names",
            )  # fmt: skip
    numbers = np.zeros(len(organs) + 1, np.uint8)
    numbers[[index + 1 for index in listed]] = np.arange(1, len(listed) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom and highdicom remark on the scanner's header
        images = [_read_source(file) for file in series_files(source)]
        for image in images:
            if not image.get("SliceThickness"):
                image.SliceThickness = f"{grid.spacing_xyz_mm[2]:.8g}"  # highdicom takes it for granted
        return Segmentation(
            source_images=images,
            pixel_array=_volume(numbers[array], grid, images[0].FrameOfReferenceUID),
            segmentation_type="BINARY",
            segment_descriptions=[_describe(organs[index], n + 1) for n, index in enumerate(listed)],
            series_instance_uid=hd.UID(),
            series_number=int(images[0].get("SeriesNumber") or 0) + SERIES_NUMBER_OFFSET,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=PRODUCT,
            software_versions=__version__,
            device_serial_number="0",
            series_description=f"{PRODUCT} segmentation",
            omit_empty_frames=bool(present),
        )


def _read_source(file: Path) -> pydicom.Dataset:
    image = pydicom.dcmread(file, stop_before_pixels=True)
    for name in MUST_BE_THERE:
        if not image.get(name):
            raise InputError(
                "the DICOM series cannot be referred to", file=file, expected=f"the attribute {name}",
                found="nothing", do="choose the format seg.nrrd or nii.gz",
            )  # fmt: skip
    image.decode()
    image.SpecificCharacterSet = UTF_8  # organs may be named in any script
    for name in MAY_BE_EMPTY:
        if name not in image:
            setattr(image, name, None)
    return image


def _volume(array: np.ndarray, grid: Geometry, frame_of_reference: str) -> hd.Volume:
    """The array with its grid in highdicom's terms: index order (z, y, x), millimetres, LPS."""
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(grid.direction, (3, 3)) * grid.spacing_xyz_mm)[:, ::-1]
    affine[:3, 3] = grid.origin_lps_mm
    return hd.Volume(array, affine, "PATIENT", frame_of_reference_uid=frame_of_reference)


def _describe(organ: Organ, number: int) -> SegmentDescription:
    words = terminology.parse_terminology(organ.terminology or terminology.terminology_of(organ.name))
    description = SegmentDescription(
        segment_number=number,
        segment_label=organ.name,
        segmented_property_category=_concept(words.category),
        segmented_property_type=_concept(words.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=PRODUCT, family=codes.cid7162.ArtificialIntelligence, version=__version__
        ),
        tracking_id=organ.name,
        tracking_uid=hd.UID(),
        display_color=hd.color.CIELabColor.from_rgb(*organ.color_rgb),
    )
    if words.modifier:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_concept(words.modifier)]
    return description


def _concept(code: terminology.Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)
