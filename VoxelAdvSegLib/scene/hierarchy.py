"""Where nodes stand in the subject hierarchy: results beside their volume, our own things in one folder."""

from __future__ import annotations

import slicer

FOLDER = "VoxelAdvSeg"


def place_beside(node, neighbor_node) -> None:
    """Puts a node into the study (or folder) that another node stands in."""
    hierarchy = _hierarchy(node.GetScene())
    parent = hierarchy.GetItemParent(_item(hierarchy, neighbor_node))
    hierarchy.SetItemParent(_item(hierarchy, node), parent)


def place_in_folder(node, name: str = FOLDER) -> None:
    """Puts a node into a folder at the top of the hierarchy, which is made when it is not there."""
    hierarchy = _hierarchy(node.GetScene())
    top = hierarchy.GetSceneItemID()
    folder = hierarchy.GetItemChildWithName(top, name)
    if folder == hierarchy.GetInvalidItemID():
        folder = hierarchy.CreateFolderItem(top, name)
    hierarchy.SetItemParent(_item(hierarchy, node), folder)


def parent_name(node) -> str:
    """Name of the study or folder a node stands in; "" at the top."""
    hierarchy = _hierarchy(node.GetScene())
    parent = hierarchy.GetItemParent(_item(hierarchy, node))
    return "" if parent == hierarchy.GetSceneItemID() else hierarchy.GetItemName(parent)


def _hierarchy(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def _item(hierarchy, node) -> int:
    """The node's item; made here where no application has made it yet."""
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return item
