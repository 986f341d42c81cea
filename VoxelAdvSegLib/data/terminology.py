"""What an organ is called in SNOMED CT, in the seven-part text that 3D Slicer keeps with a segment.

context~category~type~type modifier~anatomic context~region~region modifier, each code as
scheme^value^meaning, "^^" where there is none. The codes are those of DICOM PS3.16.
"""

from __future__ import annotations

from dataclasses import dataclass

from VoxelAdvSegLib.data.organs import normalized_name

CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
ANATOMIC_CONTEXT = "Anatomic codes - DICOM master list"
PARTS = 7


@dataclass(frozen=True)
class Code:
    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"


@dataclass(frozen=True)
class Terminology:
    """The codes a segment carries: its category, its type, and the side or part of it, if told."""

    category: Code
    type: Code
    modifier: Code | None = None

    def __str__(self) -> str:
        modifier = self.modifier or "^^"
        return f"{CONTEXT}~{self.category}~{self.type}~{modifier}~{ANATOMIC_CONTEXT}~^^~^^"


TISSUE = Terminology(Code("SCT", "85756007", "Tissue"), Code("SCT", "85756007", "Tissue"))
# The code Slicer's own list and most DICOM SEG writers use for the category.
ANATOMICAL_STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")

STRUCTURES = {
    "left atrium": Code("SCT", "82471001", "Left atrium"),
    "hippocampus": Code("SCT", "5366008", "Hippocampus"),
    "brainstem": Code("SCT", "119238007", "Brain Stem"),
    "brain stem": Code("SCT", "119238007", "Brain Stem"),
    "spinal cord": Code("SCT", "2748008", "Spinal cord"),
    "parotid": Code("SCT", "45289007", "Parotid gland"),
    "parotid gland": Code("SCT", "45289007", "Parotid gland"),
    "mandible": Code("SCT", "91609006", "Mandible"),
    "larynx": Code("SCT", "4596009", "Larynx"),
    "spleen": Code("SCT", "78961009", "Spleen"),
    "kidney": Code("SCT", "64033007", "Kidney"),
    "gallbladder": Code("SCT", "28231008", "Gallbladder"),
    "gall bladder": Code("SCT", "28231008", "Gallbladder"),
    "esophagus": Code("SCT", "32849002", "Esophagus"),
    "liver": Code("SCT", "10200004", "Liver"),
    "stomach": Code("SCT", "69695003", "Stomach"),
    "pancreas": Code("SCT", "15776009", "Pancreas"),
    "duodenum": Code("SCT", "38848004", "Duodenum"),
}
MODIFIERS = {
    "left": Code("SCT", "7771000", "Left"),
    "right": Code("SCT", "24028007", "Right"),
    "anterior": Code("SCT", "255549009", "Anterior"),
    "posterior": Code("SCT", "255551008", "Posterior"),
}


def terminology_of(name: str) -> str:
    """Slicer's text for an organ's name; the generic tissue where the name is not known."""
    name = normalized_name(name)
    if name in STRUCTURES:
        return str(Terminology(ANATOMICAL_STRUCTURE, STRUCTURES[name]))
    words = name.split()
    sides = [word for word in words if word in MODIFIERS]
    rest = " ".join(word for word in words if word not in MODIFIERS)
    if rest in STRUCTURES and len(sides) == 1:
        return str(Terminology(ANATOMICAL_STRUCTURE, STRUCTURES[rest], MODIFIERS[sides[0]]))
    return str(TISSUE)


def parse_terminology(text: str) -> Terminology:
    """Category, type and type modifier of Slicer's text; the generic tissue where it has none."""
    parts = [part.split("^") for part in text.split("~")]
    if len(parts) != PARTS or not all(_is_code(part) for part in parts[1:3]):
        return TISSUE
    modifier = Code(*parts[3]) if _is_code(parts[3]) else None
    return Terminology(Code(*parts[1]), Code(*parts[2]), modifier)


def _is_code(part: list[str]) -> bool:
    return len(part) == 3 and all(part)
