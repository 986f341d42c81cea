"""Nothing that is loaded can run code: no pickle is read, whatever it is called and wherever it lies."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.soak_record import record
from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.reading import reading_apart
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.jobs.previews import read_preview

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = [f"--set={key}={value}" for key, value in {**TINY, "checkpoint_every": 1, "preview_every": 1}.items()]
LOADERS = frozenset(("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"))
RUNS_CODE = frozenset(("eval", "exec", "compile", "__import__"))


@pytest.fixture(scope="module", autouse=True)
def readers():
    with reading_apart():
        yield


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.file),)


def test_what_is_planted_goes_off(tmp_path: Path):
    """That the tests below can fail."""
    torch.save(Planted(tmp_path / "planted"), tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "planted").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, and a run of one step on it."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, name in enumerate("abcdef"):
        write_scan(folder / "data", name, seed, labeled=name in "abf")
    data = write_manifest(folder / "data")
    assert main(["train", "--data", str(data), "--run", str(folder / "run"), "--steps", "1", *SETTINGS]) == 0
    return folder


def replace_with_pickle(file: Path, planted: Path) -> None:
    if file.suffix == ".npy":
        np.save(file, np.array([Planted(planted)], object), allow_pickle=True)
    elif file.suffix == ".npz":
        np.savez(file, image=np.array([Planted(planted)], object), label=np.array([Planted(planted)], object))
    elif file.suffix == ".safetensors":
        torch.save(Planted(planted), file)
    else:
        file.write_bytes(pickle.dumps(Planted(planted)))


PLACES = ("*", "cache/*", "checkpoints/*", "model/*.safetensors")


@pytest.mark.trust
@pytest.mark.parametrize("place", PLACES)
def test_pickles_in_the_place_of_the_files_of_a_run(trained: Path, tmp_path: Path, capfd, place: str):
    """Resuming, segmenting, evaluating and looking at previews: each refuses them or makes the file anew."""
    run, planted = tmp_path / "run", tmp_path / "planted"
    shutil.copytree(trained / "run", run)
    files = [file for file in sorted(run.rglob(place)) if file.is_file()]
    for file in files:
        replace_with_pickle(file, planted)
    for beside in ("model", "checkpoints", "."):
        torch.save(Planted(planted), run / beside / "student.pt")
        torch.save(Planted(planted), run / beside / "last.pth")
    data, scan = str(trained / "data" / "dataset.json"), str(trained / "data" / "images" / "c.nii.gz")
    codes = {}
    for words in (
        ["segment", "--model", str(run / "model"), "--input", scan, "--output", str(tmp_path / "o")],
        ["train", "--data", data, "--run", str(run), "--resume"],  # a finished one writes its model again
    ):
        codes[words[0]] = main(words)
        said = capfd.readouterr().err
        assert codes[words[0]] in (0, 2) and "Traceback" not in said, said
    assert codes == {"train": 2 * (place in ("*", "checkpoints/*")), "segment": 2 * (place == "*" or "model" in place)}
    for file in run.rglob("*.npz"):
        if place == "*":
            with pytest.raises(InputError):
                read_preview(file)
    assert not planted.exists()
    record("No pickle is ever loaded", f"{len(files)} of a run's files replaced ({place})")


HOSTILE: dict[str, Callable[[dict], object]] = {
    "a million filters": lambda c: c["config"]["network"].update(filters=1_000_000),
    "a patch of 10^18 voxels": lambda c: c["config"]["patches"].update(patch=[10**6 - 10**6 % 16] * 3),
    "a batch of 10^9": lambda c: c["config"]["patches"].update(batch_labeled=10**9),
    "filters that are a text": lambda c: c["config"]["network"].update(filters="many"),
    "no configuration": lambda c: c.pop("config"),
    "a list": lambda c: c.update(config=[]),
    "organs that are none": lambda c: c.update(organs=[1, 2]),
    "a recipe with a spacing of 0": lambda c: c["recipe"].update(spacing_xyz_mm=[0, 0, 0]),
    "a recipe with 10^12 voxels": lambda c: c["recipe"].update(shape_xyz=[10_000] * 3),
    "a recipe of texts": lambda c: c["recipe"].update(sd="x", intensity="fixed"),
    "a recipe that is no table": lambda c: c.update(recipe=5),
    "of version 99": lambda c: c.update(format=99),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_sizes_and_kinds_in_a_runs_settings_are_checked(trained: Path, tmp_path: Path, capfd, name: str):
    shutil.copytree(trained / "run", tmp_path / "run", ignore=shutil.ignore_patterns("cache"))
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    HOSTILE[name](content)
    (tmp_path / "run" / "config.json").write_text(json.dumps(content))
    code = main(["train", "--data", str(trained / "data" / "dataset.json"), "--run", str(tmp_path / "run"), "--resume"])
    said = capfd.readouterr().err
    assert code == 2 and "Traceback" not in said and len(re.findall(r"^\w+Error: ", said, re.M)) == 1, said


def test_the_source_loads_no_pickle_and_runs_no_text():
    wrong = []
    for file in [*(REPOSITORY / "VoxelAdvSegLib").rglob("*.py"), *(REPOSITORY / "VoxelAdvSeg").rglob("*.py")]:
        wrong += [f"{file.name}:{line}: {what}" for line, what in dangers(ast.parse(file.read_text("utf-8")))]
    assert wrong == []


def dangers(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names} | {
                (getattr(node, "module", "") or "").partition(".")[0]
            }
            found += [(node.lineno, name) for name in names & LOADERS]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            allowed = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called in RUNS_CODE or called.endswith("torch.load") or allowed.get("allow_pickle", "False") != "False":
                found.append((node.lineno, called))
    return found


def test_dangers_are_seen():
    code = ["import pickle", "from joblib import load", "np.load(x, allow_pickle=True)", "torch.load(x)", "eval(x)"]
    assert len(dangers(ast.parse("\n".join([*code, "np.load(x, allow_pickle=False)"])))) == len(code)
