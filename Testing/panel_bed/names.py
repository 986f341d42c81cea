"""Static check of the names that Python code uses on Slicer's, CTK's and Qt's classes.

It follows what can be followed in the text: `qt.`, `ctk.`, `slicer.`, `slicer.util.`, `slicer.app.`,
`slicer.modules.`, objects made from a class (also kept in `self.x` or a local name), what methods with a known
return type give, widgets of the form (`ui.NAME`), annotated parameters, MRML classes and nodes made by class name.
For an object whose class it cannot tell, the member must at least be known to somebody: to a class of the manifest,
of MRML, of VTK, of this repository, of Python or of the modules that the file imports.

It cannot see: classes of parameters without an annotation, elements of containers, results of own functions, names
that are put together at run time (getattr, connect with a variable), types and values of arguments. A member that
exists on another class than the one in hand passes when the class is not known.
"""

import ast
import builtins
import dataclasses
import datetime
import logging
import pathlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from panel_bed import facts
from panel_bed.kinds import Kinds, is_self
from panel_bed.manifest import DATA, RELEASES, call_name, spec

# What @parameterNodeWrapper adds to every class (slicer/parameterNodeWrapper/wrapper.py), in all releases.
OF_PARAMETER_NODES = ("connectGui", "disconnectGui", "parameterNode", "isCached", "getValue", "setValue")

GUARDS = {"AttributeError", "ImportError", "ModuleNotFoundError"}
PYTHON_TYPES = (
    *(one for one in vars(builtins).values() if isinstance(one, type)), pathlib.Path, datetime.datetime,
    datetime.timedelta, re.Pattern, re.Match, logging.Logger, subprocess.Popen, np.ndarray, np.generic, type(len),
    type(sys), type(lambda: 0),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Finding:
    file: str
    line: int
    text: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.text}"


def own_names(files):
    """Every name that this repository defines: functions, classes, attributes, fields, parameters."""
    out = set()
    for file in files:
        for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                out.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                base = node.value
                if isinstance(base, ast.Name) and base.id in ("self", "cls"):
                    out.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                out.add(node.id)
    return out


def form_widgets(forms):
    """Object name -> class of every widget of the forms."""
    import xml.etree.ElementTree as ET

    out = {}
    for form in forms:
        for widget in ET.parse(form).getroot().iter("widget"):
            out[widget.get("name")] = "QFrame" if widget.get("class") == "Line" else widget.get("class")
    return out


def check(files, forms=(), repository=()):
    """Findings in Python files; forms: the .ui files whose widgets they use; repository: files of our own names."""
    widgets, own = form_widgets(forms), own_names([*repository, *files])
    found = []
    for file in files:
        found += _File(Path(file), widgets, own).findings()
    return found


class _File(Kinds):
    """One file, and what is wrong in it."""

    def __init__(self, path, widgets, own):
        super().__init__(path, widgets)
        self.path, self.own, self.found = path, own, []
        self.python = set().union(*(dir(one) for one in PYTHON_TYPES)) | self.foreign

    def findings(self):
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute):
                self._attribute(node)
            elif isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self._import(node)
        return sorted(set(self.found), key=lambda one: one.line)

    def say(self, node, text):
        self.found.append(Finding(str(self.path), node.lineno, text))

    def _import(self, node):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in names:
            if not name.startswith("slicer.") or name == "slicer.util":
                continue
            module = facts.python_module(name)
            if module is None:
                self.say(node, f"module {name} is not in the manifest")
                continue
            self._limited(node, name, module.get("v"), name.split(".")[-1])
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("slicer."):
            module = facts.python_module(node.module)
            for alias in node.names if module else ():
                if alias.name != "*":
                    self._python_name(node, node.module, alias.name)

    def _python_name(self, node, module, name):
        entry = facts.python_module(module)
        function = entry["functions"].get(name)
        if function is None and name not in entry["classes"]:
            self.say(node, f"{module} has no {name}")
        elif function is not None:
            self._limited(node, f"{module}.{name}", function.get("v"), name)

    def _limited(self, node, what, releases, name):
        if releases and set(releases) != set(RELEASES) and not self._guarded(node, name):
            self.say(node, f"{what} is only in {', '.join(releases)}, and nothing guards it")

    def _attribute(self, node):
        base = self.kind(node.value)
        if is_self(node):
            return self._anyone(node)
        if base is None:
            return self._anyone(node)
        if base.what == "module":
            self._of_module(node, base)
        elif base.what == "class":
            self._of_class(node, base)
        elif base.what == "object":
            self._of_object(node, base)
        elif base.what == "modules":
            name = node.attr
            own = re.fullmatch(r"voxeladvseg|VoxelAdvSeg(Widget|Instance|Logic)?", name)
            if name not in facts.MODULES and not own and not self._guarded(node, name):
                self.say(node, f"slicer.modules.{name} is no module of the application, and nothing guards it")
        elif base.what == "ui" and self.widgets and node.attr not in self.widgets and node.attr not in self.own:
            self.say(node, f"no widget of the form is called {node.attr!r}")
        return None

    def _of_module(self, node, base):
        name = node.attr
        if base.name == "slicer":
            if self.in_slicer(name) is None and name not in facts.NAMES_IN_SLICER:
                self.say(node, f"slicer.{name} is not in the manifest")
            elif name.startswith("vtk"):
                self._vtk_class(node, name)
            elif name in DATA["slicer"]:
                self._limited(node, f"slicer.{name}", DATA["slicer"][name].get("v"), name)
        elif base.name == "qt":
            if name not in DATA["qt"] and name not in ("Qt", "BoolResult", "QUiLoader") and not facts.in_pyside(name):
                self.say(node, f"qt.{name} is not in the manifest")
        elif base.name == "ctk":
            if DATA["slicer"].get(name, {}).get("python") != f"ctk.{name}":
                self.say(node, f"ctk.{name} is not in the manifest")
        elif facts.python_module(base.name) is not None:
            self._python_name(node, base.name, name)

    def _vtk_class(self, node, name):
        import slicer

        if name not in DATA["mrml"] and not hasattr(slicer, name):
            self.say(node, f"slicer.{name} is not in the manifest")

    def _of_class(self, node, base):
        name = node.attr
        if base.name.startswith("vtk"):
            self._of_mrml(node, base.name)
        elif facts.is_class(base.name):
            there = spec(base.name).has(name) or (base.name, name) in facts.STATIC_RETURNS
            if not there and not (base.name in DATA["qt"] and facts.has_enum(base.name, name)):
                self._member_missing(node, base.name, name)
        elif facts.in_pyside(base.name) and not facts.has_enum(base.name, name):
            self.say(node, f"qt.{base.name} has no {name}")

    def _of_object(self, node, base):
        if base.name.startswith("vtk"):
            self._of_mrml(node, base.name)
            return
        if not facts.is_class(base.name):
            return
        known = spec(base.name)
        name = node.attr
        plain = name.rstrip("_")
        if not known.has(name) and not known.has(plain) and name != "name":
            self._member_missing(node, base.name, name)
        elif isinstance(node.ctx, (ast.Store, ast.Del)):
            prop = known.properties.get("objectName" if name == "name" else name)
            if prop is None:
                self.say(node, f"{base.name}: {name} is no property, it cannot be set")
            elif not prop[1]:
                self.say(node, f"{base.name}: property {name} is read-only")

    def _member_missing(self, node, class_name, name):
        if facts.any_release(class_name).has(name):
            partial = ", ".join(spec(class_name).partial.get(name, ["some releases"]))
            if not self._guarded(node, name):
                self.say(node, f"{class_name}.{name} is only in {partial}, and nothing guards it")
        elif name in spec(class_name).partial:
            if not self._guarded(node, name):
                self.say(node, f"{class_name}.{name} is only in {', '.join(spec(class_name).partial[name])}")
        else:
            self.say(node, f"{class_name} has no {name}")

    def _of_mrml(self, node, class_name):
        releases = facts.mrml_releases(class_name, node.attr)
        if releases is None:
            self.say(node, f"class {class_name} is not in the manifest")
        elif not releases:
            self.say(node, f"{class_name} has no {node.attr}")
        elif releases != RELEASES and not self._guarded(node, node.attr):
            self.say(node, f"{class_name}.{node.attr} is only in {', '.join(releases)}, and nothing guards it")

    def _anyone(self, node):
        """The class is not known: the name must be known to somebody, in all releases or guarded."""
        name = node.attr
        known = name in self.own or name in self.python or name in self.widgets
        if known or name == "ui" or name.startswith("__") or name in OF_PARAMETER_NODES:
            return
        members, _ = facts.known_members()
        releases = members.get(name) or members.get(name.rstrip("_")) or facts.mrml_anywhere(name)
        if not releases:
            self.say(node, f"nobody has a member {name!r}")
        elif set(releases) != set(RELEASES) and not self._guarded(node, name):
            self.say(node, f"{name} is only in {', '.join(releases)}, and nothing guards it")

    def _call(self, node):
        function = node.func
        made = self.kind(function)
        if made is not None and made.what == "class" and node.keywords and not made.name.startswith("vtk"):
            self.say(node, f"{made.name}: PythonQt takes no keyword arguments")
        if not isinstance(function, ast.Attribute):
            return
        name, base = function.attr, self.kind(function.value)
        if name in ("connect", "disconnect"):
            self._connection(node, base)
        if base is None:
            return
        if base.what == "object" and facts.is_class(base.name):
            known = spec(base.name)
            if node.keywords:
                self.say(node, f"{base.name}.{name}: PythonQt takes no keyword arguments")
            if name in known.properties and name not in known.calls:
                self.say(node, f"{base.name}: {name} is a property, it cannot be called")
            overloads = known.calls.get(name)
            count = None if any(isinstance(one, ast.Starred) for one in node.args) else len(node.args)
            if overloads and count is not None and not any(least <= count <= most for least, most in overloads):
                self.say(node, f"{base.name}.{name}: {count} arguments, needs one of {overloads}")
        elif base.what == "class" and not base.name.startswith("vtk") and node.keywords:
            self.say(node, f"{base.name}.{name}: PythonQt takes no keyword arguments")
        elif base.what == "module" and base.name.startswith("slicer."):
            self._python_call(node, base.name, name)

    def _python_call(self, node, module, name):
        signatures = facts.function_signatures(module, name)
        if not signatures or any(isinstance(one, ast.Starred) for one in node.args):
            return
        for keyword in node.keywords:
            missing = [s for s in signatures if not s[2] and keyword.arg is not None and keyword.arg not in s[0]]
            if len(missing) == len(signatures):
                self.say(node, f"{module}.{name} has no argument {keyword.arg!r}")
            elif missing and not self._guarded(node, name):
                self.say(node, f"{module}.{name} has the argument {keyword.arg!r} in some releases only")
        if all(len(node.args) > most for _, most, _ in signatures):
            self.say(node, f"{module}.{name}: {len(node.args)} arguments are too many")

    def _connection(self, node, base):
        if not node.args or not isinstance(node.args[0], ast.Constant) or not isinstance(node.args[0].value, str):
            return
        signature = node.args[0].value.replace(" ", "")
        if base is not None and base.what == "object" and facts.is_class(base.name):
            known = spec(base.name)
            if signature in known.signals:
                return
            if signature in facts.any_release(base.name).signals:
                if not self._guarded(node, call_name(signature)):
                    self.say(node, f"{base.name}: signal {signature} is not in all releases")
                return
            self.say(node, f"{base.name} has no signal {signature}")
        elif signature not in facts.known_members()[1]:
            self.say(node, f"no class has the signal {signature} in all releases")

    def _guarded(self, node, name):
        """Whether a try, or a hasattr of this name in the same function, stands around a name."""
        child, one = node, self.parents.get(node)
        while one is not None:
            if isinstance(one, ast.Try) and child in one.body and _catches(one):
                return True
            if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and _asks_for(one, name):
                return True
            child, one = one, self.parents.get(one)
        return _asks_for(self.tree, name, deep=False)


def _catches(node):
    for handler in node.handlers:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(isinstance(kind, ast.Name) and kind.id in GUARDS for kind in kinds):
            return True
    return False


def _asks_for(scope, name, deep=True):
    """Whether hasattr, getattr with a default, or find_spec is asked for the name."""
    tests = [statement.test for statement in scope.body if isinstance(statement, ast.If)]
    nodes = ast.walk(scope) if deep else (node for test in tests for node in ast.walk(test))
    for node in nodes:
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            least = {"hasattr": 2, "getattr": 3, "find_spec": 1}.get(called)
            if least and len(node.args) >= least:
                text = node.args[-1 if called != "getattr" else 1]
                if isinstance(text, ast.Constant) and str(text.value).split(".")[-1].split("(")[0] == name:
                    return True
    return False


def sources(repository):
    """The files that this check is for: the module, the panel and the scene bridge."""
    root = Path(repository)
    library = root / "VoxelAdvSegLib"
    return [
        *sorted((root / "VoxelAdvSeg").glob("*.py")),
        *sorted((library / "panel").rglob("*.py")),
        *sorted((library / "scene").rglob("*.py")),
    ]


def forms(repository):
    return sorted((Path(repository) / "VoxelAdvSeg").rglob("*.ui"))


def report(repository):
    """All findings of the repository's own sources."""
    own = sorted((Path(repository) / "VoxelAdvSegLib").rglob("*.py"))
    return check(sources(repository), forms(repository), own)
