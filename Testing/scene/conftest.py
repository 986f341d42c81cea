"""Every test of the scene runs on a fresh application; any VTK error or broken callback fails it."""

import pytest
from slicer_bed.application import Application
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
