"""All that the panel can do, without a widget: the same in a button and in Slicer's Python console."""

from __future__ import annotations

from typing import Any

from VoxelAdvSegLib.panel.installing import Installing
from VoxelAdvSegLib.scene.watch import SceneWatch


class Workbench(Installing):
    """Project, training, segmentation, review, models and installation on one scene.

    Each is a part with a file of its own; a later part builds on the earlier ones.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._scene_watch = SceneWatch(self.scene, closing=self._closing, closed=self._closed)

    def _closing(self) -> None:
        """What was drawn is kept before its nodes go."""
        self.forget_scene()
        self.notify("scene")

    def _closed(self) -> None:
        self.renew_scene()
        self.notify("scene", "review", "results")

    def clean_up(self) -> None:
        """Lets scene and project go; children go on working."""
        self.close_project()
        self._scene_watch.close()
        self._observers.clear()
        self._chores.clear()
        self._untold.clear()
