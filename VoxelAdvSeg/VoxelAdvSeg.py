"""The module: where Slicer meets the panel and the library. Wiring only; see VoxelAdvSegLib/panel."""

import importlib.util
import sys
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("VoxelAdvSegLib") is None:
    # Installed, the library lies in the same folder as this file; in a source tree, beside that folder.
    sys.path.append(str(Path(__file__).resolve().parents[1]))

TURN_MS = 500  # between two looks at the running jobs
BUSY_TURN_MS = 50  # while there is more to read or to draw


class VoxelAdvSeg(ScriptedLoadableModule):
    """What Slicer knows of the module at its start; nothing heavy is loaded here."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "VoxelAdvSeg"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["VoxelAdvSeg contributors"]
        parent.helpText = _(
            "Trains a segmentation network on a handful of labeled and many unlabeled scans, on this computer; "
            "segments volumes with it; and brings the results that need an eye first into the Segment Editor. "
            "For research; not a medical device."
        )
        parent.acknowledgementText = _(
            "Method: C. E. Lee, H. Park, Y.-G. Shin, M. Chung, Voxel-wise Adversarial Semi-supervised Learning for "
            "Medical Image Segmentation."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """The category of the Sample Data module: scans that are made on this computer, not fetched."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="VoxelAdvSeg",
        sampleName="Made-up abdomens",
        thumbnailFileName=str(Path(__file__).parent / "Resources" / "Icons" / "VoxelAdvSeg.png"),
        uris=None,
        fileNames=None,
        nodeNames="Made-up abdomen",
        customDownloader=loadSample,
    )


def loadSample(source=None):
    """One made-up scan as a volume of the scene, to try the panel on."""
    from VoxelAdvSegLib.panel.samples import load_sample

    return [load_sample(slicer.mrmlScene)]


@parameterNodeWrapper
class VoxelAdvSegParameterNode:
    """What belongs to the study and is saved with the scene; the machine's own settings are in QSettings."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode


class VoxelAdvSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: the form, one object per section, and the timer that follows the jobs."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.sections = []
        self.timer = None
        self.parameterNode = None

    def setup(self):
        from VoxelAdvSegLib.panel.sections import make_sections

        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/VoxelAdvSeg.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = VoxelAdvSegLogic()
        self.sections = make_sections(self.ui, self.logic.workbench)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndClose)
        self.timer = qt.QTimer()
        self.timer.setInterval(TURN_MS)
        self.timer.connect("timeout()", self.onTurn)
        self.timer.start()
        self.initializeParameterNode()

    def cleanup(self):
        if self.timer is not None:
            self.timer.stop()
            self.timer.disconnect("timeout()", self.onTurn)
        self.removeObservers()
        self.setParameterNode(None)
        self.tell("clean_up")
        self.sections = []
        if self.logic is not None:
            self.logic.workbench.clean_up()

    def enter(self):
        self.initializeParameterNode()
        self.tell("enter")

    def exit(self):
        self.setParameterNode(None)
        self.tell("exit")

    def onReload(self):
        """The library is loaded anew, too; Slicer itself executes this file only."""
        for name in [n for n in sys.modules if n == "VoxelAdvSegLib" or n.startswith("VoxelAdvSegLib.")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def tell(self, what):
        """Calls every section that has something to do then."""
        for section in self.sections:
            method = getattr(section, what, None)
            if method is not None:
                method()

    def onTurn(self):
        from VoxelAdvSegLib.panel.dialogs import failures_shown

        workbench = self.logic.workbench
        with failures_shown():
            workbench.turn()
        self.timer.setInterval(BUSY_TURN_MS if workbench.behind else TURN_MS)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)
        self.tell("scene_closing")

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.tell("scene_closed")

    def initializeParameterNode(self):
        node = self.logic.getParameterNode()
        if node.inputVolume is None:
            node.inputVolume = self.logic.firstVolume()
        self.setParameterNode(node)

    def setParameterNode(self, node):
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self.guiTag)
        self.parameterNode = node
        if node is not None:
            self.guiTag = node.connectGui(self.ui)


class VoxelAdvSegLogic(ScriptedLoadableModuleLogic):
    """Everything the buttons do, for the Python console:

        logic = VoxelAdvSegLogic()
        logic.openProject("/data/liver")
        logic.train(minutes=60, waitForCompletion=True)
        logic.segment(slicer.util.getNode("CT"), waitForCompletion=True)

    `workbench` has the rest: workbench.project, .queue(), .next_case(), .rounds(), .models() ...
    """

    def __init__(self):
        from VoxelAdvSegLib.panel.workbench import Workbench

        ScriptedLoadableModuleLogic.__init__(self)
        self.workbench = Workbench(slicer.mrmlScene)

    def getParameterNode(self):
        return VoxelAdvSegParameterNode(super().getParameterNode())

    def firstVolume(self):
        """The first volume of the scene that can be segmented, None where there is none."""
        return next((choice.node for choice in self.workbench.scene_volumes() if choice.usable), None)

    def openProject(self, folder):
        """The project in a folder, or a new one in it."""
        return self.workbench.new_or_open(folder)

    def addFolder(self, folder):
        """Adds the scans and labels below a folder; returns what was found, `.text` in words."""
        return self.workbench.add_folder(folder)

    def addScene(self):
        """Adds the volumes of the scene, each with the segmentation that was drawn on it."""
        return self.workbench.add_scene()

    def train(self, minutes=15.0, waitForCompletion=False, **settings):
        """Trains with labeled and unlabeled scans in a process of its own; settings: as Workbench.train."""
        return self.workbench.train(minutes=minutes, wait=waitForCompletion, **settings)

    def stopTraining(self):
        """Ends the training gracefully: its best model is kept."""
        self.workbench.stop_training()

    def findOut(self, waitForCompletion=False):
        """Whether the unlabeled scans of the newest training helped; the answer when it was waited for.

        Trains once more without them, so it takes about as long as that training did.
        """
        self.workbench.find_out(wait=waitForCompletion)
        return self.workbench.verdict() if waitForCompletion else None

    def segment(self, volumeNode, model=None, waitForCompletion=False):
        """Segments a volume with a model (None: the newest); the node of the result when it was waited for."""
        self.workbench.segment(volumeNode, model, wait=waitForCompletion)
        result = self.workbench.result
        return result.segmentation_node if waitForCompletion and result is not None else None

    def segmentAll(self, model=None, waitForCompletion=False):
        """Segments all unlabeled cases of the project that nobody has begun."""
        return self.workbench.segment_cases(model, wait=waitForCompletion)

    def nextCase(self):
        """Opens the least certain case; None when nothing is left to review."""
        return self.workbench.next_case()

    def accept(self):
        """The segments of the open case become its label."""
        self.workbench.accept()

    def retrain(self, continueModel=False, minutes=15.0, waitForCompletion=False, **settings):
        """Trains on all labels and corrections, from the base weights or going on from the newest model."""
        return self.workbench.retrain(continueModel, minutes=minutes, wait=waitForCompletion, **settings)


class VoxelAdvSegTest(ScriptedLoadableModuleTest):
    """The self-test inside Slicer: Testing/in_slicer has the cases."""

    def runTest(self):
        import unittest

        folder = Path(__file__).resolve().parents[1] / "Testing" / "in_slicer"
        if not folder.is_dir():
            self.delayDisplay(_("The tests are not part of an installed extension; run them from the source tree."))
            return
        for name in [path.stem for path in folder.glob("*.py")]:
            sys.modules.pop(name, None)  # Reload and Test shall run what the files say now
        found = unittest.TestLoader().discover(str(folder), pattern="*_in_slicer.py")
        result = unittest.TextTestRunner(verbosity=2).run(found)
        if not result.wasSuccessful() or not result.testsRun:
            raise RuntimeError(f"{len(result.failures) + len(result.errors)} of {result.testsRun} tests failed")
