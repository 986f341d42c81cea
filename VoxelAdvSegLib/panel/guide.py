"""The one next step, in plain words, from what there is."""

from __future__ import annotations

from slicer.i18n import tr as _

from VoxelAdvSegLib.panel.workbench import Workbench


def next_step(workbench: Workbench) -> str:
    """A sentence that names the button to press, or says that there is nothing to do."""
    project = workbench.project
    if project is None:
        return _("Add a folder with scans to begin: a project is made for it. Or open an earlier one.")
    if not project.cases:
        return _("Add scans: a folder, or what is loaded in the scene. Labels beside them are found.")
    if workbench.training is not None and not workbench.training.state.is_over:
        return _("The training is at work. You may go on working, or close Slicer: it continues.")
    if workbench.review is not None:
        words = _("Look at the segments of {name} and correct them where needed; then press Accept under Review.")
        return words.format(name=workbench.review.case.name)
    waiting = len(workbench.queue().cases)
    if waiting:
        return _("Press Next case under Review: predictions that wait: {n}.").format(n=waiting)
    if workbench.interrupted() is not None:
        return _("The last training did not end as planned: read why under Train, then resume it or train anew.")
    missing = project.can_train()
    if workbench.default_model() is None:
        return missing or _("Everything is ready: press Train with unlabeled scans.")
    if any(case.role == "unlabeled" and case.state == "not started" for case in project.cases):
        return _("Press Segment all unlabeled scans, then review them; or segment a loaded volume.")
    return _("All scans are reviewed. Press Retrain to learn from your corrections, or segment a loaded volume.")
