"""Questions to the person and the one way in which a failure is shown."""

from __future__ import annotations

import contextlib
import functools
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import VoxelAdvSegError

TITLE = "VoxelAdvSeg"


@contextlib.contextmanager
def failures_shown(wait: bool = False) -> Iterator[None]:
    """What fails within is shown and logged, and the panel goes on.

    A problem that the user can repair is told in its own words; any other is a bug: it is
    called one and keeps its traceback. wait: the pointer is an hourglass meanwhile.
    """
    try:
        if wait:
            qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            yield
        finally:
            if wait:  # before a box opens, which would show the hourglass, too
                qt.QApplication.restoreOverrideCursor()
    except VoxelAdvSegError as error:
        logging.warning("%s", error)
        slicer.util.errorDisplay(plain(error), windowTitle=TITLE)
    except Exception as error:
        logging.exception("VoxelAdvSeg")
        text = _("Something unexpected happened in the extension ({error}). Your data are untouched.")
        slicer.util.errorDisplay(
            text.format(error=f"{type(error).__name__}: {error}"),
            windowTitle=TITLE,
            detailedText=traceback.format_exc(),
        )


def shown(method: Callable[..., Any]) -> Callable[..., None]:
    """A method as a slot: arguments of the signal are left out, failures are shown."""

    @functools.wraps(method)
    def slot(self: Any, *arguments: Any) -> None:
        with failures_shown():
            method(self)

    return slot


def plain(error: VoxelAdvSegError) -> str:
    """An error as sentences for a box: what, where, and what to do."""
    lines = [error.what[:1].upper() + error.what[1:] + "."]
    if error.file:
        lines.append(_("File: {file}").format(file=error.file))
    if error.expected:
        lines.append(_("Expected: {expected}").format(expected=error.expected))
    if error.found:
        lines.append(_("Found: {found}").format(found=error.found))
    if error.do:
        lines.append(_("What to do: {do}").format(do=error.do))
    return "\n".join(lines)


def agreed(question: str) -> bool:
    """Whether the person says OK. In testing mode Slicer shows no box, and its answer counts as no."""
    return slicer.util.confirmOkCancelDisplay(question, windowTitle=TITLE)


def ask_text(title: str, question: str, text: str = "") -> str | None:
    """What the person types, "" included; None when the box was canceled. text: what stands there before."""
    line = qt.QLineEdit(text)
    line.selectAll()
    return _answer(title, question, line, lambda: str(line.text).strip())


def choose_one(title: str, question: str, choices: Sequence[str], ok: str = "") -> int | None:
    """Place of the line that the person chooses, at first the uppermost; None when the box was canceled.

    ok: what is written on the button that takes the line, where OK would not say it.
    """
    lines = qt.QListWidget()
    lines.addItems(list(choices))
    lines.setCurrentRow(0)
    row = _answer(title, question, lines, lambda: int(lines.currentRow), ok)
    return None if row is None or row < 0 else row


def _answer(title: str, question: str, field: Any, read: Callable[[], Any], ok: str = "") -> Any:
    """What read() says of the field when the person presses OK, None otherwise.

    Qt's own input boxes tell "canceled" by a reference, which Python has no sure way to give.
    """
    dialog = qt.QDialog(slicer.util.mainWindow())
    dialog.windowTitle = title
    layout = qt.QVBoxLayout(dialog)
    label = qt.QLabel(question)
    label.wordWrap = True
    label.setBuddy(field)
    buttons = qt.QDialogButtonBox()
    buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    if ok:
        buttons.button(qt.QDialogButtonBox.Ok).text = ok
    buttons.connect("accepted()", dialog.accept)
    buttons.connect("rejected()", dialog.reject)
    for widget in (label, field, buttons):
        layout.addWidget(widget)
    field.objectName = "answer"
    field.toolTip = question
    field.setFocus()
    try:
        return read() if dialog.exec_() == qt.QDialog.Accepted else None
    finally:
        dialog.deleteLater()


def choose_folder(title: str, start: str = "") -> str:
    """A folder of the person's choice, "" when none was chosen."""
    return qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, start) or ""


def choose_file(title: str, start: str, kinds: str) -> str:
    """An existing file, "" when none was chosen; kinds: "Models (*.zip)"."""
    return _path(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, start, kinds))


def choose_new_file(title: str, start: str, kinds: str) -> str:
    """A file to write, "" when none was chosen."""
    return _path(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, start, kinds))


def _path(answer: Any) -> str:
    # PythonQt gives the path; other bindings give it with the chosen kind of file.
    return str(answer[0] if isinstance(answer, tuple | list) else answer or "")
