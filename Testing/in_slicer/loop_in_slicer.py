"""The main loop inside Slicer, by the panel's own buttons: train, stop, cancel, segment, review, correct, retrain."""

import slicer
from panel_driver import SHORT, PanelCase, nodes

ENDLESS = 100_000  # steps of a training that somebody ends


class LoopInSlicer(PanelCase):
    def test_twelve_clicks_from_a_folder_to_a_corrected_segmentation(self):
        """At most 12 clicks, with one for each button, dialog, brush and stroke."""
        from VoxelAdvSegLib.data.phantoms import write_phantoms

        scans = self.folder / "scans"
        write_phantoms(scans, counts={"training": (4, 0), "unlabeled": (4, 4)}, voxel_factor=3.0)
        (scans / "dataset.json").unlink()  # a folder as a clinician has it
        for kind, place in (("images", "imagesTr"), ("labels", "labelsTr")):
            (scans / kind).rename(scans / place)
        self.short_form()
        with self.answering("choose_folder", str(scans)):
            self.click("addFolderButton")
        roles = [case.role for case in self.workbench.project.cases]
        self.assertEqual((roles.count("labeled"), roles.count("unlabeled")), (4, 8))
        self.click("trainButton")
        self.wait_for_training()
        self.assertIsNone(self.workbench.training.failure)
        self.click("segmentAllButton")
        self.wait_for_segments()
        self.assertEqual(len(self.workbench.queue().cases), 8)
        self.click("nextCaseButton")
        review = self.workbench.review
        self.clicks += 2  # the brush, and one stroke
        self.draw(review)
        self.click("acceptCorrectedButton")
        self.assertEqual(self.workbench.project.case(review.case.id).state, "completed")
        self.assertEqual(self.workbench.project.versions(review.case.id)[-1].decision, "corrected")
        self.assertLessEqual(self.clicks, 12)

    def test_a_training_that_is_canceled_leaves_none_and_the_next_can_begin(self):
        project = self.project(with_model=False)
        self.begin_endless_training()
        self.click("cancelButton")
        self.wait_for_training()
        self.assertEqual(project.models(), ())
        self.assertIn("canceled", self.ui.trainReasonLabel.text)
        self.assertTrue(self.ui.trainButton.enabled)

    def test_a_closed_scene_ends_no_training_and_a_stopped_one_leaves_a_model(self):
        project = self.project(with_model=False)
        self.begin_endless_training()
        self.assertFalse(self.ui.trainButton.enabled)
        self.assertTrue(any("preview" in node.GetName() for node in nodes("vtkMRMLSegmentationNode")))
        slicer.mrmlScene.Clear(0)
        self.assertEqual(nodes("vtkMRMLSegmentationNode"), [])
        step = self.workbench.training.step
        self.wait(lambda: self.workbench.training.step > step + 5, "further steps")
        self.wait(lambda: self.series("losses") >= 3, "curves in the new scene")
        self.click("showChartButton")
        self.click("stopButton")
        self.wait_for_training()
        self.assertIsNone(self.workbench.training.failure)
        self.assertEqual([model.problem for model in project.models()], [""])
        self.assertTrue(self.ui.trainReasonLabel.text)

    def test_review_corrects_accepts_flags_and_skips_and_the_next_training_learns_from_it(self):
        project = self.project(unlabeled=4)
        self.click("segmentAllButton")
        self.wait_for_segments()
        waiting = [case.id for case in self.workbench.queue().cases]
        self.assertEqual(sorted(waiting), sorted(self.unlabeled()))
        self.correct_over_a_closed_scene(waiting.pop(0))
        for button, state in (("acceptButton", "completed"), ("flagButton", "flagged"), ("skipButton", "predicted")):
            self.click("nextCaseButton")
            case_id = self.workbench.review.case.id
            self.assertEqual(case_id, waiting.pop(0))  # the least certain one first
            with self.answering("ask_text", "the lower border"):  # a flag asks for its reason
                self.click(button)
            self.assertIsNone(self.workbench.review)
            self.assertEqual(project.case(case_id).state, state)
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertTrue(self.ui.nextCaseButton.enabled)  # the skipped one comes back
        self.assertTrue(self.ui.retrainButton.enabled)
        self.workbench.retrain(steps=4, settings=SHORT, wait=True)
        self.assertIsNone(self.workbench.training.failure)
        manifest = (project.path / "dataset.json").read_text(encoding="utf-8")
        self.assertEqual(manifest.count('"label"'), 5)  # two labeled, one for validation, one corrected, one accepted

    # --- shared -------------------------------------------------------------------------------

    def begin_endless_training(self):
        """A training of small steps, until its curves and its preview are in the scene."""
        self.workbench.train(steps=ENDLESS, settings=SHORT, seed=0)
        self.wait(lambda: self.series("losses") >= 3 and nodes("vtkMRMLSegmentationNode"), "curves and a preview")

    def correct_over_a_closed_scene(self, case_id):
        """What was drawn is kept as a draft when the scene goes, and accepted from there."""
        project = self.workbench.project
        self.click("nextCaseButton")
        review = self.workbench.review
        self.assertEqual(review.case.id, case_id)
        drawn = self.draw(review)
        slicer.mrmlScene.Clear(0)
        self.assertIsNotNone(project.draft(case_id))
        self.click("nextCaseButton")  # half-done cases come first
        again = self.workbench.review
        self.assertEqual(again.case.id, case_id)
        self.assertGreaterEqual(self.voxels(again), drawn)
        self.click("acceptButton")
        version = project.versions(case_id)[-1]
        self.assertEqual(version.decision, "corrected")
        self.assertLess(version.mean_dice, 1.0)

    def series(self, kind):
        chart = self.workbench.chart(kind)
        return 0 if chart is None else chart.GetNumberOfPlotSeriesNodes()

    def draw(self, review):
        """A ball of 30 mm in the first segment by the Segment Editor's logic, and one taken back; its voxels."""
        from VoxelAdvSegLib.scene.editing import Correction
        from VoxelAdvSegLib.scene.segments import segment_ids

        segment_id = segment_ids(review.segmentation_node)[0]
        correction = Correction(slicer.mrmlScene, review.segmentation_node, review.volume_node)
        drawn = correction.draw_ball(segment_id, (0.0, 0.0, 0.0), 30.0)
        correction.draw_ball(segment_id, (0.0, 0.0, 0.0), 60.0)
        self.assertTrue(correction.undo())
        correction.close()
        self.assertTrue(review.is_changed)
        self.assertGreater(drawn, 0)
        return drawn

    def voxels(self, review):
        from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask

        first = segment_ids(review.segmentation_node)[0]
        return int(segment_mask(review.segmentation_node, first, review.volume_node).sum())
