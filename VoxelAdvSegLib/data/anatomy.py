"""What stands out when the labels of a data set are compared with each other."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from VoxelAdvSegLib.data.facts import (
    FEWEST_TO_COMPARE,
    RARE_FRACTION,
    CaseFacts,
    Finding,
    list_names,
    median,
    outliers,
)
from VoxelAdvSegLib.data.manifest import Manifest

ORGAN_VOLUME_FACTOR = 4
# Two organs have an order along an axis when their distance along it is this many times its median
# deviation between cases, and this part of their distance in space.
CLEAR_ORDER = 6
CLEAR_PART = 0.25

# Growing coordinate of the axes x, y, z in the LPS world, and the other way.
DIRECTIONS_LPS = (("left of", "right of"), ("behind", "in front of"), ("above", "below"))
SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}


def compare_labels(manifest: Manifest, cases: Sequence[CaseFacts]) -> list[Finding]:
    """Findings from the organs of labeled cases: absent, cut off, of odd volume, or in odd places."""
    labeled = [case for case in cases if case.organs]
    sides = list(_sides(manifest, labeled))
    mirrored = {(finding.case, finding.role) for finding in sides}
    return [
        *_absent_organs(manifest, labeled),
        *_cut_organs(manifest, labeled),
        *_organ_volumes(manifest, labeled),
        *sides,
        *(found for found in _arrangement(manifest, labeled) if (found.case, found.role) not in mirrored),
    ]


def _absent_organs(manifest: Manifest, labeled: Sequence[CaseFacts]) -> Iterator[Finding]:
    for role in ("training", "validation", "test"):
        cases = [case for case in labeled if case.role == role]
        for organ in manifest.organs if cases else ():
            without = [case.name for case in cases if organ.name not in case.organs]
            if len(without) == len(cases):
                yield Finding(
                    "warning" if role == "training" else "note",
                    f"no label in '{role}' has {organ.name}",
                    "label it in some cases, or remove it from 'labels'; it cannot be learned"
                    if role == "training" else "nothing; its quality cannot be measured there",
                    role=role,
                )  # fmt: skip
            elif without:
                yield Finding(
                    "note",
                    f"{organ.name} is missing in {len(without)} of {len(cases)} labels: {list_names(without)}",
                    "nothing where it is not in view; otherwise label it: voxels count as background",
                    role=role,
                )


def _cut_organs(manifest: Manifest, labeled: Sequence[CaseFacts]) -> Iterator[Finding]:
    for organ in manifest.organs:
        present = [case for case in labeled if organ.name in case.organs]
        cut = [case.name for case in present if case.organs[organ.name].at_border]
        if cut:
            rare = len(cut) <= RARE_FRACTION * len(present)
            yield Finding(
                "warning" if rare else "note",
                f"{organ.name} reaches the edge of the scan in {len(cut)} of {len(present)} labels: "
                f"{list_names(cut)}",
                "check whether these scans are cropped too tightly"
                if rare else "nothing; volumes are of the part in view",
            )  # fmt: skip


def _organ_volumes(manifest: Manifest, labeled: Sequence[CaseFacts]) -> Iterator[Finding]:
    for organ in manifest.organs:
        volumes = {case: case.organs[organ.name].volume_ml for case in labeled if organ.name in case.organs}
        for case in outliers(volumes, ORGAN_VOLUME_FACTOR):
            yield Finding(
                "warning",
                f"{organ.name} has {volumes[case]:.3g} ml, in most cases about {median(volumes):.3g} ml",
                "look at this label: a part may be missing, or another organ bears its name",
                case.name,
                case.role,
            )


def _sides(manifest: Manifest, labeled: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Organs whose names say left and right, against the patient's sides as the header tells them."""
    for left, right in _side_pairs([organ.name for organ in manifest.organs]):
        both = [case for case in labeled if left in case.organs and right in case.organs]
        swapped = [case for case in both if _offset_lps_mm(case, right, left)[0] < 0]
        if len(swapped) == len(both) > 1:
            yield Finding(
                "warning",
                f"{left} lies on the patient's right of {right} in all {len(both)} labels",
                "check whether the names are swapped, or the headers mirror the scans",
            )
            continue
        for case in swapped:
            yield Finding(
                "warning",
                f"{left} lies on the patient's right of {right}",
                "check whether the names are swapped, or the header mirrors the scan",
                case.name,
                case.role,
            )


def _arrangement(manifest: Manifest, labeled: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Organs that lie the other way round than in most cases, along any axis of the patient."""
    names = [organ.name for organ in manifest.organs]
    odd: dict[CaseFacts, list[str]] = defaultdict(list)
    for first, second in itertools.combinations(names, 2):
        both = [case for case in labeled if first in case.organs and second in case.organs]
        if len(both) < FEWEST_TO_COMPARE:
            continue
        offsets = np.array([_offset_lps_mm(case, second, first) for case in both])
        usual = np.median(offsets, axis=0)
        spread = np.median(np.abs(offsets - usual), axis=0)
        ordered = np.abs(usual) > np.maximum(CLEAR_ORDER * spread, CLEAR_PART * np.linalg.norm(usual))
        for axis in np.flatnonzero(ordered):
            opposite = offsets[:, axis] * np.sign(usual[axis]) < -0.5 * abs(usual[axis])
            for index in np.flatnonzero(opposite):
                where = DIRECTIONS_LPS[axis][0 if offsets[index, axis] > 0 else 1]
                odd[both[index]].append(f"{first} lies {where} {second}")
    for case, relations in odd.items():
        yield Finding(
            "warning",
            f"{list_names(relations, 2)}, unlike in the other cases",
            "check whether the scan is mirrored, or the names of organs are swapped",
            case.name,
            case.role,
        )


def _side_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs (left, right) of names that differ in the side alone."""
    by_rest: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        words = [word for word in re.split(r"[^a-z0-9]+", name.casefold()) if word]
        sides = [SIDES[word] for word in words if word in SIDES]
        if len(sides) == 1:
            by_rest[tuple(word for word in words if word not in SIDES)][sides[0]] = name
    return [(pair["left"], pair["right"]) for pair in by_rest.values() if len(pair) == 2]


def _offset_lps_mm(case: CaseFacts, start: str, end: str) -> np.ndarray:
    return np.subtract(case.organs[end].center_lps_mm, case.organs[start].center_lps_mm)
