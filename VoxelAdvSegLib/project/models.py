"""The models of a project: those its trainings left, and those that were imported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelAdvSegLib.data.pseudonyms import read_paths
from VoxelAdvSegLib.errors import ProjectError, VoxelAdvSegError
from VoxelAdvSegLib.model_folder import ABOUT, CARD, LARGEST_TEXT, read_about
from VoxelAdvSegLib.project import model_file, runs
from VoxelAdvSegLib.project.disk import PARTIAL, move, read_json, remove, written_or_told

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

FOLDER = "models"
LONGEST_NAME = 60
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # no file names on Windows


@dataclass(frozen=True)
class ModelOrgan:
    name: str
    color_rgb: tuple[int, int, int]
    terminology: str


@dataclass(frozen=True)
class Model:
    """id: folder within the project ("runs/20261125-101500", "models/liver"); path: the model folder itself;
    origin: "trained here" or "imported"; dice: of its validation, by organ and "mean"; problem: why it
    cannot be used, or "" (then organs, provenance and dice are empty); checksum: of all its weights."""

    id: str
    path: Path
    name: str
    origin: str
    date: str = ""
    organs: tuple[ModelOrgan, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    dice: Mapping[str, float | None] = field(default_factory=dict)
    card: str = ""
    checksum: str = ""
    problem: str = ""


def list_models(project: Project) -> tuple[Model, ...]:
    """Newest training first, then the imported ones by name. Weights are not read.

    A canceled training has no model, even where its process had the time to write one.
    """
    trained = [
        _read(project, f"{runs.FOLDER}/{folder.name}", folder / "model", "trained here")
        for folder in reversed(runs.run_folders(project.path))
        if (folder / "model" / ABOUT).is_file() and not (folder / runs.CANCELLED).exists()
    ]
    place = project.path / FOLDER
    folders = sorted(place.iterdir()) if place.is_dir() else []
    imported = [
        _read(project, f"{FOLDER}/{folder.name}", folder, "imported")
        for folder in folders
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith(".")
    ]
    return (*trained, *sorted(imported, key=lambda model: model.name.casefold()))


def find_model(project: Project, model_id: str) -> Model:
    """Raises ProjectError when there is none of that id."""
    for model in list_models(project):
        if model.id == model_id:
            return model
    raise ProjectError(
        "there is no such model in the project", file=project.path, expected="a model of the list",
        found=model_id, do="choose another model",
    )  # fmt: skip


def rename_model(project: Project, model_id: str, name: str) -> Model:
    find_model(project, model_id)
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ProjectError(
            "a model cannot be called so", expected=f"1 to {LONGEST_NAME} characters", found=repr(name)[:100],
            do="choose another name",
        )  # fmt: skip
    project.content.model_names[model_id] = name.strip()
    project.save()
    return find_model(project, model_id)


def export_model(project: Project, model_id: str, file: Path) -> Path:
    """One zip file; an older one of the name is replaced. Raises BundleError when the model is damaged."""
    if file.suffix.lower() != ".zip":
        file = file.with_name(f"{file.name}.zip")
    model_file.pack(find_model(project, model_id).path, file)
    return file


def import_model(project: Project, source: Path, name: str | None) -> Model:
    """The model of an exported file or a model folder. Raises BundleError, and then nothing was added."""
    name = (name or source.stem).strip()[:LONGEST_NAME] or "model"
    place = project.path / FOLDER
    folder = place / _free_name(place, name)
    partial = place / f".{folder.name}{PARTIAL}"
    with written_or_told(place):
        place.mkdir(exist_ok=True)
        remove(partial)
    try:
        model_file.unpack(source, partial)
        checksum = _checksum(read_about(partial))
        same = next((model for model in list_models(project) if model.checksum == checksum), None)
        if same is not None:
            raise ProjectError(
                "the model is in the project already", file=source, expected="another model",
                found=f"the weights of '{same.name}'", do=f"use '{same.name}'",
            )  # fmt: skip
        with written_or_told(folder):
            move(partial, folder)
    finally:
        with written_or_told(partial):
            remove(partial)
    project.content.model_names[f"{FOLDER}/{folder.name}"] = name
    project.save()
    return find_model(project, f"{FOLDER}/{folder.name}")


def needed_by(project: Project, model_id: str) -> list[str]:
    """What would refer to nothing without the model, in words."""
    reasons = []
    usable = [model.id for model in list_models(project) if not model.problem]
    if usable == [model_id]:
        reasons.append("it is the only model of the project")
    predictions = sum(case.model == model_id and case.state == "predicted" for case in project.cases)
    if predictions:
        reasons.append(f"{predictions} predictions that wait for review are its")
    labels = sum(version.model == model_id for case in project.cases for version in project.versions(case.id))
    if labels:
        reasons.append(f"{labels} labels were made from its proposals")
    folder = find_model(project, model_id).path
    heirs = [run.name for run in runs.run_folders(project.path) if _begun_from(run) in (folder, folder.parent)]
    if heirs:
        reasons.append(f"trainings went on from it: {', '.join(heirs)}")
    return reasons


def delete_model(project: Project, model_id: str, even_if_needed: bool) -> None:
    """Removes the model; the diary and checkpoints of its training stay. Raises ProjectError when it is needed."""
    model = find_model(project, model_id)
    if not even_if_needed:
        check_not_needed(project, model_id)
    gone = model.path.with_name(f".{model.path.name}{PARTIAL}")
    with written_or_told(model.path):
        remove(gone)
        move(model.path, gone)
        remove(gone)
    project.content.model_names.pop(model_id, None)
    project.save()


def check_not_needed(project: Project, model_id: str) -> None:
    """Raises ProjectError that tells what would refer to nothing without the model."""
    model = find_model(project, model_id)
    reasons = needed_by(project, model_id)
    if reasons:
        raise ProjectError(
            f"the model '{model.name}' is still needed", file=model.path, expected="a model that nothing refers to",
            found="; ".join(reasons), do="export it first, then delete it in spite of this",
        )  # fmt: skip


def _read(project: Project, model_id: str, folder: Path, origin: str) -> Model:
    name = project.content.model_names.get(model_id) or _default_name(folder, origin)
    try:
        about = read_about(folder)
        provenance = about["provenance"]
        dice = provenance.get("validation_dice") or {}
        return Model(
            id=model_id, path=folder, name=name, origin=origin, date=str(provenance.get("date", "")),
            organs=tuple(_organ(fields) for fields in about["organs"]),
            provenance=provenance,
            dice={str(k): None if v is None else float(v) for k, v in dice.items()},
            card=_card(folder), checksum=_checksum(about),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Model(model_id, folder, name, origin, problem=f"{ABOUT} is damaged: {error}")
    except VoxelAdvSegError as error:
        return Model(model_id, folder, name, origin, problem=f"{error.what}: {error.found}")


def _organ(fields: Mapping[str, Any]) -> ModelOrgan:
    red, green, blue = (int(part) for part in fields["color_rgb"])
    return ModelOrgan(fields["name"], (red, green, blue), str(fields.get("terminology", "")))


def _card(folder: Path) -> str:
    file = folder / CARD
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(LARGEST_TEXT)
    except (OSError, ValueError):
        return ""


def _checksum(about: Mapping[str, Any]) -> str:
    return json.dumps(about["sha256"], sort_keys=True)


def _default_name(folder: Path, origin: str) -> str:
    return f"training {folder.parent.name}" if origin == "trained here" else folder.name


def _free_name(place: Path, name: str) -> str:
    """A folder name that every system allows and that is not taken."""
    plain = re.sub(r"[^\w\-]+", "-", name).strip("-_")[:LONGEST_NAME] or "model"
    if RESERVED.fullmatch(plain):
        plain = f"model-{plain}"
    number, free = 1, plain
    while (place / free).exists():
        number += 1
        free = f"{plain}-{number}"
    return free


def _begun_from(run: Path) -> Path | None:
    _, init = read_paths(run)
    if init is None:
        try:
            init = read_json(run / "config.json")["init"]  # where it stood before runs had a key
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return Path(init) if isinstance(init, str) else None
