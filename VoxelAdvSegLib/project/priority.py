"""The order of review: what a correction of each case would teach (evaluation/ranking.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from VoxelAdvSegLib.errors import ProjectError, VoxelAdvSegError
from VoxelAdvSegLib.evaluation.ranking import Candidate, rank
from VoxelAdvSegLib.model_folder import read_about
from VoxelAdvSegLib.project.predictions import Prediction

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project


def rank_predictions(project: Project) -> None:
    """Places of the cases in state "predicted", by the assessments of the model that has predicted last.

    Cases that another model has predicted, or without an assessment, have none; a damaged prediction neither. What
    the model was trained with, and completed cases that it has segmented, count as known.
    """
    waiting = [case for case in project.cases if case.state == "predicted" and case.role == "unlabeled"]
    said = {case.id: found for case in waiting if (found := _assessed(project, case.id)) is not None}
    if not said:
        return
    model = max(said.values(), key=lambda found: found.date).model
    candidates = [
        Candidate(case_id, float(found.assessment["need"]), found.reason, _means(found))
        for case_id, found in said.items()
        if found.model == model and found.assessment is not None
    ]
    done = [case for case in project.cases if case.state == "completed" and case.model == model]
    known = _anchors(project, model)
    known += [mean for case in done if (found := _assessed(project, case.id)) and (mean := _means(found)) is not None]
    sizes = {mean.size for mean in known} | {c.means.size for c in candidates if c.means is not None}
    if len(sizes) > 1:
        candidates, known = [replace(candidate, means=None) for candidate in candidates], []
    places = {ranked.name: (place, ranked.reason) for place, ranked in enumerate(rank(candidates, known), 1)}
    with project.batch():
        for case in waiting:
            place, reason = places.get(case.id, (None, case.reason))
            project.put(replace(case, place=place, reason=reason))


def _anchors(project: Project, model: str) -> list[np.ndarray]:
    """Class means of the scans that the model was trained with; none where it does not tell, or is gone."""
    try:
        rows = read_about(project.model(model).path)["quality"]["anchors"]["means"]
        return [np.array([np.nan if value is None else value for value in row], float) for row in rows]
    except (VoxelAdvSegError, LookupError, TypeError, ValueError):
        return []


def _assessed(project: Project, case_id: str) -> Prediction | None:
    try:
        prediction = project.prediction(case_id)
    except ProjectError:
        return None
    return prediction if prediction is not None and prediction.assessment is not None else None


def _means(prediction: Prediction) -> np.ndarray | None:
    if prediction.means is None:
        return None
    return np.array([np.nan if value is None else value for value in prediction.means], float)
