"""The section Installation: the check in words, what is installed on a click, settings, sample, stored files."""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import qt
import slicer.util
from panel_bed.screenshots import assert_texts_fit

from Testing.project.conftest import id_of, write_prediction
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.verdict import Finding, Verdict
from VoxelAdvSegLib.panel import installing
from VoxelAdvSegLib.panel.installation_section import InstallationSection

SECTION = InstallationSection
TEXT, SIZE = range(2)


@pytest.fixture
def checks(workbench, monkeypatch):
    """How often a check was asked for; none is started."""
    asked = []
    monkeypatch.setattr(workbench, "check_installation", lambda: asked.append(1))
    return asked


@pytest.fixture
def project(section, make_project, tmp_path):
    """One label, and one prediction that waits."""
    project = make_project(["known"], ["Aorta"])
    project.record_prediction(id_of(project, "Aorta"), write_prediction(tmp_path / "left"), model="runs/1", score=0.5)
    return project


def test_the_verdict_names_cause_and_cure_and_the_report_is_copied(section, workbench, ui):
    assert "Not checked yet" in ui.installationLabel.text and not ui.copyReportButton.enabled
    workbench.installation = SimpleNamespace(verdict=None)
    workbench.notify("installation")
    assert "Checking" in ui.installationLabel.text and not ui.checkInstallationButton.enabled
    findings = (
        Finding("error", "torch is not installed.", "Press Install PyTorch.", "install torch"),
        Finding("ok", "The disk is large enough.", "", ""),
    )
    workbench.installation = SimpleNamespace(verdict=Verdict(False, "Training is not possible yet.", findings, "a: 1"))
    workbench.notify("installation")
    assert ui.installationLabel.text.splitlines() == [
        "Training is not possible yet.", "- torch is not installed. Press Install PyTorch."
    ]  # fmt: skip
    ui.copyReportButton.click()
    assert qt.QApplication.clipboard().text() == "a: 1"
    assert ui.checkInstallationButton.enabled


def test_nothing_is_installed_without_a_click(section, ui, checks, bed):
    installation = bed.add_pytorch()
    section.refresh()
    section.enter()
    assert installation.calls == [] and checks == []
    ui.installTorchButton.click()
    assert installation.calls[0][0] is True and checks == [1]  # it asks first, and what is there is looked at again


def test_without_the_pytorch_extension_the_cure_is_said(section, ui, checks, bed):
    bed.answers.expect("message", "Ok", "Extensions Manager")
    ui.installTorchButton.click()
    assert checks == []


def test_a_folder_without_packages_is_refused_in_words(section, ui, checks, bed, tmp_path):
    bed.answers.expect("QFileDialog.getExistingDirectory", None)
    ui.installWheelsButton.click()
    bed.answers.expect("QFileDialog.getExistingDirectory", str(tmp_path))
    bed.answers.expect("message", "Ok", ".whl")
    ui.installWheelsButton.click()
    assert checks == []


def test_packages_come_from_a_folder_without_a_network(section, workbench, ui, checks, bed, tmp_path, monkeypatch):
    (tmp_path / "monai-1.5-py3-none-any.whl").write_bytes(b"")
    monkeypatch.setattr(workbench, "missing_packages", lambda: ["monai>=1.4"])
    asked = []
    bed.answers.expect("QFileDialog.getExistingDirectory", str(tmp_path))
    bed.answers.expect("message", "Ok", "monai>=1.4")
    bed.answers.expect("pip", asked.extend)
    ui.installWheelsButton.click()
    assert asked[:3] == ["--no-index", "--find-links", str(tmp_path)] and asked[-1] == "monai>=1.4"
    assert "-c" in asked and checks == [1]


@pytest.fixture
def requirements(tmp_path, monkeypatch):
    """What the extension needs: torch, a package of Slicer's own, one that is there, and one that is missing."""
    file = tmp_path / "requirements.txt"
    file.write_text("torch>=2.4  # by the PyTorch extension\nnumpy\npytest\nnot-there-yet>=1.4\n", encoding="utf-8")
    monkeypatch.setattr(installing, "REQUIREMENTS", file)


def test_packages_come_from_the_network_on_a_click(section, requirements, ui, checks, bed):
    asked = []
    bed.answers.expect("message", "Ok", "Install these packages into Slicer?\nnot-there-yet>=1.4")
    bed.answers.expect("pip", asked.extend)
    ui.installPackagesButton.click()
    assert asked == ["not-there-yet>=1.4"] and checks == [1]


@pytest.mark.parametrize("bed", [{"release": "5.10"}], indirect=True)
def test_an_older_slicer_asks_itself_and_keeps_its_own_versions(section, requirements, ui, checks, bed):
    asked, held = [], []

    def install(options):
        asked.extend(options)
        held.extend(Path(options[options.index("-c") + 1]).read_text(encoding="utf-8").split())

    bed.answers.expect("message", "Ok", "Install these packages into Slicer?")
    bed.answers.expect("pip", install)
    ui.installPackagesButton.click()
    assert asked[-1] == "not-there-yet>=1.4" and "--no-index" not in asked
    assert f"numpy=={np.__version__}" in held  # pip must not replace what is Slicer's


@pytest.mark.parametrize("bed", [{}, {"release": "5.10"}], indirect=True)
def test_a_failed_install_is_told_with_its_cause(section, requirements, ui, checks, bed):
    def fail(_requirements):
        raise RuntimeError("no route to host")

    bed.answers.expect("message", "Ok", "not-there-yet")
    bed.answers.expect("pip", fail)
    bed.answers.expect("message", "Ok", "no route to host")
    ui.installPackagesButton.click()
    assert checks == [] and ui.installPackagesButton.enabled
    assert "use a folder of packages" in bed.answers.asked[-1].text


def test_pytorch_comes_before_packages_that_would_bring_one(section, requirements, ui, checks, bed, monkeypatch):
    monkeypatch.setattr(installing, "TORCH", "torch-that-is-not-there")
    bed.answers.expect("message", "Ok", "PyTorch is not installed yet")
    ui.installPackagesButton.click()
    assert checks == [] and "press Install PyTorch first" in bed.answers.asked[-1].text


@pytest.mark.parametrize("bed", [{}, {"release": "5.10"}], indirect=True)
def test_an_install_that_a_person_declines_changes_nothing(section, requirements, ui, checks, bed):
    bed.answers.expect("message", "Cancel", "not-there-yet")
    ui.installPackagesButton.click()
    assert checks == []


def test_the_python_is_taken_when_it_is_one(section, workbench, ui, bed, tmp_path):
    for end in (1, len(sys.executable) // 2):  # letter by letter, no box opens
        ui.interpreterEdit.currentPath = sys.executable[:end]
        assert workbench.interpreter_path() == "" and "no such Python" in ui.installationLabel.text
    ui.interpreterEdit.currentPath = sys.executable
    assert workbench.interpreter_path() == sys.executable and "no such Python" not in ui.installationLabel.text
    assert qt.QSettings().value("VoxelAdvSeg/interpreter") == sys.executable
    text = tmp_path / "letter.txt"
    text.write_text("no program", encoding="utf-8")
    text.chmod(0o600)
    bed.answers.expect("message", "Ok", "no Python interpreter")
    ui.interpreterEdit.currentPath = str(text)
    assert workbench.interpreter_path() == sys.executable
    section.enter()
    assert ui.interpreterEdit.currentPath == sys.executable
    ui.interpreterEdit.currentPath = ""
    assert workbench.interpreter_path() == ""


BUTTONS = ("installTorchButton", "installPackagesButton", "installWheelsButton")


def test_nothing_is_offered_that_would_not_reach_the_python_that_works(section, workbench, ui, requirements):
    ui.installationSection.collapsed = False
    assert all(getattr(ui, name).enabled for name in BUTTONS)
    assert not ui.elsewhereLabel.isVisibleTo(ui.installationSection)
    ui.interpreterEdit.currentPath = sys.executable
    assert not any(getattr(ui, name).enabled for name in BUTTONS)
    assert ui.elsewhereLabel.isVisibleTo(ui.installationSection) and ui.elsewhereEdit.readOnly
    python, _minus_m, pip, install, _minus_r, file = shlex.split(ui.elsewhereEdit.text)
    assert (python, pip, install, file) == (sys.executable, "pip", "install", str(installing.REQUIREMENTS))
    for install_it in (workbench.install_torch, workbench.install_packages):  # as from the Python console
        with pytest.raises(ConfigError, match="would change nothing"):
            install_it()
    ui.interpreterEdit.currentPath = ""
    assert all(getattr(ui, name).enabled for name in BUTTONS)
    assert not ui.elsewhereEdit.isVisibleTo(ui.installationSection)


def test_long_sentences_do_not_widen_the_panel(form, section, ui):
    """In Slicer a section that is wider than the panel brings a scroll bar."""
    for name in ("project", "train", "segment", "review", "models", "installation"):
        getattr(ui, f"{name}Section").collapsed = False
    ui.interpreterEdit.currentPath = sys.executable
    labels = [label for label in slicer.util.findChildren(form, className="QLabel") if label.wordWrap]
    for label in labels:
        label.text = "A sentence that says what is missing. " * 8
    assert ui.elsewhereLabel.isVisibleTo(form) and len(labels) > 10
    assert_texts_fit(form)


def test_slicers_own_python_may_be_named_as_well(section, workbench, ui, monkeypatch):
    python_slicer = Interpreter(Path(sys.executable), {})
    monkeypatch.setattr(installing, "find_python_slicer", lambda home, environment: python_slicer)
    ui.interpreterEdit.currentPath = sys.executable
    assert workbench.interpreter_path() == sys.executable and all(getattr(ui, name).enabled for name in BUTTONS)


def test_new_projects_go_where_a_person_said(section, workbench, ui, tmp_path, monkeypatch):
    ui.projectsFolderEdit.currentPath = str(tmp_path / "mine")
    assert qt.QSettings().value("VoxelAdvSeg/projects") == str(tmp_path / "mine")
    made = []
    monkeypatch.setattr(workbench, "make_sample_project", made.append)
    ui.sampleDataButton.click()
    ui.sampleDataButton.click()
    assert made == [tmp_path / "mine" / "Sample", tmp_path / "mine" / "Sample 2"]


def test_a_folder_that_cannot_be_made_is_told_in_words(section, workbench, ui, bed, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    ui.projectsFolderEdit.currentPath = str(tmp_path / "file")
    bed.answers.expect("message", "Ok", "New projects in")
    ui.sampleDataButton.click()
    assert workbench.project is None


def test_only_what_can_be_made_again_is_removed_and_after_a_question(section, project, workbench, ui, bed):
    assert ui.storageTable.rowCount == 0
    ui.refreshStorageButton.click()
    sizes = {row.key: row.cells[SIZE].text for row in section.table.rows}
    assert sizes["labels"] != "0 B" and sizes["predictions"] != "0 B"
    section.table.select(["labels"])
    bed.process()
    assert not ui.cleanButton.enabled
    section.table.select(["labels", "predictions"])
    bed.process()
    bed.answers.expect("message", "Cancel", "Remove these files")
    ui.cleanButton.click()
    assert list(project.path.glob("cases/*/prediction/*"))
    bed.answers.expect("message", "Ok", "wait for review")
    ui.cleanButton.click()
    assert not list(project.path.glob("cases/*/prediction/*"))
    assert list(project.path.glob("cases/*/labels/*.seg.nrrd"))
    assert "accepted labels" not in bed.answers.asked[-1].text
    workbench.close_project()
    assert ui.storageTable.rowCount == 0 and not ui.refreshStorageButton.enabled
    assert Path(project.path).is_dir()
