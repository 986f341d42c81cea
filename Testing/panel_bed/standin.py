"""The ground of all stand-ins: members come from the manifest, what they do is written by hand or refused."""

# ruff: noqa: RUF012  names as in Qt and Slicer; tables of classes

from panel_bed import manifest
from panel_bed.pythonqt import emit, unwrap, wrap
from PySide6 import QtCore, QtWidgets

EMPTY = {"QString": "", "bool": False, "int": 0, "double": 0.0, "QStringList": ()}


class NotImitatedError(NotImplementedError):
    """Slicer's class has this method, but the bed does not imitate it; write it where the stand-in is."""


class Standin:
    """Mixed into a Qt class. `do_NAME` is a method of Slicer's class, `get_NAME`/`set_NAME` a property that acts.

    A property without these only keeps its value. `quiet` methods are noted in `calls` and do nothing else.
    """

    slicer_name = ""
    own_properties: dict[str, str] = {}
    own_signals: tuple[str, ...] = ()
    defaults: dict[str, object] = {}
    enums: dict[str, object] = {}
    quiet: tuple[str, ...] = ()
    qt_class: type | None = None  # where it cannot be the Qt class of the real one

    def __init__(self, *args):
        self._values = {}
        self.calls = []
        super().__init__(*args)
        self.build()

    def build(self):
        """Makes the inner widgets; called once."""

    def read(self, name):
        getter = getattr(self, "get_" + name, None)
        if getter is not None:
            return getter()
        if name in self._values:
            return self._values[name]
        for cls in type(self).__mro__:
            if name in vars(cls).get("defaults", ()):
                return cls.defaults[name]
        return EMPTY.get(self.own_properties[name])

    def write(self, name, value):
        if isinstance(value, list):
            value = tuple(value)
        setter = getattr(self, "set_" + name, None)
        if setter is not None:
            setter(value)
        else:
            self._values[name] = value

    def call_of(self, name, spec):
        """The method as Python calls it: positional, with as many arguments as one of its overloads takes."""
        act = getattr(self, "do_" + name, None)
        if act is None:
            prop = name[3:4].lower() + name[4:] if name.startswith("set") else ""
            if prop in self.own_properties:
                act = lambda value: self.write(prop, value)  # noqa: E731
            elif any(name in vars(cls).get("quiet", ()) for cls in type(self).__mro__):
                act = lambda *args: self.calls.append((name, args))  # noqa: E731

        def call(*args):
            if not any(least <= len(args) <= most for least, most in spec.calls[name]):
                raise ValueError(f"{spec.name}.{name}: called with {len(args)} arguments, needs {spec.calls[name]}")
            if act is None:
                raise NotImitatedError(f"{spec.name}.{name}")
            return wrap(act(*[unwrap(one) for one in args]))

        call.__name__ = name
        return call

    def emit(self, signature, *args):
        emit(self, signature, *args)


def make(name, behavior=Standin):
    """The stand-in class for a class of the manifest, on the Qt class that the real one derives from."""
    known = manifest.spec(name, tuple(manifest.DATA["slicer"][name].get("v", manifest.RELEASES)))
    base = behavior.qt_class or getattr(QtWidgets, known.qt_base, None) or getattr(QtCore, known.qt_base or "QObject")
    own, signals = {}, []
    for one in known.chain:
        if one in manifest.DATA["slicer"]:
            entry = manifest.DATA["slicer"][one]
            for prop, kind in entry.get("properties", {}).items():
                own.setdefault(prop, (kind if isinstance(kind, str) else kind[0]).rsplit(" ", 1)[0])
            signals += [s if isinstance(s, str) else s[0] for s in entry.get("signals", ())]
    body = {"slicer_name": name, "own_properties": own, "own_signals": tuple(signals)}
    return type(name, (behavior, base), body)
