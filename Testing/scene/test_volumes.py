"""Which volumes of the scene can be used, and how one leaves it."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from slicer_bed.phantoms import (
    GRIDS,
    add_transform,
    add_volume,
    add_warp,
    labels_array,
    node_names,
    oblique,
    scan_array,
    turn_and_shift,
)

from VoxelAdvSegLib.data.geometry import same_grid
from VoxelAdvSegLib.data.volume import read_geometry, read_volume
from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.scene.grids import (
    geometry_from_matrix,
    ijk_to_ras,
    image_from_array,
    largest_distance_mm,
    matrix_from_geometry,
    world_geometry,
)
from VoxelAdvSegLib.scene.volumes import (
    ROLE_ATTRIBUTE,
    export_volume,
    first_usable,
    volume_array,
    volume_choices,
    why_not,
)


@pytest.mark.parametrize("grid", GRIDS)
def test_geometry_goes_there_and_back(grid):
    geometry = geometry_from_matrix(GRIDS[grid], (16, 22, 30))
    assert np.abs(matrix_from_geometry(geometry) - GRIDS[grid]).max() < 1e-12


def test_a_voxel_is_at_the_place_itk_says(scene, tmp_path):
    """Voxel (3, 5, 7) of an oblique volume, once by MRML in RAS and once by ITK in LPS."""
    volume = add_volume(scene, matrix=oblique())
    export_volume(volume, tmp_path / "scan.nrrd")
    r, a, s, _ = ijk_to_ras(volume) @ (3, 5, 7, 1)
    image = sitk.ReadImage(str(tmp_path / "scan.nrrd"))
    assert np.allclose(image.TransformIndexToPhysicalPoint((3, 5, 7)), (-r, -a, s), atol=1e-4)


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("grid", GRIDS)
def test_export_keeps_voxels_and_place(scene, tmp_path, grid, ending):
    volume = add_volume(scene, matrix=GRIDS[grid])
    path = tmp_path / ("scan" + ending)
    geometry = export_volume(volume, path)
    back = read_volume(path)
    assert np.array_equal(back.array, scan_array())
    assert largest_distance_mm(back.geometry, geometry) < 1e-4


@pytest.mark.parametrize("grid", GRIDS)
def test_export_lies_where_the_parent_transforms_put_it(scene, tmp_path, grid):
    volume = add_volume(scene, matrix=GRIDS[grid])
    inner = add_transform(scene, volume, turn_and_shift())
    add_transform(scene, inner, turn_and_shift(-40, (1, 2, 3)))
    export_volume(volume, tmp_path / "scan.nrrd")
    expected = turn_and_shift(-40, (1, 2, 3)) @ turn_and_shift() @ GRIDS[grid]
    found = matrix_from_geometry(read_geometry(tmp_path / "scan.nrrd"))
    assert np.abs(found - expected).max() < 1e-4
    volume.HardenTransform()
    assert same_grid(world_geometry(volume), read_geometry(tmp_path / "scan.nrrd"))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_export_keeps_every_type_of_voxel(scene, tmp_path, kind):
    array = scan_array().astype(kind)
    volume = add_volume(scene, array)
    export_volume(volume, tmp_path / "scan.nrrd")
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "scan.nrrd")))
    assert image.dtype == array.dtype and np.array_equal(image, array)


def test_export_leaves_the_users_file_alone(scene, tmp_path):
    volume = add_volume(scene, name="Thorax für Übung 肺")
    volume.AddDefaultStorageNode(str(tmp_path / "theirs.nrrd"))
    storage = volume.GetStorageNode()
    storage.WriteData(volume)
    before = storage.GetFileName(), storage.GetMTime(), volume.GetModifiedSinceRead(), node_names(scene)
    export_volume(volume, tmp_path / "Ordner mit Ümlaut 肺" / "scan.nrrd")
    after = storage.GetFileName(), storage.GetMTime(), volume.GetModifiedSinceRead(), node_names(scene)
    assert before == after
    assert [file.name for file in (tmp_path / "Ordner mit Ümlaut 肺").iterdir()] == ["scan.nrrd"]


def test_export_that_cannot_be_written_says_so_and_leaves_nothing(scene, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        export_volume(add_volume(scene), tmp_path / "file" / "scan.nrrd")
    assert caught.value.do and "scan.nrrd" in str(caught.value.file)
    with pytest.raises(InputError, match="format"):
        export_volume(add_volume(scene), tmp_path / "scan.jpg")


def test_the_array_is_a_copy(scene):
    volume = add_volume(scene)
    volume_array(volume)[:] = 0
    assert np.array_equal(volume_array(volume), scan_array())


def vector(scene):
    image = image_from_array(scan_array())
    colors = vtk.vtkImageAppendComponents()
    for _ in range(3):
        colors.AddInputData(image)
    colors.Update()
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    node.SetAndObserveImageData(colors.GetOutput())
    return node


def single_slice(scene):
    return add_volume(scene, scan_array((1, 22, 30)))


def label_map(scene):
    return add_volume(scene, labels_array(), class_name="vtkMRMLLabelMapVolumeNode")


def no_image(scene):
    return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "failed")


def no_voxels(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "failed")
    node.SetAndObserveImageData(vtk.vtkImageData())
    return node


def sequence_frame(scene):
    volume = add_volume(scene)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "beating")
    for moment in range(3):
        sequence.SetDataNodeAtValue(volume, str(moment))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "player")
    browser.AddSynchronizedSequenceNode(sequence)
    return browser.GetProxyNode(sequence)


def diffusion(scene):
    return scene.AddNewNodeByClass("vtkMRMLDiffusionWeightedVolumeNode", "dwi")


def warped(scene):
    volume = add_volume(scene)
    add_warp(scene, volume)
    return volume


def sheared(scene):
    volume = add_volume(scene)
    shear = np.eye(4)
    shear[0, 1] = 0.3
    add_transform(scene, volume, shear)
    return volume


def flat(scene):
    return add_volume(scene, matrix=np.diag([0.0, 1, 1, 1]))


@pytest.mark.parametrize(
    "make, words",
    [
        (vector, "3 numbers for each voxel"), (single_slice, "2-D"), (label_map, "label map"), (no_image, "no image"),
        (no_voxels, "no image"), (sequence_frame, "sequence"), (diffusion, "4-D"), (warped, "bent"),
        (sheared, "right angles"), (flat, "no size"),
    ],
)  # fmt: skip
def test_a_volume_that_cannot_be_used_is_refused_with_the_reason(scene, tmp_path, make, words):
    node = make(scene)
    assert words in why_not(node)
    reasons = {choice.node.GetID(): choice.reason for choice in volume_choices(scene)}
    assert words in reasons[node.GetID()]
    with pytest.raises(InputError, match=words):
        export_volume(node, tmp_path / "scan.nrrd")


def test_the_first_usable_volume_is_proposed(scene):
    assert first_usable(scene) is None
    single_slice(scene)
    good = add_volume(scene, name="good")
    add_volume(scene, name="also good")
    assert first_usable(scene) is good
    assert [choice.usable for choice in volume_choices(scene)] == [False, True, True]


def test_a_tiltable_volume_may_be_scaled_by_its_transform(scene):
    volume = add_volume(scene)
    add_transform(scene, volume, np.diag([2.0, 1, 1, 1]))
    assert why_not(volume) == ""
    assert world_geometry(volume).spacing_xyz_mm == pytest.approx((1.4, 0.9, 2.5))


def test_own_volumes_are_no_scans(scene):
    volume = add_volume(scene)
    volume.SetAttribute(ROLE_ATTRIBUTE, "map")
    assert volume_choices(scene) == [] and "made by VoxelAdvSeg" in why_not(volume)


def test_a_volume_that_was_deleted_is_told(scene):
    volume = add_volume(scene)
    scene.RemoveNode(volume)
    assert "no longer in the scene" in why_not(volume) and "no longer in the scene" in why_not(None)
    assert isinstance(volume, slicer.vtkMRMLScalarVolumeNode)
