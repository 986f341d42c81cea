"""Imports go one way: each layer may use the layers above it in this list, and no other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "VoxelAdvSegLib"
REPOSITORY = Path(__file__).resolve().parents[1]
FILES = sorted((REPOSITORY / PACKAGE).rglob("*.py"))

# Top row first. A name stands for a module of the package, or for a folder with all its modules.
STREET = [
    {"errors", "table"},
    {"setting_values"},
    {"config", "schedule", "model_folder"},
    {"data"},
    {"networks"},
    {"losses"},
    {"methods"},
    {"bundle"},
    {"inference"},
    {"evaluation"},
    {"training"},
    {"demo"},
    {"benchmark"},
    {"project"},
    {"jobs"},
    {"scene", "cli"},
    {"panel"},
]
ROW = {name: row for row, names in enumerate(STREET) for name in names}
ENTRANCES = {"__init__", "__main__"}
# Who may know what of Slicer: the bridge takes scene and nodes; only the panel has widgets.
SLICER = {"slicer": {"scene", "panel"}, "vtk": {"scene", "panel"}, "qt": {"panel"}, "ctk": {"panel"}}
FREE_OF_TORCH = [
    "errors", "config", "model_folder", "data", "training.events", "cli.main", "cli.doctor", "evaluation.metrics",
    "evaluation.report", "project", "jobs", "cli.benchmark", "cli.methods",
]  # fmt: skip
# What runs in Slicer's process, of layers that are above it in the street for other reasons, may use these only.
IN_SLICER = {
    "scene": {"errors", "data", "project", "scene"},
    "panel": {"errors", "config", "setting_values", "table", "data", "evaluation", "project", "jobs", "scene", "panel"},
}
# The bridge takes scene and nodes; these belong to the application.
OF_THE_APPLICATION = {"app", "modules", "mrmlScene", "util"}
# Not in Slicer's own Python before a person installs them: its process must do without.
NOT_IN_SLICER = ["torch", "monai", "safetensors", "psutil", "filelock", "highdicom", "slicerio", "nrrd"]


def imports(file):
    """Names of all modules a file imports, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import in line {node.lineno}"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def part(module):
    """The module or folder of the package that a dotted name lies in, or "" for the package itself."""
    names = module.split(".")
    return names[1] if names[0] == PACKAGE and len(names) > 1 else ""


def parts_used(file):
    used = {part(name) for name in imports(file) if name.split(".")[0] == PACKAGE}
    return {name for name in used if name in ROW}


def modules(name):
    """Dotted names of a module, or of all modules below a folder."""
    path = REPOSITORY / PACKAGE / Path(*name.split("."))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return [".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files]


def test_every_module_has_its_place():
    tops = {file.relative_to(REPOSITORY / PACKAGE).parts[0].removesuffix(".py") for file in FILES}
    assert tops - ENTRANCES <= set(ROW)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_imports_go_one_way(file):
    own = file.relative_to(REPOSITORY / PACKAGE).parts[0].removesuffix(".py")
    used = parts_used(file)
    if own in ENTRANCES:
        assert used <= {"cli"}
        return
    allowed = {name for name, row in ROW.items() if row < ROW[own]} | {own}
    assert used <= allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_only_scene_and_panel_know_slicer(file):
    own = file.relative_to(REPOSITORY / PACKAGE).parts[0].removesuffix(".py")
    used = {name.split(".")[0] for name in imports(file)} & set(SLICER)
    assert {name for name in used if own not in SLICER[name]} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_slicers_process_stays_small(file):
    own = file.relative_to(REPOSITORY / PACKAGE).parts[0]
    if own in IN_SLICER:
        assert parts_used(file) <= IN_SLICER[own]


@pytest.mark.parametrize("file", sorted((REPOSITORY / PACKAGE / "scene").glob("*.py")), ids=lambda file: file.stem)
def test_the_scene_needs_no_application(file):
    assert application_names(file.read_text(encoding="utf-8")) == set()


def application_names(code):
    """Names of the application that code takes from `slicer`."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "slicer":
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "slicer":
            found.update([*node.module.split(".")[1:2], *(alias.name for alias in node.names)])
        elif isinstance(node, ast.Import):
            found.update(part for alias in node.names if alias.name.startswith("slicer.") for part in [alias.name[7:]])
    return found & OF_THE_APPLICATION


def test_the_application_is_seen():
    assert application_names("import slicer\nslicer.mrmlScene.Clear(0)") == {"mrmlScene"}
    assert application_names("import slicer.util as u\nfrom slicer.util import getNode") == {"util"}
    assert application_names("from slicer import app") == {"app"}


def test_the_scene_loads_with_what_slicers_python_has():
    lines = [
        "import importlib, sys",
        f"for name in {[*NOT_IN_SLICER, 'qt', 'ctk']!r}: sys.modules[name] = None",
        f"for name in {modules('scene')!r}: importlib.import_module(name)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_street_is_seen(tmp_path):
    """That the test above can fail: an import against the street within a function is found."""
    file = tmp_path / "wrong.py"
    file.write_text(f"def f():\n    from {PACKAGE}.training.loop import run\n")
    assert parts_used(file) == {"training"}
    file.write_text(f"from {PACKAGE} import cli, __version__\nimport {PACKAGE}.data.volume\n")
    assert parts_used(file) == {"cli", "data"}


def test_torch_is_not_needed_before_the_networks():
    names = [PACKAGE, *(module for name in FREE_OF_TORCH for module in modules(name))]
    lines = [
        "import importlib, sys",
        f"for name in {NOT_IN_SLICER + sorted(SLICER)!r}: sys.modules[name] = None",
        f"for name in {names!r}: importlib.import_module(name)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr
