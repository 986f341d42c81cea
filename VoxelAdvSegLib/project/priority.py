"""The order of review: what a correction of each case would teach (evaluation/ranking.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.evaluation.ranking import Candidate, rank
from VoxelAdvSegLib.project.predictions import Prediction

if TYPE_CHECKING:
    from VoxelAdvSegLib.project.project import Project


def rank_predictions(project: Project) -> None:
    """Places of the cases in state "predicted", by the newest model's assessments; those without one have none.

    Completed cases that the same model has segmented count as known. A damaged prediction has no place.
    """
    waiting = [case for case in project.cases if case.state == "predicted" and case.role == "unlabeled"]
    said = {case.id: _assessed(project, case.id) for case in waiting}
    models = {case.model for case in waiting if said[case.id] is not None}
    done = [case for case in project.cases if case.state == "completed" and case.model in models]
    known = [_means(found) for case in done if (found := _assessed(project, case.id)) is not None]
    candidates = [
        Candidate(case.id, float(found.assessment["need"]), found.reason, _means(found))
        for case in waiting
        if (found := said[case.id]) is not None and found.assessment is not None
    ]
    sizes = {mean.size for mean in known if mean is not None} | {
        c.means.size for c in candidates if c.means is not None
    }
    if len(sizes) > 1:  # of models of other shapes: features cannot be compared
        candidates, known = [replace(candidate, means=None) for candidate in candidates], []
    order = rank(candidates, [mean for mean in known if mean is not None])
    with project.batch():
        for place, ranked in enumerate(order, 1):
            project.put(replace(project.case(ranked.name), place=place, reason=ranked.reason))


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
