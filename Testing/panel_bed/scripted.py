"""slicer.ScriptedLoadableModule: the base classes of a scripted module with the behavior of Slicer's."""

# ruff: noqa: N802, N803  names as in Qt and Slicer; tables of classes

import logging
import sys
import types
import unittest
from pathlib import Path

import slicer
import slicer.util


def _resource(module_name, filename):
    return str(Path(slicer.util.modulePath(module_name)).parent / "Resources" / filename)


class ScriptedLoadableModule:
    """What Slicer lists: `parent` is the C++ module object, whose title, categories ... are set here."""

    def __init__(self, parent):
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = self.moduleName
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        for ending in ("svg", "png"):
            icon = Path(self.resourcePath(f"Icons/{self.moduleName}.{ending}"))
            if icon.is_file():
                import qt

                parent.icon = qt.QIcon(str(icon))
                break
        parent.acknowledgementText = ""

    def resourcePath(self, filename):
        return _resource(self.moduleName, filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return f"<p>For more information see the documentation of {docPage or self.moduleName}.</p>"

    def runTest(self, msec=100, **kwargs):
        test = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test")()
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The panel: `parent` is the C++ widget, `layout` its layout; without a parent it opens a window of its own."""

    def __init__(self, parent=None):
        import qt

        self.moduleName = type(self).__name__.removesuffix("Widget")
        to_bool = slicer.util.toBool
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=to_bool)
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        else:
            self.parent = parent
        self.layout = self.parent.layout()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)
        if parent is None:
            self.setup()
            self.parent.show()

    def resourcePath(self, filename):
        return _resource(self.moduleName, filename)

    def cleanup(self):
        """Left to the module."""

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def setupDeveloperSection(self):
        import ctk
        import qt

        if not self.developerMode:
            return
        self.reloadCollapsibleButton = ctk.ctkCollapsibleButton()
        self.reloadCollapsibleButton.text = "Reload && Test"
        self.layout.addWidget(self.reloadCollapsibleButton)
        form = qt.QFormLayout(self.reloadCollapsibleButton)
        self.reloadButton = qt.QPushButton("Reload")
        self.reloadButton.connect("clicked()", self.onReload)
        form.addWidget(self.reloadButton)

    def setup(self):
        self.setupDeveloperSection()

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **kwargs):
        test = getattr(slicer.selfTests, self.moduleName)
        test(**kwargs)

    def onReloadAndTest(self, **kwargs):
        self.onReload()
        self.onTest(**kwargs)

    def onEditSource(self):
        """Opens an editor in Slicer; nothing here."""


class ScriptedLoadableModuleLogic:
    """The work without widgets; keeps one parameter node for the module in each scene."""

    def __init__(self, parent=None):
        name = type(self).__name__
        self.moduleName = name.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        scene = slicer.mrmlScene
        if self.isSingletonParameterNode:
            node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return scene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetModuleName(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Runs each method whose name starts with `test`; a message is logged, nothing waits."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.enableScreenshots = 0
        self.screenshotScaleFactor = 1.0

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        logging.info(message)

    def takeScreenshot(self, name, description, type=-1):
        if self.enableScreenshots:
            raise NotImplementedError("the bed takes pictures by panel_bed.screenshots")

    def runTest(self):
        for name in sorted(dir(self)):
            if name.startswith("test") and callable(getattr(self, name)):
                self.setUp()
                getattr(self, name)()
                self.tearDown()


def install():
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    names = [c.__name__ for c in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic,
                                  ScriptedLoadableModuleTest)]  # fmt: skip
    for name in names:
        setattr(module, name, globals()[name])
    # "from slicer.ScriptedLoadableModule import *" brings these along in Slicer, too
    module.__all__ = [*names, "logging", "os", "slicer", "unittest"]
    import os

    module.logging, module.os, module.slicer, module.unittest = logging, os, slicer, unittest
    sys.modules["slicer.ScriptedLoadableModule"] = module
    slicer.ScriptedLoadableModule = module
