"""The command that writes the figures of docs/trust.md."""

import re
from pathlib import Path

import pytest

from Testing.conftest import REPOSITORY
from Testing.soak import BEGIN, END, read_records, read_table, table, with_rows, with_table
from Testing.soak_record import RECORDS, record


def test_what_tests_note_becomes_a_table(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(RECORDS, str(tmp_path))
    record("nothing is lost", "100 kills")
    record("files are refused", "8 | 9 files")
    record("nothing is lost", "0 half files")
    own = "Testing/test_soak.py::test_what_tests_note_becomes_a_table"
    assert table(read_records(tmp_path)) == [
        "| promise | test | figure |",
        "|---|---|---|",
        f"| nothing is lost | `{own}` | 100 kills; 0 half files |",
        f"| files are refused | `{own}` | 8 \\| 9 files |",
    ]


def test_outside_of_the_command_nothing_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(RECORDS, raising=False)
    monkeypatch.chdir(tmp_path)
    record("a promise", "a figure")
    assert not list(tmp_path.iterdir())


def test_only_the_place_of_the_table_changes():
    page = f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nThe end.\n"
    assert with_table(page, ["new"]) == page.replace("old", "new")
    with pytest.raises(ValueError, match="no place"):
        with_table("# Title\n", ["new"])


def test_some_rows_are_written_anew():
    def row(test: str, figure: str) -> dict[str, str]:
        return {"promise": "it | holds", "test": f"Testing/{test}", "figure": figure}

    page = with_table(f"{BEGIN}{END}\n", table([row("a.py::test_a", "1"), row("b.py::test_b", "2 | 3")]))
    assert read_table(page) == [row("a.py::test_a", "1"), row("b.py::test_b", "2 | 3")]
    page = with_rows(page, [row("a.py::test_a", "4"), row("c.py::test_c", "5")])
    assert {one["test"]: one["figure"] for one in read_table(page)} == {
        "Testing/a.py::test_a": "4", "Testing/b.py::test_b": "2 | 3", "Testing/c.py::test_c": "5",
    }  # fmt: skip


def test_every_test_named_on_the_page_is_there():
    page = (REPOSITORY / "docs" / "trust.md").read_text(encoding="utf-8")
    with_table(page, [])  # its place is there
    named = re.findall(r"\| `(Testing/[\w/]+\.py)::(\w+)` \|", page)
    for file, test in named:
        assert re.search(rf"^def {test}\(", (REPOSITORY / file).read_text(encoding="utf-8"), re.MULTILINE), test
