"""Packages from a folder, without a network: the command that the panel gives, run by the real pip."""

import base64
import hashlib
import importlib.metadata
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import slicer

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.panel.installing import OF_SLICER, TORCH, installed_versions
from VoxelAdvSegLib.panel.workbench import Workbench

NEWER = "999.0"  # a version of numpy that is not Slicer's


def write_wheel(folder, name, version, *needs):
    """A wheel of one module that says its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(
            ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
        )
        + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def _digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def workbench(bed):
    made = Workbench(slicer.mrmlScene)
    yield made
    made.clean_up()


class Place:
    """An environment of its own that holds all that this Python has, as Slicer's Python holds Slicer's packages."""

    def __init__(self, folder):
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
        (self.packages / "all_of_this.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    def pip_install(self, arguments):
        """What slicer.util.pip_install does: pip in a process of its own; CalledProcessError when it fails."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(self.python), "install"]
        done = subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, "pip", done.stdout, done.stderr)

    def version(self, module, attribute):
        code = f"import {module}; print({module}.{attribute})"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture
def place(tmp_path):
    if sys.platform == "win32":
        pytest.skip("the folders of an environment are those of Linux and macOS")
    return Place(tmp_path / "environment")


def install(workbench, bed, place, folder, monkeypatch):
    monkeypatch.setattr(workbench, "missing_packages", lambda: ["tinything>=1.0"])
    asked = []

    def pip(arguments):
        asked.extend(arguments)
        place.pip_install(arguments)

    bed.answers.expect("message", "Ok", "tinything>=1.0")
    bed.answers.expect("pip", pip)
    try:
        workbench.install_from_folder(folder)
    finally:
        assert "--no-index" in asked and "--find-links" in asked and "-c" in asked
    return asked


@pytest.mark.slow
def test_packages_of_a_folder_are_installed_offline_and_slicers_own_stay(workbench, bed, place, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "tinything", "1.2", "tinyhelper", "numpy")  # what Slicer has satisfies the last
    write_wheel(wheels, "tinyhelper", "0.1")
    write_wheel(wheels, "numpy", NEWER)
    install(workbench, bed, place, wheels, monkeypatch)
    assert (place.version("tinything", "VERSION"), place.version("tinyhelper", "VERSION")) == ("1.2", "0.1")
    assert place.version("numpy", "__version__") == np.__version__


@pytest.mark.slow
def test_a_package_that_would_replace_slicers_numpy_is_refused(workbench, bed, place, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "tinything", "1.2", f"numpy>={NEWER}")
    write_wheel(wheels, "numpy", NEWER)
    with pytest.raises(RunError, match="not installed"):
        install(workbench, bed, place, wheels, monkeypatch)
    assert place.version("numpy", "__version__") == np.__version__
    assert not list(place.packages.glob("tinything*"))
    # It is the constraints that refuse it: pip by itself would have put the other numpy in front.
    place.pip_install(["--no-index", "--find-links", str(wheels), "tinything"])
    assert place.version("numpy", "VERSION") == NEWER


def test_constraints_hold_all_that_is_slicers_own_and_torch():
    held = dict(line.split("==") for line in installed_versions())
    assert set(held) == {*OF_SLICER, TORCH}
    assert all(held[name] == importlib.metadata.version(name) for name in held)


def test_torch_is_never_among_what_pip_is_asked_for(workbench, monkeypatch):
    """It comes by the PyTorch extension, in one build for all extensions."""

    def nothing_is_there(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", nothing_is_there)
    missing = [requirement.partition(">=")[0] for requirement in workbench.missing_packages()]
    assert "monai" in missing and "safetensors" in missing
    assert not {*missing} & {*OF_SLICER, TORCH}
