"""Slicer's own status of a segment: not started, in progress, completed, flagged."""

from __future__ import annotations

from enum import Enum

import slicer

_LOGIC = slicer.vtkSlicerSegmentationsModuleLogic


class Status(Enum):
    """The value is the text of the tag `Segmentation.Status`."""

    NOT_STARTED = "notstarted"
    IN_PROGRESS = "inprogress"
    COMPLETED = "completed"
    FLAGGED = "flagged"


def status_of(segment) -> Status:
    """Status of a segment; one without the tag counts as not started, as in Slicer."""
    number = _LOGIC.GetSegmentStatus(segment)
    return Status(_LOGIC.GetSegmentStatusAsMachineReadableString(number))


def set_status(segment, status: Status) -> None:
    """Sets the tag; Slicer's segments table shows it at once."""
    _LOGIC.SetSegmentStatus(segment, _LOGIC.GetSegmentStatusFromMachineReadableString(status.value))


def set_all(segmentation_node, status: Status) -> None:
    segmentation = segmentation_node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        set_status(segmentation.GetSegment(segment_id), status)


def with_status(segmentation_node, status: Status) -> list[str]:
    """IDs of the segments that have a status, in display order."""
    segmentation = segmentation_node.GetSegmentation()
    ids = segmentation.GetSegmentIDs()
    return [segment_id for segment_id in ids if status_of(segmentation.GetSegment(segment_id)) is status]
