"""Changes of a project's organ list. Labels on the disk stay as they are: their names are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from VoxelAdvSegLib.data.organs import LONGEST_NAME, PALETTE, name_problem, normalized_name
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.records import ProjectOrgan

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project

MOST_ORGANS = 255  # classes are stored in a byte


def set_organs(project: Project, organs: Sequence[ProjectOrgan]) -> None:
    """Raises ProjectError when two organs could mean the same segment, or a name cannot be."""
    seen: dict[str, str] = {}
    for organ in organs:
        _check_name(organ.name)
        for name in {normalized_name(name) for name in (organ.name, *organ.names)}:
            if name in seen:
                raise _twice(organ.name, seen[name])
            seen[name] = organ.name
    if len(organs) > MOST_ORGANS:
        raise ProjectError(
            "there are too many organs", file=project.path, expected=f"at most {MOST_ORGANS}",
            found=str(len(organs)), do="remove those that are not to be segmented",
        )  # fmt: skip
    project.content.organs[:] = organs
    project.save()


def add_organ(
    project: Project, name: str, color_rgb: tuple[int, int, int] | None, terminology: str | None
) -> ProjectOrgan:
    """With the palette's next color and the name's standard code where none is given."""
    color = color_rgb or PALETTE[len(project.organs) % len(PALETTE)]
    organ = ProjectOrgan(name.strip(), color, terminology or terminology_of(name))
    set_organs(project, [*project.organs, organ])
    return organ


def rename_organ(project: Project, old: str, new: str) -> ProjectOrgan:
    """The organ under its new name; segments of its old names still mean it."""
    organ = named(project, old)
    _check_name(new)
    other = next((o for o in project.organs if o is not organ and o.is_called(new)), None)
    if other is not None:
        raise _twice(new, other.name)
    had_standard_code = organ.terminology == terminology_of(organ.name)
    renamed = replace(
        organ,
        name=new.strip(),
        names=_names(new, organ.name, *organ.names),
        terminology=terminology_of(new) if had_standard_code else organ.terminology,
    )
    set_organs(project, [renamed if o is organ else o for o in project.organs])
    return renamed


def merge_organs(project: Project, kept: str, others: Sequence[str]) -> ProjectOrgan:
    """One organ that all their segments mean; where several are in a label, they are united."""
    organ = named(project, kept)
    merged = [named(project, name) for name in others]
    if organ in merged:
        raise ProjectError(
            f"{kept} cannot be merged with itself", expected="another organ", found=kept, do="choose two organs",
        )  # fmt: skip
    names = [name for o in (organ, *merged) for name in (o.name, *o.names)]
    united = replace(organ, names=_names(organ.name, *names))
    set_organs(project, [united if o is organ else o for o in project.organs if o not in merged])
    return united


def recolor_organ(
    project: Project, name: str, color_rgb: tuple[int, int, int], terminology: str | None
) -> ProjectOrgan:
    organ = named(project, name)
    changed = replace(organ, color_rgb=color_rgb, terminology=terminology or organ.terminology)
    set_organs(project, [changed if o is organ else o for o in project.organs])
    return changed


def remove_organ(project: Project, name: str) -> None:
    """Takes an organ off the list; its segments stay in the labels and are left out of trainings."""
    organ = named(project, name)
    set_organs(project, [o for o in project.organs if o is not organ])


def named(project: Project, name: str) -> ProjectOrgan:
    """Raises ProjectError when the project has no such organ."""
    for organ in project.organs:
        if normalized_name(organ.name) == normalized_name(name):
            return organ
    raise ProjectError(
        f"there is no organ '{name}'", file=project.path,
        expected=", ".join(organ.name for organ in project.organs) or "an organ", found="none",
        do="choose an organ of the list",
    )  # fmt: skip


def _names(name: str, *others: str) -> tuple[str, ...]:
    """The other names, each once, without the name itself."""
    seen = {normalized_name(name)}
    kept = []
    for other in others:
        if normalized_name(other) not in seen:
            seen.add(normalized_name(other))
            kept.append(other)
    return tuple(kept)


def _check_name(name: str) -> None:
    found = name_problem(name, LONGEST_NAME)
    if found:
        raise ProjectError(
            "an organ cannot be called so", expected=f"1 to {LONGEST_NAME} characters", found=found,
            do="choose another name",
        )  # fmt: skip


def _twice(name: str, other: str) -> ProjectError:
    return ProjectError(
        f"'{name}' already means {other}", expected="each name for one organ", found="one for two",
        do="choose another name, or merge the two organs",
    )  # fmt: skip
