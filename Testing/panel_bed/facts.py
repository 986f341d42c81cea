"""Questions to the manifest for the static check: what a name is, and in which releases it is there."""

import enum
import functools
import importlib
import re

import slicer
import vtk
from panel_bed.manifest import DATA, PYTHONQT, RELEASES, Spec, call_name, spec
from PySide6 import QtCore, QtGui, QtWidgets

# Modules of the application whose objects in slicer.modules may be used; the table does not list them.
MODULES = {
    "annotations", "cameras", "colors", "cropvolume", "data", "dicom", "markups", "models", "plots", "sampledata",
    "segmenteditor", "segmentations", "segmentstatistics", "sequences", "subjecthierarchy", "tables", "terminologies",
    "sampleDataSources", "texts", "transforms", "units", "volumerendering", "volumes",
}  # fmt: skip
NAMES_IN_SLICER = {"app", "modules", "mrmlScene", "selfTests", "util"}
RETURNS = {  # of Qt's own methods, which the manifest has without signatures
    ("QTableWidget", "item"): "QTableWidgetItem",
    ("QTableWidget", "currentItem"): "QTableWidgetItem",
    ("QTableWidget", "horizontalHeaderItem"): "QTableWidgetItem",
    ("QTableView", "horizontalHeader"): "QHeaderView",
    ("QTableView", "verticalHeader"): "QHeaderView",
    ("QTreeView", "header"): "QHeaderView",
    ("QAbstractItemView", "selectionModel"): "QItemSelectionModel",
    ("QComboBox", "lineEdit"): "QLineEdit",
    ("QWidget", "style"): "QStyle",
    ("QWidget", "addAction"): "QAction",
    ("QMenu", "addAction"): "QAction",
    ("QMenu", "addMenu"): "QMenu",
    ("QDialogButtonBox", "button"): "QPushButton",
    ("QMainWindow", "statusBar"): "QStatusBar",
}
STATIC_RETURNS = {
    ("QApplication", "style"): "QStyle",
    ("QApplication", "clipboard"): "QClipboard",
    ("QApplication", "instance"): "QApplication",
    ("qSlicerSegmentEditorEffectFactory", "instance"): "qSlicerSegmentEditorEffectFactory",
}


def any_release(name: str) -> Spec:
    """The class with the members that at least one release has."""
    out = Spec(name)
    for release in RELEASES:
        try:
            one = spec(name, (release,))
        except LookupError:
            continue
        out.properties |= one.properties
        out.signals |= one.signals
        out.calls |= one.calls
        out.methods |= one.methods
        out.enums |= one.enums
    return out


def is_class(name: str) -> bool:
    return name in DATA["slicer"] or name in DATA["qt"]


def in_pyside(name: str) -> bool:
    return any(isinstance(getattr(library, name, None), type) for library in (QtWidgets, QtGui, QtCore))


@functools.cache
def return_class(class_name: str, method: str) -> str:
    """The Slicer, CTK or Qt class (or MRML class) that a method returns, "" when it is none or not known."""
    for base in (spec(class_name).chain) if is_class(class_name) else ():
        if (base, method) in RETURNS:
            return RETURNS[base, method]
        for entry in DATA["slicer"].get(base, {}).get("calls", ()):
            text = entry if isinstance(entry, str) else entry[0]
            if call_name(text) == method:
                kind = re.match(r"(?:static )?(?:const )?(\w+)\*", text)
                if kind and (is_class(kind[1]) or kind[1].startswith("vtk")):
                    return kind[1]
    return ""


def has_enum(class_name: str, name: str) -> bool:
    """Whether a class of Qt that is no QObject, or the namespace Qt, has a flat enum value or a static function."""
    for library in (QtWidgets, QtGui, QtCore):
        cls = getattr(library, class_name, None)
        if cls is not None:
            member = getattr(cls, name, None)
            return member is not None and not (isinstance(member, type) and issubclass(member, enum.Enum))
    return False


# MRML and VTK


@functools.cache
def mrml_releases(class_name: str, method: str) -> tuple[str, ...] | None:
    """Releases that have a method or enum value of an MRML class; () for none; None when nothing is known of it."""
    entry = DATA["mrml"].get(class_name)
    found: set[str] = set()
    if entry is not None:
        for one in entry["methods"]:
            name, limit = (one, RELEASES) if isinstance(one, str) else one
            if name == method:
                found.update(limit)
        if method in entry["enums"]:
            found.update(RELEASES)
        for base in entry["bases"]:
            found.update(mrml_releases(base, method) or ())
    if found:
        return tuple(release for release in RELEASES if release in found)
    cls = getattr(slicer, class_name, None) or getattr(vtk, class_name, None)
    if cls is None:
        return None
    # what VTK's wrapper adds (AddObserver, Get...) or a class that the table does not have
    return RELEASES if hasattr(cls, method) else ()


@functools.cache
def mrml_anywhere(method: str) -> tuple[str, ...]:
    """Releases in which some MRML class has this method."""
    found: set[str] = set()
    for name, entry in DATA["mrml"].items():
        if any(method == (one if isinstance(one, str) else one[0]) for one in entry["methods"]):
            found.update(mrml_releases(name, method) or ())
        if method in entry["enums"]:
            found.update(RELEASES)
    if any(method in methods for methods in DATA["vtk"].values()) or (not found and method in _in_wheels()):
        found.update(RELEASES)
    return tuple(release for release in RELEASES if release in found)


@functools.cache
def _in_wheels():
    """Members of classes that the table does not list: of the slicer-core wheel, and of VTK's data classes."""
    out = set()
    for name in dir(slicer):
        cls = getattr(slicer, name)
        if isinstance(cls, type) and name.startswith("vtk") and name not in DATA["mrml"]:
            out.update(vars(cls))
    for name in ("vtkImageData", "vtkPointData", "vtkTable", "vtkPolyData", "vtkIdList", "vtkStringArray"):
        out.update(dir(getattr(vtk, name)))
    return out


# Python modules of Slicer


def python_module(name: str) -> dict | None:
    """Functions and classes of `slicer.util` and its like; parameterNodeWrapper is one module of several files."""
    if name in DATA["python"]:
        return DATA["python"][name]
    parts = [entry for key, entry in DATA["python"].items() if key.startswith(name + ".")]
    if not parts:
        return None
    merged = {"functions": {}, "classes": {}}
    for part in parts:
        merged["functions"] |= part["functions"]
        merged["classes"] |= part["classes"]
    return merged


def function_signatures(module: str, name: str) -> list[tuple[list[str], int, bool]] | None:
    """(names of parameters, most positional ones, takes any keyword) of each version of a function."""
    entry = (python_module(module) or {}).get("functions", {}).get(name)
    return [_parameters(text) for text in entry["signatures"]] if entry else None


def _parameters(text):
    import ast

    head = text[text.index("(") :]
    arguments = ast.parse(f"def f{head}: pass").body[0].args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    most = 1000 if arguments.vararg else len(names)
    return names + [one.arg for one in arguments.kwonlyargs], most, arguments.kwarg is not None


# everything that somebody has


@functools.cache
def known_members() -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Member names of all classes of the manifest with the releases that have them, and all signals."""
    members: dict[str, set[str]] = {name: set(RELEASES) for name in PYTHONQT}
    signals: set[str] = set()
    for name in (*DATA["slicer"], *DATA["qt"]):
        for release in RELEASES:
            try:
                one = spec(name, (release,))
            except LookupError:
                continue
            for member in (*one.properties, *one.calls, *one.methods, *one.enums):
                members.setdefault(member, set()).add(release)
            for signature in one.signals:
                members.setdefault(signature.split("(")[0], set()).add(release)
        try:
            signals.update(spec(name).signals)
        except LookupError:
            continue
    for entry in DATA["python"].values():
        for methods in entry["classes"].values():
            for text in methods:
                members.setdefault((text if isinstance(text, str) else text[0]).split("(")[0], set()).update(RELEASES)
    return {name: tuple(r for r in RELEASES if r in found) for name, found in members.items()}, signals


@functools.cache
def names_of_module(name: str) -> frozenset[str]:
    """Names in a module of Python or numpy, and members of its classes; empty when it cannot be imported."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return frozenset()
    out = set(dir(module))
    for one in list(vars(module).values()):
        if isinstance(one, type):
            out.update(dir(one))
    return frozenset(out)
