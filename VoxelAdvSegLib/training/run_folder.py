"""Where everything of one training lies, and who may write there."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from VoxelAdvSegLib.config import Config, from_dict, to_dict
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.data.pseudonyms import KEY, read_paths
from VoxelAdvSegLib.errors import RunError

FORMAT = 1


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run; nothing is made before it is needed."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def plan(self) -> Path:
        return self.path / "plan.txt"

    @property
    def memory(self) -> Path:
        return self.path / "memory.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def stop(self) -> Path:
        return self.path / "STOP"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def model(self) -> Path:
        return self.path / "model"


@dataclass(frozen=True)
class RunDescription:
    """What config.json holds: enough to go on with the same numbers.

    data_sha256: of the manifest, "" in runs of before it was noted.
    """

    config: Config
    recipe: Recipe
    data: str
    init: str | None
    organs: list[dict[str, Any]]
    sentences: list[str]
    data_sha256: str = ""


def data_checksum(manifest: Path) -> str:
    """Of the list of cases as it is in the file."""
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


@contextlib.contextmanager
def claimed(folder: RunFolder, resume: bool) -> Iterator[None]:
    """The run folder, made and locked for this process; a STOP meant for an earlier one is removed.

    Raises RunError when another process has it, when it already holds a run and `resume` is
    false, when it holds none and `resume` is true, or when it cannot be written.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise RunError(
            "the run folder is a file", file=folder.path, expected="a folder, or nothing yet", found="a file",
            do="choose another --run",
        )  # fmt: skip
    if resume and not folder.config.exists():
        raise RunError(
            "there is no run to resume", file=folder.path, expected="a run folder with config.json",
            found="no config.json", do="start it without --resume",
        )  # fmt: skip
    with locked(folder.path):
        if folder.config.exists() and not resume:
            raise RunError(
                "the run folder already holds a training", file=folder.path, expected="a new or empty folder",
                found="config.json of an earlier run", do="add --resume to go on with it, or choose another --run",
            )  # fmt: skip
        folder.stop.unlink(missing_ok=True)
        _sweep(folder)
        yield


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The folder, made where it is not there, for this process alone. Raises RunError as `claimed`."""
    lock = FileLock(path / ".lock", timeout=0)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RunError(
            "the run folder is in use", file=path, expected="one training at a time in a folder",
            found="another process that has it", do="wait for it, stop it, or choose another --run",
        ) from error  # fmt: skip
    except OSError as error:
        raise RunError(
            "the run folder cannot be written", file=path, expected="a folder with the right to write",
            found=str(error), do="choose another --run",
        ) from error  # fmt: skip
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: RunFolder) -> None:
    """Removes what a killed process had begun to write; a model that it had put aside gets its place again."""
    aside = folder.path / f".{folder.model.name}.old"  # between the two renames of write_bundle
    if aside.is_dir() and not folder.model.exists():
        aside.rename(folder.model)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(folder.path / f".{folder.model.name}.partial", ignore_errors=True)
    begun = [folder.previews.glob("*.partial*"), folder.last.parent.glob(".*")]  # safetensors has names of its own
    if not folder.cache.is_symlink():  # one that is shared may be written to just now
        begun.append(folder.cache.glob("*.partial*"))
    for path in itertools.chain(*begun):
        path.unlink(missing_ok=True)


def write_description(folder: RunFolder, description: RunDescription) -> None:
    content = {
        "format": FORMAT,
        "data_sha256": description.data_sha256,
        "from_model": description.init is not None,  # which one, and where the data are, stands in key.json
        "organs": description.organs,
        "recipe": description.recipe.to_dict(),
        "config": to_dict(description.config),
        "plan": description.sentences,
    }
    write_text(folder.config, json.dumps(content, indent=1, ensure_ascii=False))
    write_text(folder.plan, "\n".join(description.sentences) + "\n")


def read_description(folder: RunFolder) -> RunDescription:
    """Raises RunError when the file is damaged or of another version."""
    try:
        content = json.loads(folder.config.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise RunError(
                "the run was made by another version", file=folder.config, expected=f"format {FORMAT}",
                found=f"format {content['format']}", do="resume it with the version that began it",
            )  # fmt: skip
        data, init = read_paths(folder.path)
        if content.get("from_model") and init is None:
            raise RunError(
                "the run no longer tells which model it was begun from", file=folder.path / KEY,
                expected="the key as the training wrote it", found="no key", do="start a new training",
            )  # fmt: skip
        return RunDescription(
            config=from_dict(content["config"]),
            recipe=Recipe.from_dict(content["recipe"]),
            data=data or content.get("data", ""),  # in config.json itself in runs of before there was a key
            init=init or content.get("init"),
            organs=[{**organ, "name": str(organ["name"])} for organ in content["organs"]],
            sentences=content["plan"],
            data_sha256=content.get("data_sha256", ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            "the run's configuration is not readable", file=folder.config, expected="the file as it was written",
            found=f"{type(error).__name__}: {error}", do="start a new run folder",
        ) from error  # fmt: skip


def write_text(path: Path, text: str) -> None:
    """The file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def share_cache(run: Path, shared: Path) -> None:
    """One folder of prepared scans for several runs, where the system has links; else each run prepares its own."""
    cache = RunFolder(run).cache
    if not cache.exists():
        run.mkdir(parents=True, exist_ok=True)
        shared.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            cache.symlink_to(shared.absolute(), target_is_directory=True)
