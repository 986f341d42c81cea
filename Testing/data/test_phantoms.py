"""Phantoms: the same from the same seed, whole anatomy on valid grids, no label where none may be."""

import json

import numpy as np
import pytest

from VoxelAdvSegLib.data.doctor import examine
from VoxelAdvSegLib.data.labels import read_label
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.organs import names_a_side
from VoxelAdvSegLib.data.phantoms import (
    ORGANS,
    SCANNERS,
    box,
    make_phantom,
    paint,
    sphere,
    touching_organs,
    write_phantoms,
)
from VoxelAdvSegLib.data.volume import read_geometry, read_volume

COUNTS = {"training": (1, 1), "unlabeled": (1, 1), "validation": (1, 0), "test": (0, 1)}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), seed=3, counts=COUNTS, voxel_factor=2.0)


def test_sphere_of_radius_one_is_a_voxel_and_its_six_neighbours():
    mask = sphere((5, 5, 5), (2, 2, 2), 1)
    assert mask.sum() == 7
    assert mask[2, 2, 2] and mask[1, 2, 2] and mask[2, 2, 3] and not mask[1, 1, 2]


def test_box_has_the_voxels_from_start_to_before_stop():
    mask = box((4, 5, 6), (1, 1, 1), (2, 3, 5))
    assert mask.sum() == 1 * 2 * 4
    assert mask[1, 1, 1] and mask[1, 2, 4] and not mask[1, 2, 5]


def test_touching_organs_share_a_face_of_eight_by_eight_voxels():
    label = touching_organs()
    assert [int((label == c).sum()) for c in (1, 2)] == [8 * 8 * 5, 8 * 8 * 5]
    assert int(((label[:, :, :-1] == 1) & (label[:, :, 1:] == 2)).sum()) == 64


def test_painted_classes_have_their_own_grey():
    label = touching_organs()
    image = paint(label, noise_sd=0.1)
    assert image.dtype == np.float32
    # Means of 320 voxels with noise of 0.1: five standard errors are 0.03.
    assert [round(float(image[label == c].mean()), 1) for c in (0, 1, 2)] == [1.0, 2.0, 3.0]


def test_the_same_seed_gives_the_same_phantom_and_another_seed_another():
    first, again, other = (make_phantom(seed, 5, SCANNERS[1], 2.0) for seed in (0, 0, 1))
    assert np.array_equal(first.volume.array, again.volume.array)
    assert np.array_equal(first.label, again.label)
    assert first.volume.geometry == again.volume.geometry
    assert not np.array_equal(first.label, other.label)
    assert first.volume.geometry != other.volume.geometry


def test_patients_differ():
    first, second = (make_phantom(0, number, SCANNERS[0], 2.0) for number in (0, 1))
    assert not np.array_equal(first.label, second.label)


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.name)
@pytest.mark.parametrize("number", range(6))
def test_every_organ_lies_in_every_patient_on_its_own_side(scanner, number):
    phantom = make_phantom(0, number, scanner)
    geometry = phantom.volume.geometry
    x_mm = {}
    for index, organ in enumerate(ORGANS, 1):
        voxels_zyx = np.argwhere(phantom.label == index)
        assert len(voxels_zyx) > 40, organ.name
        center_xyz_mm = voxels_zyx.mean(0)[::-1] * geometry.spacing_xyz_mm
        lps = np.reshape(geometry.direction, (3, 3)) @ center_xyz_mm + geometry.origin_lps_mm
        x_mm[organ.name] = lps[0]
    # LPS: x grows to the patient's left.
    assert x_mm["phantom right kidney"] < -20 and x_mm["phantom liver"] < -20
    assert x_mm["phantom left kidney"] > 20 and x_mm["phantom spleen"] > 20


def test_scanners_differ_in_grid_and_grey_levels():
    a, b = (make_phantom(0, 0, scanner).volume for scanner in SCANNERS)
    assert a.geometry.spacing_xyz_mm != b.geometry.spacing_xyz_mm
    assert a.geometry.direction[0] > 0.9 and b.geometry.direction[0] < -0.9
    assert np.percentile(a.array, 99) > 2 * np.percentile(b.array, 99)


def test_the_doctor_can_use_every_case(phantoms):
    diagnosis = examine(phantoms)
    assert [f.message for f in diagnosis.findings if f.severity == "error"] == []
    assert {role: len(diagnosis.manifest.split(role)) for role in COUNTS} == {
        role: sum(counts) for role, counts in COUNTS.items()
    }


def test_written_geometry_and_labels_are_those_made(phantoms):
    case = read_manifest(phantoms).training[1]
    made = make_phantom(3, 1, SCANNERS[1], 2.0)
    geometry = read_geometry(case.image)
    assert geometry.shape_zyx == made.volume.geometry.shape_zyx
    assert np.allclose(geometry.spacing_xyz_mm, made.volume.geometry.spacing_xyz_mm, atol=1e-5)
    assert np.allclose(geometry.origin_lps_mm, made.volume.geometry.origin_lps_mm, atol=1e-3)
    assert np.allclose(geometry.direction, made.volume.geometry.direction, atol=1e-5)
    assert np.array_equal(read_volume(case.image).array, made.volume.array)
    assert np.array_equal(read_label(case.label, read_manifest(phantoms).organs, geometry), made.label)


def test_labels_of_unlabeled_phantoms_are_not_on_disk(phantoms):
    content = json.loads(phantoms.read_text())
    labels = {file.name for file in (phantoms.parent / "labels").iterdir()}
    images = {file.name for file in (phantoms.parent / "images").iterdir()}
    unlabeled = {entry.removeprefix("images/") for entry in content["unlabeled"]}
    assert len(unlabeled) == 2 and unlabeled < images
    assert labels == images - unlabeled


def test_sided_names_forbid_mirroring(phantoms):
    assert names_a_side(read_manifest(phantoms).organs) == ["phantom right kidney", "phantom left kidney"]
