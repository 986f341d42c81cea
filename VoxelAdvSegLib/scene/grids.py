"""Between MRML and the library: the only place where RAS and I, J, K meet LPS and z, y, x."""

from __future__ import annotations

import math

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from VoxelAdvSegLib.data.geometry import RAS_SIGNS_LPS
from VoxelAdvSegLib.data.volume import AXES_TOLERANCE, Geometry
from VoxelAdvSegLib.errors import InputError

# RAS to LPS and back: the first two axes of the world change their sign.
FLIP_XY = np.diag([*RAS_SIGNS_LPS, 1]).astype(float)


def matrix_of(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """(4, 4) float64 copy of a VTK matrix."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def vtk_matrix(array: np.ndarray) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix


def ijk_to_ras(volume_node) -> np.ndarray:
    """(4, 4) from voxel i, j, k to RAS mm in the volume's own frame, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return matrix_of(matrix)


def node_to_world(node) -> np.ndarray:
    """(4, 4) of a node's parent transforms, RAS to RAS; the identity where there are none.

    Raises InputError when one of them bends space.
    """
    transform_node = node.GetParentTransformNode()
    if transform_node is None:
        return np.eye(4)
    if not transform_node.IsTransformToWorldLinear():
        raise InputError(
            f"'{node.GetName()}' is bent by the transform '{transform_node.GetName()}'",
            expected="no transform, or one that moves and turns as a whole",
            found="a warping (non-linear) transform",
            do="in the Transforms module harden the transform, or take the volume out of it",
        )
    matrix = vtk.vtkMatrix4x4()
    transform_node.GetMatrixTransformToWorld(matrix)
    return matrix_of(matrix)


def shape_zyx(volume_node) -> tuple[int, int, int]:
    """Voxels along k, j, i; zeros where the node has no image."""
    image = volume_node.GetImageData()
    if image is None:
        return (0, 0, 0)
    i, j, k = image.GetDimensions()
    return (k, j, i)


def geometry_from_matrix(ijk_to_ras: np.ndarray, shape_zyx: tuple[int, int, int]) -> Geometry:
    """The library's geometry of a grid that MRML describes by its matrix.

    Raises InputError when the axes are not at right angles or have no length.
    """
    lps = FLIP_XY @ ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    if not np.all(np.isfinite(lps)) or not np.all(spacing > 0):
        raise InputError(
            "the volume has no size in space", expected="three positive lengths in mm",
            found=" x ".join(f"{step:g}" for step in spacing), do="correct its spacing in the Volumes module",
        )  # fmt: skip
    direction = lps[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=AXES_TOLERANCE):
        raise InputError(
            "the axes of the volume are not at right angles", expected="three perpendicular axes",
            found=np.array2string(direction, precision=4, separator=", ").replace("\n", ""),
            do="harden its transform and resample the volume (Resample Scalar Volume module)",
        )  # fmt: skip
    x, y, z = (float(step) for step in spacing)
    r, a, s = (float(place) for place in lps[:3, 3])
    return Geometry(shape_zyx, (x, y, z), (r, a, s), tuple(float(part) for part in direction.ravel()))


def matrix_from_geometry(geometry: Geometry) -> np.ndarray:
    """(4, 4) from voxel i, j, k to RAS mm: the inverse of `geometry_from_matrix`."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(geometry.direction, (3, 3)) * np.asarray(geometry.spacing_xyz_mm)
    lps[:3, 3] = geometry.origin_lps_mm
    return FLIP_XY @ lps


def own_geometry(volume_node) -> Geometry:
    """Grid of a volume in its own frame, as if it had no parent transform."""
    return geometry_from_matrix(ijk_to_ras(volume_node), shape_zyx(volume_node))


def world_geometry(volume_node) -> Geometry:
    """Grid of a volume where it lies in the world, its linear parent transforms applied."""
    return geometry_from_matrix(node_to_world(volume_node) @ ijk_to_ras(volume_node), shape_zyx(volume_node))


def largest_distance_mm(first: Geometry, second: Geometry) -> float:
    """Farthest that a corner of the one grid lies from the same corner of the other; inf for other shapes."""
    if first.shape_zyx != second.shape_zyx:
        return math.inf
    k, j, i = (size - 1 for size in first.shape_zyx)
    corners = np.array([(x, y, z, 1) for x in (0, i) for y in (0, j) for z in (0, k)], float).T
    apart = (matrix_from_geometry(first) - matrix_from_geometry(second)) @ corners
    return float(np.linalg.norm(apart[:3], axis=0).max())


def image_from_array(array: np.ndarray) -> vtk.vtkImageData:
    """Image data with a copy of the voxels (z, y, x), at the origin with steps of 1, as volume nodes hold them."""
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array.shape))
    image.GetPointData().SetScalars(_scalars(array))
    return image


def oriented_image_from_array(array: np.ndarray, ijk_to_ras: np.ndarray, start_zyx=(0, 0, 0)):
    """Oriented image data with a copy of the voxels (z, y, x), as segments hold them.

    start_zyx: index of the array's first voxel on the grid, for a box of it.
    """
    image = slicer.vtkOrientedImageData()
    sizes = zip(reversed(start_zyx), reversed(array.shape), strict=True)
    image.SetExtent(*(int(end) for start, size in sizes for end in (start, start + size - 1)))
    image.GetPointData().SetScalars(_scalars(array))
    image.SetGeometryFromImageToWorldMatrix(vtk_matrix(ijk_to_ras))
    return image


def array_from_image(image) -> np.ndarray:
    """A view (z, y, x) on the voxels of image data; shape (0, 0, 0) where there are none."""
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        return np.zeros((0, 0, 0), np.uint8)
    return numpy_support.vtk_to_numpy(scalars).reshape(tuple(reversed(image.GetDimensions())))


def _scalars(array: np.ndarray):
    flat = np.ascontiguousarray(array).ravel()
    kind = numpy_support.get_vtk_array_type(flat.dtype)
    return numpy_support.numpy_to_vtk(flat, deep=True, array_type=kind)
