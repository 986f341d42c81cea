"""What users of other tools complain about: docs/testing.md answers each, and what stands there is true.

Here are also the answers that are about the library as a whole; the others are beside the code.
"""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENT = (REPOSITORY / "docs" / "testing.md").read_text(encoding="utf-8")
COMPLAINTS = range(1, 41)
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`(Testing/[\w/]+\.py(?:::\w+)+)`")
ONLY_IN_SLICER = re.compile(r"in a real Slicer only: (\d+)")
NAMED = re.compile(r"^(\d+)\. ", re.MULTILINE)
# Modules that reach other computers or listen for them, and those whose helpers die behind the back of a training.
NETWORK = {"socket", "socketserver", "http", "urllib", "requests", "httpx", "aiohttp", "asyncio", "ssl", "xmlrpc"}
NETWORK |= {"ftplib", "smtplib", "websockets", "flask", "fastapi", "uvicorn", "webbrowser"}
HELPERS = {"multiprocessing", "torch.multiprocessing", "torch.utils.data"}


def rows():
    """(number, complaint, answer) of the table, in its order."""
    return [(int(number), complaint, answer) for number, complaint, answer in ROW.findall(DOCUMENT)]


def names_in(file):
    """The tests of a file as "test_a" and "Case::test_b"."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return names


def imported(file):
    """Modules that a file imports, at its top or within functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_complaint_is_answered_once():
    assert [number for number, _, _ in rows()] == list(COMPLAINTS)


@pytest.mark.parametrize("number, complaint, answer", rows(), ids=[str(number) for number, _, _ in rows()])
def test_an_answer_names_tests_that_are_there_or_what_only_slicer_shows(number, complaint, answer):
    tests, lines = TEST.findall(answer), ONLY_IN_SLICER.findall(answer)
    assert tests or lines, f"{number}: {complaint} has no answer"
    assert answer.count("`") == 2 * len(tests), f"{number}: a name that is no test"
    for test in tests:
        path, _, name = test.partition("::")
        assert (REPOSITORY / path).is_file() and name in names_in(REPOSITORY / path), f"{number}: no test {test}"
        assert name.rpartition("::")[2].startswith("test_")
    section = DOCUMENT.partition("## Inside a real Slicer")[2].partition("\n## ")[0]
    assert {int(line) for line in lines} <= {int(line) for line in NAMED.findall(section)}, number


def library():
    return sorted((REPOSITORY / "VoxelAdvSegLib").rglob("*.py")) + sorted((REPOSITORY / "VoxelAdvSeg").rglob("*.py"))


def test_there_is_no_server_and_nothing_reaches_another_computer():
    found = {f"{file.name}: {name}" for file in library() for name in imported(file) if name.split(".")[0] in NETWORK}
    assert found == set()


def test_a_training_has_no_background_workers_that_could_die():
    found = {f"{file.name}: {name}" for file in library() for name in imported(file) if name in HELPERS}
    assert found == set()
