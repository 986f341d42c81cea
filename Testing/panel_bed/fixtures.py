"""Fixtures of the panel's tests: `from panel_bed.fixtures import bed  # noqa: F401` in a conftest.py."""

import pytest
from panel_bed.bed import Bed
from slicer_bed.vtk_errors import callback_errors, vtk_errors


@pytest.fixture
def bed(tmp_path, request):
    """A fresh application. Errors of VTK, exceptions in slots and callbacks, and dialogs without an answer fail.

    `@pytest.mark.parametrize("bed", [{"release": "5.10"}], indirect=True)` gives the names of that release only,
    `{"window": False}` an application without a main window.
    """
    with vtk_errors(), callback_errors():
        bed = Bed(tmp_path / "slicer", **getattr(request, "param", {}))
        try:
            yield bed
            bed.answers.finish()
        finally:
            bed.close()
            bed.answers.finish()
