"""The bed: a Slicer-like application in which a scripted module is loaded, opened, driven and left."""

import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before the first import of PySide6

import shiboken6
import slicer
import slicer.util
from panel_bed import application, extensions, packaging, parameter_node, pythonqt, qt_module, scripted, standins
from panel_bed.dialogs import answers
from panel_bed.pythonqt import Proxy, emit, unwrap
from panel_bed.standins_segments import SegmentEditor
from PySide6 import QtCore, QtWidgets
from slicer_bed.application import Application as SceneApplication

_first = {}  # what is made once in a process


LIBRARY = "VoxelAdvSegLib"


def _library():
    """The modules of the library that are loaded, by name."""
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == LIBRARY}


class Bed:
    """One application with a fresh scene in `folder`. Use the fixture `bed` of panel_bed.fixtures in tests.

    answers: the scripted person (dialogs.Answers). release: "5.10", "5.12" or "5.13", or None for names that are in
    all three. window: with a main window and its views; without, as Slicer runs under --no-main-window.
    testing: what slicer.app.testingEnabled() says.
    """

    def __init__(self, folder, release=None, window=True):
        self.folder = Path(folder)
        self.release = release or "5.13"
        self.testing = False
        self.answers = answers
        answers.start()
        SegmentEditor.holders.clear()
        extensions.add_sample_data()
        self.status_messages = []
        self.module_objects, self._python_modules, self._kept = {}, {}, []
        self._library = _library()
        (self.folder / "temporary").mkdir(parents=True, exist_ok=True)
        (self.folder / "home" / "bin").mkdir(parents=True, exist_ok=True)
        python = self.folder / "home" / "bin" / "PythonSlicer"
        if not python.exists():
            python.symlink_to(sys.executable)
        self.environment = application.environment_of_slicer(self.folder / "home")
        self._settings()
        pythonqt.releases[:] = [release] if release else list(pythonqt.manifest.RELEASES)
        self.scene_application = SceneApplication(self.folder / "application")
        self.files = slicer.app.coreIOManager()
        packaging.install(self.release)
        self._make_application(window)

    def _settings(self):
        kinds = QtCore.QSettings
        kinds.setDefaultFormat(kinds.Format.IniFormat)
        kinds.setPath(kinds.Format.IniFormat, kinds.Scope.UserScope, str(self.folder / "settings"))
        QtCore.QCoreApplication.setOrganizationName("NA-MIC")
        QtCore.QCoreApplication.setApplicationName("Slicer")
        settings = kinds()
        settings.clear()
        settings.sync()

    def _make_application(self, window):
        made = {}
        for name in ("qSlicerApplication", "qSlicerModuleManager", "qSlicerModuleFactoryManager"):
            made[name] = standins.CLASSES[name]()
            made[name].bed = self
            self._kept.append(made[name])
        self.app = made["qSlicerApplication"]
        self.module_manager = made["qSlicerModuleManager"]
        self.factory_manager = made["qSlicerModuleFactoryManager"]
        slicer.app = self._proxy(self.app)
        slicer.modules = application.Modules()
        slicer.selfTests = {}
        for name, logic in self.scene_application.logics.items():
            module = standins.CLASSES["qSlicerLoadableModule"]()
            module._values["name"] = name
            module.module_logic = logic
            self._add_module(name, module)
        self.layout_manager = self.main_window = None
        if window:
            self.main_window = QtWidgets.QMainWindow()
            self.main_window.setObjectName("qSlicerMainWindow")
            self.main_window.statusBar()
            self.layout_manager = standins.CLASSES["qSlicerLayoutManager"]()
            self.layout_manager.add_views(self.scene_application)
        real = _first["showStatusMessage"]

        def show_status(message, duration=0):
            self.status_messages.append(message)
            return real(message, duration)

        slicer.util.showStatusMessage = show_status

    def _proxy(self, obj):
        proxy = Proxy(obj)
        self._kept.append(proxy)
        return proxy

    def _add_module(self, name, module):
        self.module_objects[name] = module
        setattr(slicer.modules, name.lower(), self._proxy(module))

    # the life of a module

    def python_module(self, name):
        return sys.modules[name]

    def load_module(self, path):
        """Does what the module factory does at the start of Slicer: runs the file and makes the module object."""
        path = Path(path)
        name = path.stem
        if (path.parent / "__init__.py").exists():
            raise ImportError(f"{path.parent}: a package there would hide the module file")
        others = [other.name for other in path.parent.glob("*.py") if f"class {other.stem}(" not in other.read_text()]
        if others:
            raise ImportError(f"{path.parent}: Slicer takes every .py there for a module: {', '.join(others)}")
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        python = importlib.util.module_from_spec(spec)
        sys.modules[name] = python
        module = standins.CLASSES["qSlicerScriptedLoadableModule"]()
        module.bed = self
        module._values.update(name=name, path=str(path))
        spec.loader.exec_module(python)
        self._add_module(name, module)
        instance = getattr(python, name)(self._proxy(module))
        setattr(slicer.modules, f"{name}Instance", instance)
        getattr(instance, "setup", lambda: None)()
        return python

    def start_up_completed(self):
        """The application sends the signal that modules wait for to register their sample data."""
        emit(slicer.app, "startupCompleted()")

    def open_module(self, name):
        """Opens the panel as the user does; returns the widget object of the module."""
        module = self.module_objects[name]
        representation = module.do_widgetRepresentation()
        representation.show()
        representation.do_enter()
        self.process()
        return representation.python

    def leave_module(self, name):
        representation = self.module_objects[name].representation
        representation.do_exit()
        representation.hide()
        self._nothing_held("after leaving the panel")

    def _nothing_held(self, when):
        """Shortcuts and view observers of an embedded Segment Editor would work on in the whole application."""
        held = [editor for editor in SegmentEditor.holders if editor.holds_views or editor.holds_shortcuts]
        assert not held, f"the Segment Editor still holds views or shortcuts {when}"

    def reload_module(self, name):
        getattr(slicer.modules, f"{name}Widget").onReload()
        return getattr(slicer.modules, f"{name}Widget")

    def unload_module(self, name):
        """What happens at the end of Slicer: the panel's cleanup runs."""
        emit(self.module_manager, "moduleAboutToBeUnloaded(QString)", name)

    # driving

    def process(self, seconds=0.0):
        """Lets Qt answer events; with `seconds`, for that long."""
        end = time.monotonic() + seconds
        while True:
            QtWidgets.QApplication.processEvents()
            QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def wait_for(self, condition, seconds=60.0, what=""):
        """Lets Qt run until the condition holds; AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s in vain for {what or condition}"
            self.process(0.02)

    def emit(self, widget, signature, *args):
        emit(widget, signature, *args)

    def add_pytorch(self, installed=False, fails=None):
        """Puts the PyTorch extension in place, which is absent otherwise; returns what will be asked of it."""
        installation = extensions.TorchInstallation(installed, fails)
        extensions.add_pytorch(installation)
        return installation

    def samples(self):
        return extensions.samples()

    def download_sample(self, name):
        return extensions.download(name)

    def inside(self, widget):
        """The stand-in or PySide6 object behind a proxy, to look at what Slicer hides."""
        return unwrap(widget)

    def close(self):
        """Ends the application: modules unload, the scene is cleared, settings go."""
        for name, module in list(self.module_objects.items()):
            if getattr(module, "representation", None) is not None:
                self.unload_module(name)
        held = list(SegmentEditor.holders)
        self.scene_application.close()
        for name in self.module_objects:
            sys.modules.pop(name, None)
        for module in self.module_objects.values():
            representation = getattr(module, "representation", None)
            if representation is not None:
                representation.hide()
                representation.deleteLater()
        if self.main_window is not None:
            window, self.main_window = self.main_window, None
            shiboken6.delete(window)
        self.process()
        if sys.modules.get(LIBRARY) is not self._library.get(LIBRARY):
            # A reload made it anew; all else in this process holds the classes of before.
            for name in _library():
                del sys.modules[name]
            sys.modules.update(self._library)
        slicer.util.showStatusMessage = _first["showStatusMessage"]
        packaging.install("5.13")
        extensions.remove()
        pythonqt.releases[:] = list(pythonqt.manifest.RELEASES)
        shutil.rmtree(self.folder / "settings", ignore_errors=True)
        SegmentEditor.holders.clear()
        assert not held, "the Segment Editor still holds views or shortcuts after the panel's cleanup"


def _install():
    """What one process needs once: `qt`, `ctk` and Slicer's Python modules can be imported from here on."""
    _first["application"] = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    _first["showStatusMessage"] = slicer.util.showStatusMessage
    application.add_classes()
    qt_module.install()
    scripted.install()
    parameter_node.install()
    packaging.install("5.13")


_install()
