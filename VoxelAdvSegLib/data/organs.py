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


def names_a_side(organs: Sequence[Organ]) -> list[str]:
    """Names among the organs that say a side (mirror rule, method.md 1.6)."""
    return [organ.name for organ in organs if SIDE_WORDS & set(re.split(r"[^a-z]+", organ.name.casefold()))]
