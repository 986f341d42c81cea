"""The section Project with the real workbench and a real project on the disk."""

from datetime import datetime

import numpy as np
import pytest
import qt
import slicer
import slicer.util
from panel_bed.screenshots import assert_texts_fit
from PySide6 import QtCore, QtTest

from Testing.panel.person import canceled, chose, typed
from Testing.project.conftest import (
    BOTH,
    LIVER,
    SPLEEN,
    id_of,
    write_layers,
    write_prediction,
    write_scan,
    write_segments,
)
from VoxelAdvSegLib.data.facts import Finding
from VoxelAdvSegLib.panel.project_section import ProjectSection
from VoxelAdvSegLib.scene.editing import Correction
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask, segment_names

SECTION = ProjectSection
FINDINGS, NAME, ROLE, STATE, SCORE, CHANGED = range(6)
COLOR, ORGAN, CODE = range(3)


@pytest.fixture
def scans(tmp_path):
    """A folder with two labeled and three unlabeled scans."""
    folder = tmp_path / "Lebern 2026"
    for number in range(5):
        image = write_scan(folder / f"scan {number}.nrrd", seed=number)
        if number < 2:
            write_segments(image.with_suffix(".seg.nrrd"), BOTH)
    return folder


@pytest.fixture
def filled(section, workbench, ui, bed, scans, tmp_path):
    """The section with the scans added."""
    ui.projectsFolderEdit.currentPath = str(tmp_path / "projects")
    bed.answers.expect("QFileDialog.getExistingDirectory", scans)
    ui.addFolderButton.click()
    return workbench.project


def row_of(table, name, column=NAME):
    return next(row for row in range(table.rowCount) if table.item(row, column).text() == name)


def column_of(table, column):
    return [table.item(row, column).text() for row in range(table.rowCount)]


def select(table, *names):
    table.clearSelection()
    for name in names:
        row = row_of(table, name)
        for column in range(table.columnCount):
            table.item(row, column).setSelected(True)


def sort(table, column, order):
    table.horizontalHeader().setSortIndicator(column, order)


def choose_role(bed, ui, role):
    index = ui.roleBox.findText(role)
    ui.roleBox.currentIndex = index
    bed.emit(ui.roleBox, "activated(int)", index)


def test_without_a_project_it_says_how_to_begin(section, ui):
    assert "Add a folder" in ui.guideLabel.text and ui.projectLabel.text == "No project is open."
    assert ui.addFolderButton.enabled and not ui.checkDataButton.enabled and not ui.addOrganButton.enabled
    assert not ui.roleBox.enabled and not ui.showCaseButton.enabled and not ui.removeOrganButton.enabled


def test_a_folder_is_enough_to_begin(filled, section, ui, bed, tmp_path):
    assert filled.path == tmp_path / "projects" / "Lebern 2026" and ui.projectLabel.text == "Lebern 2026"
    assert ui.projectLabel.toolTip == str(filled.path)
    assert sorted(column_of(ui.caseTable, NAME)) == [f"scan {n}" for n in range(5)]
    assert ui.caseSummaryLabel.text == "2 labeled, 3 unlabeled"
    assert column_of(ui.organTable, ORGAN) == ["liver", "spleen"]
    assert column_of(ui.organTable, CODE) == ["10200004", "78961009"]
    assert ui.doctorLabel.text.startswith("5 scans added, 2 of them with a label.")
    assert "press Train with unlabeled scans" in ui.guideLabel.text


def test_a_second_project_of_the_same_name_gets_a_folder_of_its_own(filled, workbench, ui, bed, scans):
    workbench.close_project()
    bed.answers.expect("QFileDialog.getExistingDirectory", scans)
    ui.addFolderButton.click()
    assert workbench.project.name == "Lebern 2026 2" and len(workbench.project.cases) == 5


def test_no_folder_chosen_changes_nothing(section, workbench, ui, bed):
    for button in (ui.newProjectButton, ui.openProjectButton, ui.addFolderButton):
        bed.answers.expect("QFileDialog.getExistingDirectory", None)
        button.click()
    bed.answers.expect("QFileDialog.getOpenFileName", None)
    ui.addManifestButton.click()
    assert workbench.project is None


def test_new_and_open(section, workbench, ui, bed, tmp_path):
    bed.answers.expect("QFileDialog.getExistingDirectory", tmp_path / "Nieren", "empty folder")
    ui.newProjectButton.click()
    first = workbench.project
    assert first.name == "Nieren" and "Add scans" in ui.guideLabel.text
    bed.answers.expect("QFileDialog.getExistingDirectory", first.path, "project")
    ui.openProjectButton.click()
    assert workbench.project is first  # it is open already
    workbench.close_project()
    bed.answers.expect("QFileDialog.getExistingDirectory", tmp_path / "Nieren", "project")
    ui.openProjectButton.click()
    assert workbench.project.id == first.id and ui.checkDataButton.enabled


def test_a_folder_that_is_no_project_is_told_in_words(section, workbench, ui, bed, tmp_path):
    bed.answers.expect("QFileDialog.getExistingDirectory", tmp_path)
    bed.answers.expect("message", "Ok", "What to do")
    ui.openProjectButton.click()
    assert workbench.project is None and ui.openProjectButton.enabled


def test_scans_with_a_problem_are_named_and_the_others_added(section, workbench, ui, bed, scans):
    (scans / "broken.nrrd").write_text("NRRD0004\n# no more of it\n")
    bed.answers.expect("QFileDialog.getExistingDirectory", scans)
    bed.answers.expect("message", "Ok", "broken")
    ui.addFolderButton.click()
    assert len(workbench.project.cases) == 5 and ui.addFolderButton.enabled


@pytest.mark.parametrize("answer, labeled", [("Ok", 1), ("Cancel", 0)])
def test_unfinished_segmentations_are_asked_about(section, workbench, ui, bed, tmp_path, answer, labeled):
    image = write_scan(tmp_path / "scans" / "scan.nrrd")
    write_segments(image.with_suffix(".seg.nrrd"), BOTH, status="inprogress")
    bed.answers.expect("QFileDialog.getExistingDirectory", image.parent)
    bed.answers.expect("message", answer, "unfinished")
    ui.addFolderButton.click()
    assert [case.role for case in workbench.project.cases].count("labeled") == labeled


def test_the_scene_is_added_with_its_segmentations(section, workbench, ui, bed):
    array = np.random.default_rng(0).integers(0, 100, (6, 7, 8)).astype("int16")
    volume_node = slicer.util.addVolumeFromArray(array, name="Thorax Ä")
    ui.addSceneButton.click()
    assert [case.name for case in workbench.project.cases] == ["Thorax Ä"]
    assert volume_node.GetAttribute("VoxelAdvSeg.case") == "case-0001"
    assert slicer.mrmlScene.GetNodeByID(volume_node.GetID()) is volume_node


def test_an_empty_scene_makes_no_project(section, workbench, ui, bed):
    bed.answers.expect("message", "Ok", "no volume")
    ui.addSceneButton.click()
    assert workbench.project is None


def test_dicom_without_any_says_so(filled, workbench, ui, bed):
    bed.answers.expect("message", "Ok", "loaded from DICOM")
    ui.addDicomButton.click()
    assert len(workbench.project.cases) == 5


# organs


def test_organs_are_added_and_removed(filled, workbench, ui, bed):
    bed.answers.expect("QInputDialog.getText", "pancreas", "Name")
    ui.addOrganButton.click()
    assert column_of(ui.organTable, ORGAN) == ["liver", "spleen", "pancreas"]
    assert not ui.removeOrganButton.enabled
    select(ui.organTable, "pancreas")
    assert ui.removeOrganButton.enabled
    bed.answers.expect("message", "Ok", "pancreas")
    ui.removeOrganButton.click()
    assert [organ.name for organ in filled.organs] == ["liver", "spleen"] == column_of(ui.organTable, ORGAN)


def test_several_organs_go_with_one_question(filled, ui, bed):
    select(ui.organTable, "liver", "spleen")
    bed.answers.expect("message", "Ok", "Remove liver, spleen from the list?")
    ui.removeOrganButton.click()
    assert filled.organs == () and ui.organTable.rowCount == 0


def test_organs_are_merged_into_the_one_whose_name_is_chosen(filled, workbench, ui, bed, tmp_path):
    (tmp_path / "more").mkdir()
    write_segments(tmp_path / "more" / "Thorax.seg.nrrd", {"Leber": LIVER})
    workbench.add_files([(write_scan(tmp_path / "more" / "Thorax.nrrd", 9), tmp_path / "more" / "Thorax.seg.nrrd")])
    assert column_of(ui.organTable, ORGAN) == ["liver", "spleen", "Leber"]
    select(ui.organTable, "liver")
    assert not ui.mergeOrgansButton.enabled
    select(ui.organTable, "liver", "Leber")
    bed.answers.expect("QDialog", canceled, "Merge organs")
    ui.mergeOrgansButton.click()
    assert len(filled.organs) == 3
    bed.answers.expect("QDialog", chose("Leber"), "Merge organs")
    ui.mergeOrgansButton.click()
    assert column_of(ui.organTable, ORGAN) == ["spleen", "Leber"] and not ui.mergeOrgansButton.enabled
    assert "liver" in ui.organTable.item(1, ORGAN).toolTip()
    assert filled.organ_of("liver").name == filled.organ_of("Leber").name == "Leber"


def test_an_organ_that_cannot_be_is_refused_in_words(filled, ui, bed):
    bed.answers.expect("QInputDialog.getText", "Liver")
    bed.answers.expect("message", "Ok", "already means")
    ui.addOrganButton.click()
    assert len(filled.organs) == 2


def test_an_organ_is_renamed_in_place(filled, ui):
    ui.organTable.item(0, ORGAN).setText("Leber")
    assert filled.organs[0].name == "Leber" and filled.organs[0].names == ("liver",)
    assert column_of(ui.organTable, ORGAN) == ["Leber", "spleen"]


def test_a_name_that_is_taken_comes_back_as_it_was(filled, ui, bed):
    bed.answers.expect("message", "Ok", "already means")
    ui.organTable.item(0, ORGAN).setText("spleen")
    assert column_of(ui.organTable, ORGAN) == ["liver", "spleen"] == [organ.name for organ in filled.organs]


def test_an_organ_gets_another_color(filled, ui, bed):
    before = filled.organs[0].color_rgb
    bed.answers.expect("QColorDialog.getColor", None, "liver")
    bed.emit(ui.organTable, "cellDoubleClicked(int,int)", 0, COLOR)
    assert filled.organs[0].color_rgb == before
    bed.answers.expect("QColorDialog.getColor", (12, 34, 56), "liver")
    bed.emit(ui.organTable, "cellDoubleClicked(int,int)", 0, COLOR)
    assert filled.organs[0].color_rgb == (12, 34, 56)
    color = ui.organTable.item(0, COLOR).background().color()
    assert (color.red(), color.green(), color.blue()) == (12, 34, 56)


def test_an_organ_gets_another_code(filled, ui, bed):
    ui.organTable.item(0, CODE).setText("181268008")
    assert "SCT^181268008^liver" in filled.organs[0].terminology
    bed.answers.expect("message", "Ok", "SNOMED")
    ui.organTable.item(0, CODE).setText("liver")
    assert column_of(ui.organTable, CODE)[0] == "181268008"


# cases


def test_the_table_sorts_and_keeps_its_selection(filled, section, workbench, ui):
    select(ui.caseTable, "scan 3")
    sort(ui.caseTable, NAME, qt.Qt.DescendingOrder)
    assert column_of(ui.caseTable, NAME) == [f"scan {n}" for n in (4, 3, 2, 1, 0)]
    filled.set_role(section.selected_cases()[0].id, "excluded")
    workbench.notify("cases")
    assert [case.name for case in section.selected_cases()] == ["scan 3"]
    assert column_of(ui.caseTable, ROLE) == ["unlabeled", "excluded", "unlabeled", "labeled", "labeled"]


def test_findings_sort_by_the_worst_and_then_by_their_number(filled, workbench, ui, monkeypatch):
    found = {"scan 0": "nnn", "scan 1": "wn", "scan 3": "e", "scan 4": "w" + 9 * "n"}

    def known_findings():
        of = {"n": Finding("note", "a", "b"), "w": Finding("warning", "a", "b"), "e": Finding("error", "a", "b")}
        return {case.id: tuple(of[letter] for letter in found.get(case.name, "")) for case in filled.cases}

    monkeypatch.setattr(filled, "known_findings", known_findings)
    workbench.notify("cases")
    assert column_of(ui.caseTable, NAME) == ["scan 3", "scan 4", "scan 1", "scan 0", "scan 2"]  # the worst on top
    sort(ui.caseTable, FINDINGS, qt.Qt.AscendingOrder)
    assert column_of(ui.caseTable, NAME) == ["scan 2", "scan 0", "scan 1", "scan 4", "scan 3"]
    found["scan 2"] = "ee"
    workbench.notify("cases")
    assert column_of(ui.caseTable, FINDINGS) == ["3", "2", "10", "1", "2"]


def test_a_click_on_the_heading_sorts_as_a_person_counts(filled, workbench, ui, bed):
    filled.rename_case(id_of(filled, "scan 0"), "scan 10")
    workbench.notify("cases")
    header = bed.inside(ui.caseTable).horizontalHeader()
    place = QtCore.QPoint(header.sectionViewportPosition(NAME) + 5, 5)
    ui.caseTable.setCurrentCell(row_of(ui.caseTable, "scan 10"), STATE)
    names = []
    for _click in range(2):
        QtTest.QTest.mouseClick(header.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=place)
        names.append(column_of(ui.caseTable, NAME))
        assert ui.caseTable.currentRow() == row_of(ui.caseTable, "scan 10")
    assert names[0] == ["scan 1", "scan 2", "scan 3", "scan 4", "scan 10"] and names[1] == names[0][::-1]


def test_names_are_readable_in_a_narrow_panel(form, filled, workbench, ui):
    filled.rename_case(id_of(filled, "scan 3"), "Pancreas, venous phase, 2026-11")
    workbench.notify("cases")
    assert_texts_fit(form)
    needed = ui.caseTable.fontMetrics().horizontalAdvance("Pancreas, venous phase, 2026-11")
    assert ui.caseTable.columnWidth(NAME) > needed


def test_score_and_state_follow_a_prediction(filled, workbench, ui, tmp_path):
    folder = write_prediction(tmp_path / "prediction")
    filled.record_prediction(
        id_of(filled, "scan 3"), folder, model="runs/1", score=0.25, reason="the liver is doubtful"
    )
    workbench.notify("cases")
    row = row_of(ui.caseTable, "scan 3")
    assert [ui.caseTable.item(row, column).text() for column in (STATE, SCORE)] == ["predicted", "0.25"]
    assert "doubtful" in ui.caseTable.item(row, SCORE).toolTip()
    assert "Next case" in ui.guideLabel.text and "1" in ui.guideLabel.text


def test_why_a_case_is_flagged_stands_in_its_line(filled, workbench, ui):
    select(ui.caseTable, "scan 1")
    ui.showCaseButton.click()
    workbench.flag("is this a cyst?")
    item = ui.caseTable.item(row_of(ui.caseTable, "scan 1"), STATE)
    assert item.text() == "flagged" and item.toolTip() == "is this a cyst?"


def test_roles_of_several_cases_at_once(filled, ui, bed):
    select(ui.caseTable, "scan 2", "scan 4")
    assert ui.roleBox.enabled and ui.roleBox.currentText == "unlabeled" and not ui.showCaseButton.enabled
    choose_role(bed, ui, "excluded")
    assert ui.caseSummaryLabel.text == "2 labeled, 1 unlabeled, 2 excluded"
    select(ui.caseTable, "scan 0", "scan 4")
    assert ui.roleBox.currentIndex == -1  # they have different ones


def test_a_role_that_cannot_be_is_refused_by_the_name_of_the_scan(filled, ui, bed):
    select(ui.caseTable, "scan 3", "scan 1")
    bed.answers.expect("message", "Ok", "scan 3 cannot be a validation case")
    choose_role(bed, ui, "validation")
    assert ui.caseSummaryLabel.text == "1 labeled, 3 unlabeled, 1 validation"


@pytest.mark.parametrize("answer, role", [("Cancel", "validation"), ("Ok", "labeled")])
def test_a_validation_case_leaves_only_when_the_person_agrees(filled, ui, bed, answer, role):
    drawn = filled.draw_validation(0.5)[0]
    ui.checkDataButton.click()
    name = filled.case(drawn).name
    select(ui.caseTable, name)
    bed.answers.expect("message", answer, name)
    choose_role(bed, ui, "labeled")
    assert filled.case(drawn).role == role and ui.roleBox.currentText == role


def test_the_check_puts_icons_and_plain_words(section, workbench, ui, bed, tmp_path):
    image = write_scan(tmp_path / "scans" / "overlap.nrrd")
    write_layers(image.with_suffix(".seg.nrrd"), {"liver": LIVER, "spleen": LIVER | SPLEEN})
    write_scan(tmp_path / "scans" / "free.nrrd", seed=1)
    bed.answers.expect("QFileDialog.getExistingDirectory", image.parent)
    ui.addFolderButton.click()
    ui.checkDataButton.click()
    item = ui.caseTable.item(row_of(ui.caseTable, "overlap"), FINDINGS)
    assert int(item.text()) >= 1 and not item.icon().isNull()
    assert "Organs overlap in 18 voxels. What to do: nothing, if they are few" in item.toolTip()
    assert "Rest the pointer" in ui.doctorLabel.text
    assert any("Checking" in text for text in bed.status_messages)


def test_show_opens_the_selected_scan(filled, workbench, ui):
    select(ui.caseTable, "scan 0")
    ui.showCaseButton.click()
    assert workbench.review.case.name == "scan 0" and workbench.review.volume_node is not None
    assert "scan 0" in ui.guideLabel.text and "Accept" in ui.guideLabel.text


def menu(bed, ui, action, *answers):
    """A click on the button, on an action of its menu, and what the person answers then."""
    bed.answers.expect("QMenu", action)
    for answer in answers:
        bed.answers.expect(*answer)
    ui.caseButton.click()


def test_a_case_gets_another_name_also_while_it_is_open(filled, workbench, ui, bed):
    assert not ui.caseButton.enabled
    select(ui.caseTable, "scan 3")
    ui.showCaseButton.click()
    for answer in (canceled, typed(""), typed("scan 3")):
        menu(bed, ui, "Rename...", ("QDialog", answer, "Rename the case"))
    assert "scan 3" in column_of(ui.caseTable, NAME)
    menu(bed, ui, "Rename...", ("QDialog", typed(" Leber Müller "), "Rename the case"))
    assert "Leber Müller" in column_of(ui.caseTable, NAME) and "scan 3" not in column_of(ui.caseTable, NAME)
    assert workbench.review.case.name == "Leber Müller" and "Leber Müller" in ui.guideLabel.text
    assert filled.case(workbench.review.case.id).name == "Leber Müller"


def test_the_menu_opens_by_a_right_click_and_offers_what_fits_the_selection(filled, section, ui, bed):
    bed.emit(ui.caseTable, "customContextMenuRequested(QPoint)", qt.QPoint(5, 5))  # nothing is selected: no menu
    select(ui.caseTable, "scan 3", "scan 4")
    assert (section.menu.rename.enabled, section.menu.locate.enabled, section.menu.remove.enabled) == (
        False, False, True
    )  # fmt: skip
    bed.answers.expect("QMenu", "Remove from the project...")
    bed.answers.expect("message", "Ok", "Remove scan 3, scan 4")
    bed.emit(ui.caseTable, "customContextMenuRequested(QPoint)", qt.QPoint(5, 5))
    assert len(filled.cases) == 3


def test_the_table_takes_keys_for_renaming_and_removing(form, filled, ui, bed):
    form.show()
    form.activateWindow()
    table = bed.inside(ui.caseTable)
    table.setFocus()
    bed.process(0.05)
    QtTest.QTest.keyClick(table, QtCore.Qt.Key.Key_F2)  # nothing is selected
    select(ui.caseTable, "scan 3")
    bed.answers.expect("QDialog", typed("Milz"), "Rename")
    QtTest.QTest.keyClick(table, QtCore.Qt.Key.Key_F2)
    assert "Milz" in column_of(ui.caseTable, NAME)
    bed.answers.expect("message", "Cancel", "Remove Milz")
    QtTest.QTest.keyClick(table, QtCore.Qt.Key.Key_Delete)
    assert len(filled.cases) == 5


def test_removal_says_once_what_goes_and_what_stays(filled, workbench, ui, bed, scans, tmp_path):
    (validation,) = filled.draw_validation(0.5)
    ids = {case.name: case.id for case in filled.cases}
    filled.record_prediction(ids["scan 3"], write_prediction(tmp_path / "prediction"), model="runs/1", score=0.25)
    workbench.notify("cases")
    name = filled.case(validation).name
    select(ui.caseTable, name, "scan 2", "scan 3", "scan 4")
    menu(bed, ui, "Remove from the project...", ("message", "Cancel", "and 1 more from the project?"))
    question = bed.answers.asked[-1].text
    assert "label versions: 1, predictions: 1." in question and "copies" not in question
    assert "validation case goes" in question and "never touched" in question
    assert len(filled.cases) == 5
    select(ui.caseTable, name)
    ui.showCaseButton.click()  # also one that is open
    before = sorted(scans.iterdir())
    menu(bed, ui, "Remove from the project...", ("message", "Ok", f"Remove {name} from"))
    assert workbench.review is None and name not in column_of(ui.caseTable, NAME)
    assert sorted(scans.iterdir()) == before and not (filled.path / "cases" / validation).exists()
    assert ui.caseSummaryLabel.text == "1 labeled, 3 unlabeled" and not ui.caseButton.enabled


def test_a_scan_that_was_copied_from_the_scene_is_named_among_what_goes(section, workbench, ui, bed):
    slicer.util.addVolumeFromArray(np.arange(336, dtype="int16").reshape(6, 7, 8), name="Thorax")
    ui.addSceneButton.click()
    select(ui.caseTable, "Thorax")
    menu(bed, ui, "Remove from the project...", ("message", "Ok", "copies of scans: 1."))
    assert workbench.project.cases == () and not list(workbench.project.path.glob("cases/*"))
    assert slicer.util.getNode("Thorax") is not None


def test_nothing_is_removed_while_a_training_may_read_it(filled, workbench, ui, bed, monkeypatch):
    monkeypatch.setattr(type(workbench), "is_segmenting", property(lambda self: True))
    select(ui.caseTable, "scan 3")
    menu(bed, ui, "Remove from the project...", ("message", "Ok", "Remove scan 3"), ("message", "Ok", "at work"))
    assert len(filled.cases) == 5


def test_moved_scans_are_found_again_with_one_answer(filled, workbench, ui, bed, scans, tmp_path):
    moved = scans.rename(tmp_path / "archive")
    ui.checkDataButton.click()
    assert "5 scans with an error" in ui.doctorLabel.text
    select(ui.caseTable, "scan 3")
    menu(bed, ui, "Find the scan again...", ("QFileDialog.getOpenFileName", None, "scan of scan 3"))
    menu(
        bed,
        ui,
        "Find the scan again...",
        ("QFileDialog.getOpenFileName", str(moved / "scan 4.nrrd")),
        ("message", "Ok", "not the scan of scan 3"),
    )
    menu(bed, ui, "Find the scan again...", ("QFileDialog.getOpenFileName", str(moved / "scan 3.nrrd"), str(tmp_path)))
    assert ui.doctorLabel.text.splitlines()[0] == "Scans found again: 5."
    assert "error" not in ui.doctorLabel.text and all(case.image.parent == moved for case in filled.cases)


def test_label_versions_are_told_in_words_and_an_earlier_one_comes_back(filled, workbench, section, ui, bed, tmp_path):
    case_id = id_of(filled, "scan 0")
    filled.record_prediction(case_id, write_prediction(tmp_path / "prediction"), model="runs/1", score=0.5)
    corrected = write_segments(tmp_path / "corrected.seg.nrrd", {"liver": LIVER | SPLEEN})
    filled.accept(case_id, corrected, decision="corrected")
    workbench.notify("cases")
    select(ui.caseTable, "scan 4")
    assert not section.menu.versions.enabled  # it has no label
    select(ui.caseTable, "scan 0")
    seen = []

    def look(dialog):
        lines = slicer.util.findChild(dialog, "answer")
        seen.extend(lines.item(row).text() for row in range(lines.count))
        return canceled(dialog)

    menu(bed, ui, "Label versions...", ("QDialog", look, "Label versions of scan 0"))
    today = datetime.now().strftime("%Y-%m-%d")
    assert seen[0].startswith(f"2: {today}") and seen[1].startswith(f"1: {today}")
    # 18 voxels of liver were proposed and 30 accepted: 2 * 18 / 48; of the spleen nothing was left
    assert seen[0].endswith("corrected, overlap with the proposal (Dice) 0.38, the label now")
    assert seen[1].endswith(", imported")
    menu(bed, ui, "Label versions...", ("QDialog", chose("2: ")))  # the one that is the label already
    assert len(filled.versions(case_id)) == 2
    menu(bed, ui, "Label versions...", ("QDialog", chose("1: ")))
    assert [version.decision for version in filled.versions(case_id)] == ["imported", "corrected", "restored"]
    assert filled.label_file(case_id).read_bytes() == filled.versions(case_id)[0].file.read_bytes()
    assert workbench.label_versions(case_id)[0][1].endswith("restored from version 1, the label now")


def test_a_case_that_is_open_shows_the_restored_label_in_place_of_what_was_begun(filled, workbench, ui, bed, tmp_path):
    case_id = id_of(filled, "scan 0")
    filled.accept(case_id, write_segments(tmp_path / "x.seg.nrrd", {"liver": SPLEEN}), decision="corrected")
    workbench.notify("cases")
    select(ui.caseTable, "scan 0")
    ui.showCaseButton.click()
    review = workbench.review
    correction = Correction(slicer.mrmlScene, review.segmentation_node, review.volume_node)
    correction.draw_ball(segment_ids(review.segmentation_node)[0], (-1.0, -8.5, 9.0), 4.0)
    correction.close()
    told = []

    def restore(dialog):
        told.extend(label.text for label in slicer.util.findChildren(dialog, className="QLabel"))
        return chose("1: ")(dialog)

    menu(bed, ui, "Label versions...", ("QDialog", restore))
    assert "discarded" in told[0]
    assert workbench.review.case.id == case_id and filled.draft(case_id) is None
    assert not workbench.review.is_changed and filled.case(case_id).state == "completed"
    node, volume_node = workbench.review.segmentation_node, workbench.review.volume_node
    shown = {name: segment_mask(node, i, volume_node) for i, name in segment_names(node).items()}
    assert (shown["liver"] == LIVER).all() and (shown["spleen"] == SPLEEN).all()


def test_an_excluded_case_is_refused_by_its_name(filled, workbench, ui, bed, tmp_path):
    case_id = id_of(filled, "scan 0")
    filled.accept(case_id, write_segments(tmp_path / "x.seg.nrrd", {"liver": SPLEEN}), decision="corrected")
    filled.set_role(case_id, "excluded")
    workbench.notify("cases")
    select(ui.caseTable, "scan 0")
    menu(bed, ui, "Label versions...", ("QDialog", chose("1: ")), ("message", "Ok", "scan 0 is excluded"))
    assert len(filled.versions(case_id)) == 2


def test_closing_the_project_empties_the_section(filled, workbench, ui):
    select(ui.caseTable, "scan 0")
    workbench.close_project()
    assert ui.caseTable.rowCount == 0 and ui.organTable.rowCount == 0 and ui.doctorLabel.text == ""
    assert not ui.showCaseButton.enabled and "Add a folder" in ui.guideLabel.text


def test_a_section_that_was_cleaned_up_hears_nothing(filled, section, workbench, ui):
    section.clean_up()
    filled.rename_organ("liver", "Leber")
    workbench.notify("cases")
    assert column_of(ui.organTable, ORGAN) == ["liver", "spleen"]
