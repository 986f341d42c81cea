"""The tables of a benchmark's report, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from VoxelAdvSegLib.benchmark.plan import Benchmark
from VoxelAdvSegLib.benchmark.published import Published
from VoxelAdvSegLib.benchmark.rows import ABLATION, Row
from VoxelAdvSegLib.evaluation.metrics import METRICS
from VoxelAdvSegLib.evaluation.statistics import Difference, Report, Spread, compare, paired, spread

# metric, title, factor and digits: overlaps in percent, as the papers print them
COLUMNS = (
    ("dice", "Dice %", 100, 2), ("jaccard", "Jaccard %", 100, 2), ("hd95_voxel", "95HD voxel", 1, 2),
    ("asd_voxel", "ASD voxel", 1, 2), ("assd_voxel", "ASSD voxel", 1, 2), ("hd95_mm", "95HD mm", 1, 2),
    ("assd_mm", "ASSD mm", 1, 2),
)  # fmt: skip
PENALIZED = ("missed", "false_present")


@dataclass(frozen=True)
class Measured:
    """A row with its reports by seed."""

    row: Row
    reports: Mapping[int, Report]

    def spread(self, metric: str, organ: str | None = None) -> Spread:
        """Of the runs' means over organs, or of one organ."""
        return spread([(r["organs"][organ] if organ else r["mean"])[metric] for r in self.reports.values()])


def measured_rows(benchmark: Benchmark) -> list[Measured]:
    """The rows that have a result, in the benchmark's order."""
    rows = []
    for row in benchmark.rows:
        found = {run.seed: run.read_result() for run in benchmark.runs() if run.row.name == row.name}
        reports = {seed: result for seed, result in found.items() if result is not None}
        if reports:
            rows.append(Measured(row, reports))
    return rows


def main_table(rows: Sequence[Measured], published: Mapping[str, Published]) -> str:
    """Table I's form: metrics as mean (sd over seeds), the paired difference to the first row, and publications."""
    header = ["method", "seeds", *(title for _, title, _, _ in COLUMNS), "Dice % against the first", "better?"]
    if published:
        header += ["published: Dice, Jaccard, 95HD, ASSD", "its protocol"]
    lines = []
    for row in rows:
        cells = [row.row.title, str(len(row.reports))]
        cells += [show(row.spread(metric), factor, digits) for metric, _, factor, digits in COLUMNS]
        cells += _against(rows[0], row)
        if published:
            cells += _published(published.get(row.row.name))
        lines.append(cells)
    return markdown([header, *lines])


def organ_table(rows: Sequence[Measured], published: Mapping[str, Published]) -> str:
    """Table II's form: Dice of each organ."""
    organs = list(next(iter(rows[0].reports.values()))["organs"])
    lines = [["method", *organs, "mean"]]
    for row in rows:
        lines.append([row.row.title, *(show(row.spread("dice", o), 100, 2) for o in organs), show(row.spread("dice"))])
        known = published.get(row.row.name)
        if known and len(known.organs) == len(organs):
            lines.append(["  published", *(f"{d:.2f}" for d in known.organs), f"{known.dice:.2f}"])
    return markdown(lines)


def ablation_rows(rows: Sequence[Measured]) -> list[Measured]:
    return [row for row in rows if row.row.name in ABLATION]


def penalty_notes(rows: Sequence[Measured]) -> list[str]:
    """A sentence for each row with organs missed or found where there are none: their scores are penalties."""
    notes = []
    for row in rows:
        counts = [
            sum(organ[outcome] for report in row.reports.values() for organ in report["organs"].values())
            for outcome in PENALIZED
        ]
        if any(counts):
            notes.append(
                f"{row.row.title}: {counts[0]} times an organ was missed, {counts[1]} times found where there is none."
            )
    return notes


def case_csv(rows: Sequence[Measured]) -> str:
    """One line per row, seed, case and organ, with every metric."""
    lines: list[list[Any]] = [["row", "method", "seed", "case", "organ", "outcome", *METRICS]]
    for row in rows:
        for seed, report in sorted(row.reports.items()):
            for case in report["cases"]:
                for organ, scores in case["organs"].items():
                    values = ["" if scores[metric] is None else repr(scores[metric]) for metric in METRICS]
                    lines.append([row.row.name, row.row.method, seed, case["name"], organ, scores["outcome"], *values])
    return _csv(lines)


def summary_csv(rows: Sequence[Measured]) -> str:
    """One line per row: mean and sd of every metric over seeds, and the paired difference of Dice."""
    header = ["row", "method", "seeds", *(f"{m}_{what}" for m in METRICS for what in ("mean", "sd"))]
    header += ["difference", "low", "high", "cases", "better"]
    lines: list[list[Any]] = [header]
    for row in rows:
        spreads = [row.spread(metric) for metric in METRICS]
        d = paired(rows[0].reports, row.reports)
        numbers = [v for s in spreads for v in (s.mean, s.sd)] + [d.mean, d.low, d.high]
        cells = ["" if v is None else repr(v) for v in numbers]
        lines.append([row.row.name, row.row.method, len(row.reports), *cells, d.cases, compare(d)])
    return _csv(lines)


def show(value: Spread, factor: float = 100, digits: int = 2) -> str:
    """Mean, with the sd between seeds in brackets."""
    if value.mean is None:
        return "-"
    sd = "" if value.sd is None else f" ({value.sd * factor:.{digits}f})"
    return f"{value.mean * factor:.{digits}f}{sd}"


def show_difference(d: Difference) -> str:
    """In percent points, with its interval."""
    if d.mean is None:
        return "-"
    between = "" if d.low is None or d.high is None else f" [{100 * d.low:+.2f}, {100 * d.high:+.2f}]"
    return f"{100 * d.mean:+.2f}{between}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is its header."""
    safe = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rule = ["---"] * len(lines[0])
    return "\n".join("| " + " | ".join(line) + " |" for line in (safe[0], rule, *safe[1:]))


def _against(first: Measured, row: Measured) -> list[str]:
    if row is first:
        return ["first", ""]
    difference = paired(first.reports, row.reports)
    verdict = compare(difference)
    # One seed says nothing of the spread between seeds: the reader is told where it matters.
    alone = ", on one seed" if difference.seeds == 1 and verdict != "cannot tell" else ""
    return [show_difference(difference), verdict + alone]


def _published(figures: Published | None) -> list[str]:
    if figures is None:
        return ["-", ""]
    return [f"{figures.dice:.2f}, {figures.jaccard:.2f}, {figures.hd95:.2f}, {figures.assd:.2f}", figures.protocol]


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
