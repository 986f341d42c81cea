"""The training at work on one unlabeled scan: three nodes that are refreshed in place, however long it runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.volume import Geometry
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.scene.grids import image_from_array, matrix_from_geometry, oriented_image_from_array, vtk_matrix
from VoxelAdvSegLib.scene.hierarchy import place_in_folder
from VoxelAdvSegLib.scene.maps import fill_map
from VoxelAdvSegLib.scene.nodes import Handle, remove_node
from VoxelAdvSegLib.scene.segments import LABELMAP, describe
from VoxelAdvSegLib.scene.status import Status, set_status
from VoxelAdvSegLib.scene.volumes import ROLE_ATTRIBUTE

PARTS = {
    "preview image": ("vtkMRMLScalarVolumeNode", "Training preview: scan"),
    "preview map": ("vtkMRMLScalarVolumeNode", "Training preview: looks like labeled scans"),
    "preview prediction": ("vtkMRMLSegmentationNode", "Training preview: prediction"),
}


class LivePreview:
    """Scan, current prediction and current map of a training, in one folder, not saved with the scene.

    A part that a person deletes stays away. Node IDs do not outlive a closed scene: then make a new one.
    """

    def __init__(self, scene) -> None:
        self._scene = scene
        self._handles: dict[str, Handle] = {}
        self._shown: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def image_node(self):
        return self._node("preview image")

    @property
    def map_node(self):
        return self._node("preview map")

    @property
    def segmentation_node(self):
        return self._node("preview prediction")

    def update(
        self,
        image: np.ndarray,
        label: np.ndarray,
        organs: Sequence[Organ],
        grid: Geometry | None = None,
        looks_labeled: np.ndarray | None = None,
    ) -> None:
        """Shows the newest state.

        image: (z, y, x) grey values; label: 0 background, i + 1 the i-th organ; looks_labeled: 0 to 1;
        grid: None for voxels of 1 mm. Raises InputError when the arrays differ in shape.
        """
        for array in (label, looks_labeled):
            if array is not None and array.shape != image.shape:
                raise InputError("the parts of the preview differ in size", expected=str(image.shape),
                                 found=str(array.shape), do="wait for the next one")  # fmt: skip
        i, j, k = image.shape
        to_ras = matrix_from_geometry(grid or Geometry((i, j, k), (1.0, 1.0, 1.0)))
        image_node = self._part("preview image")
        if image_node is not None and not self._shows(image, to_ras):
            _fill_image(image_node, image, to_ras)
            self._shown = (image, to_ras)
        segmentation_node = self._part("preview prediction")
        if segmentation_node is not None:
            _fill_segments(segmentation_node, label, organs, to_ras, image_node)
        if looks_labeled is not None:
            self.update_map(looks_labeled, grid)

    def update_map(self, looks_labeled: np.ndarray, grid: Geometry | None = None) -> None:
        """The newest map alone, 0 to 1 as `update` takes it: for callers that share the work out over turns."""
        i, j, k = looks_labeled.shape
        map_node = self._part("preview map")
        if map_node is not None:
            to_ras = matrix_from_geometry(grid or Geometry((i, j, k), (1.0, 1.0, 1.0)))
            fill_map(map_node, looks_labeled, to_ras)

    def remove(self) -> None:
        """Takes the nodes out of the scene."""
        for role in self._handles:
            remove_node(self._node(role))
        self._handles = {}

    def _shows(self, image: np.ndarray, to_ras: np.ndarray) -> bool:
        """Whether the scan is the one shown already, as it is but for the first time."""
        return self._shown is not None and all(map(np.array_equal, self._shown, (image, to_ras)))

    def _node(self, role: str):
        handle = self._handles.get(role)
        return None if handle is None else handle.node

    def _part(self, role: str):
        """The node of a part: made when it was never there, None when it was deleted since."""
        if role in self._handles:
            return self._node(role)
        class_name, name = PARTS[role]
        node = self._scene.AddNewNodeByClass(class_name, self._scene.GenerateUniqueName(name))
        node.SetAttribute(ROLE_ATTRIBUTE, role)
        node.SetSaveWithScene(False)
        place_in_folder(node)
        self._handles[role] = Handle.of(node)
        return node


def _fill_image(image_node, image: np.ndarray, to_ras: np.ndarray) -> None:
    was_modifying = image_node.StartModify()
    try:
        image_node.SetIJKToRASMatrix(vtk_matrix(to_ras))
        image_node.SetAndObserveImageData(image_from_array(np.asarray(image, np.float32)))
        if image_node.GetDisplayNode() is None:
            image_node.CreateDefaultDisplayNodes()
    finally:
        image_node.EndModify(was_modifying)


def _fill_segments(node, label: np.ndarray, organs: Sequence[Organ], to_ras: np.ndarray, image_node) -> None:
    """New voxels into the same segments, so that what a person switched off stays off."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    segmentation = node.GetSegmentation()
    labelmap = oriented_image_from_array(np.asarray(label, np.uint8), to_ras)
    was_modifying = node.StartModify()
    try:
        if image_node is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(image_node)
        segmentation.SetSourceRepresentationName(LABELMAP)
        known = {segmentation.GetNthSegment(n).GetName(): n for n in range(segmentation.GetNumberOfSegments())}
        if list(known) != [organ.name for organ in organs]:
            segmentation.RemoveAllSegments()
            for organ in organs:
                segment = slicer.vtkSegment()
                describe(segment, organ)
                set_status(segment, Status.IN_PROGRESS)
                segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(organ.name))
        for index in range(segmentation.GetNumberOfSegments()):
            segment = segmentation.GetNthSegment(index)
            segment.SetLabelValue(index + 1)
            segment.AddRepresentation(LABELMAP, labelmap)
    finally:
        node.EndModify(was_modifying)
