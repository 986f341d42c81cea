"""Projects, and how scans come into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.data.phantoms import write_phantoms
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.panel.bench import Bench
from VoxelAdvSegLib.project.adding import Added
from VoxelAdvSegLib.project.project import Project
from VoxelAdvSegLib.scene.labels import export_segmentation, overlaps
from VoxelAdvSegLib.scene.segmentations import input_volume, made_by
from VoxelAdvSegLib.scene.volumes import VolumeChoice, export_volume, volume_choices

CASE_ATTRIBUTE = "VoxelAdvSeg.case"  # of a volume: the case it shows
DICOM_ATTRIBUTE = "DICOM.instanceUIDs"  # of volumes that Slicer's DICOM module loaded
SAMPLE_SCANS = {"training": (3, 1), "unlabeled": (4, 8), "validation": (1, 1)}


class Gathering(Bench):
    """The part with the project's beginnings."""

    def create_project(self, folder: str | Path, name: str = "") -> Project:
        """A new project in an empty folder. Raises ProjectError."""
        folder = Path(folder)
        return self._use(Project.create(folder, name or folder.name))

    def open_project(self, folder: str | Path) -> Project:
        """Opens a project, and finds again a training that still runs; one that is open stays. Raises ProjectError."""
        folder = Path(folder)
        if self.project is not None and self.project.path.resolve() == folder.resolve():
            return self.project
        return self._use(Project.open(folder))

    def new_or_open(self, folder: str | Path) -> Project:
        """What is in the folder, or a new project in it."""
        return self.open_project(folder) if Project.is_project(Path(folder)) else self.create_project(folder)

    def close_project(self) -> None:
        """Lets the project go; its jobs go on."""
        if self.project is not None:
            self.leave_project()
            self.project.close()
            self.project = None
            self.notify("project")

    def leave_project(self) -> None:
        """What a part does before the project closes; each calls the next."""

    def enter_project(self) -> None:
        """What a part does after a project was opened; each calls the next."""

    def _use(self, project: Project) -> Project:
        self.close_project()
        self.project = project
        self.enter_project()
        self.notify("project")
        return project

    # --- scans --------------------------------------------------------------------------------

    def add_folder(self, folder: str | Path) -> Added:
        return self._added(self.the_project().add_folder(folder, self._report))

    def add_files(self, paths: Sequence[str | Path | tuple[str | Path, str | Path]]) -> Added:
        return self._added(self.the_project().add_files(paths, self._report))

    def add_manifest(self, path: str | Path) -> Added:
        return self._added(self.the_project().add_manifest(path, self._report))

    def scene_volumes(self) -> list[VolumeChoice]:
        """The volumes of the scene, and why some of them cannot be used."""
        return volume_choices(self.scene)

    def add_scene(self) -> Added:
        """All usable volumes of the scene, each with the segmentation that was drawn on it."""
        return self._add_nodes([choice.node for choice in self.scene_volumes() if choice.usable])

    def add_dicom(self) -> Added:
        """The volumes that were loaded from DICOM. Raises InputError when there are none."""
        nodes = [c.node for c in self.scene_volumes() if c.usable and c.node.GetAttribute(DICOM_ATTRIBUTE)]
        if not nodes:
            raise InputError(
                _("no volume of the scene was loaded from DICOM"),
                do=_("load a series in Slicer's DICOM module first, or add a folder"),
            )
        return self._add_nodes(nodes)

    def _add_nodes(self, nodes: Sequence[Any]) -> Added:
        project = self.the_project()
        all_added = Added()
        with project.batch():
            for number, node in enumerate(nodes):
                self._report(number, len(nodes), node.GetName())
                added = self._add_node(project, node)
                for case_id in added.added:
                    node.SetAttribute(CASE_ATTRIBUTE, case_id)
                all_added.labeled += added.labeled
                for name in ("added", "known", "unfinished", "problems", "notes"):
                    getattr(all_added, name).extend(getattr(added, name))
        return self._added(all_added)

    def _add_node(self, project: Project, node: Any) -> Added:
        segmentation = self._drawn_on(node)

        def write_image(path: Path) -> None:
            export_volume(node, path)

        def write_label(path: Path) -> None:
            export_segmentation(segmentation, node, path)

        added = project.add_exported(node.GetName(), write_image, None if segmentation is None else write_label)
        if segmentation is not None:
            added.notes.extend(f"{node.GetName()}: {overlap}" for overlap in overlaps(segmentation, node))
        return added

    def _drawn_on(self, volume_node: Any) -> Any:
        """The segmentation that a person drew on a volume, None where there is none."""
        count = self.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        for index in range(count):
            node = self.scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
            if (
                made_by(node) is None
                and input_volume(node) is volume_node
                and node.GetSegmentation().GetNumberOfSegments()
            ):
                return node
        return None

    def make_sample_project(self, folder: str | Path) -> Project:
        """A project with made-up scans: 4 labeled, 12 unlabeled, 2 for validation; made here, nothing is fetched."""
        folder = Path(folder)
        project = self.create_project(folder / "project", _("Sample"))
        self.add_manifest(write_phantoms(folder / "scans", counts=SAMPLE_SCANS))
        return project

    def _added(self, added: Added) -> Added:
        self.notify("cases")
        return added

    @staticmethod
    def _report(done: int, total: int, name: str) -> None:
        """Before each scan: the window stays alive, and its status bar says which one it is."""
        slicer.util.showStatusMessage(_("Reading {name} ({n} of {total})").format(name=name, n=done + 1, total=total))
        slicer.app.processEvents()
