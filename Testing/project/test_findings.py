"""What is wrong with the cases, in the person's words, without reading a scan twice."""

import os

import numpy as np
import pytest

from Testing.project.conftest import BOTH, GRID, LIVER, write_layers, write_scan, write_segments
from VoxelAdvSegLib.data import doctor
from VoxelAdvSegLib.project import findings as project_findings
from VoxelAdvSegLib.project.project import Project


@pytest.fixture
def looks(monkeypatch):
    """Names of the cases that were really read."""
    seen = []

    def examine_case(case, role, manifest):
        seen.append(case.name)
        return doctor.examine_case(case, role, manifest)

    monkeypatch.setattr(project_findings, "examine_case", examine_case)
    return seen


def messages(found, case_id):
    return [(finding.severity, finding.message) for finding in found.get(case_id, ())]


def test_only_what_has_changed_is_read(tmp_path, filled, project, looks):
    first, second, third = filled(2, 1)
    before = project.findings()
    assert looks == [first, second]  # the unlabeled one was read when it came in
    looks.clear()
    assert project.findings() == before
    project.close()
    with Project.open(project.path) as opened:
        assert opened.known_findings() == before
        assert opened.findings() == before
        assert looks == []
        opened.accept(first, write_segments(tmp_path / "n.seg.nrrd", {"liver": LIVER}), decision="corrected")
        opened.findings()
        assert looks == [first]
        looks.clear()
        image = opened.case(third).image
        os.utime(image, ns=(1, 1))
        opened.findings()
        assert looks == [third]
        looks.clear()
        opened.set_role(second, "validation")
        opened.findings()
        assert looks == []
        opened.rename_organ("liver", "Leber")
        opened.findings()
        assert looks == [first, second]


def test_findings_stand_by_their_case_in_plain_words(tmp_path, project):
    shifted = np.roll(LIVER, 1, axis=2)
    scan, other = write_scan(tmp_path / "Meier.nrrd", 1), write_scan(tmp_path / "Schulz.nrrd", 2)
    ids = project.add_files(
        [
            (scan, write_layers(tmp_path / "a.seg.nrrd", {"liver": LIVER, "spleen": shifted})),
            (other, write_segments(tmp_path / "b.seg.nrrd", BOTH)),
        ]
    ).added
    project.label_file(ids[1]).write_bytes(b"NRRD0004\nno")
    found = project.findings()
    overlap = [message for severity, message in messages(found, ids[0]) if severity == "note"]
    assert overlap == [f"organs overlap in {int((LIVER & shifted).sum())} voxels"]
    severity, message = messages(found, ids[1])[0]
    assert severity == "error"
    assert "0001.seg.nrrd" in message
    everything = " ".join(f.message + f.do for group in found.values() for f in group)
    assert "manifest" not in everything
    assert "'training'" not in everything
    assert "case-0" not in everything


def test_the_same_scan_in_two_files_is_told_by_name(tmp_path, project):
    """Added before it was the same: the file was replaced by the person later."""
    first, second = write_scan(tmp_path / "Meier.nrrd", 1), write_scan(tmp_path / "Schulz.nrrd", 2)
    _, second_id = project.add_files([first, second]).added
    second.write_bytes(first.read_bytes())
    found = messages(project.findings(), second_id)
    assert ("warning", "the same scan as Meier in 'unlabeled': every voxel is equal") in found


def test_a_scan_that_is_gone_is_told_and_found_again(tmp_path, filled, project):
    (case_id,) = filled(0, 1)
    image = project.case(case_id).image
    image.rename(tmp_path / "moved")
    ((severity, message),) = messages(project.findings(), case_id)
    assert severity == "error"
    assert message.startswith("the file is no longer at its place")
    (tmp_path / "moved").rename(image)
    assert not [m for m in messages(project.findings(), case_id) if m[0] == "error"]


def test_excluded_cases_are_not_looked_at(filled, project, looks):
    (case_id,) = filled(1)
    project.set_role(case_id, "excluded")
    assert case_id not in project.findings()
    assert looks == []


def test_no_organs_and_no_cases_are_no_error(project, filled):
    assert project.findings() == {}
    filled(0, 1)
    assert "" not in project.findings()


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1, "cases": 7, "together": []}', '{"format": 99}'])
def test_a_damaged_memory_is_begun_anew(filled, project, content):
    filled(1)
    before = project.findings()
    project.close()
    (project.path / "findings.json").write_text(content)
    with Project.open(project.path) as opened:
        assert opened.known_findings() == {}
        assert opened.findings() == before


def test_what_was_read_is_kept_when_the_look_is_broken_off(filled, project, looks):
    first, second = filled(2)

    def stop(done, total, name):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.findings(stop)
    project.findings()
    assert looks == [first, second]


def test_facts_come_back_from_the_disk_as_they_were(filled, project):
    (case_id,) = filled(1)
    project.findings()
    key = project.memory.entries[case_id]["key"]
    kept = project.memory.recall(case_id, key)
    project.memory.save()
    read = project_findings.Memory(project.path).recall(case_id, key)
    assert vars(read.facts) == vars(kept.facts)
    assert read.facts.grid.shape_zyx == tuple(sorted(GRID.shape_zyx))  # brought to the axes R, A, S
    assert project.memory.recall(case_id, "other") is None


def test_progress_is_told_by_the_persons_names(filled, project):
    filled(1)
    told = []
    project.findings(lambda *row: told.append(row))
    assert told == [(0, 1, "scan 0")]
