"""The simulated loop: the same beginning for both choices, corrections that add up, resumable."""

import json
from pathlib import Path

import pytest

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.manifest import read_manifest

SETTINGS = [f"--set={key}={value}" for key, value in TINY.items()]
LABELED, VALIDATION = "ab", "cdefghijk"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, name in enumerate(LABELED + VALIDATION):
        write_scan(tmp_path / "data", name, seed, labeled=True)
    entries = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in LABELED + VALIDATION]
    return write_manifest(tmp_path / "data", training=entries[:2], unlabeled=[], validation=entries[2:])


def test_two_rounds(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sizes = ["--start", "2", "--rounds", "2", "--per-round", "1", "--pool", "4", "--steps", "4", "--seeds", "0"]
    words = ["benchmark", "loop", "--data", str(data), "--output", str(tmp_path / "loop"), *sizes, *SETTINGS]
    assert main(words) == 0
    report = json.loads((tmp_path / "loop" / "loop.json").read_text())
    assert all(len(course) == 3 for courses in report["dice"].values() for course in courses)
    assert report["dice"]["rank"][0][0] == report["dice"]["random"][0][0]
    folder = tmp_path / "loop" / "seed_0"
    cases = {}
    for name in ("start", "rank_1", "rank_2", "random_1", "random_2"):
        manifest = read_manifest(folder / name / "dataset.json", anywhere=True)
        cases[name] = [c.name for c in manifest.training], [c.name for c in manifest.unlabeled]
        assert not manifest.validation and len(manifest.training) + len(manifest.unlabeled) == 6
    order = json.loads((folder / "start" / "round.json").read_text())["order"]
    assert sorted(order) == sorted(cases["start"][1]) and order[0] in cases["rank_1"][0]
    assert set(cases["rank_1"][0]) < set(cases["rank_2"][0]) and len(cases["random_2"][0]) == 4
    made = (folder / "rank_2" / "round.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(words) == 0  # all is there: nothing is trained again
    assert (folder / "rank_2" / "round.json").stat().st_mtime_ns == made
    assert "labeled  rank" in capsys.readouterr().out


def test_too_few_cases_are_told_before_any_training(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["benchmark", "loop", "--data", str(data), "--output", str(tmp_path / "loop")]
    assert main(words) == 2
    assert "29 labeled and validation cases" in capsys.readouterr().err and not (tmp_path / "loop").exists()
