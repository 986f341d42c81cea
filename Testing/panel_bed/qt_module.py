"""The importable modules `qt` and `ctk`, and Slicer's widget classes in `slicer`."""

# ruff: noqa: N802  names as in Qt and Slicer; tables of classes

import ctypes
import sys
import types

import slicer
from panel_bed import dialogs, forms, manifest, standins
from panel_bed.pythonqt import ClassProxy, Proxy, class_proxy, guarded, spec_of, unwrap
from PySide6 import QtCore, QtGui, QtWidgets

if sys.version_info < (3, 12):
    # Some calls of PySide6 6.12 give back None without a reference of its own (measured: one lost per
    # QTimer.setInterval or processEvents), until Python ends the process. From 3.12 on None has no count.
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


class MessageBox(QtWidgets.QMessageBox):
    """A message box that the scripted person answers."""

    clicked_button = None

    def qt_exec(self):
        return dialogs.exec_message(self)

    qt_open = qt_show = qt_exec

    def qt_clickedButton(self):
        return self.clicked_button


class Dialog(QtWidgets.QDialog):
    def qt_exec(self):
        return dialogs.exec_dialog(self)


class Menu(QtWidgets.QMenu):
    def qt_exec(self, *position):
        return dialogs.exec_menu(self, *position)

    qt_popup = qt_exec


class FileDialog(QtWidgets.QFileDialog):
    def __init__(self, *_args):
        raise dialogs.UnexpectedDialogError("use the static functions of QFileDialog, the test can answer these")


class Process:
    def __init__(self, *_args):
        raise TypeError("the panel starts processes through VoxelAdvSegLib.jobs, not by QProcess")


def single_shot(msec, receiver, slot=None):
    """Slicer's own singleShot: milliseconds and a callable, or a receiver and a slot."""
    if isinstance(receiver, Proxy):
        if slot is None:
            raise TypeError("singleShot(msec, receiver, slot) needs the slot")
        receiver = getattr(receiver, slot.split("(")[0])
    if not callable(receiver):
        raise TypeError(f"singleShot needs a callable, not {receiver!r}")
    QtCore.QTimer.singleShot(int(msec), guarded(receiver))


class QtModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return class_proxy(name)


class CtkModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return widget_class("ctk", name)


def widget_class(package, name):
    """The class proxy of a widget of `slicer` or `ctk`; AttributeError when a release asked for has it not."""
    if name not in manifest.DATA["slicer"] or manifest.DATA["slicer"][name]["python"] != f"{package}.{name}":
        more = " (Slicer has it: add it to make_manifest.py)" if name in manifest.DATA["other_slicer_names"] else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{more}")
    try:
        spec_of(name)
    except LookupError as error:
        raise AttributeError(f"module {package!r} has no attribute {name!r}: {error}") from None
    return ClassProxy(name, standins.CLASSES[name]) if name not in ClassProxy._made else ClassProxy.of(name)


def install() -> None:
    """Makes `import qt` and `import ctk` work and adds the widget classes to `slicer`."""
    qt, ctk = QtModule("qt"), CtkModule("ctk")
    qt.BoolResult = dialogs.BoolResult
    qt.QUiLoader = forms.Loader
    ClassProxy("QMessageBox", MessageBox)
    ClassProxy("QDialog", Dialog)
    ClassProxy("QMenu", Menu)
    ClassProxy("QFileDialog", FileDialog)
    ClassProxy("QProcess", Process)
    ClassProxy.statics["QTimer", "singleShot"] = single_shot
    dialogs.install()
    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    for name in manifest.widget_classes("slicer"):
        setattr(slicer, name, widget_class("slicer", name))


def key_press(widget, keys: str) -> None:
    """Sends a key or a key sequence ("Ctrl+Return") to a widget and lets Qt answer it."""
    obj = unwrap(widget)
    combination = QtGui.QKeySequence(keys)[0]
    kinds = QtCore.QEvent.Type
    for kind in (kinds.ShortcutOverride, kinds.KeyPress, kinds.KeyRelease):
        event = QtGui.QKeyEvent(kind, combination.key().value, combination.keyboardModifiers())
        QtWidgets.QApplication.sendEvent(obj, event)
