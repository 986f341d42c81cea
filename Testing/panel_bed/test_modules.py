"""The life of a scripted module: factory, panel, entering, reload, unloading."""

import pytest
import slicer
import slicer.util

MODULE = """
import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

life = []

class Toy(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Toy")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]

class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ToyLogic()
        self.button = qt.QPushButton("Go")
        self.layout.addWidget(self.button)
        self.button.connect("clicked(bool)", self.onButton)
        life.append("setup")
    def onButton(self):
        life.append("button")
    def enter(self):
        life.append("enter")
    def exit(self):
        life.append("exit")
    def cleanup(self):
        life.append("cleanup")

class ToyLogic(ScriptedLoadableModuleLogic):
    pass
"""


def load(bed, tmp_path):
    file = tmp_path / "Toy.py"
    file.write_text(MODULE)
    return bed.load_module(file)


def test_life_of_a_module(bed, tmp_path):
    python = load(bed, tmp_path)
    assert slicer.modules.toy.title == "Toy" and slicer.modules.toy.categories == ("Segmentation",)
    assert "Toy" in slicer.util.moduleNames() and not hasattr(slicer.modules, "ToyWidget")
    widget = bed.open_module("Toy")
    assert widget is slicer.modules.ToyWidget is slicer.util.getModuleWidget("Toy")
    assert slicer.util.getModuleLogic("Toy") is widget.logic and widget.parent.isEntered is True
    widget.button.click()
    bed.leave_module("Toy")
    assert bed.open_module("Toy") is widget
    bed.unload_module("Toy")
    assert python.life == ["setup", "enter", "button", "exit", "enter", "cleanup"]


def test_reload_runs_the_real_function_of_slicer(bed, tmp_path):
    python = load(bed, tmp_path)
    widget = bed.open_module("Toy")
    new = bed.reload_module("Toy")
    assert new is not widget and new is slicer.modules.ToyWidget and type(new).__module__ == "Toy"
    assert python.life[-1] == "cleanup" and bed.python_module("Toy").life == ["setup", "enter"]
    bed.unload_module("Toy")
    assert python.life.count("cleanup") == 1  # the old widget is not cleaned up twice


def test_one_parameter_node_in_each_scene(bed, tmp_path):
    load(bed, tmp_path)
    logic = bed.open_module("Toy").logic
    node = logic.getParameterNode()
    assert node is logic.getParameterNode() and node.GetAttribute("ModuleName") == "Toy"
    slicer.mrmlScene.Clear(0)  # a closed scene keeps its singletons
    assert logic.getParameterNode() is node
    slicer.mrmlScene.Clear(1)
    assert logic.getParameterNode() is not node


def test_files_that_slicer_would_take_for_modules(bed, tmp_path):
    (tmp_path / "helper.py").write_text("x = 1\n")
    with pytest.raises(ImportError, match=r"helper\.py"):
        load(bed, tmp_path)
    (tmp_path / "helper.py").unlink()
    (tmp_path / "__init__.py").touch()
    with pytest.raises(ImportError, match="hide"):
        load(bed, tmp_path)


def test_samples(bed):
    from SampleData import SampleDataLogic

    got = []
    SampleDataLogic.registerCustomSampleDataSource(
        category="VoxelAdvSeg", sampleName="Phantoms", customDownloader=lambda source: got.append(source.sampleName)
    )
    assert bed.samples() == [("VoxelAdvSeg", "Phantoms")]
    bed.download_sample("Phantoms")
    assert got == ["Phantoms"]
    with pytest.raises(ValueError, match="no uris"):
        SampleDataLogic.registerCustomSampleDataSource(sampleName="x", uris=["http://x"])
    with pytest.raises(TypeError):
        SampleDataLogic.registerCustomSampleDataSource(name="x")


def test_the_pytorch_extension_is_absent_until_it_is_added(bed):
    with pytest.raises(ModuleNotFoundError):
        import PyTorchUtils
    installation = bed.add_pytorch()
    import PyTorchUtils

    logic = PyTorchUtils.PyTorchUtilsLogic()
    assert not logic.torchInstalled()
    logic.installTorch(askConfirmation=True)
    assert logic.torchInstalled() and installation.calls == [(True, None, None)]
