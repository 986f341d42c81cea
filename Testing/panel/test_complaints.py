"""Complaints about other tools that the panel answers."""

from pathlib import Path
from types import SimpleNamespace

import qt
from panel_bed.screenshots import assert_texts_fit

from Testing.panel.test_module import MODULE
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.panel.train_words import end_text


def test_a_training_without_a_model_file_does_not_claim_one():
    view = SimpleNamespace(reason="finished", final_dice={})
    text = end_text(SimpleNamespace(state=JobState.FINISHED, model=None, view=view, can_resume=False))
    assert "before it had a model" in text and "is finished" not in text


def test_a_locked_settings_file_hinders_nothing(bed, tmp_path):
    """Some hospitals let nobody write there."""
    file = Path(qt.QSettings().fileName())
    file.unlink(missing_ok=True)
    file.mkdir(parents=True)  # which nobody can write into, not even an administrator
    bed.load_module(MODULE)
    widget = bed.open_module("VoxelAdvSeg")
    assert_texts_fit(widget.parent)
    widget.ui.projectsFolderEdit.currentPath = str(tmp_path / "mine")
    widget.ui.sampleDataButton.click()
    assert widget.logic.workbench.project is not None
    assert widget.logic.workbench.project.path.is_relative_to(tmp_path / "mine")
    file.rmdir()
