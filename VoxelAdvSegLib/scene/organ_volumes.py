"""How large each segment is, as values and as a table in the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import vtk

from VoxelAdvSegLib.scene.grids import ijk_to_ras, node_to_world
from VoxelAdvSegLib.scene.hierarchy import place_beside
from VoxelAdvSegLib.scene.nodes import remove_node
from VoxelAdvSegLib.scene.segments import segment_boxes, segment_names
from VoxelAdvSegLib.scene.volumes import ROLE_ATTRIBUTE

TABLE_ROLE = "VoxelAdvSeg.volumes"
COLUMNS = ("Segment", "Volume (ml)", "Voxels")


@dataclass(frozen=True)
class OrganVolume:
    """A segment's size on the volume's grid."""

    name: str
    segment_id: str
    voxels: int
    ml: float


def organ_volumes(segmentation_node, volume_node) -> list[OrganVolume]:
    """Every segment's volume, in display order; 0 for empty ones."""
    to_world = node_to_world(volume_node) @ ijk_to_ras(volume_node)
    voxel_ml = abs(float(np.linalg.det(to_world[:3, :3]))) / 1000
    sizes = []
    names = segment_names(segmentation_node)
    for segment_id, box in segment_boxes(segmentation_node, names, volume_node).items():
        sizes.append(OrganVolume(names[segment_id], segment_id, box.voxels, box.voxels * voxel_ml))
    return sizes


def volumes_table(scene, segmentation_node, sizes: Sequence[OrganVolume]):
    """The sizes as a table node beside the segmentation; the table of an earlier call is brought up to date."""
    table_node = segmentation_node.GetNodeReference(TABLE_ROLE)
    if table_node is None:
        name = scene.GenerateUniqueName(f"{segmentation_node.GetName()} volumes")
        table_node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        table_node.SetAttribute(ROLE_ATTRIBUTE, "organ volumes")
        table_node.SetUseColumnTitleAsColumnHeader(True)
        segmentation_node.SetNodeReferenceID(TABLE_ROLE, table_node.GetID())
        place_beside(table_node, segmentation_node)
    names, volumes, voxels = vtk.vtkStringArray(), vtk.vtkDoubleArray(), vtk.vtkIntArray()
    for column, title in zip((names, volumes, voxels), COLUMNS, strict=True):
        column.SetName(title)
    for size in sizes:
        names.InsertNextValue(size.name)
        volumes.InsertNextValue(round(size.ml, 3))
        voxels.InsertNextValue(size.voxels)
    table = vtk.vtkTable()
    for column in (names, volumes, voxels):
        table.AddColumn(column)
    table_node.SetAndObserveTable(table)
    return table_node


def remove_volumes_table(segmentation_node) -> None:
    remove_node(segmentation_node.GetNodeReference(TABLE_ROLE))
