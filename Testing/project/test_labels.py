"""Accepted labels: versions that stay, their provenance, and what is no label."""

import json

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from Testing.project.conftest import (
    BOTH,
    GRID,
    LIVER,
    SPLEEN,
    write_layers,
    write_map,
    write_prediction,
    write_scan,
    write_segments,
)
from VoxelAdvSegLib.errors import InputError, ProjectError, VoxelAdvSegError
from VoxelAdvSegLib.project import labels
from VoxelAdvSegLib.project.project import Project


@pytest.fixture
def predicted(tmp_path, filled, project):
    """A case with a prediction of liver and spleen."""
    (case_id,) = filled(0, 1)
    project.add_organ("liver")
    project.add_organ("spleen")
    source = write_prediction(tmp_path / "job")
    project.record_prediction(case_id, source, model="runs/20261125-101500", score=0.3, reason="pale")
    return case_id


def test_accepting_moves_the_case_to_the_labeled_with_its_provenance(tmp_path, predicted, project):
    smaller = LIVER.copy()
    smaller[1] = False  # 9 of the 18 voxels: Dice 2 * 9 / 27
    file = write_segments(tmp_path / "corrected.seg.nrrd", {"liver": smaller})
    version = project.accept(predicted, file, decision="corrected")
    assert version.dice == {"liver": pytest.approx(2 / 3), "spleen": 0.0}
    assert version.mean_dice == pytest.approx(1 / 3)
    assert version.model == "runs/20261125-101500"
    case = project.case(predicted)
    assert (case.role, case.state, case.label, case.reason) == ("labeled", "completed", 1, "")
    assert project.label_file(predicted).read_bytes() == file.read_bytes()
    assert project.versions(predicted) == (version,)
    about = json.loads((project.case_folder(predicted) / "labels" / "0001.json").read_text())
    assert about["decision"] == "corrected"
    assert about["date"].endswith("+00:00")
    assert about["mean_proposal_dice"] == pytest.approx(1 / 3)
    assert about["proposal_dice"]["spleen"] == 0.0


def test_an_unchanged_proposal_overlaps_wholly(predicted, project):
    version = project.accept(predicted, project.prediction(predicted).segmentation, decision="accepted")
    assert version.dice == {"liver": 1.0, "spleen": 1.0}


def test_organs_that_neither_has_say_nothing(tmp_path, predicted, project):
    project.add_organ("kidney")
    file = write_segments(tmp_path / "c.seg.nrrd", BOTH)
    version = project.accept(predicted, file, decision="corrected")
    assert version.dice["kidney"] is None
    assert version.mean_dice == 1.0


def test_told_figures_are_taken_as_they_are(tmp_path, predicted, project):
    file = write_segments(tmp_path / "c.seg.nrrd", BOTH)
    version = project.accept(predicted, file, decision="corrected", model="models/other", proposal_dice={"liver": 0.5})
    assert (version.model, version.mean_dice) == ("models/other", 0.5)


def test_a_label_drawn_by_hand_has_no_proposal(tmp_path, predicted, project):
    version = project.accept(predicted, write_segments(tmp_path / "c.seg.nrrd", BOTH), decision="drawn")
    assert (version.model, dict(version.dice), version.mean_dice) == ("", {}, None)


def test_every_version_stays_and_an_earlier_one_comes_back_as_a_new_one(tmp_path, predicted, project):
    first = write_segments(tmp_path / "1.seg.nrrd", {"liver": LIVER})
    second = write_segments(tmp_path / "2.seg.nrrd", {"liver": SPLEEN})
    project.accept(predicted, first, decision="corrected")
    project.accept(predicted, second, decision="corrected")
    restored = project.restore(predicted, 1)
    assert (restored.number, restored.source, restored.decision) == (3, 1, "restored")
    assert project.case(predicted).label == 3
    contents = [version.file.read_bytes() for version in project.versions(predicted)]
    assert contents == [first.read_bytes(), second.read_bytes(), first.read_bytes()]
    with pytest.raises(ProjectError, match="no label version 9"):
        project.restore(predicted, 9)


def test_restoring_is_no_answer_to_a_draft(tmp_path, predicted, project):
    project.accept(predicted, write_segments(tmp_path / "1.seg.nrrd", BOTH), decision="corrected")
    project.save_draft(predicted, lambda path: path.write_bytes(b"half"))
    project.restore(predicted, 1)
    assert project.draft(predicted).file.read_bytes() == b"half"
    assert project.case(predicted).state == "in progress"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: write_segments(path / "l.seg.nrrd", {"heart": LIVER}), "none of the organs"),
        (lambda path: write_segments(path / "l.seg.nrrd", {"liver": LIVER & SPLEEN}), "none of the organs"),
        (lambda path: write_map(path / "l.nii.gz", LIVER), "no Slicer segmentation"),
        (lambda path: write_segments(path / "l.seg.nrrd", BOTH, grid=type(GRID)(GRID.shape_zyx, (1, 1, 1))), "grid"),
        (lambda path: path / "none.seg.nrrd", "no such file"),
        (lambda path: _write(path / "bad.seg.nrrd", b"NRRD0004\nx"), "cannot be read"),
    ],
)
def test_what_cannot_be_a_label_is_refused_and_nothing_changes(tmp_path, predicted, project, make, error):
    project.save_draft(predicted, lambda path: path.write_bytes(b"half"))
    before = project.case(predicted)
    with pytest.raises(InputError, match=error):
        project.accept(predicted, make(tmp_path), decision="corrected")
    assert project.case(predicted) == before
    assert project.versions(predicted) == ()
    assert project.draft(predicted) is not None


def _write(path, content):
    path.write_bytes(content)
    return path


def test_decisions_and_organs_are_needed(tmp_path, project, filled):
    (case_id,) = filled(0, 1)
    file = write_segments(tmp_path / "l.seg.nrrd", BOTH)
    for decision in ("guessed", "restored"):
        with pytest.raises(ProjectError, match="no decision"):
            project.accept(case_id, file, decision=decision)
    with pytest.raises(ProjectError, match="no organs yet"):
        project.accept(case_id, file, decision="drawn")


def test_overlaps_and_strangers_are_named(tmp_path, predicted, project):
    shifted = np.roll(LIVER, 1, axis=2)
    file = write_layers(tmp_path / "l.seg.nrrd", {"liver": LIVER, "spleen": shifted, "helper": LIVER})
    version = project.accept(predicted, file, decision="corrected")
    assert version.notes == (
        f"liver and spleen overlap in {int((LIVER & shifted).sum())} voxels.",
        "Segments that are no organ of the project are left out: helper.",
    )


def test_a_box_cut_to_the_segments_lies_where_it_belongs(tmp_path, predicted, project):
    """As Slicer saves it: the file holds the box around the segments only."""
    origin = tuple(
        o + 1 * s for o, s in zip(GRID.origin_lps_mm, GRID.spacing_xyz_mm, strict=True)
    )  # one voxel in from every side
    grid = type(GRID)((4, 5, 6), GRID.spacing_xyz_mm, origin)
    file = write_segments(tmp_path / "l.seg.nrrd", {n: m[1:5, 1:6, 1:7] for n, m in BOTH.items()}, grid=grid)
    assert project.accept(predicted, file, decision="corrected").dice == {"liver": 1.0, "spleen": 1.0}


def test_a_copy_without_description_is_no_version_and_its_number_is_not_used_again(tmp_path, predicted, project):
    file = write_segments(tmp_path / "l.seg.nrrd", BOTH)
    folder = project.case_folder(predicted) / "labels"
    folder.mkdir(parents=True)
    (folder / "0001.seg.nrrd").write_bytes(b"left by a killed program")
    assert project.versions(predicted) == ()
    assert project.accept(predicted, file, decision="drawn").number == 2
    assert (folder / "0001.seg.nrrd").read_bytes() == b"left by a killed program"


def test_a_damaged_description_is_told(tmp_path, predicted, project):
    project.accept(predicted, write_segments(tmp_path / "l.seg.nrrd", BOTH), decision="drawn")
    (project.case_folder(predicted) / "labels" / "0001.json").write_text('{"date": 1}')
    with pytest.raises(ProjectError, match="description of a label is damaged"):
        project.versions(predicted)


def test_a_full_disk_changes_nothing(tmp_path, predicted, project, monkeypatch):
    before = project.case(predicted)
    file = write_segments(tmp_path / "l.seg.nrrd", BOTH)
    project.save_draft(predicted, lambda path: path.write_bytes(b"half"))

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(labels, "copy_file", refuse)
    with pytest.raises(ProjectError, match="cannot be written"):
        project.accept(predicted, file, decision="corrected")
    assert project.case(predicted).label == before.label
    assert project.draft(predicted) is not None


class Life(RuleBasedStateMachine):
    """A case through anything that can happen to it: what was accepted once is there for good."""

    def __init__(self):
        super().__init__()
        import tempfile
        from pathlib import Path

        self.place = tempfile.TemporaryDirectory()
        root = Path(self.place.name)
        self.files = [
            write_segments(root / "a.seg.nrrd", {"liver": LIVER}),
            write_segments(root / "b.seg.nrrd", {"liver": SPLEEN}),
            write_segments(root / "c.seg.nrrd", BOTH),
            write_segments(root / "bad.seg.nrrd", {"heart": LIVER}),
        ]
        self.prediction = write_prediction(root / "job")
        self.project = Project.create(root / "p", "p")
        self.project.add_organ("liver")
        self.project.add_organ("spleen")
        self.project.add_files([write_scan(root / "1.nrrd", 1), write_scan(root / "2.nrrd", 2)])
        self.accepted = {"case-0001": [], "case-0002": []}
        self.validation = None

    cases = st.sampled_from(["case-0001", "case-0002"])

    def attempt(self, act):
        try:
            return act()
        except VoxelAdvSegError:
            return None

    @rule(case_id=cases, file=st.integers(0, 3), decision=st.sampled_from(["accepted", "corrected", "drawn"]))
    def accept(self, case_id, file, decision):
        if self.attempt(lambda: self.project.accept(case_id, self.files[file], decision=decision)):
            self.accepted[case_id].append(self.files[file].read_bytes())

    @rule(case_id=cases, number=st.integers(1, 3))
    def restore(self, case_id, number):
        if self.attempt(lambda: self.project.restore(case_id, number)):
            self.accepted[case_id].append(self.accepted[case_id][number - 1])

    @rule(case_id=cases, role=st.sampled_from(["labeled", "unlabeled", "validation", "excluded"]), leave=st.booleans())
    def set_role(self, case_id, role, leave):
        before = self.project.case(case_id).role
        case = self.attempt(lambda: self.project.set_role(case_id, role, leave_validation=leave))
        if before == "validation" and role != "validation":
            assert (case is not None) == leave

    @rule(case_id=cases)
    def flag(self, case_id):
        self.project.flag(case_id, "why")

    @rule(case_id=cases)
    def reopen(self, case_id):
        self.attempt(lambda: self.project.reopen(case_id))

    @rule(case_id=cases)
    def draft(self, case_id):
        self.attempt(lambda: self.project.save_draft(case_id, lambda path: path.write_bytes(b"half")))

    @rule(case_id=cases)
    def discard(self, case_id):
        self.project.discard_draft(case_id)

    @rule(case_id=cases)
    def predict(self, case_id):
        state = self.project.case(case_id).state
        self.project.record_prediction(case_id, self.prediction, model="m", score=0.5)
        if state in ("in progress", "completed", "flagged"):
            assert self.project.case(case_id).state == state

    @rule(case_id=cases)
    def skip(self, case_id):
        self.project.skip(case_id)

    @precondition(lambda self: self.validation is None)
    @rule()
    def draw(self):
        self.validation = self.attempt(lambda: self.project.draw_validation(0.5))

    @rule()
    def clean(self):
        self.project.clean([kind.kind for kind in self.project.stored() if kind.removable])

    @rule()
    def remove(self):
        for case_id, accepted in self.accepted.items():
            if accepted:
                assert self.attempt(lambda case_id=case_id: self.project.remove_case(case_id) or True) is None

    @rule()
    def open_again(self):
        self.project.close()
        self.project = Project.open(self.project.path)

    @invariant()
    def no_label_is_lost(self):
        for case_id, accepted in self.accepted.items():
            case = self.project.case(case_id)
            assert [version.file.read_bytes() for version in self.project.versions(case_id)] == accepted
            assert case.label == (len(accepted) or None)
            assert case.role in ("unlabeled", "excluded") or accepted
            assert not (case.state == "completed" and not accepted)

    def teardown(self):
        self.project.close()
        self.place.cleanup()


Life.TestCase.settings = settings(max_examples=10, stateful_step_count=20, deadline=None, derandomize=True)
test_no_label_is_ever_lost = Life.TestCase
