"""Predictions and stored labels become segmentation nodes of their own; nothing of the scene is overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from VoxelAdvSegLib.data.geometry import same_grid
from VoxelAdvSegLib.data.segments import read_seg_nrrd
from VoxelAdvSegLib.data.volume import Geometry, read_header
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.scene.grids import (
    ijk_to_ras,
    largest_distance_mm,
    node_to_world,
    oriented_image_from_array,
    own_geometry,
    shape_zyx,
    vtk_matrix,
    world_geometry,
)
from VoxelAdvSegLib.scene.hierarchy import place_beside
from VoxelAdvSegLib.scene.nodes import remove_node
from VoxelAdvSegLib.scene.predictions import MadeBy, Prediction
from VoxelAdvSegLib.scene.segments import LABELMAP, describe
from VoxelAdvSegLib.scene.status import Status, set_status
from VoxelAdvSegLib.scene.volumes import check_usable

INPUT_ROLE = "VoxelAdvSeg.input"
MODEL_ATTRIBUTE = "VoxelAdvSeg.model"
MODEL_ID_ATTRIBUTE = "VoxelAdvSeg.model_id"
DATE_ATTRIBUTE = "VoxelAdvSeg.date"


def add_prediction(scene, volume_node, prediction: Prediction, made_by: MadeBy, surfaces: bool = False):
    """A new segmentation node with the prediction, beside the volume in its study, moved as the volume is.

    Called "<volume> <model> <day>"; every organ is a segment in progress, flagged where uncertain,
    also when it has no voxel. surfaces: also make the 3-D surfaces (seconds on a large volume).
    Where scene undo is on, one Undo takes the node away. Raises InputError when the prediction
    is not on the volume's grid; then the scene is as before.
    """
    check_usable(volume_node)
    check_on_grid(prediction.array.shape, prediction.geometry, volume_node)
    _save_state(scene)
    name = f"{volume_node.GetName()} {made_by.model} {made_by.day}"
    segmentation_node = _new_node(scene, volume_node, name)
    try:
        segmentation_node.SetAttribute(MODEL_ATTRIBUTE, made_by.model)
        segmentation_node.SetAttribute(MODEL_ID_ATTRIBUTE, made_by.model_id)
        segmentation_node.SetAttribute(DATE_ATTRIBUTE, made_by.date)
        image = oriented_image_from_array(prediction.array, ijk_to_ras(volume_node))
        segmentation = segmentation_node.GetSegmentation()
        for organ in prediction.organs:
            segment = slicer.vtkSegment()
            describe(segment, organ)
            segment.AddRepresentation(LABELMAP, image)  # one label map for all: they do not overlap
            segment.SetLabelValue(organ.value)
            set_status(segment, Status.FLAGGED if organ.name in prediction.uncertain else Status.IN_PROGRESS)
            segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(organ.name))
        if surfaces:
            show_surfaces(segmentation_node, True)
    except BaseException:
        remove_node(segmentation_node)
        raise
    return segmentation_node


def load_segmentation(scene, path: str | Path, volume_node, name: str):
    """A stored .seg.nrrd of this volume (a label, a draft) as a new node, with all its overlaps, codes and status.

    The file lies in the world as `export_segmentation` writes it; the node moves as the volume is moved.
    Raises InputError when the file cannot be read.
    """
    path = Path(path)
    check_usable(volume_node)
    read_seg_nrrd(read_header(path), path)  # a file that is cut short would end the whole process in Slicer's reader
    to_world = node_to_world(volume_node)
    _save_state(scene)
    segmentation_node = _new_node(scene, volume_node, name)
    try:
        storage = slicer.vtkMRMLSegmentationStorageNode()  # not the node's own: the file is the project's
        storage.SetFileName(str(path))
        if not storage.ReadData(segmentation_node):
            raise InputError("the segmentation cannot be read", file=path, expected="a whole .seg.nrrd file",
                             do="choose an earlier version of this label")  # fmt: skip
        segmentation_node.SetName(scene.GenerateUniqueName(name))
        if not np.allclose(to_world, np.eye(4)):
            segmentation_node.ApplyTransformMatrix(vtk_matrix(np.linalg.inv(to_world)))
        segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    except BaseException:
        remove_node(segmentation_node)
        raise
    return segmentation_node


def check_on_grid(shape: tuple[int, ...], geometry: Geometry, volume_node) -> None:
    """Raises InputError when a result is not, voxel by voxel, on the volume's grid.

    It may lie in the world, or in the volume's own frame without its parent transform.
    """
    grids = [world_geometry(volume_node), own_geometry(volume_node)]
    if shape == shape_zyx(volume_node) and any(same_grid(geometry, grid) for grid in grids):
        return
    size = " x ".join(map(str, shape_zyx(volume_node)[::-1]))
    raise InputError(
        f"the result does not fit the volume '{volume_node.GetName()}'",
        expected=f"{size} voxels at the volume's place",
        found=" x ".join(map(str, reversed(shape)))
        + f" voxels, {min(largest_distance_mm(geometry, grid) for grid in grids):.3g} mm away at the farthest corner",
        do="the volume was moved or replaced since: segment it again",
    )


def input_volume(segmentation_node):
    """The volume a segmentation was made from; None when it is gone or not known."""
    volume_node = segmentation_node.GetNodeReference(INPUT_ROLE)
    return volume_node or segmentation_node.GetNodeReference(segmentation_node.GetReferenceImageGeometryReferenceRole())


def made_by(segmentation_node) -> MadeBy | None:
    """Which model made a segmentation, and when; None where no model did."""
    model = segmentation_node.GetAttribute(MODEL_ATTRIBUTE)
    if model is None:
        return None
    model_id = segmentation_node.GetAttribute(MODEL_ID_ATTRIBUTE) or ""
    return MadeBy(model, model_id, segmentation_node.GetAttribute(DATE_ATTRIBUTE) or "")


def show_surfaces(segmentation_node, visible: bool) -> None:
    """Makes the segments' surfaces and shows them in the 3-D views, or removes them."""
    if visible:
        segmentation_node.CreateClosedSurfaceRepresentation()
    else:
        segmentation_node.RemoveClosedSurfaceRepresentation()


def _new_node(scene, volume_node, name: str):
    segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    segmentation_node.SetUndoEnabled(True)
    segmentation_node.CreateDefaultDisplayNodes()
    segmentation_node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    # Before any voxel: it fixes the extent, and needs the parent transform set.
    segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    segmentation_node.GetSegmentation().SetSourceRepresentationName(LABELMAP)
    segmentation_node.SetNodeReferenceID(INPUT_ROLE, volume_node.GetID())
    place_beside(segmentation_node, volume_node)
    return segmentation_node


def _save_state(scene) -> None:
    if scene.GetUndoFlag():  # off in Slicer unless a person or a script turns it on
        scene.SaveStateForUndo()
