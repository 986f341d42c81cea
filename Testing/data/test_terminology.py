"""Organ names as SNOMED CT codes, held against DICOM's own list in pydicom."""

import pytest
from pydicom.sr.codedict import codes

from VoxelAdvSegLib.data.terminology import MODIFIERS, STRUCTURES, TISSUE, parse_terminology, terminology_of

DICOM_KEYWORDS = {
    "left atrium": "LeftAtrium", "brainstem": "BrainStem", "brain stem": "BrainStem",
    "spinal cord": "SpinalCord", "parotid": "ParotidGland", "parotid gland": "ParotidGland",
    "gall bladder": "Gallbladder",
}  # fmt: skip


@pytest.mark.parametrize("name", [*STRUCTURES, *MODIFIERS])
def test_codes_are_those_of_dicom(name):
    code = (STRUCTURES | MODIFIERS)[name]
    dicom = getattr(codes.SCT, DICOM_KEYWORDS.get(name, name.capitalize()))
    assert (code.scheme, code.value, code.meaning) == ("SCT", dicom.value, dicom.meaning)


def test_slicers_text_has_seven_parts():
    assert terminology_of("Left_Kidney") == (
        "Segmentation category and type - 3D Slicer General Anatomy list"
        "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left"
        "~Anatomic codes - DICOM master list~^^~^^"
    )


@pytest.mark.parametrize(
    ("name", "meaning", "side"),
    [
        ("left atrium", "Left atrium", None),  # an organ of its own, no left half of an atrium
        ("right parotid", "Parotid gland", "Right"),
        ("hippocampus-anterior", "Hippocampus", "Anterior"),
        ("Spinal Cord", "Spinal cord", None),
        ("anterior", "Tissue", None),  # of what, nobody said
        ("left right kidney", "Tissue", None),
        ("tumour", "Tissue", None),
    ],
)
def test_names_are_understood(name, meaning, side):
    words = parse_terminology(terminology_of(name))
    assert words.type.meaning == meaning
    assert (words.modifier and words.modifier.meaning) == side


@pytest.mark.parametrize("text", ["", "liver", "a~b~c~d~e~f~g", "~^^~^^~^^~~^^~^^"])
def test_text_without_codes_means_tissue(text):
    assert parse_terminology(text) == TISSUE
