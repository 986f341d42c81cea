"""The hippocampus set as a project: 40 labeled and 120 unlabeled scans."""

import time

import pytest

from VoxelAdvSegLib.data.doctor import examine
from VoxelAdvSegLib.data.manifest import check_roles, read_manifest
from VoxelAdvSegLib.data.phantoms import write_phantoms
from VoxelAdvSegLib.project.project import Project


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shared_data):
    """The folder of a closed project with the whole set."""
    with Project.create(tmp_path_factory.mktemp("h") / "project", "Hippocampus") as project:
        project.add_folder(shared_data / "hippocampus")
        project.findings()
    return project.path


def test_the_folder_comes_in_with_names_and_labels(folder):
    with Project.open(folder) as project:
        roles = [case.role for case in project.cases]
        assert (roles.count("labeled"), roles.count("unlabeled")) == (40, 120)
        assert [organ.name for organ in project.organs] == ["anterior", "posterior"]


def test_it_comes_in_once(folder, shared_data):
    with Project.open(folder) as project:
        added = project.add_folder(shared_data / "hippocampus")
    assert (len(added.added), len(added.known)) == (0, 160)


def test_it_opens_again_without_reading_a_scan(folder, monkeypatch):
    for name in ("project.findings.examine_case", "data.volume.read_pixels"):
        monkeypatch.setattr(f"VoxelAdvSegLib.{name}", lambda *what: pytest.fail("a scan was read"))
    begin = time.perf_counter()
    with Project.open(folder) as project:
        opened = time.perf_counter()
        found = project.findings()
        looked = time.perf_counter()
    print(f"160 cases: opened in {opened - begin:.3f} s, findings in {looked - opened:.3f} s")
    assert [finding.severity for finding in found[""]] == ["warning"]  # grey values on other scales


def test_a_training_can_read_it(folder):
    with Project.open(folder) as project:
        assert project.can_train() == ""
        assert len(project.draw_validation(0.25)) == 10
        manifest = read_manifest(project.write_manifest(), anywhere=True)
    check_roles(manifest)
    assert [len(manifest.split(split)) for split in ("training", "unlabeled", "validation")] == [30, 120, 10]


def test_a_manifest_gives_its_roles_and_organs_with_sides_get_their_codes(tmp_path, shared_data):
    with Project.create(tmp_path / "p", "Kopf") as project:
        project.add_manifest(shared_data / "headneck" / "dataset_5.json")
        roles = [case.role for case in project.cases]
        codes = {organ.name: organ.terminology for organ in project.organs}
    assert [roles.count(role) for role in ("labeled", "unlabeled", "validation")] == [5, 20, 4]
    assert "45289007^Parotid gland" in codes["right parotid"]
    assert "24028007^Right" in codes["right parotid"]
    assert "7771000^Left" in codes["left parotid"]


def test_phantoms_become_a_project_that_the_doctor_finds_sound(tmp_path):
    manifest = write_phantoms(tmp_path / "phantoms", counts={"training": (2, 0), "unlabeled": (1, 1)}, voxel_factor=2)
    with Project.create(tmp_path / "p", "Phantome") as project:
        added = project.add_manifest(manifest)
        assert (len(added.added), added.labeled, added.problems) == (4, 2, [])
        assert not [f for found in project.findings().values() for f in found if f.severity == "error"]
        diagnosis = examine(project.write_manifest(), anywhere=True)
    assert diagnosis.usable
    assert [case.name for case in diagnosis.cases] == ["case-0001", "case-0002", "case-0003", "case-0004"]
