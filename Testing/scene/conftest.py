"""Every test of the scene runs on a fresh application; any VTK error or broken callback fails it."""

import pytest
from slicer_bed.application import Application
from slicer_bed.machine import WINDOW, why_no_rendering
from slicer_bed.vtk_errors import callback_errors, vtk_errors


@pytest.fixture
def application(tmp_path):
    with vtk_errors(), callback_errors():
        application = Application(tmp_path / "application")
        yield application
        application.close()


@pytest.fixture
def scene(application):
    return application.scene


@pytest.fixture
def rendering(monkeypatch):
    """For tests that draw: skipped, with what to install, where no off-screen window can be made."""
    reason = why_no_rendering()
    if reason:
        pytest.skip(reason)
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", WINDOW)
