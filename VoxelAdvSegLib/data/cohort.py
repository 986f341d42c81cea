"""What stands out when the scans of a data set are compared with each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from VoxelAdvSegLib.data.facts import (
    FEWEST_TO_COMPARE,
    CaseFacts,
    Finding,
    far_from_median,
    list_names,
    outliers,
)
from VoxelAdvSegLib.data.manifest import Manifest
from VoxelAdvSegLib.data.volume import Geometry

INTENSITY_FACTOR = 10
SPACING_FACTOR = 2
EXTENT_FACTOR = 3
FEWEST_VOXELS = 16  # the network halves a patch four times


def compare_scans(manifest: Manifest, cases: Sequence[CaseFacts]) -> list[Finding]:
    """Findings from the scans alone: repeated, or unlike the others in grey values or grid."""
    return [
        *_same_scans(cases),
        *_intensities(manifest, cases),
        *_grids(cases),
        *_orientations(cases),
    ]


def _same_scans(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    by_content = defaultdict(list)
    for case in cases:
        by_content[case.content].append(case)
    for same in by_content.values():
        files = {case.image.resolve(): case for case in same}  # one file twice is told elsewhere
        first, *others = files.values()
        for other in others:
            across = other.role != first.role
            yield Finding(
                "error" if across else "warning",
                f"the same scan as {first.name} in '{first.role}': every voxel is equal",
                "keep it in one list only" if across else "keep one of the two, unless repeated on purpose",
                other.name,
                other.role,
            )


def _intensities(manifest: Manifest, cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    for case in cases:
        modality = case.modality or manifest.modality
        if case.modality and manifest.modality and case.modality != manifest.modality:
            yield Finding(
                "warning", f"the file says {case.modality}, the manifest {manifest.modality}",
                "correct 'modality' in the manifest, or remove the case", case.name, case.role,
            )  # fmt: skip
        if modality == "CT" and case.intensity_range[0] >= 0:
            yield Finding(
                "warning",
                f"CT without a value below 0 (lowest {case.intensity_range[0]:g}): not in Hounsfield units?",
                "export again with rescale slope and intercept applied", case.name, case.role,
            )  # fmt: skip
    scales = {case: _scale(case) for case in cases}
    odd = far_from_median(scales, INTENSITY_FACTOR)
    if len(cases) >= FEWEST_TO_COMPARE and odd:
        low, high = min(odd, key=_brightest), max(odd, key=_brightest)
        examples = [low] if low is high else [low, high]
        reached = " and ".join(f"{_grey(_brightest(case))} in {case.name}" for case in examples)
        usual = float(np.median([_brightest(case) for case in cases]))
        yield Finding(
            "warning",
            f"intensities of {len(odd)} of {len(cases)} scans are on another scale "
            f"(brightest value {reached}, most often about {_grey(usual)}): "
            f"{list_names([case.name for case in odd])}",
            "nothing for MR with the preset auto, which scales each scan by itself; a CT: export it again",
        )


def _grids(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    spacing_odd, extent_odd = set(), set()
    for axis in range(3):
        spacing = {case: case.grid.spacing_xyz_mm[axis] for case in cases}
        extent = {case: _extent_xyz_mm(case)[axis] for case in cases}
        spacing_odd.update(outliers(spacing, SPACING_FACTOR))
        extent_odd.update(outliers(extent, EXTENT_FACTOR))
    usual_spacing = np.median([case.grid.spacing_xyz_mm for case in cases], axis=0).tolist() if cases else []
    usual_extent = np.median([_extent_xyz_mm(case) for case in cases], axis=0).tolist() if cases else []
    for case in cases:
        if min(case.grid.shape_zyx) < FEWEST_VOXELS:
            yield Finding(
                "warning",
                f"very small: {_size(case.grid)} voxels",
                f"check that it is the whole scan; fewer than {FEWEST_VOXELS} are filled up at the edges",
                case.name,
                case.role,
            )
        if case in spacing_odd:
            yield Finding(
                "warning",
                f"voxels of {_lengths(case.grid.spacing_xyz_mm)}, in most scans {_lengths(usual_spacing)}",
                "check the header; a scan this much coarser or finer helps little", case.name, case.role,
            )  # fmt: skip
        if case in extent_odd:
            yield Finding(
                "warning",
                f"covers {_lengths(_extent_xyz_mm(case), 0)}, most scans {_lengths(usual_extent, 0)}",
                "check that it shows the same part of the body", case.name, case.role,
            )  # fmt: skip


def _orientations(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    counts = Counter(case.orientation for case in cases)
    if len(counts) > 1:
        stored = ", ".join(f"{letters} ({count})" for letters, count in counts.most_common())
        yield Finding(
            "note", f"scans are stored in different orientations: {stored}",
            "nothing: they are brought together by their headers",
        )  # fmt: skip


def _scale(case: CaseFacts) -> float:
    lowest, low, high, highest = case.intensity_range
    return high - low if high > low else highest - lowest


def _brightest(case: CaseFacts) -> float:
    return case.intensity_range[3]


def _extent_xyz_mm(case: CaseFacts) -> tuple[float, ...]:
    return tuple(n * step for n, step in zip(case.grid.shape_zyx[::-1], case.grid.spacing_xyz_mm, strict=True))


def _grey(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _size(grid: Geometry) -> str:
    return " x ".join(map(str, grid.shape_zyx[::-1]))


def _lengths(lengths_mm: Sequence[float], digits: int = 2) -> str:
    return " x ".join(f"{length:.{digits}f}" for length in lengths_mm) + " mm"
