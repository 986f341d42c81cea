"""What a project knows of its cases and organs, and how it stands in project.json."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from VoxelAdvSegLib.data.organs import Organ, normalized_name

ROLES = ("labeled", "unlabeled", "validation", "excluded")
STATES = ("not started", "predicted", "in progress", "completed", "flagged")
CASE_ID = re.compile(r"case-\d{4,7}")


@dataclass(frozen=True)
class Case:
    """One scan of the project.

    id: pseudonym, the only name that leaves the project folder; name: what the person sees;
    image: absolute path; label: number of the current label version, None without; score: 0 to 1,
    1 where the prediction is certain; reason: why it has this score or state, in plain words;
    model: id of the model that predicted it; changed: UTC time (ISO) of the last change; content:
    hash of the voxels; skipped: put back in the queue by the person; predicted: probable mean Dice with the ends
    of its 90 % interval, None where the model does not say; unlike: a scan of a kind that the model does not
    know; place: in the order of what a correction would teach, from 1, None before that was reckoned.
    """

    id: str
    name: str
    image: Path
    role: str
    state: str
    label: int | None = None
    score: float | None = None
    reason: str = ""
    model: str = ""
    changed: str = ""
    content: str = ""
    skipped: bool = False
    predicted: tuple[float, float, float] | None = None
    unlike: bool = False
    place: int | None = None

    @property
    def has_usable_label(self) -> bool:
        """Whether a training or a validation may read the label: accepted, and not flagged since."""
        return self.label is not None and self.state != "flagged" and self.role in ("labeled", "validation")


@dataclass(frozen=True)
class ProjectOrgan:
    """An organ of the project.

    names: other segment names that mean it, kept when it is renamed or merged, so that earlier
    labels still count; terminology: Slicer's seven-part text.
    """

    name: str
    color_rgb: tuple[int, int, int]
    terminology: str
    names: tuple[str, ...] = ()

    def is_called(self, name: str) -> bool:
        return normalized_name(name) in {normalized_name(known) for known in (self.name, *self.names)}


@dataclass
class Content:
    """All of project.json."""

    id: str
    name: str
    created: str
    organs: list[ProjectOrgan] = field(default_factory=list)
    cases: dict[str, Case] = field(default_factory=dict)
    next_case: int = 1
    validation: dict[str, Any] | None = None  # the draw: fraction, date, cases
    rounds: dict[str, dict[str, Any]] = field(default_factory=dict)  # by run
    model_names: dict[str, str] = field(default_factory=dict)  # what a person calls them, by model id
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def training_organs(self) -> tuple[Organ, ...]:
        """The organs as the library knows them, with values 1, 2, ..."""
        return tuple(
            Organ(organ.name, value, organ.color_rgb, organ.terminology) for value, organ in enumerate(self.organs, 1)
        )


def now() -> str:
    """UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def to_json(content: Content, folder: Path) -> dict[str, Any]:
    """The content as JSON; images inside the project folder are written relative to it."""
    return {
        "id": content.id,
        "name": content.name,
        "created": content.created,
        "organs": [
            {"name": o.name, "color_rgb": list(o.color_rgb), "terminology": o.terminology, "names": list(o.names)}
            for o in content.organs
        ],
        "cases": [_case_to_json(case, folder) for case in content.cases.values()],
        "next_case": content.next_case,
        "validation": content.validation,
        "rounds": content.rounds,
        "model_names": content.model_names,
        "settings": content.settings,
    }


def from_json(fields: Mapping[str, Any], folder: Path) -> Content:
    """Raises ValueError, TypeError or KeyError, with words, when something cannot be."""
    content = Content(
        id=_text(fields, "id"),
        name=_text(fields, "name"),
        created=_text(fields, "created"),
        organs=[_organ(entry) for entry in fields["organs"]],
        next_case=int(fields["next_case"]),
        validation=fields["validation"],
        rounds=_table(fields, "rounds"),
        model_names=_table(fields, "model_names"),
        settings=_table(fields, "settings"),
    )
    for entry in fields["cases"]:
        case = _case(entry, folder)
        if case.id in content.cases:
            raise ValueError(f"the case {case.id} stands twice")
        content.cases[case.id] = case
    return content


def _case_to_json(case: Case, folder: Path) -> dict[str, Any]:
    inside = case.image.is_relative_to(folder)
    return {
        "id": case.id,
        "name": case.name,
        "image": case.image.relative_to(folder).as_posix() if inside else str(case.image),
        "role": case.role,
        "state": case.state,
        "label": case.label,
        "score": case.score,
        "reason": case.reason,
        "model": case.model,
        "changed": case.changed,
        "content": case.content,
        "skipped": case.skipped,
        "predicted": None if case.predicted is None else list(case.predicted),
        "unlike": case.unlike,
        "place": case.place,
    }


def _case(fields: Mapping[str, Any], folder: Path) -> Case:
    label, score = fields["label"], fields["score"]
    case = Case(
        id=_text(fields, "id"),
        name=_text(fields, "name"),
        image=_image(_text(fields, "image"), folder),
        role=_text(fields, "role"),
        state=_text(fields, "state"),
        label=None if label is None else int(label),
        score=None if score is None else float(score),
        reason=_text(fields, "reason"),
        model=_text(fields, "model"),
        changed=_text(fields, "changed"),
        content=_text(fields, "content"),
        skipped=bool(fields["skipped"]),
        # Projects of earlier versions do not have the rest.
        predicted=_three(fields.get("predicted")),
        unlike=bool(fields.get("unlike", False)),
        place=None if fields.get("place") is None else int(fields["place"]),
    )
    if not CASE_ID.fullmatch(case.id):
        raise ValueError(f"a case is called {case.id!r}")
    if case.role not in ROLES or case.state not in STATES:
        raise ValueError(f"{case.id} has the role {case.role!r} and the state {case.state!r}")
    if case.label is not None and case.label < 1:
        raise ValueError(f"{case.id} has the label version {case.label}")
    return case


def _three(values: Any) -> tuple[float, float, float] | None:
    if values is None:
        return None
    value, low, high = map(float, values)
    return value, low, high


def _image(text: str, folder: Path) -> Path:
    path = Path(text)
    if path.is_absolute():
        return path
    if not text or ".." in PurePath(text).parts:
        raise ValueError(f"an image is at {text!r}")
    return folder / path


def _organ(fields: Mapping[str, Any]) -> ProjectOrgan:
    red, green, blue = (int(part) for part in fields["color_rgb"])
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"an organ has the color {fields['color_rgb']}")
    names = fields["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("the other names of an organ are not a list of texts")
    return ProjectOrgan(_text(fields, "name"), (red, green, blue), _text(fields, "terminology"), tuple(names))


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str):
        raise TypeError(f"'{key}' is {type(value).__name__}, not a text")
    return value


def _table(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = fields[key]
    if not isinstance(value, dict):
        raise TypeError(f"'{key}' is {type(value).__name__}, not a table")
    return value
