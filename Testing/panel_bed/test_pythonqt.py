"""PythonQt's manners: each test fails when one strictness is missing."""

import gc

import ctk
import pytest
import qt
import slicer
import slicer.util
from panel_bed.pythonqt import emit
from PySide6 import QtWidgets


def test_properties_are_attributes(bed):
    button = qt.QPushButton("Go")
    button.enabled = False
    assert button.text == "Go" and button.enabled is False
    with pytest.raises(TypeError):
        button.text()
    with pytest.raises(AttributeError, match="enabledd"):
        button.enabledd = True
    with pytest.raises(AttributeError, match="textt"):
        _ = button.textt
    with pytest.raises(AttributeError, match="read-only"):
        qt.QLineEdit().selectedText = "x"
    with pytest.raises(ValueError, match="does not accept"):
        button.text = 3


def test_methods_of_qt_by_position_only(bed):
    box = qt.QComboBox()
    box.addItem("a", 1)
    assert box.itemData(0) == 1
    with pytest.raises(TypeError):
        box.addItem(text="b")
    with pytest.raises(TypeError):
        qt.QPushButton(text="b")
    with pytest.raises(AttributeError):
        box.addItemz("b")


def test_what_only_one_qt_version_has_raises(bed):
    with pytest.raises(ValueError, match="currentIndexChanged"):
        qt.QComboBox().connect("currentIndexChanged(QString)", print)  # Qt 5 only
    with pytest.raises(AttributeError, match="qt6"):
        _ = qt.QComboBox().setLabelDrawingMode


def test_signals_must_exist(bed):
    button = qt.QPushButton()
    with pytest.raises(ValueError, match="clicked"):
        button.connect("clickd(bool)", print)
    with pytest.raises(ValueError, match=r"clicked\(bool\)"):
        button.connect("clicked(int)", print)
    with pytest.raises(ValueError):
        button.disconnect("clickd(bool)", print)
    with pytest.raises(TypeError):
        button.connect("clicked(bool)", None)


def test_signals_call_with_as_many_arguments_as_the_function_takes(bed):
    seen = []
    button = qt.QPushButton()
    button.checkable = True
    button.connect("clicked(bool)", lambda: seen.append("none"))
    button.connect("clicked(bool)", lambda on: seen.append(on))
    button.connect("clicked()", lambda *args: seen.append(args))
    button.clicked.connect(seen.append)
    button.click()
    assert seen == ["none", True, (), True]
    assert button.disconnect("clicked(bool)", seen.append) is True
    assert button.disconnect("clicked(bool)", seen.append) is False
    seen.clear()
    button.click()
    assert seen == ["none", False, ()]


def test_a_bound_method_is_disconnected_by_an_equal_one(bed):
    class Holder:
        def __init__(self):
            self.seen = []

        def on(self, value):
            self.seen.append(value)

    holder, box = Holder(), qt.QSpinBox()
    box.connect("valueChanged(int)", holder.on)
    box.value = 3
    assert box.disconnect("valueChanged(int)", holder.on)
    box.value = 4
    assert holder.seen == [3]


def test_the_object_form_needs_one_signal(bed):
    selector = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError, match="several signals"):
        selector.currentNodeChanged.connect(print)
    selector.currentNodeIDChanged.connect(print)


def test_exceptions_in_slots_do_not_propagate_but_are_seen(bed):
    import sys

    seen = []
    before, sys.excepthook = sys.excepthook, lambda kind, error, trace: seen.append(kind)
    try:
        button = qt.QPushButton()
        button.connect("clicked(bool)", lambda: 1 / 0)
        button.click()
        qt.QTimer.singleShot(0, lambda: {}["x"])
        bed.process(0.01)
        selector = slicer.qMRMLNodeComboBox()
        selector.connect("currentNodeIDChanged(QString)", lambda text: int("x"))
        emit(selector, "currentNodeIDChanged(QString)", "a")
    finally:
        sys.excepthook = before
    assert seen == [ZeroDivisionError, KeyError, ValueError]


def test_enum_values_are_flat_integers(bed):
    line = qt.QLineEdit()
    line.echoMode = qt.QLineEdit.Password
    assert line.echoMode == qt.QLineEdit.Password == 2
    assert qt.Qt.UserRole + 1 == 257 and isinstance(qt.Qt.AlignLeft, int)
    label = qt.QLabel()
    label.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    assert label.alignment & qt.Qt.AlignRight
    item = qt.QTableWidgetItem("x")
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    assert not item.flags() & qt.Qt.ItemIsEditable and item.flags() & qt.Qt.ItemIsEnabled
    with pytest.raises(TypeError):
        label.setAlignment(2)  # write the name
    with pytest.raises(AttributeError):
        _ = qt.Qt.AlignmentFlag.AlignLeft
    with pytest.raises(AttributeError):
        _ = qt.Qt.MidButton


def test_lists_come_as_tuples(bed):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    box = qt.QWidget()
    layout = qt.QVBoxLayout(box)
    layout.addWidget(qt.QLabel("a"))
    assert isinstance(box.children(), tuple)


def test_one_wrapper_and_children_by_name(bed):
    box = qt.QWidget()
    layout = qt.QVBoxLayout(box)
    label = qt.QLabel("a")
    label.objectName = "hello"
    layout.addWidget(label)
    assert label.parent() is box and box.layout() is layout and box.hello is label and label.name == "hello"
    assert box.findChild(qt.QLabel, "hello") is label


def test_what_nobody_refers_to_is_gone(bed):
    seen = []
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.connect("timeout()", lambda: seen.append("kept"))
    timer.start(0)
    lost = qt.QTimer()
    lost.connect("timeout()", lambda: seen.append("lost"))
    lost.start(0)
    del lost
    gc.collect()
    bed.process(0.02)
    assert seen == ["kept"]


def test_an_object_whose_parent_died_is_false_and_raises(bed):
    box = qt.QWidget()
    label = qt.QLabel("a", box)
    assert label
    box.delete()
    assert not label
    with pytest.raises(ValueError, match="destroyed"):
        _ = label.text


def test_isinstance_and_inherits(bed):
    assert isinstance(qt.QPushButton(), qt.QAbstractButton)
    section = ctk.ctkCollapsibleButton()
    assert not isinstance(section, qt.QWidget)  # as PythonQt may say
    assert section.isWidgetType() and section.inherits("QAbstractButton") and section.className() == section._name
    with pytest.raises(TypeError, match="composition"):

        class Mine(qt.QWidget):
            pass


def test_timers_settings_and_icons(bed):
    with pytest.raises(TypeError):
        qt.QTimer.singleShot(0, None)
    timer = qt.QTimer()
    timer.setInterval(500)
    assert timer.interval == 500 and timer.active is False
    with pytest.raises(TypeError):
        timer.interval()
    settings = qt.QSettings()
    settings.setValue("VoxelAdvSeg/folder", "/x")
    assert slicer.util.settingsValue("VoxelAdvSeg/folder", "") == "/x"
    icon = qt.QApplication.style().standardIcon(qt.QStyle.SP_MessageBoxWarning)
    assert not icon.isNull()
    with pytest.raises(AttributeError):
        icon.isNul()
    with pytest.raises(AttributeError):
        icon.color = 1


def test_settings_do_not_leave_the_bed(bed):
    settings = qt.QSettings()
    settings.setValue("a", 1)
    settings.sync()
    assert str(bed.folder) in settings.fileName() and not settings.contains("VoxelAdvSeg/folder")


def test_tables_sort_and_select(bed):
    table = qt.QTableWidget(3, 1)
    for row, number in enumerate((10, 9, 100)):
        item = qt.QTableWidgetItem()
        item.setData(qt.Qt.DisplayRole, number)
        table.setItem(row, 0, item)
    table.sortItems(0, qt.Qt.AscendingOrder)
    assert [table.item(row, 0).data(qt.Qt.DisplayRole) for row in range(3)] == [9, 10, 100]
    seen = []
    table.connect("itemSelectionChanged()", lambda: seen.append(len(table.selectedItems())))
    table.selectRow(1)
    assert seen == [1] and table.selectedItems()[0] == table.item(1, 0) and table.rowCount == 3
    tree = qt.QTreeWidget()
    tree.addTopLevelItem(qt.QTreeWidgetItem(["a"]))
    assert tree.topLevelItem(0).text(0) == "a"
    with pytest.raises(TypeError):
        table.rowCount()


def test_trailing_underscore_and_shortcuts(bed):
    box = qt.QMessageBox()
    box.setText("Sure?")
    box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No)
    bed.answers.expect("message", "No", "sure")
    assert box.exec_() == qt.QMessageBox.No
    widget, seen = qt.QWidget(), []
    shortcut = qt.QShortcut(widget)
    shortcut.setKey(qt.QKeySequence("Ctrl+Alt+A"))
    shortcut.connect("activated()", lambda: seen.append(1))
    emit(shortcut, "activated()")
    assert seen == [1] and shortcut.key.toString() == "Ctrl+Alt+A"


def test_unknown_modules_and_classes(bed):
    with pytest.raises(AttributeError):
        _ = qt.QNoSuchThing
    with pytest.raises(AttributeError):
        _ = ctk.ctkNoSuchThing
    with pytest.raises(AttributeError, match=r"make_manifest"):
        _ = ctk.ctkDICOMBrowser
    with pytest.raises(TypeError, match=r"jobs"):
        qt.QProcess()
    assert QtWidgets.QApplication.instance() is not None
