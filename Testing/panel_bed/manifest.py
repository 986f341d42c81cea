"""What Slicer's, CTK's and Qt's classes have, read from `manifest.json`; for one release or for all of them."""

import functools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

DATA = json.loads(Path(__file__).with_name("manifest.json").read_text(encoding="utf-8"))
RELEASES = tuple(DATA["releases"])

# Properties that work in a form though Designer does not list them, and the form's own pseudo class.
EXTRA_UI = {"QLabel": {"buddy"}, "QWidget": {"visible", "minimumHeight", "maximumHeight", "minimumWidth"}}
PYTHONQT = {
    "connect", "disconnect", "parent", "setParent", "children", "findChild", "findChildren", "property", "setProperty",
    "tr", "metaObject", "className", "inherits", "help", "delete",
}  # fmt: skip


@dataclass
class Spec:
    """Members of one class with those that it inherits, as Python sees them in every release asked for."""

    name: str
    python: str = ""
    qt_base: str = ""  # the nearest Qt class; the class itself when it is Qt's
    chain: tuple[str, ...] = ()
    constructible: bool = True
    in_forms: bool = True
    properties: dict[str, tuple[str, bool]] = field(default_factory=dict)  # name -> C++ type, writable
    signals: dict[str, str] = field(default_factory=dict)  # signature -> class that declares it
    calls: dict[str, list[tuple[int, int]]] = field(
        default_factory=dict
    )  # name -> least and most arguments, per overload
    methods: set[str] = field(default_factory=set)  # Qt's own, without signatures
    enums: set[str] = field(default_factory=set)
    ui_properties: set[str] = field(default_factory=set)
    partial: dict[str, list[str]] = field(default_factory=dict)  # name -> the releases that have it, when not all do

    def has(self, name: str) -> bool:
        signals = {signature.split("(")[0] for signature in self.signals}
        return name in self.properties or name in self.calls or name in self.methods | self.enums | signals | PYTHONQT


def in_all(entry, releases):
    """The entry's text when all these releases (and both Qt versions) have it, else None."""
    if isinstance(entry, str):
        return entry
    text, limit = entry
    if isinstance(limit, str):  # "qt5" or "qt6"
        return None
    return text if set(releases) <= set(limit) else None


def split_arguments(text):
    """Arguments of a C++ signature, split at the commas outside angle brackets and parentheses."""
    inner = text[text.index("(") + 1 : text.rindex(")")]
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(inner):
        depth += letter in "<([{"
        depth -= letter in ">)]}"
        if letter == "," and not depth:
            parts.append(inner[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, inner[start:]] if part.strip()]


def arity(signature):
    arguments = split_arguments(signature)
    return sum("=" not in argument for argument in arguments), len(arguments)


def call_name(signature):
    return re.split(r"[\s*&]+", signature.split("(")[0].strip())[-1]


def _add_slicer(spec, name, releases):
    entry = DATA["slicer"][name]
    if set(releases) - set(entry.get("v", RELEASES)):
        raise LookupError(f"{name} is only in {', '.join(entry['v'])}")
    for prop, value in entry.get("properties", {}).items():
        kind = in_all(value, releases)
        if kind is None:
            spec.partial[prop] = value[1]
        else:
            kind, access = kind.rsplit(" ", 1)
            spec.properties.setdefault(prop, (kind, "w" in access))
            if "-" not in access:
                spec.ui_properties.add(prop)
    for value in entry.get("signals", ()):
        signature = in_all(value, releases)
        if signature is None:
            spec.partial[value[0].split("(")[0]] = value[1]
        else:
            spec.signals.setdefault(signature, name)
    for value in entry.get("calls", ()):
        signature = in_all(value, releases)
        if signature is None:
            spec.partial[call_name(value[0])] = value[1]
        else:
            spec.calls.setdefault(call_name(signature), []).append(arity(signature))
    for values in entry.get("enums", {}).values():
        spec.enums.update(v for v in values if isinstance(v, str) and " " not in v)


def _add_qt(spec, name):
    entry = DATA["qt"].get(name)
    if entry is None:
        return
    for prop, value in entry.get("properties", {}).items():
        kind = in_all(value, RELEASES)
        if kind is None:
            spec.partial[prop] = [value[1]]
        else:
            kind, access = kind.rsplit(" ", 1)
            spec.properties.setdefault(prop, (kind, "w" in access))
    for value in entry.get("signals", ()):
        signature = in_all(value, RELEASES)
        if signature is None:
            spec.partial[value[0].split("(")[0]] = [value[1]]
        else:
            spec.signals.setdefault(signature, name)
    for value in entry.get("methods", ()):
        method = in_all(value, RELEASES)
        if method is None:
            spec.partial[value[0]] = [value[1]]
        else:
            spec.methods.add(method)
    for values in entry.get("enums", {}).values():
        spec.enums.update(v for v in (in_all(v, RELEASES) for v in values) if v)
    spec.ui_properties.update(entry.get("ui", ()), EXTRA_UI.get(name, ()))


def bases(name):
    """The class and all that it inherits from, nearest first, Qt's included."""
    if name in DATA["slicer"]:
        out = [name]
        for base in DATA["slicer"][name].get("bases", ()):
            out += [b for b in bases(base) if b not in out]
        return out
    if name in DATA["qt"]:
        parent = DATA["qt"][name].get("base")
        return [name, *(bases(parent) if parent else ())]
    return []


@functools.cache
def spec(name: str, releases: tuple[str, ...] = RELEASES) -> Spec:
    """Members of a Slicer, CTK or Qt class that all these releases have; LookupError for a class the manifest lacks."""
    if name not in DATA["slicer"] and name not in DATA["qt"]:
        more = " (Slicer has it: add it to make_manifest.py)" if name in DATA["other_slicer_names"] else ""
        raise LookupError(f"class {name} is not in the manifest{more}")
    chain = tuple(bases(name))
    own = DATA["slicer"].get(name, {})
    qt_base = own.get("qt_base") or next((b for b in chain if b in DATA["qt"]), "")
    out = Spec(
        name,
        python=own.get("python", f"qt.{name}"),
        qt_base=qt_base,
        chain=chain,
        constructible=own.get("construct_from_python", True),
        in_forms=own.get("designer_plugin", True),
    )
    for base in chain:
        if base in DATA["slicer"]:
            _add_slicer(out, base, releases)
        else:
            _add_qt(out, base)
    if qt_base and qt_base not in chain:
        for base in bases(qt_base):
            _add_qt(out, base)
    for name in [name for name in out.partial if out.has(name)]:  # another overload is in all
        del out.partial[name]
    return out


def widget_classes(package: str) -> list[str]:
    """Names in `slicer` or `ctk` for which there is an entry."""
    return [name for name, entry in DATA["slicer"].items() if entry["python"] == f"{package}.{name}"]
