"""What this machine lacks for drawing and for Qt, with the line that repairs it."""

import ctypes
import functools
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = (Path(__file__).resolve().parents[1] / "system-libraries.txt").read_text().split()
QT_LINKS = (
    "libEGL.so.1",
    "libGL.so.1",
    "libxkbcommon.so.0",
    "libdbus-1.so.3",
    "libfontconfig.so.1",
    "libglib-2.0.so.0",
)
CURE = "apt-get install -y --no-install-recommends " + " ".join(PACKAGES)
WINDOW = "vtkEGLRenderWindow"
DRAW_RED = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
renderer = vtk.vtkRenderer()
renderer.SetBackground(1, 0, 0)
window.AddRenderer(renderer)
window.Render()
grab = vtk.vtkWindowToImageFilter()
grab.SetInput(window)
grab.Update()
assert grab.GetOutput().GetScalarComponentAsDouble(4, 4, 0, 0) == 255
"""


@functools.cache
def why_no_rendering():
    """Why this machine cannot draw off-screen, "" when it can: tried in a child process, for it may crash."""
    environment = {**os.environ, "VTK_DEFAULT_OPENGL_WINDOW": WINDOW}
    done = subprocess.run(
        [sys.executable, "-c", DRAW_RED], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return "" if done.returncode == 0 else f"no off-screen window on this machine; run: {CURE}"


@functools.cache
def why_no_qt():
    """Which of the libraries that Qt links cannot be loaded, "" when all can."""
    if not sys.platform.startswith("linux"):
        return ""
    missing = [name for name in QT_LINKS if not _loads(name)]
    return f"Qt needs {', '.join(missing)}; run: {CURE}" if missing else ""


def _loads(library):
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
