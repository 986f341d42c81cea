"""Notices that a segmentation changed, so that a half-done correction can be kept; looks at no voxel."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from VoxelAdvSegLib.scene.nodes import Handle
from VoxelAdvSegLib.scene.status import status_of

_CHANGES = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentsOrderModified,
)


class ChangeWatch:
    """Counts the changes of a segmentation and calls back after each; until `close`.

    changed() is called without arguments, in the midst of an edit: it should only note the fact
    (start a timer), not write files. What it raises goes to sys.excepthook, as with any observer.
    """

    def __init__(self, segmentation_node, changed: Callable[[], None]) -> None:
        self._handle = Handle.of(segmentation_node)
        self._changed = changed
        self._saved = 0
        self.changes = 0
        self._tags: list[tuple[object, int]] = []
        self._observe_segmentation(segmentation_node)
        event = slicer.vtkMRMLSegmentationNode.SegmentationChangedEvent
        self._node_tag = segmentation_node.AddObserver(event, self._on_replaced)
        self._node = segmentation_node

    @property
    def segmentation_node(self):
        """The node; None when it was deleted."""
        return self._handle.node

    @property
    def unsaved(self) -> bool:
        """Whether there were changes since `mark_saved`."""
        return self.changes != self._saved

    def mark_saved(self, changes: int | None = None) -> None:
        """All changes so far (or up to the count `changes`, taken before a file was written) are on disk."""
        self._saved = self.changes if changes is None else changes

    def close(self) -> None:
        """Removes every observer; may be called twice."""
        self._forget_segmentation()
        if self._node is not None:
            self._node.RemoveObserver(self._node_tag)
            self._node = None

    def _observe_segmentation(self, segmentation_node) -> None:
        segmentation = segmentation_node.GetSegmentation()
        self._described = _description(segmentation)
        self._tags = [(segmentation, segmentation.AddObserver(event, self._on_change)) for event in _CHANGES]
        event = slicer.vtkSegmentation.SegmentModified
        self._tags.append((segmentation, segmentation.AddObserver(event, self._on_segment_modified)))

    def _forget_segmentation(self) -> None:
        for segmentation, tag in self._tags:
            segmentation.RemoveObserver(tag)
        self._tags = []

    def _on_replaced(self, node, _event) -> None:
        """The node holds another vtkSegmentation now (undo of the scene, a file that was read into it)."""
        if self._tags and self._tags[0][0] is node.GetSegmentation():
            return
        self._forget_segmentation()
        self._observe_segmentation(node)
        self._on_change(node, _event)

    def _on_segment_modified(self, segmentation, event) -> None:
        """The only event of an undo, but it also comes when no more than a surface was made."""
        described = _description(segmentation)
        if described != self._described:
            self._described = described
            self._on_change(segmentation, event)

    def _on_change(self, _caller, _event) -> None:
        self.changes += 1
        self._changed()


def _description(segmentation) -> list[tuple]:
    """What of the segments a file keeps, with the voxels told by when they last changed."""
    source = segmentation.GetSourceRepresentationName()
    described = []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        shape = segment.GetRepresentation(source)
        changed = None if shape is None else (shape.GetAddressAsString(""), shape.GetMTime())
        described.append((segment.GetName(), segment.GetColor(), segment.GetTerminology(), status_of(segment), changed))
    return described
