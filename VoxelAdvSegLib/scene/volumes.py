"""Volumes of the scene: which of them can be segmented or trained on, and how one leaves for a child process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from VoxelAdvSegLib.data.geometry import to_image
from VoxelAdvSegLib.data.integrity import check_complete, without_messages
from VoxelAdvSegLib.data.volume import Geometry
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.scene.files import replacing
from VoxelAdvSegLib.scene.grids import array_from_image, shape_zyx, world_geometry

# Set on every node of ours; its value says what the node is ("map", "preview image" ...).
ROLE_ATTRIBUTE = "VoxelAdvSeg.role"
ENDINGS = (".nrrd", ".nii.gz", ".nii", ".mha")


@dataclass(frozen=True)
class VolumeChoice:
    """A loaded volume, and why it cannot be used; reason is "" when it can."""

    node: object
    name: str
    reason: str = ""

    @property
    def usable(self) -> bool:
        return not self.reason


def volume_choices(scene) -> list[VolumeChoice]:
    """Every volume a person sees in the scene, in the scene's order, with its reason or "".

    Volumes that this extension made (maps, previews) are left out.
    """
    choices = []
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLVolumeNode")
        if not node.GetHideFromEditors() and not node.GetAttribute(ROLE_ATTRIBUTE):
            choices.append(VolumeChoice(node, node.GetName(), why_not(node)))
    return choices


def first_usable(scene):
    """The first volume that can be used; None when there is none."""
    return next((choice.node for choice in volume_choices(scene) if choice.usable), None)


def why_not(volume_node) -> str:
    """Why a volume cannot be segmented or trained on, in a sentence; "" when it can.

    Cheap: looks at no voxel.
    """
    if volume_node is None or volume_node.GetScene() is None:
        return "it is no longer in the scene"
    if volume_node.IsA("vtkMRMLLabelMapVolumeNode"):
        return "it is a label map, not a scan"
    if volume_node.GetAttribute(ROLE_ATTRIBUTE):
        return "it was made by VoxelAdvSeg and is no scan"
    if volume_node.IsA("vtkMRMLDiffusionWeightedVolumeNode") or volume_node.IsA("vtkMRMLMultiVolumeNode"):
        return "it holds several images (4-D); extract one of them as a volume of its own"
    if _is_frame(volume_node):
        return "it shows the frames of a sequence (4-D); clone one frame as a volume of its own"
    image = volume_node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or min(shape_zyx(volume_node)) < 1:
        return "it has no image (its file may have failed to load)"
    components = image.GetNumberOfScalarComponents()
    if components != 1 or not volume_node.IsA("vtkMRMLScalarVolumeNode"):
        return f"it has {components} numbers for each voxel (color or vectors) instead of one grey value"
    if min(shape_zyx(volume_node)) < 2:
        return "it is a single slice (2-D); the whole stack is needed"
    try:
        world_geometry(volume_node)
    except InputError as error:
        return f"{error.what}; {error.do}" if error.do else error.what
    return ""


def check_usable(volume_node) -> None:
    """Raises InputError when `why_not` has a reason."""
    reason = why_not(volume_node)
    if reason:
        name = volume_node.GetName() if volume_node is not None else "the volume"
        raise InputError(f"'{name}' cannot be used: {reason}")


def volume_array(volume_node) -> np.ndarray:
    """A copy of the voxels, (z, y, x), in the volume's own type."""
    check_usable(volume_node)
    return array_from_image(volume_node.GetImageData()).copy()


def export_volume(volume_node, path: str | Path, compress: bool = False) -> Geometry:
    """Writes a volume for a child process and says on which grid; the scene stays as it is.

    The file lies where the volume lies in the world (parent transforms applied), index by index
    the node's voxels. Storage node, file name and "modified" mark of the volume are not touched.
    Raises InputError when the volume cannot be used, RunError when the file cannot be written.
    """
    path = Path(path)
    check_usable(volume_node)
    if not path.name.lower().endswith(ENDINGS):
        raise InputError("the format is not known", file=path, expected=", ".join(ENDINGS), found=path.suffix)
    geometry = world_geometry(volume_node)
    image = to_image(array_from_image(volume_node.GetImageData()), geometry)
    with replacing(path) as temporary:
        with without_messages():
            sitk.WriteImage(image, str(temporary), useCompression=compress)
        check_complete(temporary)  # ITK does not notice when the disk is full
    return geometry


def _is_frame(volume_node) -> bool:
    """Whether a sequence browser writes its frames into this node."""
    scene = volume_node.GetScene()
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(index, "vtkMRMLSequenceBrowserNode")
        if browser.IsProxyNodeID(volume_node.GetID()):
            return True
    return False
