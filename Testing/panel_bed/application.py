"""`slicer.app`, `slicer.modules` and the layout manager, on the real scene and logics of `slicer_bed`."""

# ruff: noqa: N802, N815  names as in Qt and Slicer; tables of classes

import os
import types

import slicer
import vtk
from panel_bed import standins
from panel_bed.dialogs import UnexpectedDialogError
from panel_bed.pythonqt import Proxy
from panel_bed.standin import Standin, make
from PySide6 import QtCore, QtWidgets

SLICES = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))


class Environment(dict):
    """QProcessEnvironment, as slicer.util reads it."""

    def value(self, name, default=""):
        return self.get(name, default)

    def contains(self, name):
        return name in self

    def toStringList(self):
        return tuple(f"{key}={value}" for key, value in self.items())


class App(Standin):
    """qSlicerApplication: what needs the window is answered by the bed's own facts."""

    qt_class = QtCore.QObject  # the process has one QApplication already
    bed = None

    def _qt(self):
        return QtWidgets.QApplication.instance()

    def get_applicationName(self):
        return "Slicer"

    def get_temporaryPath(self):
        return str(self.bed.folder / "temporary")

    def get_slicerHome(self):
        return str(self.bed.folder / "home")

    def get_majorVersion(self):
        return int(self.bed.release.split(".")[0])

    def get_minorVersion(self):
        return int(self.bed.release.split(".")[1])

    def get_applicationVersion(self):
        return f"{self.bed.release}.0"

    def do_testingEnabled(self):
        return self.bed.testing

    def do_mrmlScene(self):
        return slicer.mrmlScene

    def do_applicationLogic(self):
        return self.bed.scene_application.logic

    def do_coreIOManager(self):
        return self.bed.files

    do_ioManager = do_coreIOManager

    def do_moduleManager(self):
        return self.bed.module_manager

    def do_layoutManager(self):
        return self.bed.layout_manager

    def do_startupEnvironment(self):
        return Environment(self.bed.environment)

    do_environment = do_startupEnvironment

    def do_userSettings(self):
        return QtCore.QSettings()

    do_settings = do_revisionUserSettings = do_userSettings

    def do_extensionsManagerModel(self):
        return None

    def do_confirmRestart(self, reason=""):
        from panel_bed.dialogs import Question, answers

        answers.take(Question("restart", reason))

    quiet = ("pauseRender", "resumeRender", "setRenderPaused", "openNodeModule", "logUsageEvent")

    # Qt's part

    def qt_processEvents(self, *_):
        self._qt().processEvents()

    def qt_setOverrideCursor(self, cursor):
        self._qt().setOverrideCursor(cursor)

    def qt_restoreOverrideCursor(self):
        self._qt().restoreOverrideCursor()

    def qt_overrideCursor(self):
        return self._qt().overrideCursor()

    do_processEvents = qt_processEvents

    def qt_palette(self, *_):
        return self._qt().palette()

    def qt_style(self):
        return self._qt().style()

    def qt_clipboard(self):
        return self._qt().clipboard()

    def qt_topLevelWidgets(self):
        # Qt's own list would make wrappers for what earlier applications of this process left behind.
        window = self.bed.main_window
        return [] if window is None else [window]

    def qt_activeWindow(self):
        return self._qt().activeWindow()

    def qt_focusWidget(self):
        return self._qt().focusWidget()

    def qt_quit(self):
        raise UnexpectedDialogError("the application would end")

    qt_exit = qt_closeAllWindows = qt_quit


class LayoutManager(Standin):
    """qSlicerLayoutManager with the three slice views over real slice logics, one 3-D view."""

    def build(self):
        self.widgets, self.three_d = {}, None
        self.resets = 0

    def add_views(self, scene_application):
        scene = scene_application.scene
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        for name, orientation in SLICES:
            widget = standins.CLASSES["qMRMLSliceWidget"]()
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(scene_application.logic)
            logic.SetMRMLScene(scene)
            logic.AddSliceNode(name)
            logic.GetSliceNode().SetOrientation(orientation)
            widget.logic = logic
            widget.do_setMRMLScene(scene)
            self.widgets[name] = widget
        self.three_d = standins.CLASSES["qMRMLThreeDWidget"]()

    def do_sliceViewNames(self):
        return list(self.widgets)

    def do_sliceWidget(self, name):
        return self.widgets.get(name)

    def do_mrmlSliceLogics(self):
        logics = vtk.vtkCollection()
        for widget in self.widgets.values():
            logics.AddItem(widget.logic)
        return logics

    def do_threeDWidget(self, _which):
        return self.three_d

    def get_threeDViewCount(self):
        return 1 if self.three_d is not None else 0

    def get_layout(self):
        return self._values.get("layout", 3)

    def do_mrmlScene(self):
        return slicer.mrmlScene

    def do_resetSliceViews(self):
        self.resets += 1

    quiet = ("resetThreeDViews",)


class ModuleManager(Standin):
    bed = None

    def do_module(self, name):
        return self.bed.module_objects.get(name)

    def do_modulesNames(self):
        return list(self.bed.module_objects)

    def do_factoryManager(self):
        return self.bed.factory_manager


class FactoryManager(Standin):
    bed = None

    def do_loadedModuleNames(self):
        return list(self.bed.module_objects)

    def do_isLoaded(self, name):
        return name in self.bed.module_objects


class Module(Standin):
    """A module object: its name and its logic."""

    module_logic = None

    def read(self, name):
        return self._values["name"] if name == "name" else super().read(name)

    def do_logic(self):
        return self.module_logic

    def do_widgetRepresentation(self):
        return None


class ScriptedModule(Module):
    """The module object of a scripted module; makes its panel when it is asked for first."""

    bed = None
    representation = None

    def do_logic(self):
        return self.module_logic

    def do_widgetRepresentation(self):
        if self.representation is None:
            self.representation = standins.CLASSES["qSlicerScriptedLoadableModuleWidget"]()
            self.representation.module = self
            self.representation._values["moduleName"] = self._values["name"]
            QtWidgets.QVBoxLayout(self.representation)
            self.representation.set_up()
        return self.representation


class ScriptedModuleWidget(Standin):
    """qSlicerScriptedLoadableModuleWidget: the parent of the panel."""

    module, python = None, None

    def set_up(self):
        name = self._values["moduleName"]
        widget_class = getattr(self.module.bed.python_module(name), f"{name}Widget")
        self.python = widget_class(Proxy(self))
        setattr(slicer.modules, f"{name}Widget", self.python)
        self.python.setup()

    def get_isEntered(self):
        return self._values.get("isEntered", False)

    def do_enter(self):
        self._values["isEntered"] = True
        getattr(self.python, "enter", lambda: None)()

    def do_exit(self):
        self._values["isEntered"] = False
        getattr(self.python, "exit", lambda: None)()

    def do_self(self):
        return self.python

    def do_reload(self):
        self.set_up()
        if self.get_isEntered():
            self.do_enter()


class Modules(types.SimpleNamespace):
    """slicer.modules: an attribute for each module that is loaded."""

    def __getattr__(self, name):
        raise AttributeError(f"slicer.modules has no module {name!r}")


BEHAVIORS = {
    "qSlicerApplication": App,
    "qSlicerLayoutManager": LayoutManager,
    "qSlicerModuleManager": ModuleManager,
    "qSlicerModuleFactoryManager": FactoryManager,
    "qSlicerLoadableModule": Module,
    "qSlicerScriptedLoadableModule": ScriptedModule,
    "qSlicerScriptedLoadableModuleWidget": ScriptedModuleWidget,
}


def add_classes():
    """The application's classes join the stand-ins."""
    for name, behavior in BEHAVIORS.items():
        standins.CLASSES[name] = make(name, behavior)


def environment_of_slicer(home):
    """The environment as Slicer's launcher sets it, without what this machine's own Python adds."""
    return {**os.environ, "PYTHONNOUSERSITE": "1", "SLICER_HOME": str(home)}
