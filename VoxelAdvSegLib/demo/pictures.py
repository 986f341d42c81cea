"""Slices as a radiologist looks at them: PNG in the page, outlines and areas on top as SVG paths."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from VoxelAdvSegLib.data.geometry import reorient_geometry, reorientation
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.volume import Geometry

PLANES = ("axial", "coronal")
# Colours of the discriminator map at 0 (looks unlabeled), 0.5 (cannot be told) and 1 (looks labeled).
MAP_COLORS = ((0, 92, 158), (247, 247, 247), (190, 80, 0))
ENOUGH = 0.2  # of an organ's largest area, from which a slice is said to show it
WINDOW_PERCENTILES = (1.0, 99.7)


@dataclass(frozen=True)
class View:
    """Which slice of a scan is shown; spacing_mm: width and height of its pixels."""

    geometry: Geometry
    plane: str
    index: int
    spacing_mm: tuple[float, float]

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The slice (row, column) of an array (z, y, x) on the scan's own grid."""
        turned = reorientation(self.geometry).apply(array)
        return cut_plane(turned, self.plane, self.index)


def cut_plane(array_ras: np.ndarray, plane: str, index: int) -> np.ndarray:
    """A slice in the radiological view: the patient's right on the left, front or head on top."""
    flat = array_ras[index] if plane == "axial" else array_ras[:, index]
    return flat[::-1, ::-1]


def choose_view(label: np.ndarray, geometry: Geometry, plane: str) -> View:
    """The slice that shows most organs of a class-index array (z, y, x), and then most of their area."""
    turn = reorientation(geometry)
    turned, grid = turn.apply(label), reorient_geometry(geometry, turn)
    other = (1, 2) if plane == "axial" else (0, 2)
    shown = np.zeros(turned.shape[0 if plane == "axial" else 1])
    for index in range(1, int(turned.max()) + 1):
        area = (turned == index).sum(other)
        share = area / max(area.max(), 1)
        shown += (share > ENOUGH) + share / 10
    x, y, z = grid.spacing_xyz_mm
    return View(geometry, plane, int(shown.argmax()), (x, y if plane == "axial" else z))


def window(array: np.ndarray) -> np.ndarray:
    """Grey levels as uint8 0 to 255, between two percentiles."""
    low, high = np.percentile(array, WINDOW_PERCENTILES)
    return (np.clip((array - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)


def color_map(values: np.ndarray) -> np.ndarray:
    """0 to 1 as colours uint8 (..., 3): blue below a half, white at it, orange above."""
    channels = [np.interp(values, (0, 0.5, 1), [color[c] for color in MAP_COLORS]) for c in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def draw(
    pixels: np.ndarray,
    spacing_mm: tuple[float, float],
    alt: str,
    areas: np.ndarray | None = None,
    outlines: np.ndarray | None = None,
    organs: Sequence[Organ] = (),
    outline_color: str | None = None,
) -> str:
    """A slice as SVG in millimetres; pixels: uint8 (row, column) or (row, column, 3).

    areas, outlines: class indices (row, column); organs give the colours, unless outline_color does.
    """
    rows, columns = pixels.shape[:2]
    width, height = columns * spacing_mm[0], rows * spacing_mm[1]
    parts = [
        f'<image href="{data_uri(png(pixels))}" width="{width:g}" height="{height:g}" preserveAspectRatio="none"/>'
    ]
    for index, organ in enumerate(organs, 1):
        color = "#{:02x}{:02x}{:02x}".format(*organ.color_rgb)
        if areas is not None and (areas == index).any():
            path = outline_path(areas == index, spacing_mm)
            parts.append(f'<path d="{path}" fill="{color}" fill-opacity="0.6" fill-rule="evenodd"/>')
    for index, organ in enumerate(organs, 1):
        color = outline_color or "#{:02x}{:02x}{:02x}".format(*organ.color_rgb)
        if outlines is not None and (outlines == index).any():
            path = outline_path(outlines == index, spacing_mm)
            parts.append(f'<path d="{path}" fill="none" stroke="{color}" class="outline"/>')
    for text, x, anchor in (("R", 5, "start"), ("L", width - 5, "end")):
        parts.append(f'<text x="{x:g}" y="{height / 2:g}" text-anchor="{anchor}" class="side">{text}</text>')
    frame = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(alt)}"'
    return f'<svg class="slice" {frame}>{"".join(parts)}</svg>'


def outline_path(mask: np.ndarray, spacing_mm: tuple[float, float]) -> str:
    """SVG path along the pixel edges of a mask (row, column): closed loops, so it can be filled too."""
    padded = np.pad(mask.astype(np.int8), 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Each edge runs with the mask on its right: every corner has as many ways in as out.
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        change = np.diff(padded, axis=axis)
        for r, c in np.argwhere(change == sign).tolist():
            if axis == 0:
                edge = ((r, c - 1), (r, c)) if sign == 1 else ((r, c), (r, c - 1))
            else:
                edge = ((r, c), (r - 1, c)) if sign == 1 else ((r - 1, c), (r, c))
            following.setdefault(edge[0], []).append(edge[1])
    loops = []
    while following:
        start = next(iter(following))
        loop, corner = [start], start
        while True:
            ways = following[corner]
            corner_next = ways.pop()
            if not ways:
                del following[corner]
            corner = corner_next
            if corner == start:
                break
            loop.append(corner)
        loops.append(_without_straight(loop))
    x_mm, y_mm = spacing_mm
    return "".join("M" + "L".join(f"{c * x_mm:g} {r * y_mm:g}" for r, c in loop) + "Z" for loop in loops)


def _without_straight(loop: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The corners of a closed loop at which it turns."""
    kept = []
    for before, here, after in zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True):
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1]):
            kept.append(here)
    return kept


def png(pixels: np.ndarray) -> bytes:
    """PNG file of uint8 grey (row, column) or RGB (row, column, 3) (ISO/IEC 15948)."""
    rows, columns = pixels.shape[:2]
    color_type = 0 if pixels.ndim == 2 else 2
    lines = np.ascontiguousarray(pixels, np.uint8).reshape(rows, -1)
    raw = np.pad(lines, ((0, 0), (1, 0))).tobytes()  # filter 0 before every line

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", columns, rows, 8, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def data_uri(file: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(file).decode("ascii")
