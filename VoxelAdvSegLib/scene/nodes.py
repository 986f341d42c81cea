"""Nodes of ours in the scene: held without keeping them alive, removed with all that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Handle:
    """A node by scene and ID, since the user may delete it, or close the scene, at any time."""

    scene: object
    node_id: str

    @staticmethod
    def of(node) -> Handle:
        return Handle(node.GetScene(), node.GetID())

    @property
    def node(self):
        """The node; None when it is no longer in the scene."""
        return self.scene.GetNodeByID(self.node_id)


def is_alive(node) -> bool:
    """Whether a node is (still) in a scene."""
    return node is not None and node.GetScene() is not None


def remove_node(node) -> None:
    """Takes a node out of the scene with its display and storage nodes, which a scene would keep."""
    if not is_alive(node):
        return
    scene = node.GetScene()
    owned = []
    if node.IsA("vtkMRMLDisplayableNode"):
        owned += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        owned += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for other in owned:
        if is_alive(other):
            scene.RemoveNode(other)
