"""The classes of a model: what each is called, coloured and coded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Twelve colours that stay apart on grey images, also for colour-blind readers (after Paul Tol's
# "muted" and "bright" schemes), used in order.
PALETTE = (
    (204, 102, 119), (68, 170, 153), (221, 204, 119), (136, 204, 238), (170, 68, 153), (153, 153, 51),
    (102, 153, 238), (238, 136, 102), (17, 119, 51), (187, 187, 187), (136, 34, 85), (51, 34, 136),
)  # fmt: skip

# Words that name a side of the body or of an axis of it: such organs must not be mirrored.
SIDE_WORDS = frozenset(
    "left right l r lt rt anterior posterior superior inferior proximal distal "
    "ant post sup inf prox dist upper lower dorsal ventral cranial caudal".split()
)


LONGEST_NAME = 200  # that a person may type
LONGEST_READ = 20_000  # that a file may bring along
LONGEST_TERMINOLOGY = 2000
BACKGROUND = "background"


@dataclass(frozen=True)
class Organ:
    """One foreground class.

    name: the segment name that labels are matched by; value: voxel value in label maps
    of the data set; color_rgb: 0 to 255; terminology: Slicer's seven-part text, or "".
    """

    name: str
    value: int
    color_rgb: tuple[int, int, int]
    terminology: str = ""


def organs_of(values: dict[str, int], terminology: dict[str, str] | None = None) -> tuple[Organ, ...]:
    """Organs of a name-to-value table, background (value 0) left out, in order of value."""
    ordered = sorted((value, name) for name, value in values.items() if value != 0)
    codes = terminology or {}
    return tuple(
        Organ(name, value, PALETTE[index % len(PALETTE)], codes.get(name, ""))
        for index, (value, name) in enumerate(ordered)
    )


def same_name(first: str, second: str) -> bool:
    """Whether two segment names mean the same organ: case, blanks, "_" and "-" do not count."""
    return normalized_name(first) == normalized_name(second)


def normalized_name(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", name).strip().casefold()


def name_problem(name: str, longest: int = LONGEST_READ) -> str:
    """Why an organ cannot be called so; "" when it can.

    Names go into headers of text, tables and screens: what cannot be seen there, as line breaks or marks
    that turn the writing direction, could say something else than it shows.
    """
    if not normalized_name(name):
        return "an empty name"
    if len(name) > longest:
        return f"{len(name)} characters"
    if not name.isprintable():
        return "characters that cannot be seen"
    if normalized_name(name) == BACKGROUND:
        return f"'{name}', which is all that is no organ"
    return ""


def terminology_problem(text: str) -> str:
    """Why a text cannot be a terminology entry; "" when it can."""
    plain = len(text) <= LONGEST_TERMINOLOGY and text.isprintable() and "|" not in text  # which parts Slicer's tags
    return "" if plain else repr(text[:100])


def names_a_side(organs: Sequence[Organ]) -> list[str]:
    """Names among the organs that say a side (mirror rule, method.md 1.6)."""
    return [organ.name for organ in organs if SIDE_WORDS & set(re.split(r"[^a-z]+", organ.name.casefold()))]
