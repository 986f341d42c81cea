"""The loader of forms raises for what Qt's passes over, and makes Slicer's connections."""

import pytest
import slicer
import slicer.util
from panel_bed.forms import FormError, read_form

FORM = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Toy</class>
 <widget class="qMRMLWidget" name="Toy">
  <layout class="QVBoxLayout" name="top">
   <item>
    <widget class="ctkCollapsibleButton" name="inputsButton">
     <property name="text"><string>Inputs</string></property>
     <property name="collapsed"><bool>false</bool></property>
     <layout class="QFormLayout" name="formLayout">
      <item row="0" column="0">
       <widget class="QLabel" name="label">
        <property name="text"><string>&amp;Volume:</string></property>
        <property name="buddy"><cstring>inputSelector</cstring></property>
        <property name="alignment"><set>Qt::AlignRight|Qt::AlignVCenter</set></property>
       </widget>
      </item>
      <item row="0" column="1">
       <widget class="qMRMLNodeComboBox" name="inputSelector">
        <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
        <property name="noneEnabled"><bool>true</bool></property>
        <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property>
       </widget>
      </item>
     </layout>
    </widget>
   </item>
   <item>
    <widget class="ctkPathLineEdit" name="folderEdit">
     <property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Writable</set></property>
    </widget>
   </item>
   <item>
    <widget class="Line" name="line"><property name="orientation"><enum>Qt::Horizontal</enum></property></widget>
   </item>
   <item><widget class="QSpinBox" name="steps"><property name="value"><number>4</number></property></widget></item>
   <item><widget class="QProgressBar" name="bar"/></item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><container>1</container></customwidget>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><container>1</container></customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
  <customwidget><class>ctkPathLineEdit</class><extends>QWidget</extends></customwidget>
 </customwidgets>
 <connections>
  <connection><sender>Toy</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>
  <connection><sender>steps</sender><signal>valueChanged(int)</signal>
   <receiver>bar</receiver><slot>setValue(int)</slot></connection>
 </connections>
</ui>
"""


def written(tmp_path, old="", new=""):
    assert old in FORM
    file = tmp_path / "Toy.ui"
    file.write_text(FORM.replace(old, new))
    return str(file)


def test_a_right_form(bed, tmp_path):
    top = slicer.util.loadUI(written(tmp_path))
    ui = slicer.util.childWidgetVariables(top)
    assert ui.inputsButton.text == "Inputs" and ui.inputSelector.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert ui.inputSelector.noneEnabled is True and ui.label.buddy() is ui.inputSelector
    assert ui.inputSelector.property("SlicerParameterName") == "inputVolume" and ui.line.className() == "QFrame"
    top.setMRMLScene(slicer.mrmlScene)
    assert ui.inputSelector.mrmlScene() is slicer.mrmlScene
    ui.steps.value = 40
    assert ui.bar.value == 40


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('class="qMRMLNodeComboBox" name', 'class="qMRMLNodeComboBoxx" name', "not in the manifest"),
        ('class="QSpinBox"', 'class="QSpinnBox"', "not in the manifest"),
        ('class="QSpinBox"', 'class="qSlicerLayoutManager"', "cannot make"),
        ('name="noneEnabled"', 'name="noneEnabledd"', "no property"),
        ('name="noneEnabled"', 'name="currentNodeID"', "no property"),  # there, but not for forms
        ('"collapsed"', '"colapsed"', "no property"),
        ('<property name="value"><number>4', '<property name="valu"><number>4', "no property"),
        ('"SlicerParameterName" stdset="0"', '"SlicerParameter" stdset="0"', "dynamic"),
        (' stdset="0"', "", "stdset"),
        ("Qt::AlignRight|", "Qt::AlignRihgt|", "no enum"),
        ("Qt::AlignRight|", "Qt::AlignmentFlag::AlignRight|", "Qt 5"),
        ("ctkPathLineEdit::Dirs", "ctkPathLineEdit::Folders", "no enum"),
        ("<cstring>inputSelector", "<cstring>inputSelectr", "buddy"),
        ('name="bar"', 'name="steps"', "two objects"),
        ("mrmlSceneChanged(vtkMRMLScene*)", "mrmlSceneChange(vtkMRMLScene*)", "no signal"),
        ("setMRMLScene(vtkMRMLScene*)", "setScene(vtkMRMLScene*)", "no slot"),
        ("setValue(int)", "setValu(int)", "no slot"),
        ("<receiver>bar", "<receiver>baar", "not in the form"),
        ("setMRMLScene(vtkMRMLScene*)", "setMRMLScene()", "no slot"),
    ],
)
def test_a_wrong_form(bed, tmp_path, old, new, match):
    file = written(tmp_path, old, new)
    with pytest.raises(FormError, match=match):
        slicer.util.loadUI(file)
    with pytest.raises(FormError, match=match):
        read_form(file)


def test_a_form_that_is_not_there(bed, tmp_path):
    with pytest.raises(RuntimeError, match="not found"):
        slicer.util.loadUI(str(tmp_path / "no.ui"))
