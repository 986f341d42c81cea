"""Who may write into a run folder, and what is told when nobody can."""

from pathlib import Path

import pytest

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.training.run_folder import RunFolder, claimed, read_description, share_cache


def test_a_stop_is_for_the_run_that_is_claimed(tmp_path: Path):
    """An old STOP is removed at once; one that comes while the data are prepared stays."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.stop.touch()
    with claimed(folder, resume=False):
        assert not folder.stop.exists()


def test_what_a_killed_process_had_begun_is_removed_and_what_it_put_aside_is_put_back(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    begun = ["cache/5f.image.77-1234.partial.npy", "previews/.step_000003.partial.npz",
             "checkpoints/.last.safetensors.partial", "checkpoints/.tmpa81Xq0",
             ".model.partial/student.safetensors"]  # fmt: skip
    kept = ["cache/5f.image.npy", "previews/step_000003.npz", "checkpoints/last.safetensors", "config.json"]
    for name in (*begun, *kept, ".model.old/model.json"):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_text(name)
    with claimed(folder, resume=True):
        files = {p.relative_to(folder.path).as_posix() for p in folder.path.rglob("*") if p.is_file()}
    assert files == {*kept, "model/model.json", ".lock"}


def test_a_shared_cache_is_left_alone(tmp_path: Path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "5f.image.77-1234.partial.npy").touch()
    share_cache(tmp_path / "run", tmp_path / "shared")
    with claimed(RunFolder(tmp_path / "run"), resume=False):
        assert len(list((tmp_path / "shared").iterdir())) == 1


def test_a_failure_within_is_not_blamed_on_the_folder(tmp_path: Path):
    with pytest.raises(PermissionError, match="scan"), claimed(RunFolder(tmp_path / "run"), resume=False):
        raise PermissionError("the scan may not be read")
    with claimed(RunFolder(tmp_path / "run"), resume=False):
        pass  # and the folder is free again


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, place: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as caught, claimed(RunFolder(tmp_path / place), resume=False):
        raise AssertionError("never reached")
    assert "run folder" in caught.value.what and "another --run" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 2}', '{"format": 1, "config": []}'])
def test_a_damaged_description_is_told(tmp_path: Path, content: str):
    folder = RunFolder(tmp_path)
    folder.config.write_text(content)
    with pytest.raises(RunError) as caught:
        read_description(folder)
    assert "config.json" in str(caught.value)
