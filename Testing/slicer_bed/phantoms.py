"""Volumes and segmentations for the scene: small, asymmetric, on grids as scanners make them."""

import numpy as np
import slicer
import vtk

from VoxelAdvSegLib.scene.grids import ijk_to_ras, image_from_array, oriented_image_from_array, vtk_matrix

SHAPE_ZYX = (16, 22, 30)
SPACING_XYZ_MM = (0.7, 0.9, 2.5)


def oblique(handed=1, seed=0):
    """(4, 4) IJK to RAS: turned about all axes, anisotropic; handed -1: left-handed, as a mirrored stack."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    if np.linalg.det(turn) * handed < 0:
        turn[:, 2] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(SPACING_XYZ_MM)
    matrix[:3, 3] = (-30, 12, 5)
    return matrix


GRIDS = {
    "axial": np.array([[-0.7, 0, 0, 30], [0, -0.9, 0, 12], [0, 0, 2.5, -5], [0, 0, 0, 1.0]]),
    "flipped": np.array([[0.7, 0, 0, 30], [0, 0.9, 0, 12], [0, 0, -2.5, -5], [0, 0, 0, 1.0]]),
    "permuted": np.array([[0, 0, 2.5, 1], [-0.7, 0, 0, 2], [0, -0.9, 0, 3], [0, 0, 0, 1.0]]),
    "oblique": oblique(),
    "left-handed": oblique(-1),
}


def scan_array(shape=SHAPE_ZYX):
    """int16 (z, y, x), every voxel different enough to notice any flip or shift."""
    return np.random.default_rng(1).normal(100, 20, shape).astype(np.int16)


def labels_array(shape=SHAPE_ZYX):
    """uint8 with the values 1, 2 and 5, three boxes of different size without any symmetry."""
    labels = np.zeros(shape, np.uint8)
    labels[3:9, 5:20, 5:12] = 1
    labels[10:15, 2:11, 8:25] = 2
    labels[2, 2, 2:4] = 5
    return labels


def add_volume(scene, array=None, matrix=None, name="scan", class_name="vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(class_name, name)
    node.SetAndObserveImageData(image_from_array(scan_array() if array is None else array))
    node.SetIJKToRASMatrix(vtk_matrix(GRIDS["axial"] if matrix is None else matrix))
    node.CreateDefaultDisplayNodes()
    return node


NAMES = {"a": "Liver", "b": "Milz 脾", "c": "Lesion"}


def add_segmentation(scene, volume, masks=None, names=NAMES, name="theirs"):
    """As a user draws it: each segment by itself, without code or status; a mask of None is an empty segment."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    labels = labels_array()
    masks = masks or {"a": labels == 1, "b": labels == 2, "c": labels == 5}
    for segment_id, mask in masks.items():
        node.GetSegmentation().AddEmptySegment(segment_id, names[segment_id], (0.2, 0.4, 0.6))
        if mask is not None:
            image = oriented_image_from_array(mask.astype(np.uint8), ijk_to_ras(volume))
            slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, segment_id)
    return node


def add_transform(scene, node, matrix):
    """A linear transform as parent of a node."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(vtk_matrix(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def turn_and_shift(degrees=17.0, shift=(10.0, -4.0, 3.0)):
    """(4, 4) rotation about S with a shift in mm."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    return matrix


def add_warp(scene, node):
    """A thin-plate spline as parent of a node: a transform that is not linear."""
    points, moved = vtk.vtkPoints(), vtk.vtkPoints()
    for index, point in enumerate([(0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)]):
        points.InsertNextPoint(point)
        moved.InsertNextPoint(point[0] + index, point[1], point[2] - index**2)
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bent")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def node_names(scene):
    """Names of all nodes, to compare the scene before and after."""
    return sorted(scene.GetNthNode(index).GetName() or "" for index in range(scene.GetNumberOfNodes()))
