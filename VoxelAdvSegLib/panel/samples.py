"""A made-up scan for the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from VoxelAdvSegLib.data.phantoms import SCANNERS, make_phantom
from VoxelAdvSegLib.scene.grids import image_from_array, matrix_from_geometry, vtk_matrix

SEED, NUMBER = 1, 99  # none of the scans of the sample project


def load_sample(scene: slicer.vtkMRMLScene) -> Any:
    """A new volume node with a phantom that no sample project holds."""
    volume = make_phantom(SEED, NUMBER, SCANNERS[0]).volume
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName("Made-up abdomen"))
    node.SetIJKToRASMatrix(vtk_matrix(matrix_from_geometry(volume.geometry)))
    node.SetAndObserveImageData(image_from_array(np.asarray(volume.array, np.float32)))
    node.CreateDefaultDisplayNodes()
    return node
