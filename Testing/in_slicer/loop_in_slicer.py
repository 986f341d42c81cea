"""The whole loop inside a real Slicer: sample project, training, segmentation, review, correction.

By hand, from the repository:

    Slicer --testing --no-splash --additional-module-paths VoxelAdvSeg --python-script Testing/slicer/loop_in_slicer.py

It needs torch and the packages of VoxelAdvSegLib/requirements.txt in Slicer's Python, and some minutes.
"""

import sys
import tempfile
import unittest
from pathlib import Path

import slicer

from VoxelAdvSegLib.panel.samples import load_sample

SHORT = {"patch": "32,32,32", "filters": 4, "disc_voxels_per_class": 64, "feature_voxels_per_class": 32}


class LoopInSlicer(unittest.TestCase):
    """Real widgets, the real PythonQt, the real process environment."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        slicer.util.selectModule("VoxelAdvSeg")
        self.widget = slicer.modules.VoxelAdvSegWidget
        self.workbench = self.widget.logic.workbench
        self.addCleanup(self.workbench.close_project)

    def test_the_panel_is_whole(self):
        ui = self.widget.ui
        self.assertTrue(ui.trainButton.text)
        self.assertFalse(ui.trainButton.enabled)
        self.assertTrue(ui.trainReasonLabel.text)

    def test_the_installation_is_complete(self):
        job = self.workbench.check_installation(wait=True)
        self.assertIsNotNone(job.verdict)
        self.assertTrue(job.verdict.usable, job.verdict.report)

    def test_the_whole_loop(self):
        workbench = self.workbench
        project = workbench.make_sample_project(Path(self.folder.name))
        self.assertEqual(workbench.can_train(), "")
        workbench.train(steps=40, settings=SHORT, wait=True)
        self.assertIsNotNone(workbench.default_model(), workbench.training.log_tail())
        volume_node = load_sample(slicer.mrmlScene)
        workbench.segment(volume_node, wait=True)
        self.assertEqual(len(workbench.result.volumes), len(project.organs))
        unlabeled = [case.id for case in project.cases if case.role == "unlabeled"]
        workbench.segment_cases(ids=unlabeled[:1], wait=True)
        review = workbench.next_case()
        self.assertEqual(review.case.id, unlabeled[0])
        workbench.accept()
        self.assertEqual(project.case(unlabeled[0]).state, "completed")
        self.assertNotIn("torch", sys.modules)


if __name__ == "__main__":
    done = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(LoopInSlicer))
    slicer.util.exit(0 if done.wasSuccessful() else 1)
