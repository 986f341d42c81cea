"""Stored files: all of them are counted, and only what can be made again is removed."""

import os

import pytest

from Testing.project.conftest import BOTH, write_prediction, write_scan, write_segments
from Testing.project.test_runs import END, START, STEP, write_diary
from VoxelAdvSegLib.errors import ProjectError


@pytest.fixture
def full(tmp_path, project, filled):
    """A project with something of every kind; returns it."""
    labeled, predicted, begun = filled(1, 2)
    project.add_exported("scene", lambda path: write_scan(path, 77))
    project.record_prediction(predicted, write_prediction(tmp_path / "job"), model="m", score=0.2)
    project.save_draft(begun, lambda path: write_segments(path, BOTH))
    project.rename_organ("liver", "Leber")
    project.write_manifest()
    project.findings()
    run = write_diary(project.path / "runs" / "20261125-101500", START, STEP, END)
    for name in ("cache/a.npy", "previews/a.npz", "checkpoints/last.safetensors", "model/model.json", "plan.txt",
                 "supervised_twin/checkpoints/last.safetensors", "verdict.json"):  # fmt: skip
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(b"x" * 1000)
    write_diary(run / "compare-1", START, END)
    job = write_diary(project.path / "jobs" / "one", START, END)
    (job / "job.json").write_text("{}")
    (project.path / "models" / "imported").mkdir(parents=True)
    (project.path / "models" / "imported" / "model.json").write_bytes(b"x" * 500)
    (project.path / "cases" / "case-0077").mkdir()
    write_scan(project.path / "cases" / "case-0077" / "image.nrrd", 78)
    (project.path / "cases" / "case-0078").mkdir()
    (project.path / "cases" / "case-0078" / "thesis.doc").write_text("mine")
    (project.path / "letter.txt").write_text("mine")
    assert labeled
    return project


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_every_file_is_counted_once(full):
    stored = full.stored()
    on_disk = sum(path.lstat().st_size for path in full.path.rglob("*") if path.is_file())
    assert sum(kind.size for kind in stored) == on_disk
    sizes = {kind.kind: kind.size for kind in stored}
    assert all(sizes.values()), sizes
    assert sizes["previews"] == sizes["checkpoints"] == 1000
    assert sizes["models"] == 1500
    assert sizes["other"] == len("mine") * 2


def test_what_can_be_made_again_goes_and_the_work_stays(full):
    before = files(full.path)
    removable = [kind for kind in full.stored() if kind.removable]
    freed = full.clean([kind.kind for kind in removable])
    assert freed == sum(kind.size for kind in removable)
    gone = before - files(full.path)
    assert {name for name in gone if not name.startswith("cases/")} == {
        "runs/20261125-101500/cache/a.npy", "runs/20261125-101500/previews/a.npz",
        "runs/20261125-101500/checkpoints/last.safetensors", "jobs/one/job.json", "jobs/one/events.jsonl",
        "runs/20261125-101500/supervised_twin/checkpoints/last.safetensors",
        "runs/20261125-101500/compare-1/events.jsonl",
    }  # fmt: skip
    assert all("/prediction/" in name or "/training-" in name or "case-0077" in name for name in gone
               if name.startswith("cases/"))  # fmt: skip
    assert "letter.txt" in files(full.path)
    assert "cases/case-0078/thesis.doc" in files(full.path)
    states = [case.state for case in full.cases]
    assert states == ["completed", "not started", "in progress", "not started"]
    assert all(kind.size == 0 for kind in full.stored() if kind.removable)
    assert full.write_manifest().exists()  # what it needs is made again


@pytest.mark.parametrize("kind", ["labels", "drafts", "scans", "models", "project", "other", "everything", "../.."])
def test_what_is_not_ours_to_remove_is_refused(full, kind):
    before = files(full.path)
    with pytest.raises(ProjectError, match="cannot be cleaned up"):
        full.clean(["previews", kind])
    assert files(full.path) == before


def test_a_running_training_keeps_its_files(full):
    run = full.path / "runs" / "20261125-101500"
    write_diary(run, START, STEP, old=False)
    freed = full.clean(["prepared scans", "previews", "checkpoints"])
    assert (run / "cache" / "a.npy").exists()
    assert (run / "checkpoints" / "last.safetensors").exists()
    assert freed > 0  # the derived labels of the cases
    full.clean(["prepared scans"], alive=lambda path: False)
    assert not (run / "cache").exists()


@pytest.mark.parametrize("place", ["compare-1", "supervised_twin"])
def test_a_comparison_at_work_keeps_the_files_of_its_training(full, place):
    run = full.path / "runs" / "20261125-101500"
    write_diary(run / place, START, STEP, old=False)
    full.clean(["prepared scans", "comparisons"])
    assert (run / "cache" / "a.npy").exists() and (run / place / "events.jsonl").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_never_followed(tmp_path, full):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.npy").write_bytes(b"x" * 10_000)
    run = full.path / "runs" / "20261126-000000"
    write_diary(run, START, END)
    for link in (run / "cache", full.path / "runs" / "20261127-000000", full.path / "jobs" / "two",
                 full.path / "cases" / "case-0099", full.path / "cases" / "case-0001" / "prediction"):  # fmt: skip
        link.symlink_to(outside)
    (outside / "job.json").write_text("{}")
    sizes = {kind.kind: kind.size for kind in full.stored()}
    assert sizes["prepared scans"] < 10_000
    full.clean([kind.kind for kind in full.stored() if kind.removable])
    assert (outside / "precious.npy").exists()
    assert (run / "cache").is_symlink()


def test_an_empty_project_stores_its_lists_only(project):
    assert [kind.kind for kind in project.stored() if kind.size] == ["project"]
    assert project.clean(["previews", "jobs"]) == 0
