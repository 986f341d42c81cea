"""The panel's life inside Slicer: opened, checked, left, reloaded, and over a closed scene."""

import sys

import slicer
import slicer.util
from panel_driver import MODULE, PanelCase

SECTIONS = ("project", "train", "segment", "review", "models", "installation")


class PanelInSlicer(PanelCase):
    def test_the_panel_is_whole_and_says_why_its_buttons_are_gray(self):
        ui = self.ui
        for name in SECTIONS:
            self.assertTrue(getattr(ui, f"{name}Section").text)
        for button, label in ((ui.trainButton, ui.trainReasonLabel), (ui.segmentButton, ui.segmentReasonLabel)):
            self.assertTrue(button.text)
            self.assertFalse(button.enabled)
            self.assertTrue(label.text)
        self.assertTrue(slicer.app.moduleManager().factoryManager().isLoaded(MODULE))

    def test_the_installation_is_complete(self):
        self.click("checkInstallationButton")
        self.wait(lambda: self.workbench.installation.verdict is not None, "the verdict", 120)
        verdict = self.workbench.installation.verdict
        self.assertTrue(verdict.usable, verdict.report)
        self.wait(lambda: verdict.text in self.ui.installationLabel.text, "its text", 20)
        self.assertTrue(self.ui.copyReportButton.enabled)

    def test_a_closed_scene_leaves_no_volume_chosen_and_the_next_one_is_taken(self):
        node = self.loaded_volume()
        self.assertIs(self.ui.volumeSelector.currentNode(), node)
        self.assertIs(self.widget.logic.getParameterNode().inputVolume, node)
        slicer.mrmlScene.Clear(0)
        self.assertIsNone(self.ui.volumeSelector.currentNode())
        other = self.loaded_volume()
        self.assertIs(self.ui.volumeSelector.currentNode(), other)

    def test_a_reload_makes_a_new_panel_and_lets_the_old_one_go(self):
        old = self.widget
        self.project(labeled=1, unlabeled=1, with_model=False)
        library = sys.modules["VoxelAdvSegLib.panel.workbench"]
        old.onReload()
        self.assertIsNot(self.widget, old)
        self.assertIsNot(sys.modules["VoxelAdvSegLib.panel.workbench"], library)
        self.assertFalse(old.timer.active)
        self.assertTrue(self.widget.timer.active)
        self.workbench.open_project(self.folder / "project")  # its lock was given back
        self.assertTrue(self.ui.trainButton.enabled)

    def test_left_and_entered_again_the_panel_still_works(self):
        self.project(labeled=1, unlabeled=1, with_model=False)
        self.workbench.next_case(self.unlabeled()[0])
        slicer.util.selectModule("Data")
        slicer.util.selectModule(MODULE)
        self.assertIsNotNone(self.workbench.review)
        self.click("skipButton")
        self.assertIsNone(self.workbench.review)
