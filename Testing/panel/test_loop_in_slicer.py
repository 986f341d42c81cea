"""The cases of Testing/in_slicer, which are for a real Slicer, run here on the bed without a change to them."""

import importlib
import re
import sys
import unittest
from pathlib import Path

import pytest
import qt
import slicer.util
from panel_bed.bed import Bed
from panel_bed.names import check, forms
from slicer_bed.vtk_errors import callback_errors, vtk_errors

from VoxelAdvSegLib.panel.bench import INTERPRETER_SETTING

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "VoxelAdvSeg" / "VoxelAdvSeg.py"
FOLDER = REPOSITORY / "Testing" / "in_slicer"
FILES = sorted(FOLDER.glob("*_in_slicer.py"))


def load(name):
    """A file of that folder as Slicer's test runner imports it: by its bare name."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


def cases():
    """The classes of all files by name; pytest makes a test of each of their methods."""
    found = {}
    for file in FILES:
        for name, value in vars(load(file.stem)).items():
            if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == file.stem:
                found[name] = value
    return found


CASES = cases()
globals().update(CASES)
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def application(tmp_path_factory):
    """One application for all cases, as in Slicer, in testing mode, with this Python as the one that works."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        bed = Bed(tmp_path_factory.mktemp("slicer"))
        try:
            bed.testing = True
            qt.QSettings().setValue(INTERPRETER_SETTING, sys.executable)
            bed.load_module(MODULE)
            bed.start_up_completed()
            patch.setattr(slicer.util, "selectModule", Selector(bed).select)
            yield bed
        finally:
            bed.close()


class Selector:
    """The module selector of the main window: leaves the open panel and opens another."""

    def __init__(self, bed):
        self.bed, self.open = bed, ""

    def select(self, name):
        if self.open and self.open != name:
            self.bed.leave_module(self.open)
        scripted = name == MODULE.stem
        if scripted and self.open != name:
            self.bed.open_module(name)
        self.open = name if scripted else ""


@pytest.fixture(autouse=True)
def nothing_goes_wrong(application):
    """Errors of VTK, exceptions in slots, and boxes that would open, fail the case."""
    with vtk_errors(), callback_errors():
        yield
    application.answers.finish()


def test_ctest_and_the_one_command_run_the_same_cases():
    listed = re.findall(r"\w+_in_slicer\.py", (FOLDER / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert sorted(listed) == [file.name for file in FILES]
    wanted = sum(len(unittest.TestLoader().getTestCaseNames(case)) for case in CASES.values())
    assert load("run_all").suite().countTestCases() == wanted >= 10


def test_the_cases_use_only_names_that_slicer_has():
    own = sorted((REPOSITORY / "VoxelAdvSegLib").rglob("*.py"))
    assert [str(one) for one in check(sorted(FOLDER.glob("*.py")), forms(REPOSITORY), [MODULE, *own])] == []
