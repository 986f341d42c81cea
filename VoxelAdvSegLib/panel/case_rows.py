"""Cases of a project as lines of the table, and what the check of the data found, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from slicer.i18n import tr as _

from VoxelAdvSegLib.data.facts import Finding
from VoxelAdvSegLib.errors import VoxelAdvSegError
from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.tables import Cell, Row
from VoxelAdvSegLib.project.records import ROLES, Case

SEVERITIES = ("error", "warning", "note")


def case_row(case: Case, findings: Sequence[Finding]) -> Row:
    """Findings, name, role, state, quality and last change."""
    return Row(
        case.id,
        (
            _findings_cell(findings),
            Cell(case.name, f"{case.id}: {case.image}"),
            Cell(case.role),
            Cell(case.state, case.reason),
            quality_cell(case),
            Cell(local_time(case.changed)[:10], local_time(case.changed)),
        ),
    )


def quality_cell(case: Case) -> Cell:
    """Probable Dice with its interval, or the certainty; the reason as tip. Sorted by the number."""
    if case.score is None:
        return Cell(tip=_("No prediction yet."), order=(-1,))
    number, text = case.score, f"{case.score:.2f}"
    if case.predicted is not None:
        number, low, high = case.predicted
        text = f"{number:.2f} ({low:.2f}-{high:.2f})"
    # A number that a scan of another kind makes meaningless does not stand there unmarked.
    return Cell(text, case.reason, icon="warning" if case.unlike else "", order=(round(1000 * number),))


def _findings_cell(findings: Sequence[Finding]) -> Cell:
    """Sorted by the worst of them, then by their number."""
    if not findings:
        return Cell(tip=_("Nothing was found."), order=(0, 0))
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    tip = "\n".join(_sentences(finding) for finding in ordered)
    worst = len(SEVERITIES) - SEVERITIES.index(ordered[0].severity)
    return Cell(str(len(findings)), tip, icon=ordered[0].severity, order=(worst, len(findings)))


def _sentences(finding: Finding) -> str:
    """What was found, and what to do, as a person would say it."""
    message = finding.message[:1].upper() + finding.message[1:].rstrip(".")
    words = _("{message}. What to do: {do}.") if finding.do else "{message}."
    return words.format(message=message, do=finding.do.rstrip("."))


def local_time(iso: str) -> str:
    """A time of the project as the clock on the wall had it: "2026-11-25 10:42"; sorts as text."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M") if iso else ""


def refusal(error: VoxelAdvSegError, case: Case) -> str:
    """Why something cannot be, with the name of the case in place of its pseudonym."""
    text = dialogs.plain(error)
    return text.replace(case.id.capitalize(), case.name).replace(case.id, case.name)


def roles_text(cases: Sequence[Case]) -> str:
    """How many cases have which role: "4 labeled, 30 unlabeled"."""
    counts = {role: sum(case.role == role for case in cases) for role in ROLES}
    return ", ".join(f"{count} {role}" for role, count in counts.items() if count)


def check_text(cases: Sequence[Case], findings: Mapping[str, Sequence[Finding]]) -> str:
    """What the check found: first what concerns all cases, then how many have what."""
    of_all = [_sentences(finding) for finding in findings.get("", ())]
    known = {case.id for case in cases}
    worst = [
        min(SEVERITIES.index(f.severity) for f in found) for case_id, found in findings.items()
        if case_id in known and found
    ]  # fmt: skip
    words = (_("{n} scans with an error"), _("{n} with a warning"), _("{n} with a note"))
    counts = [words[rank].format(n=worst.count(rank)) for rank in range(len(words)) if rank in worst]
    if counts:
        of_all.append(", ".join(counts) + ". " + _("Rest the pointer on the icons of the table to read more."))
    return "\n".join(of_all)
