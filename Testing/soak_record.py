"""How a test puts its figure into the table of docs/trust.md (see Testing/soak.py)."""

from __future__ import annotations

import json
import os
from pathlib import Path

RECORDS = "VOXELADVSEG_SOAK_RECORDS"  # environment variable: the folder that `make soak` collects


def record(promise: str, figure: str) -> None:
    """Notes what the test that runs has measured for a promise; does nothing outside of `make soak`.

    promise: in plain words, the same for all tests of one promise; figure: a number with what it
    counts. Both go into a table of Markdown. The test itself is known from pytest.
    """
    folder = os.environ.get(RECORDS)
    if folder is None:
        return
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("[")[0]
    line = json.dumps({"promise": promise, "test": test, "figure": figure}, ensure_ascii=False)
    with (Path(folder) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
