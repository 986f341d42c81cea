"""The command `clean`: it says what is stored, removes that and nothing else, and refuses what is not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.cli import compare
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.inference.segment import Segmenter
from VoxelAdvSegLib.jobs.pulse import beating
from VoxelAdvSegLib.project.project import Project
from VoxelAdvSegLib.project.run_contents import TWIN, parts_of_run
from VoxelAdvSegLib.training import afterwards, again
from VoxelAdvSegLib.training.run_folder import RunFolder, claimed

TRAIN = [f"--set={key}={value}" for key, value in {**TINY, "checkpoint_every": 1, "bn_recalibrate": 0}.items()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run folder, with a verdict and so with a twin."""
    folder = tmp_path_factory.mktemp("clean")
    for seed, name in enumerate("abcdef"):
        write_scan(folder / "data", name, seed, labeled=name in "abf")
    data = write_manifest(folder / "data")
    words = ["train", "--data", str(data), "--run", str(folder / "run"), "--steps", "1", "--verdict", *TRAIN]
    assert main(words) == 0
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that may be cleaned."""
    import shutil

    return shutil.copytree(trained, tmp_path / "run", symlinks=True)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() or p.is_symlink()}


def test_every_file_of_a_training_is_known(run: Path):
    """A file that a training writes and this command does not know would stay behind, with a patient's data."""
    parts = list(parts_of_run(run))
    assert [part.path.name for part in parts if part.kind in ("other", "left over")] == []
    assert {part.kind for part in parts} == {
        "prepared scans", "previews", "checkpoints", "models", "comparisons", "diaries",
    }  # fmt: skip
    assert sum(part.size for part in parts) == sum(
        p.stat().st_size for p in run.rglob("*") if p.is_file() and not p.is_symlink() and p.parent.name != "linked"
    )
    assert (run / TWIN).is_dir() and TWIN == again.TWIN


def test_all_of_a_training_goes(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["clean", "--run", str(run)]) == 0
    said = capsys.readouterr().out
    assert not run.exists()
    for words in ("cache", "checkpoints", "model", "previews", "events.jsonl", "removed", "freed"):
        assert words in said
    assert main(["clean", "--run", str(run)]) == 2  # there is none any more


def test_the_model_can_be_kept_and_still_segments(run: Path, capsys: pytest.CaptureFixture[str]):
    model = files(run / "model")
    assert main(["clean", "--run", str(run), "--keep-model"]) == 0
    assert [p.name for p in run.iterdir()] == ["model"] and files(run / "model") == model
    Segmenter.open(run, "cpu")
    assert "kept" in capsys.readouterr().out
    assert main(["clean", "--run", str(run)]) == 0 and not run.exists()


@pytest.mark.parametrize("folder", [again.TWIN, compare.FOLDS, afterwards.FOLDER])
def test_trainings_that_were_made_for_this_one_go_with_it(run: Path, folder: str):
    """They hold copies of the scans, too."""
    (run / folder / "fold_1" / "cache").mkdir(parents=True)
    (run / folder / "fold_1" / "cache" / "a.npy").write_bytes(b"x")
    assert main(["clean", "--run", str(run)]) == 0 and not run.exists()


def test_what_is_stored_can_be_listed_alone(run: Path, capsys: pytest.CaptureFixture[str]):
    before = files(run)
    assert main(["clean", "--run", str(run), "--list"]) == 0
    assert files(run) == before
    said = capsys.readouterr().out
    assert "cache" in said and "B in all" in said and "removed" not in said


def test_a_persons_own_files_are_left_alone_and_named(run: Path, capsys: pytest.CaptureFixture[str]):
    (run / "thesis.doc").write_text("mine")
    (run / "notes").mkdir()
    (run / "notes" / "a.txt").write_text("mine")
    assert main(["clean", "--run", str(run)]) == 0
    assert files(run) == {"thesis.doc", "notes/a.txt"}
    assert "left alone" in capsys.readouterr().out


def test_a_training_that_never_began_can_be_removed(tmp_path: Path):
    """Killed while it prepared scans, it left copies of them and no configuration."""
    (tmp_path / "run" / "cache").mkdir(parents=True)
    (tmp_path / "run" / "cache" / "a.npy").write_bytes(b"x")
    (tmp_path / "run" / "events.jsonl").write_text('{"type": "start"}\n')
    assert main(["clean", "--run", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_never_followed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.npy").write_bytes(b"x")
    for name in ("cache", "checkpoints", "other"):
        if (run / name).exists():
            import shutil

            shutil.rmtree(run / name)
        (run / name).symlink_to(outside)
    (tmp_path / "link").symlink_to(run)
    assert main(["clean", "--run", str(tmp_path / "link")]) == 2
    assert "a link to" in capsys.readouterr().err
    assert main(["clean", "--run", str(run)]) == 0
    assert (outside / "precious.npy").exists()
    assert files(run) == {"checkpoints", "other"}  # only a cache is ever a link of ours


@pytest.mark.parametrize("place", ["/", "~", "empty", "file", "scans", "missing"])
def test_folders_that_are_not_ours_are_refused(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.nii.gz").write_bytes(b"x")
    (tmp_path / "file").write_text("")
    folder = {"/": Path("/"), "~": tmp_path / "home"}.get(place, tmp_path / place)
    before = files(tmp_path)
    assert main(["clean", "--run", str(folder)]) == 2
    assert "nothing was removed" in capsys.readouterr().err
    assert files(tmp_path) == before


@pytest.mark.parametrize("place", [".", TWIN])
def test_a_training_that_runs_is_refused(run: Path, place: str, capsys: pytest.CaptureFixture[str]):
    before = files(run)
    (run / place / "events.jsonl").touch()
    with claimed(RunFolder(run / place), resume=(run / place / "config.json").exists()):
        assert main(["clean", "--run", str(run)]) == 2
    assert "in use" in capsys.readouterr().err
    assert files(run) >= before - {"supervised_twin/.lock"}


def test_a_job_that_only_loads_its_libraries_is_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    (run / "compare-1").mkdir()
    with beating(run / "compare-1", "sitting"):
        assert main(["clean", "--run", str(run)]) == 2
    assert "in use" in capsys.readouterr().err and (run / "model").exists()


def test_a_project_keeps_a_persons_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with Project.create(tmp_path / "project", "Liver") as project:
        path = project.path
    (path / "jobs" / "one").mkdir(parents=True)
    (path / "jobs" / "one" / "job.json").write_text("{}")
    assert main(["clean", "--project", str(path), "--list"]) == 0
    assert (path / "jobs" / "one" / "job.json").exists()
    assert main(["clean", "--project", str(path)]) == 0
    assert not (path / "jobs" / "one").exists() and (path / "project.json").exists()
    said = capsys.readouterr().out
    assert "stays" in said and "can be removed" in said and "freed" in said
    assert main(["clean", "--project", str(tmp_path)]) == 2
