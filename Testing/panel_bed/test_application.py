"""slicer.app, slicer.modules, the layout manager: the application that slicer.util asks."""

import numpy as np
import pytest
import qt
import slicer
import slicer.util
from panel_bed.standin import NotImitatedError


def volume(name):
    return slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), "float32"), name=name)


def test_the_application_has_only_slicers_names(bed):
    assert slicer.app.applicationName == "Slicer" and slicer.app.temporaryPath == str(bed.folder / "temporary")
    with pytest.raises(TypeError):
        slicer.app.temporaryPath()
    with pytest.raises(AttributeError):
        _ = slicer.app.mainWindow
    with pytest.raises(NotImitatedError):
        slicer.app.openSettingsDialog()
    assert slicer.app.mrmlScene() is slicer.mrmlScene
    python = slicer.app.startupEnvironment()
    assert python.value("PYTHONNOUSERSITE") == "1" and "PATH" in python.keys()  # noqa: SIM118  as slicer.util does


def test_modules(bed):
    assert slicer.modules.segmentations.logic().IsA("vtkSlicerSegmentationsModuleLogic")
    assert slicer.util.getModuleLogic("segmentations") is slicer.modules.segmentations.logic()
    with pytest.raises(AttributeError, match="no module"):
        _ = slicer.modules.segmentation


def test_layers_of_the_slice_views(bed):
    background, foreground = volume("ct"), volume("map")
    slicer.util.setSliceViewerLayers(background=background, foreground=foreground, foregroundOpacity=0.4)
    for name in slicer.app.layoutManager().sliceViewNames():
        node = slicer.app.layoutManager().sliceWidget(name).sliceLogic().GetSliceCompositeNode()
        assert node.GetBackgroundVolumeID() == background.GetID() and node.GetForegroundOpacity() == 0.4
    assert len(slicer.app.layoutManager().sliceViewNames()) == 3
    assert slicer.app.layoutManager().sliceWidget("Blue") is None
    slicer.util.resetSliceViews()
    assert bed.layout_manager.resets == 1


def test_messages_in_the_status_bar(bed):
    slicer.util.showStatusMessage("Segmenting", 3000)
    assert slicer.util.mainWindow().statusBar().currentMessage() == "Segmenting"
    assert bed.status_messages == ["Segmenting"]


def test_startup_signal(bed):
    seen = []
    slicer.app.connect("startupCompleted()", lambda: seen.append(1))
    bed.start_up_completed()
    assert seen == [1]
    with pytest.raises(ValueError):
        slicer.app.connect("startupComplete()", print)


def test_every_bed_is_fresh(bed):
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is None
    assert not qt.QSettings().allKeys() and bed.answers.asked == []


def test_errors_in_callbacks_fail_a_test(tmp_path):
    from panel_bed.bed import Bed
    from slicer_bed.vtk_errors import callback_errors

    with pytest.raises(AssertionError, match="ZeroDivisionError"), callback_errors():
        bed = Bed(tmp_path)
        button = qt.QPushButton()
        button.connect("clicked(bool)", lambda: 1 / 0)
        button.click()
    bed.close()


def test_waiting_ends(bed):
    seen = []
    qt.QTimer.singleShot(5, lambda: seen.append(1))
    bed.wait_for(lambda: seen, 5)
    with pytest.raises(AssertionError, match="in vain for the end"):
        bed.wait_for(lambda: False, 0.01, "the end")
