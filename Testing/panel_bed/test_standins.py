"""The stand-ins have what Slicer's classes have in all releases, and nothing else."""

import ctk
import numpy as np
import pytest
import qt
import slicer
import slicer.util
from panel_bed import manifest, standins
from panel_bed.standin import NotImitatedError


def volume(name, class_name="vtkMRMLScalarVolumeNode"):
    array = np.zeros((2, 3, 4), "uint8")
    return slicer.util.addVolumeFromArray(array, name=name, nodeClassName=class_name)


def selector_of(*types, none=True):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = types
    selector.noneEnabled = none
    selector.setMRMLScene(slicer.mrmlScene)
    return selector


def test_every_class_can_be_made(bed):
    for name in manifest.DATA["slicer"]:
        if manifest.spec(name).constructible and name not in ("qSlicerApplication", "qSlicerLayoutManager"):
            standins.CLASSES[name]()


def test_plain_methods_of_cpp_are_not_there(bed):
    section = ctk.ctkCollapsibleButton()
    with pytest.raises(AttributeError):
        section.setCollapsed(True)  # public in C++, invisible from Python
    with pytest.raises(TypeError):
        section.collapsed()
    selector = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError):
        selector.setNodeTypes(["vtkMRMLScalarVolumeNode"])
    with pytest.raises(AttributeError):
        selector.selectNode(1)


def test_methods_take_as_many_arguments_as_in_cpp(bed):
    selector = slicer.qMRMLNodeComboBox()
    with pytest.raises(ValueError, match="arguments"):
        selector.setMRMLScene()
    with pytest.raises(TypeError):
        selector.setMRMLScene(scene=slicer.mrmlScene)


def test_what_is_not_imitated_says_so(bed):
    with pytest.raises(NotImitatedError):
        slicer.qMRMLNodeComboBox().sortFilterProxyModel()


def test_members_of_some_releases_raise(bed):
    with pytest.raises(ValueError, match=r"5\.12, 5\.13"):
        slicer.qMRMLNodeComboBox().connect("nodeAddedByUserAction(vtkMRMLNode*)", print)


@pytest.mark.parametrize("bed", [{"release": "5.12"}], indirect=True)
def test_a_release_may_be_asked_for(bed):
    slicer.qMRMLNodeComboBox().connect("nodeAddedByUserAction(vtkMRMLNode*)", print)
    assert slicer.app.majorVersion == 5 and slicer.app.minorVersion == 12


def test_selector_shows_nodes_of_its_types(bed):
    a, mask = volume("a"), volume("mask", "vtkMRMLLabelMapVolumeNode")
    hidden = volume("hidden")
    hidden.SetHideFromEditors(True)
    selector = selector_of("vtkMRMLScalarVolumeNode")
    assert selector.nodeCount() == 2 and selector.currentNode() is None
    selector.showChildNodeTypes = False  # a label map is a scalar volume, too
    assert [selector.nodeFromIndex(i) for i in range(selector.nodeCount())] == [a]
    selector.showHidden = True
    assert selector.nodeCount() == 2
    assert selector_of("vtkMRMLLabelMapVolumeNode").nodeFromIndex(0) is mask


def test_selector_tells_of_changes(bed):
    selector, seen = selector_of("vtkMRMLScalarVolumeNode"), []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    selector.connect("currentNodeChanged(bool)", seen.append)
    node = volume("a")
    assert seen == []
    selector.setCurrentNode(node)
    assert seen == [node, True] and selector.currentNodeID == node.GetID()
    selector.setCurrentNode(node)
    assert len(seen) == 2
    slicer.mrmlScene.RemoveNode(node)
    assert seen[2:] == [None, False] and selector.currentNode() is None and selector.currentNodeID == ""
    selector.setCurrentNodeID("vtkMRMLScalarVolumeNode99")
    assert selector.currentNode() is None


def test_selector_without_none_takes_the_first(bed):
    selector = selector_of("vtkMRMLScalarVolumeNode", none=False)
    first = volume("a")
    volume("b")
    assert selector.currentNode() is first
    selector.setMRMLScene(None)
    assert selector.currentNode() is None


def test_selector_follows_names_and_the_closing_scene(bed):
    node, names = volume("a"), []
    selector = selector_of("vtkMRMLScalarVolumeNode")
    selector.setCurrentNode(node)
    selector.connect("currentNodeRenamed(QString)", names.append)
    node.SetName("b")
    assert names == ["b"]
    slicer.mrmlScene.Clear(0)
    assert selector.nodeCount() == 0 and selector.currentNode() is None


def test_selector_filters_by_attribute(bed):
    node = volume("a")
    volume("b")
    selector = selector_of("vtkMRMLScalarVolumeNode")
    selector.addAttribute("vtkMRMLScalarVolumeNode", "Mine", "1")
    assert selector.nodeCount() == 0
    node.SetAttribute("Mine", "1")
    assert selector.nodeFromIndex(0) is node


def test_blocked_signals_are_not_sent(bed):
    selector, seen = selector_of("vtkMRMLScalarVolumeNode"), []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    node = volume("a")
    selector.blockSignals(True)
    selector.setCurrentNode(node)
    selector.blockSignals(False)
    assert seen == [] and selector.currentNode() is node


def test_checkable_selector(bed):
    a, b = volume("a"), volume("b")
    selector, seen = slicer.qMRMLCheckableNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(slicer.mrmlScene)
    selector.connect("checkedNodesChanged()", lambda: seen.append(1))
    selector.check(b)
    assert selector.checkedNodes() == (b,) and selector.uncheckedNodes() == (a,) and seen == [1]
    assert selector.checkState(b) == qt.Qt.Checked


@pytest.mark.parametrize("kind", ["ctkCollapsibleButton", "ctkCollapsibleGroupBox"])
def test_collapsed_sections_hide_what_they_hold(bed, kind):
    section = getattr(ctk, kind)()
    layout = qt.QVBoxLayout(section)
    label, other, late = qt.QLabel("a"), qt.QLabel("b"), qt.QLabel("c")
    layout.addWidget(label)
    layout.addWidget(other)
    other.visible = False
    section.show()
    assert label.visible and not other.visible
    section.collapsed = True
    layout.addWidget(late)
    assert not label.visible
    label.visible = True  # both are shown when the section opens
    other.visible = True
    assert not label.visible and not other.visible and not late.visible
    section.collapsed = False
    assert label.visible and other.visible and late.visible
    section.collapsed = True
    label.visible = False  # hidden while it is folded away
    section.collapsed = False
    assert not label.visible and other.visible


def test_a_section_that_is_collapsed_before_it_is_shown(bed):
    top = qt.QWidget()
    section, label, hidden = ctk.ctkCollapsibleButton(), qt.QLabel("a"), qt.QLabel("b")
    qt.QVBoxLayout(top).addWidget(section)
    layout = qt.QVBoxLayout(section)
    layout.addWidget(label)
    layout.addWidget(hidden)
    section.collapsed = True
    hidden.visible = False
    top.show()
    assert not label.visible and not hidden.visible
    section.collapsed = False
    assert label.visible and not hidden.visible


def test_a_click_on_the_header_folds(bed):
    section, seen = ctk.ctkCollapsibleButton(), []
    section.connect("contentsCollapsed(bool)", seen.append)
    section.click()
    assert section.collapsed is True and seen == [True]
    section.collapsed = False
    assert seen == [True, False] and section.checked is True


def test_path_line_and_directory_button(bed, tmp_path):
    line, seen = ctk.ctkPathLineEdit(), []
    line.filters = ctk.ctkPathLineEdit.Dirs
    line.connect("currentPathChanged(QString)", seen.append)
    line.connect("validInputChanged(bool)", seen.append)
    line.currentPath = str(tmp_path)
    assert seen == [True, str(tmp_path)] and line.currentPath == str(tmp_path)
    bed.answers.expect("QFileDialog.getExistingDirectory", tmp_path / "x")
    line.browse()
    assert line.currentPath == str(tmp_path / "x") and seen[2:] == [False, str(tmp_path / "x")]
    button = ctk.ctkDirectoryButton()
    button.directory = str(tmp_path)
    bed.answers.expect("QFileDialog.getExistingDirectory", None)
    assert button.browse() == str(tmp_path) == button.directory


def test_slider_widget(bed):
    slider, seen = ctk.ctkSliderWidget(), []
    slider.minimum, slider.maximum, slider.decimals = 0.0, 1.0, 2
    slider.connect("valueChanged(double)", seen.append)
    slider.value = 0.25
    slider.setValue(7)
    assert seen == [0.25, 1.0] and slider.value == 1.0
    with pytest.raises(TypeError):
        slider.value()


@pytest.fixture
def segmentation(bed):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume("ct"))
    for name in ("liver", "spleen"):
        node.GetSegmentation().AddEmptySegment(name, name.title())
    return node


def test_segments_table_follows_the_segmentation(bed, segmentation):
    table, seen = slicer.qMRMLSegmentsTableView(), []
    table.connect("selectionChanged(QItemSelection,QItemSelection)", lambda new, old: seen.append(1))
    table.setMRMLScene(slicer.mrmlScene)
    table.setSegmentationNode(segmentation)
    assert table.segmentCount == 2 and table.selectedSegmentIDs() == ()
    table.setSelectedSegmentIDs(["spleen"])
    assert table.selectedSegmentIDs() == ("spleen",) and seen == [1]
    segmentation.GetSegmentation().RemoveSegment("liver")
    assert table.displayedSegmentIDs() == ("spleen",) and table.selectedSegmentIDs() == ("spleen",)
    table.setSelectedSegmentsStatus(2)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.GetSegmentStatus(segmentation.GetSegmentation().GetSegment("spleen")) == 2


def editor_node():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    return node


def test_segment_editor_wants_its_node_first(bed, segmentation):
    editor = slicer.qMRMLSegmentEditorWidget()
    with pytest.raises(RuntimeError, match="comes first"):
        editor.setSegmentationNode(segmentation)
    editor.setMRMLSegmentEditorNode(editor_node())
    editor.setMRMLScene(slicer.mrmlScene)
    with pytest.raises(RuntimeError, match="before"):
        editor.setSourceVolumeNode(slicer.util.getNode("ct"))


def test_segment_editor_holds_and_lets_go(bed, segmentation):
    editor, seen = slicer.qMRMLSegmentEditorWidget(), []
    node = editor_node()
    editor.setMRMLSegmentEditorNode(node)
    editor.setMRMLScene(slicer.mrmlScene)
    editor.connect("segmentationNodeChanged(vtkMRMLSegmentationNode*)", seen.append)
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(slicer.util.getNode("ct"))
    assert seen == [segmentation] and editor.segmentationNode() is segmentation
    assert editor.currentSegmentID() == "liver" and node.GetSourceVolumeNode() is slicer.util.getNode("ct")
    editor.setupViewObservations()
    editor.installKeyboardShortcuts()
    assert bed.inside(editor).holds_views and bed.inside(editor).holds_shortcuts
    editor.removeViewObservations()
    editor.uninstallKeyboardShortcuts()
    assert not bed.inside(editor).holds_views and not bed.inside(editor).holds_shortcuts
    effect = editor.effectByName("Threshold")
    editor.setActiveEffect(effect)
    effect.setParameter("MinimumThreshold", 3)
    assert editor.activeEffect() is effect and node.GetActiveEffectName() == "Threshold"
    assert effect.parameter("MinimumThreshold") == "3"
    with pytest.raises(AssertionError, match="still holds"):
        editor.installKeyboardShortcuts()
        bed._nothing_held("now")
    editor.uninstallKeyboardShortcuts()
    factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
    assert factory.connect("effectRegistered(QString)", seen.append)


def test_static_functions_and_enums_of_unknown_names(bed):
    with pytest.raises(AttributeError):
        slicer.qSlicerSegmentEditorEffectFactory.instanceOf()
    with pytest.raises(AttributeError):
        _ = ctk.ctkPathLineEdit.Folders
