"""Every name that the module uses on a class of Slicer, CTK or Qt is there in 5.10, 5.12 and 5.13, or guarded."""

from pathlib import Path

import pytest
from panel_bed.forms import read_form
from panel_bed.names import check, forms, report, sources

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_repository_uses_only_names_that_are_there():
    assert "\n".join(str(one) for one in report(REPOSITORY)) == ""


def test_there_is_something_to_check():
    names = {file.name for file in sources(REPOSITORY)}
    assert {"dialogs.py", "tables.py", "segmentations.py"} <= names and forms(REPOSITORY)


@pytest.mark.parametrize("form", forms(REPOSITORY), ids=lambda form: form.name)
def test_the_forms_use_only_names_that_are_there(form):
    read_form(form)


# that the check can fail

FORM = """<ui version="4.0"><widget class="qMRMLWidget" name="Toy">
<widget class="QPushButton" name="trainButton"/><widget class="qMRMLNodeComboBox" name="volumeSelector"/>
<widget class="QTableWidget" name="caseTable"/></widget></ui>"""
HEAD = "import ctk\nimport qt\nimport slicer\nimport slicer.util\nimport vtk\n"


def findings(tmp_path, body):
    form = tmp_path / "Toy.ui"
    form.write_text(FORM)
    file = tmp_path / "toy.py"
    file.write_text(HEAD + body)
    return [one.text for one in check([file], [form])]


MISTAKES = {
    "class of qt": ("qt.QPushButon()", "qt.QPushButon"),
    "class of ctk": ("ctk.ctkColapsibleButton()", "ctk.ctkColapsibleButton"),
    "class of slicer": ("slicer.qMRMLNodeCombobox()", "slicer.qMRMLNodeCombobox"),
    "MRML class": ("slicer.vtkMRMLScalarVolumNode()", "slicer.vtkMRMLScalarVolumNode"),
    "function of slicer.util": ("slicer.util.arrayFromVolum(v)", "arrayFromVolum"),
    "argument of slicer.util": ("slicer.util.loadVolume('x', retunNode=True)", "retunNode"),
    "too many arguments": ("slicer.util.toBool(1, 2)", "too many"),
    "member of slicer.app": ("slicer.app.mrmlSceneX()", "mrmlSceneX"),
    "member behind slicer.app": ("slicer.app.layoutManager().sliceWidget('Red').sliceLogik()", "sliceLogik"),
    "module": ("slicer.modules.segmentation.logic()", "slicer.modules.segmentation"),
    "enum": ("qt.Qt.AlignLeftt", "AlignLeftt"),
    "enum of a class": ("qt.QHeaderView.Strech", "Strech"),
    "not flat": ("qt.QFrame.Shape", "Shape"),
    "member of a new object": ("b = qt.QPushButton()\nb.setTexxt('x')", "setTexxt"),
    "property called": ("b = qt.QPushButton()\nb.text()", "property"),
    "setting what is no property": ("b = qt.QPushButton()\nb.setText = 1", "cannot be set"),
    "keyword": ("b = qt.QPushButton(text='x')", "keyword"),
    "keyword of a method": ("b = qt.QComboBox()\nb.addItem(text='x')", "keyword"),
    "not visible from Python": ("s = ctk.ctkCollapsibleButton()\ns.setCollapsed(True)", "setCollapsed"),
    "signal": ("b = qt.QPushButton()\nb.connect('clickd(bool)', print)", "clickd"),
    "signal of an unknown object": ("def f(x):\n    x.connect('currentNodeChange(vtkMRMLNode*)', print)", "no class"),
    "signal of Qt 5 only": ("b = qt.QComboBox()\nb.connect('activated(QString)', print)", "activated"),
    "number of arguments": ("s = slicer.qMRMLNodeComboBox()\ns.setMRMLScene()", "0 arguments"),
    "widget of the form": ("class A:\n    def f(self):\n        self.ui.trainButon.click()", "trainButon"),
    "member of a widget of the form": (
        "class A:\n    def f(self):\n        self.ui.volumeSelector.nodeTyps = []",
        "nodeTyps",
    ),
    "through self": (
        "class A:\n    def f(self):\n        self.t = qt.QTimer()\n    def g(self):\n        self.t.strat(5)",
        "strat",
    ),
    "annotated": ("def f(node: slicer.vtkMRMLSegmentationNode):\n    node.GetSegmentatio()", "GetSegmentatio"),
    "node by class": ("n = slicer.mrmlScene.AddNewNodeByClass('vtkMRMLPlotChartNode')\nn.SetTitel('x')", "SetTitel"),
    "member of the scene": ("slicer.mrmlScene.GetNodeById('x')", "GetNodeById"),
    "nobody has it": ("def f(x):\n    x.setEnabeld(True)", "setEnabeld"),
    "some releases": ("slicer.util.executePythonModule('pip', [])", "5.12"),
    "module of some releases": ("import slicer.packaging", "5.12"),
    "name of some releases": ("from slicer.util import executePythonModule", "5.12"),
    "signal of some releases": (
        "s = slicer.qMRMLNodeComboBox()\ns.connect('nodeAddedByUserAction(vtkMRMLNode*)', print)",
        "all releases",
    ),
    "argument of some releases": ("slicer.util.launchConsoleProcess([], blocking=False)", "some releases"),
    "MRML method of some releases": (
        "def f(d: slicer.vtkMRMLScalarVolumeDisplayNode):\n    d.GetWindowMappingMethod()",
        "5.12",
    ),
    "module of Slicer": ("import slicer.parameterNodeWraper", "parameterNodeWraper"),
    "name in a module of Slicer": ("from slicer.parameterNodeWrapper import WithinRang", "WithinRang"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found(tmp_path, name):
    body, word = MISTAKES[name]
    found = findings(tmp_path, body + "\n")
    assert len(found) == 1 and word in found[0], found


RIGHT = {
    "guarded by try": "try:\n    import slicer.packaging\nexcept ImportError:\n    pass",
    "guarded by hasattr": (
        "def f():\n    if hasattr(slicer.util, 'executePythonModule'):\n"
        "        slicer.util.executePythonModule('pip', [])"
    ),
    "properties and methods": (
        "b = qt.QPushButton('x')\nb.text = 'y'\nb.setText('z')\n"
        "b.connect('clicked(bool)', print)\nb.clicked.connect(print)"
    ),
    "form": (
        "class A:\n    def f(self):\n"
        "        self.ui.trainButton.enabled = self.ui.volumeSelector.currentNode() is not None\n"
        "        self.ui.caseTable.item(0, 0).setText('x')"
    ),
    "application": (
        "w = slicer.app.layoutManager().sliceWidget('Red')\n"
        "w.sliceLogic().GetSliceCompositeNode().SetForegroundOpacity(0.4)\nslicer.app.processEvents()"
    ),
    "modules": "slicer.modules.segmentations.logic()\nslicer.modules.voxeladvseg",
    "scene": (
        "slicer.mrmlScene.AddObserver(slicer.mrmlScene.StartCloseEvent, print)\nvtk.vtkMatrix4x4().GetElement(0, 0)"
    ),
    "messages": "slicer.util.errorDisplay('x', windowTitle='y', detailedText='z')",
    "dialogs": "box = qt.QMessageBox()\nbox.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No)\nbox.exec_()",
    "plain Python": (
        "import json\nfrom pathlib import Path\nPath('x').read_text().splitlines()\njson.dumps({}).encode()"
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_passes(tmp_path, name):
    assert findings(tmp_path, RIGHT[name] + "\n") == []
