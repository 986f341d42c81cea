"""Who may write into a run folder, and what is told when nobody can."""

from pathlib import Path

import pytest

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.training.run_folder import RunFolder, claimed, read_description


def test_a_stop_is_for_the_run_that_is_claimed(tmp_path: Path):
    """An old STOP is removed at once; one that comes while the data are prepared stays."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.stop.touch()
    with claimed(folder, resume=False):
        assert not folder.stop.exists()


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
