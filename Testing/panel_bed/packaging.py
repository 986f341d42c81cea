"""slicer.packaging and slicer.i18n: requirements are read for real, installing asks the scripted person."""

# ruff: noqa: N803  names as in Qt and Slicer; tables of classes

import importlib.metadata
import re
import sys
import types
from pathlib import Path

import slicer
import slicer.util
from packaging.requirements import Requirement
from panel_bed.dialogs import Question, answers


def load_requirements(path):
    lines = [line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def _list(requirements):
    if isinstance(requirements, (str, Requirement)):
        requirements = [requirements]
    return [one if isinstance(one, Requirement) else Requirement(one) for one in requirements]


def pip_check(req, _seen=None):
    for one in _list(req):
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not one.specifier.contains(version, prereleases=True):
            return False
    return True


def _install(texts):
    """The answer to "pip": None, or a function that gets the requirements and may raise, as pip would."""
    act = answers.take(Question("pip", " ".join(texts)))
    if act is not None:
        act(texts)


def pip_ensure(requirements, constraints=None, skip_packages=None, prompt_install=True, prompt_restart=True,
               requester=None, skip_in_testing=True, show_progress=True):  # fmt: skip
    if slicer.app.testingEnabled() and skip_in_testing:
        return None
    missing = [str(one) for one in _list(requirements) if one.name not in (skip_packages or ()) and not pip_check(one)]
    if not missing:
        return None
    if prompt_install and not slicer.util.confirmOkCancelDisplay(f"{requester}: install {', '.join(missing)}?"):
        raise RuntimeError(f"{requester}: the user declined to install {', '.join(missing)}")
    _install(missing)
    return []


def pip_install(
    requirements,
    constraints=None,
    no_deps_requirements=None,
    skip_packages=None,
    blocking=True,
    show_progress=True,
    requester=None,
    logCallback=None,
    completedCallback=None,
):
    texts = [requirements] if isinstance(requirements, str) else list(requirements)
    _install(texts)
    if not blocking and completedCallback is not None:
        completedCallback(0)


def pip_uninstall(requirements, blocking=True, logCallback=None, completedCallback=None):
    _install([requirements] if isinstance(requirements, str) else list(requirements))


_real = {}


def _old_pip_install(requirements):
    """slicer.util.pip_install of 5.10: waits, and takes nothing but the requirements."""
    _install([requirements] if isinstance(requirements, str) else list(requirements))


def tr(text):
    """The text; a placeholder that was filled before translation cannot be found by translators."""
    if not isinstance(text, str):
        raise TypeError(f"tr needs a string, not {text!r}")
    return text


def translate(context, text):
    if not isinstance(context, str) or not isinstance(text, str):
        raise TypeError("translate needs a context and a text")
    return text


def get_context(source_file):
    return re.sub(r"\.pyc?$", "", Path(source_file).name)


def install(release):
    """Makes the modules importable; slicer.packaging is absent in 5.10."""
    i18n = sys.modules.get("slicer.i18n") or types.ModuleType("slicer.i18n")
    i18n.tr, i18n.translate, i18n.getContext = tr, translate, get_context
    sys.modules["slicer.i18n"] = slicer.i18n = i18n
    sys.modules.pop("slicer.packaging", None)
    if hasattr(slicer, "packaging"):
        del slicer.packaging
    if "pip_install" not in _real:
        _real["pip_install"] = slicer.util.pip_install
    slicer.util.pip_install = _old_pip_install if release == "5.10" else _real["pip_install"]
    if release == "5.10":
        sys.modules["slicer.packaging"] = None  # importing it raises ModuleNotFoundError
        return
    module = types.ModuleType("slicer.packaging")
    for one in (load_requirements, pip_check, pip_ensure, pip_install, pip_uninstall):
        setattr(module, one.__name__, one)
    module.isPipInstallInProgress = lambda: False
    sys.modules["slicer.packaging"] = slicer.packaging = module
