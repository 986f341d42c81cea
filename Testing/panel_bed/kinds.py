"""What the expressions of a Python file are: classes and objects of Slicer, CTK, Qt, MRML; as far as the text tells."""

import ast
import dataclasses

from panel_bed import facts
from panel_bed.manifest import DATA, spec

BY_CLASS = {"AddNewNodeByClass", "CreateNodeByClass", "GetFirstNodeByClass", "GetNthNodeByClass", "GetSingletonNode"}
PARENTS = {  # base class of a scripted module -> what its self.parent and self.layout are
    "ScriptedLoadableModule": {"parent": "qSlicerScriptedLoadableModule"},
    "ScriptedLoadableModuleWidget": {"parent": "qSlicerScriptedLoadableModuleWidget", "layout": "QVBoxLayout"},
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an expression is: "object" or "class" of a class, "module", "ui", "modules", "foreign" (not Slicer's)."""

    what: str
    name: str = ""


class Kinds:
    """The kinds of the names and expressions of one file; widgets: object name -> class of the forms."""

    def __init__(self, path, widgets):
        self.widgets = widgets
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.foreign = set()  # names in the modules that the file imports
        self.globals = {}
        self.attributes = {}  # (class, attribute of self) -> Kind
        self.busy = set()
        self._imports()

    def _imports(self):
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    if top in ("qt", "ctk", "slicer", "vtk"):
                        name = alias.name if alias.asname else top
                        self.globals[alias.asname or top] = Kind("module", name)
                    else:
                        self.globals[alias.asname or top] = Kind("foreign", alias.name)
                        self.foreign |= facts.names_of_module(alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.globals[alias.asname or alias.name] = self._imported(node.module, alias.name)

    def _imported(self, module, name):
        if module == "slicer":
            return self.in_slicer(name) or Kind("module", f"slicer.{name}")
        if module in ("qt", "ctk"):
            return Kind("class", name)
        if not module.startswith(("slicer", "VoxelAdvSeg")):
            self.foreign |= facts.names_of_module(module)
        return Kind("foreign", f"{module}.{name}")

    def in_slicer(self, name):
        if name == "app":
            return Kind("object", "qSlicerApplication")
        if name == "mrmlScene":
            return Kind("object", "vtkMRMLScene")
        if name == "modules":
            return Kind("modules")
        if name == "util" or facts.python_module(f"slicer.{name}") is not None:
            return Kind("module", f"slicer.{name}")
        if name in DATA["slicer"] or name.startswith("vtk"):
            return Kind("class", name)
        return None

    def kind(self, node):
        """What an expression is, None when it cannot be told."""
        if node in self.busy:
            return None
        self.busy.add(node)
        try:
            return self._kind(node)
        finally:
            self.busy.discard(node)

    def _kind(self, node):
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Attribute):
            return self._member_kind(node)
        if isinstance(node, ast.Call):
            return self._result(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return Kind("foreign", "str")
        return None

    def _name(self, node):
        scope = self._scope(node)
        while scope is not None:
            if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                found = self._local(scope, node.id)
                if found is not False:
                    return found
            scope = self._scope(scope)
        if node.id in self.globals:
            return self.globals[node.id]
        return self._assigned(self.tree, node.id)

    def _scope(self, node):
        node = self.parents.get(node)
        while node is not None and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            node = self.parents.get(node)
        return node

    def _local(self, function, name):
        """The kind of a parameter or local name; False when the function does not bind it."""
        arguments = function.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if one.arg == name:
                if name == "ui":
                    return Kind("ui")
                return self._annotated(one.annotation)
        if isinstance(function, ast.Lambda):
            return False
        return self._assigned(function, name, missing=False)

    def _annotated(self, annotation):
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            return None
        found = self.kind(annotation) if annotation is not None else None
        return Kind("object", found.name) if found is not None and found.what == "class" else None

    def _assigned(self, scope, name, missing=None):
        kinds, bound = set(), False
        for node in self._nodes_of(scope):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if binds(node) else []
            for target in targets:
                if isinstance(target, ast.Name) and target.id == name:
                    bound = True
                    value = getattr(node, "value", None)
                    plain = isinstance(node, (ast.Assign, ast.NamedExpr))
                    kinds.add(self.kind(value) if plain else self._annotated(getattr(node, "annotation", None)))
                elif unpacks(target, name):
                    bound = True
                    kinds.add(None)
        if not bound:
            return missing
        kinds.discard(Kind("foreign", "None"))
        return kinds.pop() if len(kinds) == 1 else None

    def _nodes_of(self, scope):
        """Nodes of a function (or the module), without those of functions and classes within it."""
        waiting = list(ast.iter_child_nodes(scope))
        while waiting:
            node = waiting.pop()
            yield node
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
                waiting += ast.iter_child_nodes(node)

    def _class_of(self, node):
        while node is not None and not isinstance(node, ast.ClassDef):
            node = self.parents.get(node)
        return node

    def _of_self(self, node, attr):
        """The kind of self.attr, from the assignments in the class around; None when they differ."""
        cls = self._class_of(node)
        if cls is None:
            return None
        key = (cls, attr)
        if key not in self.attributes:
            self.attributes[key] = None  # while it is being found
            kinds = set()
            for base in cls.bases:
                name = base.id if isinstance(base, ast.Name) else getattr(base, "attr", "")
                if attr in PARENTS.get(name, {}):
                    kinds.add(Kind("object", PARENTS[name][attr]))
            for one in ast.walk(cls):
                targets = one.targets if isinstance(one, ast.Assign) else [one.target] if binds(one) else []
                for target in targets:
                    if is_self(target) and target.attr == attr:
                        none = isinstance(one.value, ast.Constant) and one.value.value is None
                        if isinstance(one, ast.AnnAssign) and (one.value is None or none):
                            kinds.add(self._annotated(one.annotation))
                        elif not none:
                            kinds.add(self.kind(one.value))
            self.attributes[key] = kinds.pop() if len(kinds) == 1 else None
        return self.attributes[key]

    def _member_kind(self, node):
        if is_self(node):
            found = self._of_self(node, node.attr)
            if found is not None:
                return found
        if node.attr == "ui":
            return Kind("ui")
        base = self.kind(node.value)
        if base is None:
            return None
        if base.what == "foreign":
            return Kind("foreign")
        if base.what == "ui":
            kind = self.widgets.get(node.attr)
            return Kind("object", kind) if kind else None
        if base.what == "modules":
            return Kind("object", "qSlicerLoadableModule") if node.attr in facts.MODULES else None
        if base.what == "module":
            if base.name == "slicer":
                return self.in_slicer(node.attr)
            if base.name in ("qt", "ctk", "vtk"):
                return Kind("class", node.attr)
            return Kind("foreign", f"{base.name}.{node.attr}")
        if base.what == "object" and facts.is_class(base.name):
            prop = spec(base.name).properties.get(node.attr)
            kind = prop[0].rstrip("*& ") if prop else ""
            return Kind("object", kind) if facts.is_class(kind) else None
        return None

    def _result(self, node):
        function = node.func
        made = self.kind(function)
        if made is not None and made.what == "class":
            return Kind("object", made.name)
        if isinstance(function, ast.Attribute):
            if function.attr in BY_CLASS:
                for one in node.args:
                    if isinstance(one, ast.Constant) and str(one.value).startswith("vtkMRML"):
                        return Kind("object", one.value)
            base = self.kind(function.value)
            if base is not None and base.what == "class" and (base.name, function.attr) in facts.STATIC_RETURNS:
                return Kind("object", facts.STATIC_RETURNS[base.name, function.attr])
            if base is not None and base.what == "object":
                found = facts.return_class(base.name, function.attr)
                if found:
                    return Kind("object", found)
            if base is not None and base.what == "foreign":
                return Kind("foreign")
        return None


def binds(node):
    return isinstance(node, (ast.AnnAssign, ast.NamedExpr, ast.For, ast.AsyncFor, ast.comprehension, ast.AugAssign))


def unpacks(target, name):
    """Whether a tuple or a starred target binds the name."""
    if target is None or isinstance(target, (ast.Attribute, ast.Subscript)):
        return False
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(target))


def is_self(node):
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
