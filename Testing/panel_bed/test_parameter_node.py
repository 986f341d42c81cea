"""The parameter node: typed members, limits, widgets tied to members, saved with the scene."""

import enum
from pathlib import Path
from typing import Annotated

import pytest
import qt
import slicer
import slicer.util
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper


class Method(enum.Enum):
    PLAIN = "plain"
    ADVERSARIAL = "adversarial"


@parameterNodeWrapper
class Parameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0, 1)] = 0.7
    steps: Annotated[int, WithinRange(1, 100), Default(40)]
    surface: bool = False
    preset: Annotated[str, Choice(["la", "multi_organ"])] = "la"
    method: Method = Method.PLAIN
    folder: Path
    organs: list[str]


@pytest.fixture
def node(bed):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


def test_defaults_and_values(node):
    parameters = Parameters(node)
    assert (parameters.threshold, parameters.steps, parameters.surface, parameters.preset) == (0.7, 40, False, "la")
    assert parameters.volume is None and parameters.method is Method.PLAIN and parameters.organs == []
    parameters.organs.append("liver")
    parameters.folder = Path("/x")
    parameters.method = Method.ADVERSARIAL
    again = Parameters(node)
    assert again.organs == ["liver"] and again.folder == Path("/x") and again.method is Method.ADVERSARIAL


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", 1.5), ("threshold", "0.5"), ("steps", 2.5), ("steps", True), ("surface", 1), ("preset", "x"),
     ("method", "plain"), ("folder", "/x"), ("organs", [1]), ("volume", "id"), ("steps", None)],
)  # fmt: skip
def test_wrong_values_raise(node, name, value):
    with pytest.raises(ValueError):
        setattr(Parameters(node), name, value)


def test_unknown_members_and_types_raise(node):
    with pytest.raises(AttributeError):
        Parameters(node).thresold = 0.5
    with pytest.raises(AttributeError):
        _ = Parameters(node).thresold
    with pytest.raises(ValueError, match="serializer"):

        @parameterNodeWrapper
        class Wrong:
            one: object

    with pytest.raises(ValueError):
        Parameters(slicer.mrmlScene)


def widgets():
    top = qt.QWidget()
    layout = qt.QVBoxLayout(top)
    made = {
        "threshold": qt.QDoubleSpinBox(),
        "steps": qt.QSpinBox(),
        "surface": qt.QCheckBox(),
        "method": qt.QComboBox(),
        "volume": slicer.qMRMLNodeComboBox(),
    }
    made["volume"].nodeTypes = ["vtkMRMLScalarVolumeNode"]
    made["volume"].noneEnabled = True
    made["volume"].setMRMLScene(slicer.mrmlScene)
    for name, widget in made.items():
        widget.setProperty("SlicerParameterName", name)
        layout.addWidget(widget)
    return top, made


def test_widgets_follow_and_are_followed(node):
    parameters = Parameters(node)
    top, made = widgets()
    tag = parameters.connectGui(top)
    assert made["steps"].value == 40 and made["steps"].maximum == 100 and made["method"].count == 2
    made["steps"].value = 7
    made["surface"].checked = True
    assert parameters.steps == 7 and parameters.surface is True
    parameters.method = Method.ADVERSARIAL
    parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    assert made["method"].currentIndex == 1 and made["volume"].currentNode() is parameters.volume
    slicer.mrmlScene.RemoveNode(parameters.volume)
    assert parameters.volume is None
    parameters.disconnectGui(tag)
    made["steps"].value = 8
    parameters.threshold = 0.1
    assert parameters.steps == 7 and made["threshold"].value == 0.7


def test_a_widget_that_does_not_fit_raises(node):
    parameters = Parameters(node)
    line = qt.QLineEdit()
    with pytest.raises(RuntimeError, match="no connector"):
        parameters.connectGui(None, {"steps": line})
    with pytest.raises(ValueError, match="no parameter"):
        parameters.connectGui(None, {"stepz": qt.QSpinBox()})


def test_saved_with_the_scene(bed, node, tmp_path):
    node.SetName("mine")
    parameters = Parameters(node)
    parameters.organs = ["liver", "spleen"]
    parameters.threshold = 0.25
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(1)
    slicer.util.loadScene(path)
    again = Parameters(slicer.util.getNode("mine"))
    assert again.organs == ["liver", "spleen"] and again.threshold == 0.25
