"""`make soak`: the long proofs of docs/trust.md, and the table of figures at that page's end.

Runs every test with the marker `soak` (long, not in `make test`) or `trust` (short, in both). They
kill and measure processes of their own alone, so two of them run at once. The page is written only
when all of them pass. Further words go to pytest, as a file or -k NAME, to run some of them: then
their rows are written anew, and the others stay.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from Testing.soak_record import RECORDS

BEGIN = "<!-- figures: written by make soak -->"
END = "<!-- end of figures -->"


def read_records(folder: Path) -> list[dict[str, str]]:
    """What the tests noted, in the order of the runs and of their lines."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]


def table(records: Sequence[dict[str, str]]) -> list[str]:
    """Lines of Markdown: a row for each promise and test, in the order in which they were noted first."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in records:
        rows.setdefault((one["promise"], one["test"]), []).append(one["figure"])
    promises = list(dict.fromkeys(promise for promise, _ in rows))
    ordered = sorted(rows, key=lambda row: promises.index(row[0]))
    return [
        "| promise | test | figure |",
        "|---|---|---|",
        *(f"| {_cell(p)} | `{_cell(t)}` | {_cell('; '.join(rows[p, t]))} |" for p, t in ordered),
    ]


def read_table(page: str) -> list[dict[str, str]]:
    """The rows that the page has."""
    rows = re.findall(
        r"^\| (.+) \| `(Testing/.+)` \| (.+) \|$", page.partition(BEGIN)[2].partition(END)[0], re.MULTILINE
    )
    names = ("promise", "test", "figure")
    return [dict(zip(names, (cell.replace("\\|", "|") for cell in row), strict=True)) for row in rows]


def with_rows(page: str, records: Sequence[dict[str, str]]) -> str:
    """The page with new rows for the tests of these records; rows of other tests stay."""
    new = {record["test"] for record in records}
    kept = [row for row in read_table(page) if row["test"] not in new]
    return with_table(page, table([*kept, *records]))


def with_table(page: str, lines: Sequence[str]) -> str:
    """The page with these lines between its two marks; raises ValueError where the marks are missing."""
    before, first, rest = page.partition(BEGIN)
    _, second, after = rest.partition(END)
    if not (first and second):
        raise ValueError(f"the page has no place for the figures: {BEGIN} ... {END}")
    return before + "\n".join([BEGIN, "", *lines, "", END]) + after


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns pytest's exit code; 0 and a new table when every test passed."""
    parser = argparse.ArgumentParser(prog="python -m Testing.soak", description=__doc__)
    parser.add_argument("--page", type=Path, required=True, help="page whose table is written anew")
    chosen, others = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "soak or trust", *others]
        code = subprocess.run(command, env={**os.environ, RECORDS: folder}, check=False).returncode
        records = read_records(Path(folder))
    print("\n".join(table(records)))
    if code == 0:
        page = chosen.page.read_text("utf-8")
        chosen.page.write_text(with_rows(page, records) if others else with_table(page, table(records)), "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
