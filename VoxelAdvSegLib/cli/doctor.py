"""`doctor`: every problem of a data set at once, in a table."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from VoxelAdvSegLib.cli.progress import Progress
from VoxelAdvSegLib.data.doctor import SEVERITIES, Diagnosis, examine
from VoxelAdvSegLib.data.facts import CaseFacts, Finding
from VoxelAdvSegLib.data.manifest import SPLITS
from VoxelAdvSegLib.table import align

UNUSABLE = 1
PLAIN_WIDTH = 110  # where the output is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="M.json", help="the list of cases")
    parser.add_argument("--anywhere", action="store_true", help="the manifest may name files outside its folder")
    parser.add_argument("--cases", action="store_true", help="also list every case with its size and organs")


def run(arguments: argparse.Namespace) -> int:
    """Prints the diagnosis; 1 when something is unusable, else 0."""
    with Progress() as progress:
        diagnosis = examine(arguments.data, progress, arguments.anywhere)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PLAIN_WIDTH
    print(describe(diagnosis, every_case=arguments.cases, width=width))
    return 0 if diagnosis.usable else UNUSABLE


def describe(diagnosis: Diagnosis, every_case: bool = False, width: int = PLAIN_WIDTH) -> str:
    """What the data set is like, what is wrong with it, and the conclusion, as text."""
    parts = [_overview(diagnosis)]
    if any(case.organs for case in diagnosis.cases):
        parts.append(_organ_table(diagnosis))
    if every_case and diagnosis.cases:
        parts.append(_case_table(diagnosis.cases))
    if diagnosis.findings:
        parts.append(_finding_table(diagnosis.findings, width))
    parts.append(_conclusion(diagnosis))
    return "\n\n".join(parts)


def _overview(diagnosis: Diagnosis) -> str:
    rows = [["role", "cases", "usable", "size x, y, z (voxels)", "spacing x, y, z (mm)", "values"]]
    for role in SPLITS:
        listed = diagnosis.manifest.split(role)
        cases = [case for case in diagnosis.cases if case.role == role]
        row = [role, str(len(listed)), str(len(cases)), "", "", ""]
        if cases:
            row[3] = _ranges([case.grid.shape_zyx[::-1] for case in cases])
            row[4] = _ranges([case.grid.spacing_xyz_mm for case in cases])
            row[5] = _range([value for case in cases for value in case.intensity_range])
        rows.append(row)
    return f"{diagnosis.manifest.path.name}\n\n{align(rows, left=(0, 3, 4, 5))}"


def _organ_table(diagnosis: Diagnosis) -> str:
    labeled = [case for case in diagnosis.cases if case.organs]
    rows = [["organ", "in labels", "median ml", "smallest-largest ml"]]
    for organ in diagnosis.manifest.organs:
        volumes = [case.organs[organ.name].volume_ml for case in labeled if organ.name in case.organs]
        row = [organ.name, f"{len(volumes)} of {len(labeled)}", "", ""]
        if volumes:
            row[2:] = [_number(float(np.median(volumes))), _range(volumes)]
        rows.append(row)
    return align(rows, left=(0, 3))


def _case_table(cases: Sequence[CaseFacts]) -> str:
    rows = [["case", "role", "size (voxels)", "spacing (mm)", "stored", "values", "organs"]]
    for case in cases:
        rows.append(
            [
                case.name,
                case.role,
                _ranges([case.grid.shape_zyx[::-1]]),
                _ranges([case.grid.spacing_xyz_mm]),
                case.orientation,
                _range(case.intensity_range),
                ", ".join(case.organs),
            ]
        )
    return align(rows, left=range(7))


def _finding_table(findings: Sequence[Finding], width: int) -> str:
    heads = ("", "case", "role", "what was found, and what to do")
    rows = [(finding.severity, finding.case or "(data set)", finding.role) for finding in findings]
    widths = [max(map(len, column)) for column in zip(heads[:3], *rows, strict=True)]
    indent = sum(widths) + 2 * len(widths)
    text_width = max(width - indent, 40)
    lines = ["  ".join([*(head.ljust(n) for head, n in zip(heads, widths, strict=False)), heads[3]])]
    for row, finding in zip(rows, findings, strict=True):
        text = textwrap.wrap(finding.message, text_width, break_on_hyphens=False)
        text += textwrap.wrap(f"-> {finding.do}", text_width, subsequent_indent="   ", break_on_hyphens=False)
        start = "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)) + "  "
        lines += [start + text[0], *(" " * indent + line for line in text[1:])]
    return "\n".join(lines)


def _conclusion(diagnosis: Diagnosis) -> str:
    counts = {name: sum(f.severity == name for f in diagnosis.findings) for name in SEVERITIES}
    told = [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count]
    summary = f" ({', '.join(told)})" if told else ""
    if diagnosis.usable:
        return f"Every case can be used{summary}."
    return f"Not every case can be used{summary}: repair the errors first."


def _ranges(rows: Iterable[Sequence[float]]) -> str:
    return " x ".join(_range(column) for column in zip(*rows, strict=True))


def _range(values: Sequence[float]) -> str:
    low, high = _number(min(values)), _number(max(values))
    return low if low == high else f"{low} to {high}" if low.startswith("-") else f"{low}-{high}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"
