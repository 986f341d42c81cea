"""Says, as skipped tests, what this machine lacks; with everything there the two pass."""

import os
import subprocess
import sys

import pytest
from slicer_bed.machine import why_no_qt, why_no_rendering


def test_views_can_be_drawn():
    if why_no_rendering():
        pytest.skip(why_no_rendering())


def test_qt_has_what_it_links():
    """Without it the tests of the panel are not collected."""
    if why_no_qt():
        pytest.skip(why_no_qt())
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    code = "from PySide6.QtWidgets import QApplication, QLabel; QApplication([]); QLabel('text').grab()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
