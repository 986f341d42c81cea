"""slicer.parameterNodeWrapper, written anew for the tests: typed members in a vtkMRMLScriptedModuleNode.

Members: bool, int, float, str, paths, enums, MRML nodes, lists of these scalars. Annotations: Default, WithinRange,
Minimum, Maximum, Choice, Exclude, NotNone, Decimals, SingleStep. Other types raise. How values are written into the
node is this file's own (Slicer's texts differ for lists); that they survive a scene file is the same.
"""

# ruff: noqa: N802, N803, N815  names as in Qt and Slicer; tables of classes

import enum
import json
import pathlib
import sys
import types
import typing
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from panel_bed.pythonqt import Proxy, guarded, unwrap
from PySide6 import QtWidgets

PATHS = (pathlib.PurePath,)


@dataclass(frozen=True)
class Default:
    value: Any = None


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float

    def validate(self, value):
        if value is not None and not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be between {self.minimum} and {self.maximum}, is {value}")


@dataclass(frozen=True)
class Minimum:
    minimum: float

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass(frozen=True)
class Maximum:
    maximum: float

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclass(frozen=True)
class Choice:
    choices: Any

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value {value!r} is not one of {list(self.choices)}")


@dataclass(frozen=True)
class Exclude:
    excludedValues: Any

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"Value {value!r} is excluded")


class NotNone:
    def validate(self, value):
        if value is None:
            raise ValueError("Value must not be None")


@dataclass(frozen=True)
class Decimals:
    value: int


@dataclass(frozen=True)
class SingleStep:
    value: float


class Member:
    """One typed member: how its values are checked, written and read."""

    def __init__(self, name, annotation):
        self.name = name
        self.notes = ()
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *notes = typing.get_args(annotation)
            self.notes = tuple(note() if isinstance(note, type) else note for note in notes)
        self.optional = False
        if typing.get_origin(annotation) in (typing.Union, types.UnionType):
            kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
            if len(kinds) != 1:
                raise ValueError(f"{name}: unions are not imitated")
            annotation, self.optional = kinds[0], True
        self.kind = annotation
        self.item = None
        if typing.get_origin(annotation) is list:
            (self.item,) = typing.get_args(annotation)
            self.kind = list
        if (not self.is_node and not self._known(self.kind)) or (self.item is not None and not self._known(self.item)):
            raise ValueError(f"{name}: no serializer for {annotation!r}")

    @staticmethod
    def _known(kind):
        return kind in (bool, int, float, str, list) or (
            isinstance(kind, type) and issubclass(kind, (enum.Enum, *PATHS))
        )

    @property
    def is_node(self):
        return isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)

    def note(self, kind):
        return next((note for note in self.notes if isinstance(note, kind)), None)

    @property
    def default(self):
        given = self.note(Default)
        if given is not None:
            return given.value
        if self.optional or self.is_node:
            return None
        if issubclass(self.kind, enum.Enum):
            return next(iter(self.kind))
        choice = self.note(Choice)
        if choice is not None:
            return next(iter(choice.choices))
        limits = self.note(WithinRange) or self.note(Minimum)
        plain = self.kind()
        return self.kind(limits.minimum) if limits is not None and plain < limits.minimum else plain

    def check(self, value):
        if value is None:
            if not (self.optional or self.is_node):
                raise ValueError(f"{self.name}: None is no {self.kind.__name__}")
        elif not self._is(value, self.kind):
            raise ValueError(f"{self.name}: {value!r} is no {self.kind.__name__}")
        elif self.item is not None and not all(self._is(one, self.item) for one in value):
            raise ValueError(f"{self.name}: {value!r} holds other things than {self.item.__name__}")
        for note in self.notes:
            if hasattr(note, "validate"):
                note.validate(value)

    @staticmethod
    def _is(value, kind):
        if kind is float:
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is int:
            return isinstance(value, int) and not isinstance(value, bool)
        if isinstance(kind, type) and issubclass(kind, PATHS):
            return isinstance(value, PATHS)
        return isinstance(value, kind)

    def write(self, node, value):
        self.check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        elif value is None:
            node.UnsetParameter(self.name)
        else:
            node.SetParameter(self.name, self._text(value))

    def _text(self, value):
        if isinstance(value, enum.Enum):
            return value.name
        if self.kind is list:
            return json.dumps([one.name if isinstance(one, enum.Enum) else str(one) if isinstance(one, PATHS) else one
                               for one in value])  # fmt: skip
        return str(value)

    def is_in(self, node):
        return self.is_node or bool(node.GetParameter(self.name)) or self.name in (node.GetParameterNames() or ())

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        if self.name not in (node.GetParameterNames() or ()):
            return None if self.optional else self.default
        text = node.GetParameter(self.name)
        if self.kind is list:
            return ObservedList(self, node, [self._value(str(one), self.item) for one in json.loads(text)])
        return self._value(text, self.kind)

    @staticmethod
    def _value(text, kind):
        if kind is bool:
            return text == "True"
        if issubclass(kind, enum.Enum):
            return kind[text]
        return kind(text)


class ObservedList(list):
    """A list whose changes are written back to the node."""

    def __init__(self, member, node, values):
        super().__init__(values)
        self._member, self._node = member, node

    def _changing(name):  # noqa: N805
        plain = getattr(list, name)

        def act(self, *args, **kwargs):
            result = plain(self, *args, **kwargs)
            self._member.write(self._node, list(self))
            return result

        return act

    for _name in (
        "append",
        "extend",
        "insert",
        "remove",
        "pop",
        "clear",
        "sort",
        "reverse",
        "__setitem__",
        "__delitem__",
    ):
        locals()[_name] = _changing(_name)
    del _name


# connections with widgets, by exact class as in Slicer

NUMBERS = {"QSlider", "QSpinBox", "QDoubleSpinBox", "ctkSliderWidget", "ctkDoubleSpinBox", "ctkDoubleSlider",
           "qMRMLSliderWidget", "qMRMLSpinBox"}  # fmt: skip
WHOLE = {"QSlider", "QSpinBox"}


class Connector:
    """One widget tied to one member: signal, reading, writing."""

    def __init__(self, widget, member):
        self.widget, self.member = widget, member
        kind, name = member.kind, widget.className()
        choice = member.note(Choice)
        if name in ("QComboBox", "ctkComboBox") and (
            choice or (isinstance(kind, type) and issubclass(kind, enum.Enum))
        ):
            self.values = list(choice.choices) if choice else list(kind)
            widget.clear()
            for value in self.values:
                widget.addItem(str(getattr(value, "value", value)))
            self._set("currentIndexChanged(int)", lambda w: self.values[w.currentIndex],
                      lambda w, v: w.setCurrentIndex(self.values.index(v)))  # fmt: skip
        elif kind is bool and (
            name in ("QCheckBox", "ctkCheckBox") or (name.endswith("PushButton") and widget.checkable)
        ):
            self._set("toggled(bool)", lambda w: w.checked, lambda w, v: w.setChecked(v))
        elif kind in (int, float) and name in NUMBERS and (kind is int or name not in WHOLE):
            limits = member.note(WithinRange)
            if limits is not None:
                whole = name in WHOLE
                widget.minimum = int(limits.minimum) if whole else float(limits.minimum)
                widget.maximum = int(limits.maximum) if whole else float(limits.maximum)
            signal = "valueChanged(int)" if name in WHOLE else "valueChanged(double)"
            self._set(signal, lambda w: kind(w.value), lambda w, v: setattr(w, "value", v))
        elif kind is str and name == "QLineEdit":
            self._set("textChanged(QString)", lambda w: w.text, lambda w, v: setattr(w, "text", v))
        elif kind is str and name == "QLabel":
            self._set(None, lambda w: w.text, lambda w, v: setattr(w, "text", v))
        elif kind is str and name == "QTextEdit":
            self._set("textChanged()", lambda w: w.toPlainText(), lambda w, v: w.setPlainText(v))
        elif isinstance(kind, type) and issubclass(kind, PATHS) and name == "ctkPathLineEdit":
            self._set("currentPathChanged(QString)", lambda w: kind(w.currentPath),
                      lambda w, v: setattr(w, "currentPath", str(v)))  # fmt: skip
        elif isinstance(kind, type) and issubclass(kind, PATHS) and name == "ctkDirectoryButton":
            self._set("directoryChanged(QString)", lambda w: kind(w.directory),
                      lambda w, v: setattr(w, "directory", str(v)))  # fmt: skip
        elif member.is_node and name == "qMRMLNodeComboBox":
            self._set("currentNodeChanged(vtkMRMLNode*)", lambda w: w.currentNode(), lambda w, v: w.setCurrentNode(v))
        else:
            raise RuntimeError(f"no connector between {name} and {kind!r} of {member.name}")

    def _set(self, signal, read, write):
        self.signal, self._read, self._write = signal, read, write

    def read(self):
        return self._read(self.widget)

    def write(self, value):
        if value != self.read():
            self._write(self.widget, value)


class Wrapper:
    """What every decorated class gets."""

    def __init__(self, parameterNode):
        if not isinstance(parameterNode, slicer.vtkMRMLScriptedModuleNode):
            raise ValueError("a vtkMRMLScriptedModuleNode is needed")
        put = object.__setattr__
        put(self, "parameterNode", parameterNode)
        put(self, "_connections", {})
        for member in self._members.values():
            if not member.is_in(parameterNode) and member.default is not None:
                member.write(parameterNode, member.default)

    def __getattr__(self, name):
        members = type(self)._members
        if name in members:
            return members[name].read(self.parameterNode)
        raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")

    def __setattr__(self, name, value):
        if name not in type(self)._members:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")
        type(self)._members[name].write(self.parameterNode, value)

    def getValue(self, name):
        return getattr(self, name)

    def setValue(self, name, value):
        setattr(self, name, value)

    def default(self, name):
        return type(self)._members[name].default

    def dataType(self, name):
        return type(self)._members[name].kind

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, state):
        return self.parameterNode.EndModify(state)

    def connectGui(self, gui, mapping=None):
        """Ties widgets that carry a SlicerParameterName (or are in mapping) to the members; a tag to undo it."""
        found = dict(mapping or {})
        if mapping is None:
            for widget in _widgets(gui):
                name = widget.property("SlicerParameterName")
                if name:
                    found[name] = widget
        links = []
        updating = [False]

        def to_widgets(*_):
            if not updating[0]:
                updating[0] = True
                try:
                    for one, _slot in links:
                        one.write(getattr(self, one.member.name))
                finally:
                    updating[0] = False

        for name, widget in found.items():
            if name not in type(self)._members:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}")
            one = Connector(widget, type(self)._members[name])

            def from_widget(*_, one=one):
                if not updating[0]:
                    setattr(self, one.member.name, one.read())

            links.append((one, from_widget))
        to_widgets()
        for one, slot in links:
            if one.signal:
                one.widget.connect(one.signal, slot)
        tag = max(self._connections, default=0) + 1
        observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: guarded(to_widgets)())
        self._connections[tag] = (links, observer)
        return tag

    def disconnectGui(self, tag):
        links, observer = self._connections.pop(tag)
        self.parameterNode.RemoveObserver(observer)
        for one, slot in links:
            if one.signal and one.widget:
                one.widget.disconnect(one.signal, slot)


def _widgets(gui):
    if isinstance(gui, Proxy):
        top = unwrap(gui)
        return [Proxy(one) for one in (top, *top.findChildren(QtWidgets.QWidget))]
    return [one for one in vars(gui).values() if isinstance(one, Proxy) and unwrap(one).isWidgetType()]


def parameterNodeWrapper(classtype=None):
    """Class decorator; the members are the annotations of the class, with plain values as defaults."""
    if classtype is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(classtype, include_extras=True)
    members = {}
    for name, annotation in hints.items():
        if hasattr(classtype, name):
            annotation = typing.Annotated[annotation, Default(getattr(classtype, name))]
        members[name] = Member(name, annotation)
        default = members[name].default
        if default is not None:
            members[name].check(default)
    body = {key: value for key, value in vars(classtype).items() if callable(value) and not key.startswith("__")}
    return type(classtype.__name__, (Wrapper,), {**body, "_members": members, "__module__": classtype.__module__})


def isParameterNodeWrapper(one):
    return isinstance(one, Wrapper) or (isinstance(one, type) and issubclass(one, Wrapper))


def install():
    module = types.ModuleType("slicer.parameterNodeWrapper")
    for one in (Default, WithinRange, Minimum, Maximum, Choice, Exclude, NotNone, Decimals, SingleStep,
                parameterNodeWrapper, isParameterNodeWrapper):  # fmt: skip
        setattr(module, one.__name__, one)
    sys.modules["slicer.parameterNodeWrapper"] = slicer.parameterNodeWrapper = module
