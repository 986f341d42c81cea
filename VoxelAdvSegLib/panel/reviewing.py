"""Reviewing: the least certain case is opened, corrected, kept as it is drawn, and accepted."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from VoxelAdvSegLib.data.volume import read_volume
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.panel.gathering import CASE_ATTRIBUTE
from VoxelAdvSegLib.panel.segmenting import Segmenting
from VoxelAdvSegLib.project.records import Case
from VoxelAdvSegLib.project.review import Queue
from VoxelAdvSegLib.scene.grids import image_from_array, matrix_from_geometry, own_geometry, vtk_matrix
from VoxelAdvSegLib.scene.journal import ChangeWatch
from VoxelAdvSegLib.scene.labels import export_segmentation
from VoxelAdvSegLib.scene.maps import add_map, read_map
from VoxelAdvSegLib.scene.nodes import Handle, remove_node
from VoxelAdvSegLib.scene.predictions import MadeBy, Prediction
from VoxelAdvSegLib.scene.segmentations import add_prediction, load_segmentation
from VoxelAdvSegLib.scene.segments import segment_ids
from VoxelAdvSegLib.scene.status import Status, set_all
from VoxelAdvSegLib.scene.views import center_on_segment

DRAFT_SECONDS = 2.0  # of rest after a change, before the correction is written


@dataclass
class Review:
    """The case that is open. has_proposal: a model's segments are the beginning; begun: from a draft."""

    case: Case
    reason: str
    has_proposal: bool
    begun: bool
    volume: Handle
    segmentation: Handle
    watch: ChangeWatch
    map_node: Handle | None = None
    changed_at: float | None = None  # clock of the last change that is not written yet

    @property
    def volume_node(self) -> Any:
        return self.volume.node

    @property
    def segmentation_node(self) -> Any:
        return self.segmentation.node

    @property
    def is_changed(self) -> bool:
        """Whether a person has drawn, now or in the draft."""
        return self.begun or self.watch.changes > 0


class Reviewing(Segmenting):
    """The part with the review queue."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.review: Review | None = None
        self._draft_text = ""

    def queue(self) -> Queue:
        """Cases to look at, half-done ones first, then the least certain; with a sentence."""
        if self.project is None:
            return Queue((), 0, _("No project is open."))
        return self.project.queue()

    def next_case(self, case_id: str | None = None) -> Review | None:
        """Opens a case, or the first of the queue; None when nothing is left to review.

        When only skipped cases are left, they are taken back into the queue.
        The case that was open is left as it is; what was drawn on it is kept as a draft.
        """
        self.close_review()
        if case_id is None:
            queue = self.queue()
            if not queue.cases and queue.skipped:
                self.the_project().unskip()
                self.notify("cases")
                queue = self.queue()
            if not queue.cases:
                return None
            case_id = queue.cases[0].id
        self.review = self._open(self.the_project().case(case_id))
        self.notify("review")
        return self.review

    def show_case(self, case_id: str) -> Review | None:
        """Opens any case, also a completed one, to look at it or to correct it again."""
        return self.next_case(case_id)

    # --- decisions ----------------------------------------------------------------------------

    def accept(self) -> None:
        """The segments become the case's label: as proposed, or as they were corrected."""
        review = self._the_review()
        self._accept("corrected" if review.is_changed else "accepted" if review.has_proposal else "drawn")

    def accept_corrected(self) -> None:
        """The segments, as they are now, become the case's label as a correction."""
        self._accept("corrected")

    def flag(self, reason: str = "") -> None:
        """Puts the case aside as one that needs another look; without a reason, what made it doubtful is kept."""
        review = self._the_review()
        if review.segmentation_node is not None:
            set_all(review.segmentation_node, Status.FLAGGED)
        self.save_draft()
        self.the_project().flag(review.case.id, reason.strip() or f"{_('Flagged in review.')} {review.reason}")
        self._end_review()

    def skip(self) -> None:
        """Puts the case back for later."""
        case_id = self._the_review().case.id
        self.save_draft()
        self.the_project().skip(case_id)
        self._end_review()

    def _accept(self, decision: str) -> None:
        review = self._the_review()
        if review.segmentation_node is None or review.volume_node is None:
            raise InputError(
                _("the scan or its segments are no longer in the scene"),
                do=_("open the case again; what was drawn is kept in its draft"),
            )
        set_all(review.segmentation_node, Status.COMPLETED)
        with tempfile.TemporaryDirectory(dir=self.the_project().path) as folder:
            file = Path(folder) / "label.seg.nrrd"
            export_segmentation(review.segmentation_node, review.volume_node, file)
            self.the_project().accept(review.case.id, file, decision=decision)
        review.watch.mark_saved()
        self._end_review()

    # --- drafts -------------------------------------------------------------------------------

    def save_draft(self) -> bool:
        """Writes what was drawn since the last time; whether there was something to write."""
        review = self.review
        if review is None or not review.watch.unsaved or review.segmentation_node is None or review.volume_node is None:
            return False
        changes, node, volume_node = review.watch.changes, review.segmentation_node, review.volume_node
        self.the_project().save_draft(
            review.case.id, lambda path: export_segmentation(node, volume_node, path, compress=False)
        )
        review.watch.mark_saved(changes)
        review.changed_at = None
        self._draft_text = _("Saved at {time}").format(time=time.strftime("%H:%M:%S"))
        self.notify("review")
        return True

    def draft_text(self) -> str:
        """How the correction is kept, in a sentence; "" where nothing was drawn."""
        if self.review is None:
            return ""
        if self.review.watch.unsaved:
            return _("Not saved yet")
        return self._draft_text or (_("Goes on from a saved draft") if self.review.begun else "")

    def follow(self, seconds: float) -> None:
        super().follow(seconds)
        review = self.review
        if (
            review is not None
            and review.changed_at is not None
            and time.monotonic() - review.changed_at > DRAFT_SECONDS
        ):
            review.changed_at = None
            self.later(self._save_quietly)

    def _save_quietly(self) -> None:
        self.save_draft()

    # --- opening and closing ------------------------------------------------------------------

    def _open(self, case: Case) -> Review:
        project = self.the_project()
        volume_node = self._volume_of(case)
        draft, prediction = project.draft(case.id), project.prediction(case.id)
        label = project.label_file(case.id)
        file = draft.file if draft else prediction.segmentation if prediction and label is None else label
        if file is not None:
            node = load_segmentation(self.scene, file, volume_node, case.name)
        else:
            node = self._empty(volume_node, case)
        review = Review(
            case, case.reason, prediction is not None and label is None, draft is not None,
            Handle.of(volume_node), Handle.of(node), ChangeWatch(node, self._drawn),
        )  # fmt: skip
        if prediction is not None and prediction.looks_labeled is not None:
            review.map_node = Handle.of(add_map(self.scene, volume_node, *read_map(prediction.looks_labeled)))
        self.show_volume(volume_node)
        filled = segment_ids(node)
        if filled:
            center_on_segment(self.scene, node, filled[0], volume_node)
        self._draft_text = ""
        return review

    def _volume_of(self, case: Case) -> Any:
        """The case's scan: the node that shows it already, else read into a new one."""
        count = self.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        for index in range(count):
            node = self.scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
            if node.GetAttribute(CASE_ATTRIBUTE) == case.id:
                return node
        volume = read_volume(case.image)
        node = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", self.scene.GenerateUniqueName(case.name))
        try:
            node.SetAttribute(CASE_ATTRIBUTE, case.id)
            node.SetIJKToRASMatrix(vtk_matrix(matrix_from_geometry(volume.geometry)))
            node.SetAndObserveImageData(image_from_array(np.asarray(volume.array, np.float32)))
            node.CreateDefaultDisplayNodes()
        except BaseException:
            remove_node(node)
            raise
        return node

    def _empty(self, volume_node: Any, case: Case) -> Any:
        """A segmentation with the project's organs, to draw from scratch."""
        organs = tuple(self.the_project().training_organs)
        geometry = own_geometry(volume_node)
        nothing = Prediction(np.zeros(geometry.shape_zyx, np.uint8), geometry, organs)
        node = add_prediction(self.scene, volume_node, nothing, MadeBy("", "", ""))
        node.SetName(self.scene.GenerateUniqueName(case.name))
        return node

    def _drawn(self) -> None:
        if self.review is not None:
            self.review.changed_at = time.monotonic()

    def _the_review(self) -> Review:
        if self.review is None:
            raise InputError(_("no case is open for review"), do=_("open one with Next case"))
        return self.review

    def close_review(self) -> None:
        """Leaves the open case; what was drawn is kept as a draft. Its nodes stay in the scene."""
        if self.review is not None:
            self.save_draft()
            self._end_review()

    def _end_review(self) -> None:
        if self.review is not None:
            self.show_map(False)
            self.review.watch.close()
            self.review = None
        self.notify("cases", "review")

    def _map_node(self) -> Any:
        if self.review is not None:
            return None if self.review.map_node is None else self.review.map_node.node
        return super()._map_node()

    def _segmentations_shown(self) -> list[Any]:
        if self.review is not None:
            return [] if self.review.segmentation_node is None else [self.review.segmentation_node]
        return super()._segmentations_shown()

    def leave_project(self) -> None:
        self.close_review()
        super().leave_project()

    def forget_scene(self) -> None:
        if self.review is not None:
            self.save_draft()
            self.review.watch.close()
            self.review = None
        super().forget_scene()
