"""Tells when a scene is closed or replaced, and when a node of interest is deleted."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk
from vtk.util.misc import calldata_type


class SceneWatch:
    """Observers on a scene until `close`.

    closing: before a scene is emptied, while its nodes are still there; closed: when it is empty;
    imported: after a file was loaded into it; removed: with each node that leaves it.
    """

    def __init__(
        self,
        scene,
        closing: Callable[[], None] | None = None,
        closed: Callable[[], None] | None = None,
        imported: Callable[[], None] | None = None,
        removed: Callable[[object], None] | None = None,
    ) -> None:
        self._scene = scene
        self._tags = []
        for event, call in (
            (slicer.vtkMRMLScene.StartCloseEvent, closing),
            (slicer.vtkMRMLScene.EndCloseEvent, closed),
            (slicer.vtkMRMLScene.EndImportEvent, imported),
        ):
            if call is not None:
                self._tags.append(scene.AddObserver(event, _without_arguments(call)))
        if removed is not None:
            self._tags.append(scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, _with_node(removed)))

    def close(self) -> None:
        """Removes every observer; may be called twice."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []


def _without_arguments(call: Callable[[], None]):
    def observer(_caller, _event) -> None:
        call()

    return observer


def _with_node(call: Callable[[object], None]):
    @calldata_type(vtk.VTK_OBJECT)
    def observer(_caller, _event, node) -> None:
        call(node)

    return observer
