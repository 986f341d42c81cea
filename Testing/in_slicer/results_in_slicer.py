"""Results in the scene: names, places of moved, slanted and flipped scans, the map."""

import numpy as np
import slicer
import slicer.util
from panel_driver import PanelCase, nodes
from vtk.util.numpy_support import vtk_to_numpy

TURN_DEGREES = 20
FLIPPED = (0, 2)  # of k, j, i


class ResultsInSlicer(PanelCase):
    def setUp(self):
        super().setUp()
        self.project()

    def test_one_click_brings_named_segments_a_table_and_a_map_and_overwrites_nothing(self):
        volume_node = self.loaded_volume()
        before = slicer.util.arrayFromVolume(volume_node).copy()
        first = self.segmented(volume_node)
        self.assertIs(first.GetNodeReference("VoxelAdvSeg.input"), volume_node)
        organs = [organ.name for organ in self.workbench.project.organs]
        self.assertEqual(list(self.names(first).values()), organs)
        self.assertEqual(first.GetNodeReference("VoxelAdvSeg.volumes").GetNumberOfRows(), len(organs))
        self.assertEqual(self.ui.resultTable.rowCount, len(organs))
        self.assert_the_map_is_shown_on_demand()
        masks = self.masks(first, volume_node)

        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(self.vtk_matrix(self.turn()))
        volume_node.SetAndObserveTransformNodeID(transform.GetID())
        second = self.segmented(volume_node)
        self.assertIsNot(first, second)
        self.assertEqual(second.GetTransformNodeID(), transform.GetID())
        self.assert_surface_follows(second, volume_node, self.masks(second, volume_node))
        volume_node.SetAndObserveTransformNodeID(None)
        for name, mask in self.masks(first, volume_node).items():
            np.testing.assert_array_equal(mask, masks[name])
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume_node), before)

    def test_slanted_and_flipped_scans_get_their_segments_where_the_organs_are(self):
        straight = self.loaded_volume()
        masks = self.masks(self.segmented(straight), straight)
        slanted = self.copy_of(straight, slicer.util.arrayFromVolume(straight), self.turn() @ self.matrix(straight))
        node = self.segmented(slanted)
        for name, mask in self.masks(node, slanted).items():
            np.testing.assert_array_equal(mask, masks[name], err_msg=name)  # voxel by voxel
        self.assert_surface_follows(node, slanted, masks)
        flipped = self.copy_of(straight, *self.flipped(straight, FLIPPED))
        for name, mask in self.masks(self.segmented(flipped), flipped).items():
            np.testing.assert_array_equal(np.flip(mask, FLIPPED), masks[name], err_msg=name)

    # --- shared -------------------------------------------------------------------------------

    def names(self, segmentation_node):
        from VoxelAdvSegLib.scene.segments import segment_names

        return segment_names(segmentation_node)

    def masks(self, segmentation_node, volume_node):
        """Voxels by name on the volume's grid; most of the organs must have some."""
        from VoxelAdvSegLib.scene.segments import segment_mask

        found = {
            name: segment_mask(segmentation_node, segment_id, volume_node)
            for segment_id, name in self.names(segmentation_node).items()
        }
        self.assertTrue(any(mask.any() for mask in found.values()), "the shared model finds nothing at all")
        return found

    def assert_the_map_is_shown_on_demand(self):
        self.wait(lambda: self.ui.mapCheckBox.enabled, "the map", 20)
        map_id = self.workbench.result.map_node.node.GetID()
        self.ui.mapCheckBox.checked = True
        self.assertEqual(self.foregrounds(), {map_id})
        self.ui.mapCheckBox.checked = False
        self.assertNotIn(map_id, self.foregrounds())

    def foregrounds(self):
        return {node.GetForegroundVolumeID() for node in nodes("vtkMRMLSliceCompositeNode")}

    def matrix(self, volume_node):
        from VoxelAdvSegLib.scene.grids import ijk_to_ras

        return ijk_to_ras(volume_node)

    def vtk_matrix(self, matrix):
        from VoxelAdvSegLib.scene.grids import vtk_matrix

        return vtk_matrix(matrix)

    def turn(self):
        """Around the patient's right-left axis, and a shift."""
        angle = np.radians(TURN_DEGREES)
        turn = np.eye(4)
        turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turn[:3, 3] = (15.0, -4.0, 30.0)
        return turn

    def flipped(self, volume_node, axes):
        """Voxels and matrix of the same scan, stored from the other end of some axes (of k, j, i)."""
        array, matrix = slicer.util.arrayFromVolume(volume_node), self.matrix(volume_node)
        flip = np.eye(4)
        for axis in axes:
            flip[2 - axis, 2 - axis], flip[2 - axis, 3] = -1.0, array.shape[axis] - 1
        return np.flip(array, axes), matrix @ flip

    def copy_of(self, volume_node, array, matrix):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{volume_node.GetName()} anew")
        node.SetIJKToRASMatrix(self.vtk_matrix(matrix))
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
        node.CreateDefaultDisplayNodes()
        return node

    def assert_surface_follows(self, segmentation_node, volume_node, masks):
        """Slicer's surface of each segment lies in the world around the mask's voxels, to two voxels."""
        from VoxelAdvSegLib.scene.grids import node_to_world

        segmentation_node.CreateClosedSurfaceRepresentation()
        to_world = node_to_world(volume_node) @ self.matrix(volume_node)
        reach = 2 * np.linalg.norm(to_world[:3, :3], axis=0).max()
        for segment_id, name in self.names(segmentation_node).items():
            if masks[name].any():
                surface = segmentation_node.GetClosedSurfaceInternalRepresentation(segment_id)
                points = vtk_to_numpy(surface.GetPoints().GetData())
                points = moved(points, node_to_world(segmentation_node))
                voxels = moved(np.argwhere(masks[name])[:, ::-1], to_world)
                np.testing.assert_allclose(points.min(0), voxels.min(0), atol=reach, err_msg=name)
                np.testing.assert_allclose(points.max(0), voxels.max(0), atol=reach, err_msg=name)


def moved(points, matrix):
    """Points (n, 3) through a matrix (4, 4)."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]
