"""The page's pictures: example phantoms, held-out scans with both predictions, a scan during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from VoxelAdvSegLib.data.manifest import LabeledCase
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.reading import read_label, read_volume
from VoxelAdvSegLib.data.volume import Volume
from VoxelAdvSegLib.demo.pictures import MAP_COLORS, PLANES, choose_view, color_map, cut_plane, draw, window
from VoxelAdvSegLib.demo.story import SEMI, SUPERVISED, Scan, Story

WHITE, BLACK = "#ffffff", "#000000"


def organ_key(organs: Sequence[Organ]) -> str:
    """Colours of the organs with their names."""
    entries = [f"<span><i style='background:rgb{organ.color_rgb}'></i>{escape(organ.name)}</span>" for organ in organs]
    return f"<div class='key'>{''.join(entries)}</div>"


def map_bar() -> str:
    """The discriminator map's colour bar."""
    colors = ",".join(f"rgb{color}" for color in MAP_COLORS)
    return (
        f"<div class='bar'><div style='background:linear-gradient(to right,{colors})'></div>"
        "<p><span>0 looks unlabeled</span><span>0.5</span><span>1 looks labeled</span></p></div>"
    )


def phantom_examples(story: Story) -> str:
    """A labeled and an unlabeled scan, in the scanners they come from."""
    manifest = story.manifest
    figures = []
    for case, what in ((manifest.training[0], "labeled"), (manifest.unlabeled[-1], "unlabeled")):
        volume = read_volume(case.image)
        label = None
        if isinstance(case, LabeledCase):
            label = read_label(case.label, manifest.organs, volume.geometry)
        scanner = case.name[-1].upper()
        for plane in PLANES:
            view = choose_view(_middle(volume) if label is None else label, volume.geometry, plane)
            figures.append(
                _figure(
                    f"Scanner {scanner}, {plane}, {what}",
                    draw(
                        view.cut(window(volume.array)), view.spacing_mm, f"{plane} slice, {what}",
                        outlines=None if label is None else view.cut(label), organs=manifest.organs,
                    ),
                )
            )  # fmt: skip
    return f"<div class='slices'>{''.join(figures)}</div>"


def _middle(volume: Volume) -> np.ndarray:
    """A mask of one voxel in the middle, for a scan of which nothing else is known."""
    mask = np.zeros(volume.array.shape, np.uint8)
    mask[tuple(n // 2 for n in mask.shape)] = 1
    return mask


def scan_pictures(
    scan: Scan, organs: Sequence[Organ], titles: Mapping[str, str], dice: Mapping[str, float | None]
) -> str:
    """Axial and coronal: the scan with the truth, what both methods found, and the discriminator map."""
    grey = window(scan.volume.array)
    figures = []
    for plane in PLANES:
        view = choose_view(scan.reference, scan.volume.geometry, plane)
        image, reference = view.cut(grey), view.cut(scan.reference)
        figures.append(
            _figure(
                f"Scan and truth, {plane}",
                draw(image, view.spacing_mm, f"{plane} slice with the truth", outlines=reference, organs=organs),
            )
        )
        for method in (SUPERVISED, SEMI):
            value = dice[method]
            figures.append(
                _figure(
                    f"{titles[method].capitalize()}" + ("" if value is None else f": Dice {value:.3f}"),
                    draw(
                        image, view.spacing_mm, f"{plane} slice, {titles[method]}",
                        areas=view.cut(scan.predictions[method]), outlines=reference, organs=organs,
                        outline_color=WHITE,
                    ),
                )
            )  # fmt: skip
        mean = scan.looks_means["all organs"]
        figures.append(
            _figure(
                "Discriminator map" + ("" if mean is None else f": mean {mean:.2f}"),
                draw(
                    color_map(view.cut(scan.looks_labeled)), view.spacing_mm, f"{plane} slice, discriminator map",
                    outlines=view.cut(scan.predictions[SEMI]), organs=organs, outline_color=BLACK,
                ),
            )
        )  # fmt: skip
    return f"<div class='slices'>{''.join(figures)}</div>"


def preview_strip(story: Story) -> str:
    """Prediction and discriminator map of one unlabeled scan, as the training went on."""
    organs = story.manifest.organs
    x, y, _ = story.working_spacing_xyz_mm
    previews = story.previews[-4:]
    if not previews:
        return "<p>The training left no preview.</p>"
    index = _fullest_slice(previews[-1].label)
    figures = []
    for preview in previews:
        image = cut_plane(window(preview.image), "axial", index)
        label = cut_plane(preview.label, "axial", index)
        drawn = draw(image, (x, y), f"step {preview.step}", areas=label, organs=organs)
        figures.append(_figure(f"Step {preview.step}: what the model finds", drawn))
    for preview in previews:
        if preview.looks_labeled is not None:
            colors = color_map(cut_plane(preview.looks_labeled, "axial", index))
            figures.append(_figure(f"Step {preview.step}: map", draw(colors, (x, y), f"map at step {preview.step}")))
    return f"<div class='slices'>{''.join(figures)}</div>"


def _fullest_slice(label: np.ndarray) -> int:
    """The axial slice with the most organs, and among those with the largest area of them."""
    return max(range(len(label)), key=lambda z: (len(np.unique(label[z])), int((label[z] > 0).sum())))


def _figure(caption: str, picture: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{picture}</figure>"
