"""What the cases of this folder share: a person at the panel, in a real Slicer or on the test bed, and one model.

Nothing here knows where it runs: buttons are clicked, Slicer's own event loop is let run, and the panel's own
timer does the rest.
"""

import atexit
import functools
import importlib.abc
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import slicer
import slicer.util

MODULE = "VoxelAdvSeg"
HEAVY = ("torch", "monai")  # what computes in processes of its own, and never in Slicer's
PATIENCE = 300.0  # seconds until a case gives up; none waits that long when all is well
LONGEST_TURN = 1.0  # seconds; 0.05 is what is wished for, and this is for a computer that trains meanwhile
# A training of seconds: a small network, small patches, few voxels for the discriminator.
SHORT = {
    "patch": "32,16,16", "filters": 4, "disc_voxels_per_class": 32, "feature_voxels_per_class": 32,
    "checkpoint_every": 20, "preview_every": 20, "validate_every": 40,
}  # fmt: skip
STEPS = 60


class NoHeavyImport(importlib.abc.MetaPathFinder):
    """In front of all other finders: who imports torch in Slicer's own process fails at once."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"Slicer's own process imports {name}")
        return None


class PanelCase(unittest.TestCase):
    """A case with an empty scene, the open panel, a folder of its own, and no torch in the process.

    told: what the panel said in boxes of errors and warnings; any of them fails the case. clicks: those
    of the person so far, who says OK to every question. longest_turn: seconds that the event loop was
    held for at most while the case waited.
    """

    def setUp(self):
        self.told, self.clicks, self.longest_turn = [], 0, 0.0
        self._forbid_heavy_imports()
        for name in ("errorDisplay", "warningDisplay"):
            self._instead_of(name, lambda text, *_, **__: self.told.append(text))
        self._instead_of("confirmOkCancelDisplay", self._agree)  # by itself it says no in testing mode
        place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(place.cleanup)
        self.folder = Path(place.name)
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule(MODULE)
        self.addCleanup(self._leave)

    def tearDown(self):
        self.assertEqual(self.told, [])
        self.assertEqual([name for name in HEAVY if name in sys.modules], [])
        longest = max(self.longest_turn, self.workbench.longest_turn)
        print(f"{self.id()}: the window was held for {1000 * longest:.0f} ms at most")
        self.assertLess(longest, LONGEST_TURN)

    @property
    def widget(self):
        """Asked for anew each time: a reload makes another one."""
        return slicer.modules.VoxelAdvSegWidget

    @property
    def ui(self):
        return self.widget.ui

    @property
    def workbench(self):
        return self.widget.logic.workbench

    # --- what a person does -------------------------------------------------------------------

    def click(self, name):
        """Clicks a button of the form, which must not be gray."""
        button = getattr(self.ui, name)
        self.assertTrue(button.enabled, f"{name} is gray: {self.reasons()}")
        self.clicks += 1
        button.click()

    def reasons(self):
        """What the panel says of its gray buttons."""
        return " / ".join(label.text for label in (self.ui.trainReasonLabel, self.ui.segmentReasonLabel))

    def answering(self, question, answer):
        """A context in which a dialog (choose_folder, ask_text ...) gets this answer: one click."""
        self.clicks += 1
        dialogs = sys.modules["VoxelAdvSegLib.panel.dialogs"]  # as the panel sees it, also after a reload
        return mock.patch.object(dialogs, question, lambda *_: answer)

    def wait(self, condition, what, seconds=PATIENCE):
        """Lets Slicer run until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                job = self.workbench.training
                self.fail(f"in vain for {what}; {self.reasons()}; {'' if job is None else job.log_tail()}")
            begin = time.perf_counter()
            slicer.app.processEvents()
            self.longest_turn = max(self.longest_turn, time.perf_counter() - begin)
            time.sleep(0.01)

    def wait_for_training(self):
        def over():
            job = self.workbench.training
            return job is not None and job.state.is_over and not self.workbench.behind

        self.wait(over, "the end of the training")
        self.wait(lambda: self.ui.trainButton.enabled, "the button to train again", 20)

    def wait_for_segments(self):
        self.wait(lambda: not self.workbench.is_segmenting and not self.workbench.behind, "the segmentation")

    # --- where a case begins ------------------------------------------------------------------

    def project(self, labeled=2, unlabeled=3, with_model=True):
        """A project of made-up scans in the panel; with_model: with the model that all cases share."""
        from VoxelAdvSegLib.data.phantoms import write_phantoms

        file = model_file(self) if with_model else None
        counts = {"training": (labeled, 0), "unlabeled": (unlabeled, 0), "validation": (1, 0)}
        self.workbench.create_project(self.folder / "project")
        self.workbench.add_manifest(write_phantoms(self.folder / "scans", counts=counts, voxel_factor=2.0))
        if file is not None:
            self.workbench.project.import_model(file)
            self.workbench.notify("models")
        return self.workbench.project

    def unlabeled(self):
        return [case.id for case in self.workbench.project.cases if case.role == "unlabeled"]

    def loaded_volume(self):
        """A scan of nobody in the project, in the scene and chosen under Segment."""
        from VoxelAdvSegLib.panel.samples import load_sample

        node = load_sample(slicer.mrmlScene)
        self.ui.volumeSelector.setCurrentNode(node)
        return node

    def segmented(self, volume_node):
        """The segmentation node that a click on Segment makes of a volume."""
        self.ui.volumeSelector.setCurrentNode(volume_node)
        self.click("segmentButton")
        self.wait_for_segments()
        self.assertEqual(self.told, [])
        return self.workbench.result.segmentation_node

    def short_form(self, steps=6):
        """The time that a person would choose is cut to seconds by the fields under Advanced."""
        ui = self.ui
        for box, field, value in (
            (ui.stepsBox, "value", steps), (ui.batchBox, "value", 1), (ui.patchBox, "text", SHORT["patch"]),
            (ui.projectsFolderEdit, "currentPath", str(self.folder / "projects")),
        ):  # fmt: skip
            self.addCleanup(setattr, box, field, getattr(box, field))
            setattr(box, field, value)

    # --- behind the scenes --------------------------------------------------------------------

    def _instead_of(self, name, function):
        patch = mock.patch.object(slicer.util, name, function)
        patch.start()
        self.addCleanup(patch.stop)

    def _agree(self, question, *_, **__):
        self.clicks += 1
        return True

    def _forbid_heavy_imports(self):
        """Also where another module of this Slicer has loaded them before."""
        loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in HEAVY}
        for name in loaded:
            del sys.modules[name]
        finder = NoHeavyImport()
        sys.meta_path.insert(0, finder)
        self.addCleanup(sys.modules.update, loaded)
        self.addCleanup(sys.meta_path.remove, finder)

    def _leave(self):
        """No child outlives its case."""
        workbench = self.workbench
        if workbench.training is not None and not workbench.training.state.is_over:
            workbench.cancel_training()
            self.wait(lambda: workbench.training.state.is_over, "the end of a canceled training", 60)
        if workbench.is_segmenting:
            workbench.cancel_segmenting()
            self.wait(lambda: not workbench.is_segmenting, "the end of a canceled segmentation", 60)
        workbench.close_project()
        slicer.mrmlScene.Clear(0)


@functools.cache
def _shared_folder():
    place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    atexit.register(place.cleanup)
    return Path(place.name)


def model_file(case):
    """A model trained once for all cases, by the logic as in Slicer's Python console, as an exported file."""
    from VoxelAdvSegLib.data.phantoms import write_phantoms

    file = _shared_folder() / "model.zip"
    if not file.exists():
        logic = case.widget.logic
        logic.openProject(_shared_folder() / "project")
        counts = {"training": (3, 0), "unlabeled": (3, 1), "validation": (1, 0)}
        logic.workbench.add_manifest(write_phantoms(_shared_folder() / "scans", counts=counts, voxel_factor=2.0))
        job = logic.train(steps=STEPS, settings=SHORT, seed=0, waitForCompletion=True)
        case.assertIsNone(job.failure, job.log_tail())
        logic.workbench.project.export_model(logic.workbench.default_model(), file)
        logic.workbench.close_project()
    return file


def nodes(class_name):
    return slicer.util.getNodesByClass(class_name)
