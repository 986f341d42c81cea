"""A small project, and scans and segmentations of a few hundred voxels to fill it with."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.data.geometry import to_image
from VoxelAdvSegLib.data.organs import PALETTE, Organ
from VoxelAdvSegLib.data.phantoms import box
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.data.volume import Geometry
from VoxelAdvSegLib.inference.output import segmentation_header, write_segmentation
from VoxelAdvSegLib.project.project import Project

SHAPE = (6, 7, 8)
GRID = Geometry(SHAPE, (1.0, 1.5, 2.0), (-3.0, 4.0, 5.0))
LIVER = box(SHAPE, (1, 1, 1), (3, 4, 4))  # 18 voxels
SPLEEN = box(SHAPE, (3, 4, 4), (5, 6, 7))  # 12 voxels
BOTH = {"liver": LIVER, "spleen": SPLEEN}

Masks = Mapping[str, np.ndarray]


def scan_array(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, SHAPE).astype(np.int16)


def write_scan(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_image(scan_array(seed), GRID), str(path))
    return path


def write_map(path: Path, array: np.ndarray, grid: Geometry = GRID) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_image(array.astype(np.uint8), grid), str(path))
    return path


def write_segments(path: Path, masks: Masks, status: str = "completed", grid: Geometry = GRID) -> Path:
    """A .seg.nrrd with one segment for each mask; masks do not overlap."""
    organs = [Organ(name, i, PALETTE[i % 12], terminology_of(name)) for i, name in enumerate(masks, 1)]
    array = np.zeros(grid.shape_zyx, np.uint8)
    for value, mask in enumerate(masks.values(), 1):
        array[mask] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segmentation(array, grid, organs, path)
    if status != "inprogress":
        image = sitk.ReadImage(str(path))
        for key in image.GetMetaDataKeys():
            if key.endswith("_Tags"):
                image.SetMetaData(key, image.GetMetaData(key).replace("Status:inprogress", f"Status:{status}"))
        sitk.WriteImage(image, str(path), useCompression=True)
    return path


def write_layers(path: Path, masks: Masks) -> Path:
    """A .seg.nrrd in which every segment has a layer of its own, so that they may overlap."""
    image = to_image(np.stack([mask.astype(np.uint8) for mask in masks.values()], -1), GRID)
    organs = [Organ(name, 1, PALETTE[i], "") for i, name in enumerate(masks)]
    header = segmentation_header(GRID, organs)
    header |= {f"Segment{layer}_Layer": str(layer) for layer in range(len(organs))}
    for key, text in header.items():
        image.SetMetaData(key, text.replace("inprogress", "completed"))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def write_prediction(folder: Path, masks: Masks = BOTH) -> Path:
    """What a segmentation job leaves for a case."""
    write_segments(folder / "segmentation.seg.nrrd", masks, status="inprogress")
    sitk.WriteImage(to_image(np.full(SHAPE, 0.5, np.float32), GRID), str(folder / "looks_labeled.nii.gz"))
    return folder


def id_of(project: Project, name: str) -> str:
    return next(case.id for case in project.cases if case.name == name)


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "project", "Lebern") as project:
        yield project


@pytest.fixture
def filled(tmp_path, project) -> Callable[[int, int], list[str]]:
    """Adds so many labeled and unlabeled cases to the project, and gives their ids."""

    def fill(labeled: int, unlabeled: int = 0) -> list[str]:
        scans = tmp_path / "scans"
        entries: list = []
        for number in range(labeled + unlabeled):
            image = write_scan(scans / f"scan {number}.nrrd", seed=number)
            label = write_segments(scans / f"scan {number}.seg.nrrd", BOTH) if number < labeled else None
            entries.append(image if label is None else (image, label))
        return project.add_files(entries).added

    return fill
