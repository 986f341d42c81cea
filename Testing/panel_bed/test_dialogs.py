"""The scripted person: every dialog needs an answer, every answer a dialog."""

import contextlib
import importlib

import pytest
import qt
import slicer
import slicer.util
from panel_bed.dialogs import UnexpectedDialogError, answers


def fails_at_the_end(bed):
    with pytest.raises(AssertionError):
        bed.answers.finish()


def test_answers_in_order(bed, tmp_path):
    bed.answers.expect("QFileDialog.getExistingDirectory", tmp_path, "project")
    bed.answers.expect("QFileDialog.getOpenFileName", None)
    bed.answers.expect("QFileDialog.getOpenFileNames", ["a", "b"])
    bed.answers.expect("QInputDialog.getText", "liver", "name")
    assert qt.QFileDialog.getExistingDirectory(None, "Choose the project", "") == str(tmp_path)
    assert qt.QFileDialog.getOpenFileName(None, "Model", "", "*.zip") == ""
    assert qt.QFileDialog.getOpenFileNames(None, "Scans", "") == ("a", "b")
    ok = qt.BoolResult()
    assert qt.QInputDialog.getText(None, "Organ", "Name:", qt.QLineEdit.Normal, "", ok) == "liver" and ok


def test_slicers_own_messages(bed):
    for button, result in (("Ok", True), ("Cancel", False)):
        bed.answers.expect("message", button, "delete")
        assert slicer.util.confirmOkCancelDisplay("Delete it?", windowTitle="Sure") is result
    bed.answers.expect("message", "Ok", "line 3")
    slicer.util.errorDisplay("Broken", detailedText="line 3")
    with pytest.raises(ZeroDivisionError), slicer.util.tryWithErrorDisplay("Failed to divide.", waitCursor=True):
        bed.answers.expect("message", "Ok", "failed to divide")
        1 / 0  # noqa: B018
    texts = [question.text.strip() for question in bed.answers.asked[-2:]]
    assert texts == ["Broken", "Failed to divide.\n\ndivision by zero"]
    assert qt.QApplication.overrideCursor() is None


def test_no_answer(bed):
    with pytest.raises(UnexpectedDialogError):
        qt.QFileDialog.getSaveFileName(None, "Save", "")
    fails_at_the_end(bed)


def test_no_answer_also_when_the_code_swallows_it(bed):
    with contextlib.suppress(Exception):
        slicer.util.infoDisplay("hello")
    fails_at_the_end(bed)


def test_another_dialog_than_expected(bed):
    bed.answers.expect("message", "Ok", "saved")
    with pytest.raises(UnexpectedDialogError, match="saved"):
        slicer.util.infoDisplay("lost")
    fails_at_the_end(bed)


def test_an_answer_that_nobody_asked_for(bed):
    bed.answers.expect("message", "Ok")
    with pytest.raises(AssertionError, match="no dialog asked"):
        bed.answers.finish()


def test_a_button_that_is_not_there(bed):
    bed.answers.expect("message", "Retry")
    with pytest.raises(UnexpectedDialogError, match="Retry"):
        slicer.util.confirmYesNoDisplay("Sure?")


def test_own_buttons_dialogs_and_menus(bed):
    box = qt.QMessageBox()
    box.setText("Training runs")
    keep = box.addButton("Keep training", qt.QMessageBox.AcceptRole)
    box.addButton("Stop", qt.QMessageBox.RejectRole)
    bed.answers.expect("message", "Keep training", "runs")
    box.exec_()
    assert box.clickedButton() is keep
    dialog = qt.QDialog()
    layout = qt.QVBoxLayout(dialog)
    edit = qt.QLineEdit()
    layout.addWidget(edit)

    def type_a_name(shown):
        assert shown is dialog
        edit.text = "liver"
        return 1

    bed.answers.expect("QDialog", type_a_name)
    assert dialog.exec_() == 1 and edit.text == "liver"
    menu, seen = qt.QMenu(), []
    menu.addAction("Show").connect("triggered(bool)", lambda: seen.append("show"))
    bed.answers.expect("QMenu", "Show")
    menu.exec_(qt.QPoint(0, 0))
    assert seen == ["show"]


def test_web_pages_and_leaving(bed):
    bed.answers.expect("QDesktopServices.openUrl", True, "file:///")
    assert qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile("/tmp/run")) is True
    with pytest.raises(UnexpectedDialogError):
        slicer.app.quit()
    assert answers is bed.answers


def test_testing_mode_asks_nobody(bed):
    """Slicer's own text says that this returns True; its code compares True with Ok and returns False."""
    bed.testing = True
    assert slicer.util.confirmOkCancelDisplay("Sure?") is False
    slicer.util.errorDisplay("only logged")


@pytest.mark.parametrize("bed", [{"window": False}], indirect=True)
def test_without_a_window_messages_are_only_logged(bed):
    assert slicer.util.mainWindow() is None and slicer.app.layoutManager() is None
    assert slicer.util.showStatusMessage("hello") is False and bed.status_messages == ["hello"]
    slicer.util.errorDisplay("only logged")
    bed.answers.expect("message", "Ok", "sure")
    assert slicer.util.confirmOkCancelDisplay("Sure?")


def test_packages(bed, tmp_path):
    from slicer.packaging import load_requirements, pip_check, pip_ensure

    file = tmp_path / "requirements.txt"
    file.write_text("numpy>=1\nno-such-package-here>=2  # comment\n")
    wanted = load_requirements(file)
    assert [one.name for one in wanted] == ["numpy", "no-such-package-here"]
    assert pip_check(wanted[0]) and not pip_check(wanted)
    bed.answers.expect("message", "Cancel", "no-such-package-here")
    with pytest.raises(RuntimeError, match="declined"):
        pip_ensure(wanted, requester="VoxelAdvSeg")
    got = []
    bed.answers.expect("message", "Ok")
    bed.answers.expect("pip", got.extend)
    pip_ensure(wanted, requester="VoxelAdvSeg")
    assert got == ["no-such-package-here>=2"]


@pytest.mark.parametrize("bed", [{"release": "5.10"}], indirect=True)
def test_no_packaging_in_5_10(bed):
    with pytest.raises(ImportError):
        importlib.import_module("slicer.packaging")
    bed.answers.expect("pip", None, "torch")
    slicer.util.pip_install("torch")
    with pytest.raises(TypeError):
        slicer.util.pip_install("torch", blocking=False)
