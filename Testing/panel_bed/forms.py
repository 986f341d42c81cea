"""Loads a `.ui` file as Slicer does, and raises for what Qt's loader passes over in silence.

Unknown classes, properties and enum values, repeated object names, connections to signals or slots that do not
exist: Qt makes a dynamic property of a mistyped one, or leaves the widget or the connection out.
"""

# ruff: noqa: N802  names as in Qt and Slicer; tables of classes

import functools
import xml.etree.ElementTree as ET
from pathlib import Path

import shiboken6
from panel_bed import manifest
from panel_bed.pythonqt import Proxy, unwrap
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

LAYOUT = {"leftMargin", "topMargin", "rightMargin", "bottomMargin", "margin", "spacing", "horizontalSpacing",
          "verticalSpacing", "fieldGrowthPolicy", "formAlignment", "labelAlignment", "rowWrapPolicy",
          "sizeConstraint", "objectName"}  # fmt: skip
DYNAMIC = {"SlicerParameterName"}
LIBRARIES = (QtWidgets, QtGui, QtCore)


class FormError(ValueError):
    """A form has what Slicer's classes do not have."""


def read_form(path, releases=manifest.RELEASES):
    """The tree of a `.ui` file, checked against the manifest."""
    tree = ET.parse(path)
    root = tree.getroot()
    widgets = {}
    for widget in root.iter("widget"):
        name, kind = widget.get("name"), widget.get("class")
        if name in widgets:
            raise FormError(f"{path}: two objects are called {name!r}")
        widgets[name] = kind
        _check_widget(path, widget, releases)
    for layout in root.iter("layout"):
        for prop in layout.findall("property"):
            if prop.get("name") not in LAYOUT:
                raise FormError(f"{path}: layout {layout.get('name')} has no property {prop.get('name')!r}")
    for action in root.iter("action"):
        _check_properties(path, action, "QAction", releases)
    for connection in root.iter("connection"):
        _check_connection(path, connection, widgets, releases)
    for prop in root.iter("property"):
        for value in (*prop.findall("enum"), *prop.findall("set")):
            for part in (value.text or "").split("|"):
                if part.count("::") > 1:
                    raise FormError(f"{path}: {part} of {prop.get('name')!r}: Qt 5 reads only Class::Value")
                if part:
                    _enum(path, part)
    for prop in root.iter("property"):
        if prop.get("name") == "buddy" and prop.findtext("cstring") not in widgets:
            raise FormError(f"{path}: buddy {prop.findtext('cstring')!r} is no widget")
    return tree


def _check_widget(path, widget, releases):
    name, kind = widget.get("name"), widget.get("class")
    if kind == "Line":  # Designer's own word for a QFrame
        kind = "QFrame"
    try:
        spec = manifest.spec(kind, tuple(releases))
    except LookupError as error:
        raise FormError(f"{path}: {name}: {error}") from None
    if not spec.in_forms:
        raise FormError(f"{path}: {name}: Qt's loader cannot make a {kind}, add it from Python")
    _check_properties(path, widget, kind, releases)


def _check_properties(path, element, kind, releases):
    spec = manifest.spec(kind, tuple(releases))
    allowed = spec.ui_properties | ({"orientation"} if element.get("class") == "Line" else set())
    for prop in element.findall("property"):
        name = prop.get("name")
        if prop.get("stdset") == "0":
            if name not in DYNAMIC:
                raise FormError(f"{path}: {element.get('name')}: nobody reads the dynamic property {name!r}")
        elif name in DYNAMIC:
            raise FormError(f'{path}: {element.get("name")}: {name} needs stdset="0"')
        elif name not in allowed:
            raise FormError(f"{path}: {element.get('name')}: {kind} has no property {name!r} in forms")


def _check_connection(path, connection, widgets, releases):
    sender, receiver = connection.findtext("sender"), connection.findtext("receiver")
    signal, slot = (connection.findtext(one).replace(" ", "") for one in ("signal", "slot"))
    for name in (sender, receiver):
        if name not in widgets:
            raise FormError(f"{path}: a connection names {name!r}, which is not in the form")
    if signal not in manifest.spec(widgets[sender], tuple(releases)).signals:
        raise FormError(f"{path}: {widgets[sender]} {sender} has no signal {signal}")
    spec, name = manifest.spec(widgets[receiver], tuple(releases)), slot.split("(")[0]
    count = len(manifest.split_arguments(slot))
    known = name in spec.methods or any(least <= count <= most for least, most in spec.calls.get(name, ()))
    if not known:
        raise FormError(f"{path}: {widgets[receiver]} {receiver} has no slot {slot}")
    if count > len(manifest.split_arguments(signal)):
        raise FormError(f"{path}: {slot} wants more than {signal} gives")


@functools.cache
def _enum(path, text):
    from panel_bed.standins import CLASSES

    scope, _, name = text.strip().rpartition("::")
    stand_in = CLASSES.get(scope)
    if stand_in is not None and name in stand_in.enums:
        return stand_in.enums[name]
    for library in LIBRARIES:
        value = getattr(getattr(library, scope, None), name, None)
        if value is not None:
            return value
    raise FormError(f"{path}: no enum value {text}")


def value_of(path, prop):
    """A property's value as Python has it."""
    (element,) = list(prop)
    text = element.text or ""
    if element.tag == "bool":
        return text == "true"
    if element.tag in ("number", "double"):
        return float(text) if element.tag == "double" else int(text)
    if element.tag == "stringlist":
        return tuple(one.text or "" for one in element)
    if element.tag in ("enum", "set"):
        values = [_enum(path, part) for part in text.split("|") if part]
        return functools.reduce(lambda a, b: a | b, values)
    if element.tag == "color":
        return QtGui.QColor(*(int(element.findtext(one)) for one in ("red", "green", "blue")))
    if element.tag in ("string", "cstring"):
        return text
    raise FormError(f"{path}: {prop.get('name')}: the bed cannot read <{element.tag}>")


class _QtLoader(QtUiTools.QUiLoader):
    def createWidget(self, class_name, parent=None, name=""):
        from panel_bed.standins import CLASSES

        if class_name in CLASSES:
            widget = CLASSES[class_name](parent)
            widget.setObjectName(name)
            return widget
        return super().createWidget(class_name, parent, name)


_alive: dict[int, QtUiTools.QUiLoader] = {}


def load(path, parent=None):
    """The top widget of a form, as a proxy; properties and connections of Slicer's widgets are made here."""
    from panel_bed import pythonqt

    releases = tuple(pythonqt.releases)
    tree = read_form(path, releases)
    root = tree.getroot()
    later = []
    for widget in root.iter("widget"):
        if widget.get("class") in manifest.DATA["slicer"]:
            own = _own_properties(widget.get("class"))
            for prop in widget.findall("property"):
                if prop.get("name") in own and prop.get("stdset") != "0":
                    later.append((widget.get("name"), prop.get("name"), value_of(path, prop)))
                    widget.remove(prop)
    connections = root.find("connections")
    if connections is not None:
        root.remove(connections)
    data = QtCore.QBuffer()
    data.setData(ET.tostring(root))
    data.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    loader = _QtLoader()
    top = loader.load(data, unwrap(parent))
    if top is None:
        raise FormError(f"{path}: {loader.errorString()}")
    address = shiboken6.getCppPointer(top)[0]
    _alive[address] = loader
    top.destroyed.connect(lambda *_: _alive.pop(address, None))

    def named(name):
        return top if top.objectName() == name else top.findChild(QtWidgets.QWidget, name)

    for name, prop, value in later:
        named(name).write(prop, value)
    for connection in connections if connections is not None else ():
        slot = connection.findtext("slot").split("(")[0]
        receiver = Proxy(named(connection.findtext("receiver")))
        # kept by name: the proxy of the receiver need not live on
        act = functools.partial(_call_slot, receiver._object, slot)
        Proxy(named(connection.findtext("sender"))).connect(connection.findtext("signal"), act)
    return Proxy(top)


def _call_slot(obj, slot, *args):
    getattr(Proxy(obj), slot)(*args)


def _own_properties(kind):
    from panel_bed.standins import CLASSES

    return CLASSES[kind].own_properties


class Loader:
    """`qt.QUiLoader()` as slicer.util.loadUI uses it."""

    def load(self, file, parent=None):
        return load(Path(unwrap(file).fileName()), parent)
