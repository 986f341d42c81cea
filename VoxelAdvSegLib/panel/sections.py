"""All sections of the panel, from top to bottom."""

from __future__ import annotations

from typing import Any

from VoxelAdvSegLib.panel.installation_section import InstallationSection
from VoxelAdvSegLib.panel.models_section import ModelsSection
from VoxelAdvSegLib.panel.project_section import ProjectSection
from VoxelAdvSegLib.panel.review_section import ReviewSection
from VoxelAdvSegLib.panel.segment_section import SegmentSection
from VoxelAdvSegLib.panel.train_section import TrainSection
from VoxelAdvSegLib.panel.workbench import Workbench


def make_sections(ui: Any, workbench: Workbench) -> list[Any]:
    """The sections on the widgets of the form; they listen to the workbench until their clean_up()."""
    kinds = (ProjectSection, TrainSection, SegmentSection, ReviewSection, ModelsSection, InstallationSection)
    return [kind(ui, workbench) for kind in kinds]
