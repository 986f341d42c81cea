"""The organ list: segments mean organs by name and code, whatever is renamed, merged or recolored."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Testing.project.conftest import BOTH, GRID, LIVER, SPLEEN, write_layers, write_scan, write_segments
from VoxelAdvSegLib.data.labels import read_label
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.terminology import TISSUE, terminology_of
from VoxelAdvSegLib.errors import InputError, ProjectError
from VoxelAdvSegLib.project import organs as organ_list
from VoxelAdvSegLib.project.records import Content, ProjectOrgan
from VoxelAdvSegLib.project.segmentation import find_organ, match_segments


def training_labels(project):
    """Class indices by case, as a training reads them."""
    manifest = read_manifest(project.write_manifest(), anywhere=True)
    return {case.name: read_label(case.label, manifest.organs, GRID) for case in manifest.training}


def test_organs_found_in_labels_get_color_and_standard_code(filled, project):
    filled(1)
    liver, spleen = project.organs
    assert liver.terminology == terminology_of("liver")
    assert "10200004^Liver" in liver.terminology
    assert liver.color_rgb != spleen.color_rgb
    assert [organ.value for organ in project.training_organs] == [1, 2]


def test_a_segment_means_an_organ_by_name_or_else_by_code():
    liver = ProjectOrgan("Leber", (1, 2, 3), terminology_of("liver"), names=("segment 1",))
    left = ProjectOrgan("left kidney", (1, 2, 3), terminology_of("left kidney"))
    right = ProjectOrgan("right kidney", (1, 2, 3), terminology_of("right kidney"))
    other = ProjectOrgan("lump", (1, 2, 3), str(TISSUE))
    organs = [liver, left, right, other]
    assert find_organ(organs, "LEBER ") is liver
    assert find_organ(organs, "Segment_1") is liver
    assert find_organ(organs, "hepar", terminology_of("liver")) is liver
    assert find_organ(organs, "Niere li", terminology_of("left kidney")) is left
    assert find_organ(organs, "Niere", terminology_of("kidney")) is None  # no side: neither of the two
    assert find_organ(organs, "anything", str(TISSUE)) is None  # the code of every new segment
    assert find_organ(organs, "spleen", "") is None
    assert find_organ([liver, ProjectOrgan("x", (0, 0, 0), liver.terminology)], "y", liver.terminology) is None
    # a name says more than a code that was left as it was
    assert find_organ(organs, "right kidney", terminology_of("left kidney")) is right


def test_a_renamed_organ_keeps_its_labels(filled, project):
    (case_id,) = filled(1)
    before = training_labels(project)[case_id]
    file = project.label_file(case_id)
    content = file.read_bytes()
    renamed = project.rename_organ("liver", "Leber rechts & links")
    assert renamed.names == ("liver",)
    project.rename_organ("spleen", "liver 2")
    assert np.array_equal(training_labels(project)[case_id], before)
    assert file.read_bytes() == content
    assert project.organ_of("LIVER").name == "Leber rechts & links"
    project.rename_organ("Leber rechts & links", "liver")
    project.rename_organ("liver 2", "spleen")
    manifest = read_manifest(project.write_manifest(), anywhere=True)
    assert manifest.training[0].label == file  # the accepted file itself again


def test_merged_organs_are_united_in_every_label(tmp_path, filled, project):
    first, second = filled(2)
    project.accept(second, write_layers(tmp_path / "l.seg.nrrd", {"spleen": SPLEEN}), decision="corrected")
    merged = project.merge_organs("liver", "spleen")
    assert merged.names == ("spleen",)
    assert [organ.name for organ in project.organs] == ["liver"]
    labels = training_labels(project)
    assert np.array_equal(labels[first] == 1, LIVER | SPLEEN)
    assert np.array_equal(labels[second] == 1, SPLEEN)
    assert len(project.versions(second)) == 2


def test_a_standard_code_follows_the_name_and_a_chosen_one_stays(project):
    project.add_organ("lever")
    assert "Liver" in project.rename_organ("lever", "liver").terminology
    project.recolor_organ("liver", (9, 8, 7), terminology_of("spleen"))
    organ = project.rename_organ("liver", "kidney")
    assert organ.terminology == terminology_of("spleen")
    assert organ.color_rgb == (9, 8, 7)


def test_a_removed_organ_is_left_out_of_trainings_and_stays_in_the_label(filled, project):
    (case_id,) = filled(1)
    project.remove_organ("liver")
    assert np.array_equal(training_labels(project)[case_id] == 1, SPLEEN)
    project.add_organ("liver")
    labels = training_labels(project)[case_id]
    assert np.array_equal(labels == 2, LIVER)


def test_a_label_without_any_organ_left_is_told_with_the_case(filled, project):
    filled(1)
    project.remove_organ("liver")
    project.remove_organ("spleen")
    project.add_organ("kidney")
    with pytest.raises(InputError, match="the label of scan 0 has none of the project's organs"):
        project.write_manifest()


@pytest.mark.parametrize("name", ["", "  ", "_-", "x" * 201, "a\nb", "a\x00", "Background", "‮"])
def test_names_that_cannot_be_are_refused(project, name):
    project.add_organ("liver")
    for act in (lambda: project.add_organ(name), lambda: project.rename_organ("liver", name)):
        with pytest.raises(ProjectError, match="cannot be called so"):
            act()
    assert [organ.name for organ in project.organs] == ["liver"]


def test_no_name_may_mean_two_organs(project):
    project.add_organ("liver")
    project.add_organ("spleen")
    project.rename_organ("liver", "Leber")
    for name in ("spleen", "SPLEEN_", "Liver"):
        with pytest.raises(ProjectError, match="already means"):
            project.add_organ(name)
    with pytest.raises(ProjectError, match="already means"):
        project.rename_organ("spleen", "liver")
    with pytest.raises(ProjectError, match="no organ 'x'"):
        project.remove_organ("x")
    with pytest.raises(ProjectError, match="with itself"):
        project.merge_organs("Leber", "leber")


def test_strange_names_of_segments_do_no_harm(tmp_path, project):
    names = ["lé🫀ver", "a/b|c~d", "مشروع", "x" * 10_000, "background"]
    masks = {name: np.zeros_like(LIVER) for name in names}
    for layer, mask in enumerate(masks.values()):
        mask[layer, 0, 0] = True
    scan = write_scan(tmp_path / "a.nrrd")
    added = project.add_files([(scan, write_layers(tmp_path / "a.seg.nrrd", masks))])
    assert added.problems == []
    assert [organ.name for organ in project.organs] == names[:-1]
    manifest = read_manifest(project.write_manifest(), anywhere=True)
    label = read_label(manifest.training[0].label, manifest.organs, GRID)
    assert np.bincount(label.ravel())[1:].tolist() == [1] * 4


organ_names = st.sampled_from(["liver", "Leber", "spleen", "kidney", "LIVER", "left kidney", "x", "y"])
changes = st.lists(
    st.tuples(st.sampled_from(["add", "rename", "merge", "remove"]), organ_names, organ_names), max_size=12
)


class ListOnly:
    """The part of a project that its organ list needs."""

    def __init__(self):
        self.path = Path()
        self.content = Content("", "", "")

    @property
    def organs(self):
        return tuple(self.content.organs)

    def save(self):
        """Nothing: the list itself is looked at."""


@given(changes)
def test_whatever_is_done_to_the_list_a_name_means_one_organ_and_none_is_forgotten(changes):
    project = ListOnly()
    organ_list.add_organ(project, "liver", None, None)
    for what, first, second in changes:
        try:
            if what == "add":
                organ_list.add_organ(project, first, None, None)
            elif what == "rename":
                organ_list.rename_organ(project, first, second)
            elif what == "merge":
                organ_list.merge_organs(project, first, [second])
            elif not find_organ(project.organs, "liver").is_called(first):
                organ_list.remove_organ(project, first)
        except ProjectError:
            continue
        for name in ("liver", "Leber", "spleen", "kidney", "x"):
            assert sum(organ.is_called(name) for organ in project.organs) <= 1
        assert find_organ(project.organs, "liver") is not None


def test_two_segments_of_one_organ_are_united(tmp_path, project):
    project.add_organ("liver")
    project.add_organ("spleen")
    project.merge_organs("liver", "spleen")
    file = write_segments(tmp_path / "a.seg.nrrd", BOTH)
    matched = match_segments(file, project.organs, GRID)
    assert np.array_equal(matched.masks["liver"], LIVER | SPLEEN)
    assert matched.strangers == ()
