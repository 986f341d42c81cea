"""Makes any error text of VTK, MRML or a Slicer logic fail a test, and any exception in a callback."""

import contextlib
import sys
import traceback

import vtk
from vtk.util.misc import calldata_type


@contextlib.contextmanager
def vtk_errors(fail=True, ignore=()):
    """Collects (event, text) of every vtkErrorMacro and vtkWarningMacro; at the end any of them fails.

    ignore: parts of texts that are expected. An object with an ErrorEvent observer of its own keeps
    its texts to itself; ITK and NRRD texts go to stderr.
    """
    texts = []
    window = vtk.vtkStringOutputWindow()

    @calldata_type("string0")
    def note(_caller, event, text):
        texts.append((event, text.strip()))

    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, note)
    before = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    try:
        yield texts
    finally:
        vtk.vtkOutputWindow.SetInstance(before)
    bad = [text for _event, text in texts if not any(part in text for part in ignore)]
    if fail and bad:
        raise AssertionError("VTK errors and warnings:\n" + "\n".join(bad))


@contextlib.contextmanager
def callback_errors():
    """Observers of VTK swallow what they raise and call sys.excepthook only: here it fails the test."""
    caught = []
    before = sys.excepthook
    sys.excepthook = lambda kind, error, trace: caught.append("".join(traceback.format_exception(kind, error, trace)))
    try:
        yield caught
    finally:
        sys.excepthook = before
    if caught:
        raise AssertionError("exceptions in callbacks:\n" + "\n".join(caught))
