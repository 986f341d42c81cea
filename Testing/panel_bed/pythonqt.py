"""PythonQt's manners on PySide6: what a scripted module of Slicer sees of Qt; strict where PythonQt is silent.

A Qt property is an attribute, calling it raises TypeError. Enum values are flat integers. Arguments go by position
only. Lists arrive as tuples. A name that Slicer's class does not have in all releases raises, on reading and on
setting. An object that was made without a parent lives as long as Python refers to it. An object whose C++ side is
gone is false and raises ValueError.
"""

# ruff: noqa: N802, RUF012  names as in Qt and Slicer; tables of classes

import difflib
import enum
import sys
import weakref

import shiboken6
from panel_bed import manifest
from PySide6 import QtCore, QtGui, QtWidgets

LIBRARIES = (QtWidgets, QtGui, QtCore)
SCALARS = {"QString": str, "bool": (bool, int), "int": (int, float), "double": (int, float)}

releases = list(manifest.RELEASES)  # the releases that all names must be in; `only_release` narrows it
_links: dict[int, list] = {}  # C++ address -> [signature, function, what Qt calls]
_proxies: "weakref.WeakValueDictionary[int, Proxy]" = weakref.WeakValueDictionary()
_values: "weakref.WeakValueDictionary[int, Value]" = weakref.WeakValueDictionary()


def spec_of(name):
    return manifest.spec(name, tuple(releases))


class EnumValue(int):
    """A value of a Qt enum: an integer that remembers its enum, so that Qt takes it back."""

    def __new__(cls, member):
        self = super().__new__(cls, member.value)
        self.member = member
        return self

    def _joined(self, other, operator):
        ours, theirs = self.member, getattr(other, "member", other)
        if isinstance(ours, enum.Flag) and isinstance(theirs, type(ours)):
            return EnumValue(getattr(type(ours), operator)(ours, theirs))
        return getattr(int, operator)(int(self), int(other))

    def __or__(self, other):
        return self._joined(other, "__or__")

    def __and__(self, other):
        return self._joined(other, "__and__")

    def __xor__(self, other):
        return self._joined(other, "__xor__")

    def __invert__(self):
        return EnumValue(~self.member) if isinstance(self.member, enum.Flag) else ~int(self)

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__


def unwrap(value):
    """What PySide6 takes: the object behind a proxy, the enum behind an integer, lists of these."""
    if isinstance(value, Proxy):
        return value._object_or_raise()
    if isinstance(value, Value):
        return value._value
    if isinstance(value, EnumValue):
        return value.member
    if isinstance(value, ClassProxy):
        return value._class
    if isinstance(value, (list, tuple)) and any(unwrap(one) is not one for one in value):
        return [unwrap(one) for one in value]
    return value


def wrap(value):
    """What Python code in Slicer gets for a value that PySide6 returned."""
    if isinstance(value, QtCore.QObject):
        return Proxy(value)
    if isinstance(value, enum.Enum):
        return EnumValue(value)
    if isinstance(value, (list, tuple)):
        return tuple(wrap(one) for one in value)
    if type(value).__module__.startswith("PySide6"):
        return Value(value)
    return value


def fitting(function, args):
    """As many arguments as a Python function with a fixed number of them takes; PythonQt drops the rest."""
    inner = getattr(function, "__func__", function)
    code = getattr(inner, "__code__", None)
    if code is None or code.co_flags & 0x04:  # no plain function, or *args
        return args
    return args[: code.co_argcount - (inner is not function)]


def guarded(function):
    """The function as Qt calls it: an exception does not propagate, it reaches sys.excepthook."""

    def call(*args):
        try:
            function(*fitting(function, tuple(wrap(one) for one in args)))
        except Exception:
            sys.excepthook(*sys.exc_info())

    return call


def _positional(name, method):
    def call(*args):
        return wrap(method(*[unwrap(one) for one in args]))

    call.__name__ = name
    return call


class Value:
    """A Qt object that is no QObject (QIcon, QColor, QTableWidgetItem ...): methods only, no properties."""

    __slots__ = ("__weakref__", "_value")

    def __new__(cls, value):
        found = _values.get(id(value))
        if found is None:
            found = object.__new__(cls)
            object.__setattr__(found, "_value", value)
            _values[id(value)] = found
        return found

    def __getattr__(self, name):
        kind = type(self._value).__name__
        if kind in manifest.DATA["qt"]:
            known = spec_of(kind)
            if not known.has(name) and not known.has(name.rstrip("_")):
                raise AttributeError(f"{kind} has no attribute {name!r} in Qt 5 and Qt 6")
        member = getattr(self._value, name, None)
        if member is None:
            member = getattr(self._value, name.rstrip("_"), None)
        if member is None or name.startswith("__"):
            raise AttributeError(f"{kind} has no attribute {name!r}")
        return _positional(name, member) if callable(member) else wrap(member)

    def __setattr__(self, name, value):
        raise AttributeError(f"{type(self._value).__name__}: attribute {name!r} cannot be set")

    def __eq__(self, other):
        return self._value == unwrap(other)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(id(self._value))

    def __repr__(self):
        return repr(self._value)


class Signal:
    """`widget.clicked` where no property or method has the name: connect, disconnect; a call emits."""

    def __init__(self, proxy, signature):
        self._proxy, self._signature = proxy, signature

    def connect(self, function):
        return self._proxy.connect(self._signature, function)

    def disconnect(self, function):
        return self._proxy.disconnect(self._signature, function)

    def __call__(self, *args):
        emit(self._proxy, self._signature, *args)


class Proxy:
    """The PythonQt wrapper of one QObject; there is one for each object while it is referred to."""

    __slots__ = ("__weakref__", "_address", "_name", "_object")

    def __new__(cls, obj):
        found = _proxies.get(id(obj))
        if found is None:
            found = object.__new__(cls)
            put = object.__setattr__
            put(found, "_object", obj)
            put(found, "_address", shiboken6.getCppPointer(obj)[0])
            put(found, "_name", class_name(obj))
            _proxies[id(obj)] = found
        return found

    def __bool__(self):
        return shiboken6.isValid(self._object)

    def __repr__(self):
        state = f"name={self._object.objectName()!r}" if self else "deleted"
        return f"{self._name} (C++ object, {state})"

    def _object_or_raise(self):
        if not self:
            raise ValueError(f"Trying to use a destroyed {self._name} object")
        return self._object

    @property
    def _spec(self):
        return spec_of(self._name)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        obj, spec = self._object_or_raise(), self._spec
        if name == "name" and not spec.has("name"):
            name = "objectName"
        if name in spec.properties:
            read = getattr(obj, "read", None) if is_own(obj, name) else None
            return wrap(read(name) if read else obj.property(name))
        found = self._method(obj, spec, name)
        if found is not None:
            return found
        signatures = [s for s in spec.signals if s.split("(")[0] == name]
        if signatures:
            return Signal(self, only_signature(self._name, signatures))
        if name in spec.enums:
            return getattr(ClassProxy.of(self._name), name)
        child = obj.findChild(QtCore.QObject, name, QtCore.Qt.FindChildOption.FindDirectChildrenOnly)
        if child is not None:
            return Proxy(child)
        partly = f" (only in {', '.join(spec.partial[name])})" if name in spec.partial else ""
        raise AttributeError(f"{self._name} has no attribute {name!r}{partly}")

    def _method(self, obj, spec, name):
        if name in manifest.PYTHONQT:
            return getattr(self, "_" + name, None) or _positional(name, getattr(obj, name))
        if name in spec.calls:
            return obj.call_of(name, spec)
        plain = name.rstrip("_")
        if name in spec.methods or plain in spec.methods:
            member = getattr(obj, "qt_" + plain, None) or getattr(obj, plain, None)
            return _positional(name, member) if member is not None else None
        return None

    def __setattr__(self, name, value):
        obj, spec = self._object_or_raise(), self._spec
        if name == "name" and not spec.has("name"):
            name = "objectName"
        if name not in spec.properties:
            raise AttributeError(
                f"{self._name}: attribute {name!r} does not exist and creation of attributes on it is not allowed"
            )
        kind, writable = spec.properties[name]
        if not writable:
            raise AttributeError(f"{self._name}: property {name!r} is read-only")
        if kind in SCALARS and not isinstance(value, SCALARS[kind]):
            raise ValueError(f"{self._name}: property {name!r} of type {kind} does not accept {value!r}")
        if is_own(obj, name):
            obj.write(name, unwrap(value))
        elif not obj.setProperty(name, unwrap(value)):
            raise ValueError(f"{self._name}: property {name!r} of type {kind} does not accept {value!r}")

    def _className(self):
        return self._name

    def _inherits(self, name):
        return name in self._spec.chain or self._object_or_raise().inherits(name)

    def _children(self):
        return tuple(Proxy(child) for child in self._object_or_raise().children())

    def _delete(self):
        shiboken6.delete(self._object_or_raise())

    def _help(self):
        print(sorted(self._spec.properties), sorted(self._spec.signals))

    def connect(self, signature, function, slot=None):
        """Connects as Slicer does, and raises where PythonQt only prints: for a signal that the class has not."""
        signature, obj = signature.replace(" ", ""), self._object_or_raise()
        self._check_signal(signature)
        if slot is not None:
            function = getattr(function, slot.split("(")[0])
        if not callable(function):
            raise TypeError(f"{self._name}: {signature} cannot be connected to {function!r}")
        call = guarded(function)
        if not is_own_signal(obj, signature):
            QtCore.QObject.connect(obj, QtCore.SIGNAL(signature), call)
        if self._address not in _links:
            _links[self._address] = []
            obj.destroyed.connect(_forget(self._address))
        _links[self._address].append((signature, function, call))
        return True

    def disconnect(self, signature, function=None, slot=None):
        """True when the function was connected; without a function all are disconnected."""
        signature, obj = signature.replace(" ", ""), self._object_or_raise()
        self._check_signal(signature)
        if slot is not None:
            function = getattr(function, slot.split("(")[0])
        links = _links.get(self._address, [])
        gone = [link for link in links if link[0] == signature and function in (None, link[1])]
        for link in gone:
            links.remove(link)
            if not is_own_signal(obj, signature):
                QtCore.QObject.disconnect(obj, QtCore.SIGNAL(signature), link[2])
        return bool(gone)

    def _check_signal(self, signature):
        spec = self._spec
        if signature in spec.signals:
            return
        name = signature.split("(")[0]
        near = [s for s in spec.signals if s.split("(")[0] == name] or difflib.get_close_matches(
            signature, spec.signals
        )
        hint = f"; it has {', '.join(near)}" if near else ""
        partly = f" (only in {', '.join(spec.partial[name])})" if name in spec.partial else ""
        raise ValueError(f"{self._name} has no signal {signature!r}{partly}{hint}")


def _forget(address):
    return lambda *_: _links.pop(address, None)


def is_own(obj, name):
    """Whether a property belongs to the stand-in and not to the Qt class under it."""
    own = getattr(type(obj), "own_properties", None)
    return own is not None and (name in own or hasattr(type(obj), "get_" + name))


def is_own_signal(obj, signature):
    own = getattr(type(obj), "own_signals", None)
    return own is not None and signature in own


def emit(widget, signature, *args):
    """Sends a signal of a widget, as Qt or Slicer would; for tests and for stand-ins."""
    obj = unwrap(widget)
    if is_own_signal(obj, signature):
        if not obj.signalsBlocked():
            for link in list(_links.get(shiboken6.getCppPointer(obj)[0], ())):
                if link[0] == signature:
                    link[2](*args)
        return
    Proxy(obj)._check_signal(signature)
    getattr(obj, signature.split("(")[0]).emit(*[unwrap(one) for one in args])


def only_signature(name, signatures):
    """The one full overload of a signal, without those that only leave out arguments."""
    heads = [s.rstrip(")") for s in signatures]
    full = [
        s
        for s, head in zip(signatures, heads, strict=True)
        if not any(other != head and (other.startswith(head + ",") or head.endswith("(")) for other in heads)
    ]
    if len(full) != 1:
        raise AttributeError(f"{name}: several signals, write connect with one of {', '.join(signatures)}")
    return full[0]


def class_name(obj):
    """The class that Slicer's Python would name: the stand-in's, or the nearest of Qt that the manifest has."""
    own = getattr(type(obj), "slicer_name", None)
    if own is not None:
        return own
    meta = obj.metaObject()
    while meta is not None and meta.className() not in manifest.DATA["qt"]:
        meta = meta.superClass()
    return meta.className() if meta is not None else "QObject"


class ClassProxy:
    """`qt.QPushButton`, `ctk.ctkComboBox`, `slicer.qMRMLWidget`: makes objects and holds the class's flat enums."""

    _made: dict[str, "ClassProxy"] = {}
    statics: dict[tuple[str, str], object] = {}

    def __init__(self, name, cls):
        self._name, self._class = name, cls
        self._made[name] = self
        self.__name__ = name

    @classmethod
    def of(cls, name):
        return cls._made[name]

    def __repr__(self):
        return f"<class {self._name}>"

    def __mro_entries__(self, _bases):
        raise TypeError(f"{self._name}: prefer composition; subclasses of C++ widgets lose their overrides in Slicer")

    def __call__(self, *args):
        known = spec_of(self._name) if self._name in {**manifest.DATA["qt"], **manifest.DATA["slicer"]} else None
        if known is not None and not known.constructible:
            raise TypeError(f"{self._name} cannot be made from Python")
        return wrap(self._class(*[unwrap(one) for one in args]))

    def __instancecheck__(self, obj):
        inner = obj._object if isinstance(obj, Proxy) else unwrap(obj)
        own = getattr(type(inner), "slicer_name", None)
        if own is not None and self._name not in manifest.DATA["slicer"]:
            return False  # PythonQt may say False for Slicer's widgets: write isWidgetType() or inherits()
        return isinstance(inner, self._class)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if (self._name, name) in self.statics:
            return self.statics[self._name, name]
        value = self._enum_value(name)
        if value is not None:
            return EnumValue(value)
        if self._name in manifest.DATA["slicer"]:
            static = getattr(self._class, "static_" + name, None)
            if static is not None:
                return _positional(name, static)
            raise AttributeError(f"{self._name} has no attribute {name!r}, or its stand-in has no value for it")
        member = getattr(self._class, name, None)
        known = spec_of(self._name) if self._name in manifest.DATA["qt"] else None
        if callable(member) and not isinstance(member, type) and (known is None or name in known.methods):
            return _positional(name, member)
        raise AttributeError(f"{self._name} has no attribute {name!r}")

    def _enum_value(self, name):
        for cls in self._class.__mro__:
            own = vars(cls).get("enums", {})
            if name in own:
                return own[name]
            for one in vars(cls).values():
                if isinstance(one, type) and issubclass(one, enum.Enum) and name in one.__members__:
                    return one[name]
        return None


def class_proxy(name):
    """The proxy of a class of Qt; AttributeError when Qt has no such class."""
    if name in ClassProxy._made:
        return ClassProxy._made[name]
    for library in LIBRARIES:
        cls = getattr(library, name, None)
        if isinstance(cls, type):
            return ClassProxy(name, cls)
    raise AttributeError(f"module 'qt' has no attribute {name!r}")
