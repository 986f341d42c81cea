"""Keeping a project in order: cases get another name, are found again, and go; earlier labels come back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.panel.case_rows import local_time
from VoxelAdvSegLib.panel.reviewing import Reviewing
from VoxelAdvSegLib.project.labels import LabelVersion
from VoxelAdvSegLib.project.records import Case

NAMED = 3  # cases that a question names, before it says how many more


class Keeping(Reviewing):
    """The part with the care for cases and their labels."""

    def rename_case(self, case_id: str, name: str) -> None:
        self._keep_case(self.the_project().rename_case(case_id, name))

    def locate_case(self, case_id: str, image: str | Path) -> int:
        """Finds a scan again that was moved, and others that went with it; how many in all. Raises InputError."""
        project = self.the_project()
        before = project.case(case_id).image
        self._keep_case(project.relocate_case(case_id, image))
        further = project.follow_move(before, image, self._report)
        self.notify("cases")
        return 1 + len(further)

    def _keep_case(self, case: Case) -> None:
        """The case that is open is shown as it is now, too."""
        if self.review is not None and self.review.case.id == case.id:
            self.review.case = case
        self.notify("cases")

    # --- labels -------------------------------------------------------------------------------

    def label_versions(self, case_id: str) -> list[tuple[int, str]]:
        """Number and words of all labels that a case had, the newest first."""
        current = self.the_project().case(case_id).label
        versions = sorted(self.the_project().versions(case_id), key=lambda version: version.number, reverse=True)
        return [(version.number, version_text(version, version.number == current)) for version in versions]

    def is_begun(self, case_id: str) -> bool:
        """Whether a correction of the case is half done."""
        review = self.review
        is_drawn_on = review is not None and review.case.id == case_id and review.is_changed
        return is_drawn_on or self.the_project().draft(case_id) is not None

    def restore_label(self, case_id: str, number: int) -> None:
        """Makes an earlier label the case's label again, as a new version; a correction that was begun is discarded.

        Raises ProjectError. A case that is open is opened anew, with that label.
        """
        project = self.the_project()
        is_open = self.review is not None and self.review.case.id == case_id
        self.close_review()
        project.restore(case_id, number)
        if project.draft(case_id) is not None:
            project.discard_draft(case_id)
        self.notify("cases")
        if is_open:
            self.next_case(case_id)

    # --- removal ------------------------------------------------------------------------------

    def what_is_removed(self, case_ids: Sequence[str]) -> str:
        """What would go for good with these cases, and what stays, in sentences."""
        cases = [self.the_project().case(case_id) for case_id in case_ids]
        names = ", ".join(case.name for case in cases[:NAMED])
        if len(cases) > NAMED:
            names = _("{names} and {n} more").format(names=names, n=len(cases) - NAMED)
        sentences = [_("Remove {names} from the project?").format(names=names)]
        held = self._held(cases)
        if held:
            sentences.append(_("With it goes for good, from the project folder: {what}.").format(what=held))
        if any(case.role == "validation" for case in cases):
            sentences.append(_("A validation case goes: the scores of earlier models no longer compare."))
        sentences.append(_("Your own scans and labels, outside of the project folder, are never touched."))
        return "\n".join(sentences)

    def _held(self, cases: Sequence[Case]) -> str:
        """What the project folder holds of cases, with numbers."""
        project = self.the_project()
        counts = (
            (_("label versions: {n}"), sum(len(project.versions(case.id)) for case in cases)),
            (_("unfinished corrections: {n}"), sum(project.draft(case.id) is not None for case in cases)),
            (_("predictions: {n}"), sum(project.prediction(case.id) is not None for case in cases)),
            (_("copies of scans: {n}"), sum(case.image.is_relative_to(project.case_folder(case.id)) for case in cases)),
        )
        return ", ".join(words.format(n=count) for words, count in counts if count)

    def remove_cases(self, case_ids: Sequence[str]) -> None:
        """Forgets cases and what the project folder holds of them. Raises RunError while a job may read them."""
        if self.is_segmenting or (self.training is not None and not self.training.state.is_over):
            raise RunError(
                _("no case can be removed now"), found=_("a training or a segmentation is at work"),
                do=_("wait for its end, or stop it"),
            )  # fmt: skip
        self.check_files_are_free()
        if self.review is not None and self.review.case.id in case_ids:
            self.close_review()
        try:
            for case_id in case_ids:
                self.the_project().remove_case(case_id, with_work=True)
        finally:
            self.notify("cases")


def version_text(version: LabelVersion, is_current: bool) -> str:
    """A label in words: when, what the person did, and how much of the proposal was kept."""
    decisions = {
        "accepted": _("accepted as proposed"), "corrected": _("corrected"), "imported": _("imported"),
        "drawn": _("drawn by hand"), "restored": _("restored from version {n}").format(n=version.source),
    }  # fmt: skip
    words = [f"{version.number}: {local_time(version.date)}", decisions[version.decision]]
    if version.mean_dice is not None:
        words.append(_("overlap with the proposal (Dice) {dice}").format(dice=f"{version.mean_dice:.2f}"))
    if is_current:
        words.append(_("the label now"))
    return ", ".join(words)
