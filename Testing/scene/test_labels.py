"""The user's segmentation as a label: matched by name and code, overlaps told, whole in the file."""

import numpy as np
import pytest
import SimpleITK as sitk
from slicer_bed.phantoms import (
    GRIDS,
    NAMES,
    add_segmentation,
    add_transform,
    add_volume,
    labels_array,
    node_names,
    turn_and_shift,
)

from VoxelAdvSegLib.data.labels import read_label_map
from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.data.terminology import terminology_of
from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.scene.grids import largest_distance_mm, world_geometry
from VoxelAdvSegLib.scene.labels import Overlap, export_segmentation, match_segments, overlaps
from VoxelAdvSegLib.scene.organ_volumes import organ_volumes, remove_volumes_table, volumes_table
from VoxelAdvSegLib.scene.predictions import read_prediction
from VoxelAdvSegLib.scene.segmentations import load_segmentation
from VoxelAdvSegLib.scene.segments import segment_ids, segment_mask, segment_names
from VoxelAdvSegLib.scene.status import Status, set_status, status_of
from VoxelAdvSegLib.scene.volumes import export_volume


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_label_goes_out_and_comes_back(scene, tmp_path, grid, moved):
    volume = add_volume(scene, matrix=GRIDS[grid])
    if moved:
        add_transform(scene, volume, turn_and_shift())
    theirs = add_segmentation(scene, volume)
    path = tmp_path / "Ärzte" / "0001.seg.nrrd"
    export_segmentation(theirs, volume, path)
    export_volume(volume, tmp_path / "scan.nrrd")
    # as the library reads it for a training
    organs = (Organ("Milz 脾", 1, (0, 0, 0)), Organ("Liver", 2, (0, 0, 0)), Organ("Lesion", 3, (0, 0, 0)))
    label = read_label_map(path, organs, world_geometry(volume)).array
    assert np.array_equal(label, np.array([0, 2, 1, 0, 0, 3], np.uint8)[labels_array()])
    # as Slicer reads it again
    again = load_segmentation(scene, path, volume, "again")
    assert segment_names(again) == NAMES
    for segment_id, value in zip("abc", (1, 2, 5), strict=True):
        assert np.array_equal(segment_mask(again, segment_id, volume), labels_array() == value)
    assert again.GetTransformNodeID() == volume.GetTransformNodeID()


def test_values_1_2_5_become_1_2_3_and_names_still_tell_them_apart(scene, tmp_path):
    volume = add_volume(scene)
    export_segmentation(add_segmentation(scene, volume), volume, tmp_path / "a.seg.nrrd")
    values = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))))
    assert values.tolist() == [0, 1, 2, 3]
    prediction = read_prediction(tmp_path / "a.seg.nrrd")
    assert [organ.name for organ in prediction.organs] == list(NAMES.values())
    for organ, value in zip(prediction.organs, (1, 2, 5), strict=True):
        assert np.array_equal(prediction.array == organ.value, labels_array() == value)


def test_codes_colours_and_status_are_in_the_file(scene, tmp_path):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    liver = theirs.GetSegmentation().GetSegment("a")
    liver.SetTerminology(terminology_of("liver"))
    set_status(liver, Status.COMPLETED)
    liver.SetTag("Theirs", "kept")
    export_segmentation(theirs, volume, tmp_path / "a.seg.nrrd")
    again = load_segmentation(scene, tmp_path / "a.seg.nrrd", volume, "again").GetSegmentation()
    assert again.GetSegment("a").GetTerminology() == terminology_of("liver")
    assert status_of(again.GetSegment("a")) is Status.COMPLETED
    assert status_of(again.GetSegment("b")) is Status.NOT_STARTED
    assert np.allclose(again.GetSegment("a").GetColor(), (0.2, 0.4, 0.6), atol=1 / 255)
    assert again.GetSegment("a").HasTag("Theirs")


def test_overlapping_segments_are_named_and_stay_whole(scene, tmp_path):
    volume = add_volume(scene)
    labels = labels_array()
    masks = {"a": labels == 1, "b": (labels == 1) | (labels == 2), "c": labels == 5}
    theirs = add_segmentation(scene, volume, masks)
    found = overlaps(theirs, volume)
    assert found == [Overlap("Liver", "Milz 脾", int((labels == 1).sum()))]
    assert str(found[0]) == "'Liver' and 'Milz 脾' overlap in 630 voxels"
    assert overlaps(theirs, volume, ["a", "c"]) == []
    export_segmentation(theirs, volume, tmp_path / "a.seg.nrrd")
    again = load_segmentation(scene, tmp_path / "a.seg.nrrd", volume, "again")
    for segment_id, mask in masks.items():
        assert np.array_equal(segment_mask(again, segment_id, volume), mask)


def test_only_the_chosen_segments_go_out_under_the_organs_names(scene, tmp_path):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    export_segmentation(theirs, volume, tmp_path / "a.seg.nrrd", {"b": "spleen"})
    assert [organ.name for organ in read_prediction(tmp_path / "a.seg.nrrd").organs] == ["spleen"]
    assert segment_names(theirs) == NAMES
    with pytest.raises(InputError, match="one name"):
        export_segmentation(theirs, volume, tmp_path / "b.seg.nrrd", {"a": "x", "b": "x"})
    with pytest.raises(InputError, match="removed"):
        export_segmentation(theirs, volume, tmp_path / "b.seg.nrrd", {"gone": "spleen"})


def test_the_users_node_and_file_are_left_alone(scene, tmp_path):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    theirs.AddDefaultStorageNode(str(tmp_path / "theirs.seg.nrrd"))
    assert theirs.GetStorageNode().WriteData(theirs)
    before = node_names(scene), theirs.GetStorageNode().GetFileName(), theirs.GetMTime(), theirs.GetModifiedSinceRead()
    export_segmentation(theirs, volume, tmp_path / "ours.seg.nrrd")
    load_segmentation(scene, tmp_path / "ours.seg.nrrd", volume, "again")
    assert before[1:] == (theirs.GetStorageNode().GetFileName(), theirs.GetMTime(), theirs.GetModifiedSinceRead())


def test_a_segmentation_drawn_on_another_grid_is_resampled(scene, tmp_path):
    """Voxels of 1.4 mm along i: each stands for two of the volume's 0.7 mm."""
    volume = add_volume(scene)
    halves = np.diag([2, 1, 1, 1.0])
    halves[0, 3] = 0.5  # its first voxel covers the volume's first two
    coarse = add_volume(scene, np.zeros((16, 22, 15), np.int16), GRIDS["axial"] @ halves, "coarse")
    mask = np.zeros((16, 22, 15), bool)
    mask[4:8, 6:10, 3:7] = True
    theirs = add_segmentation(scene, coarse, {"a": mask})
    found = segment_mask(theirs, "a", volume)
    expected = np.zeros_like(found)
    expected[4:8, 6:10, 6:14] = True
    assert np.array_equal(found, expected)
    export_segmentation(theirs, volume, tmp_path / "a.seg.nrrd")
    assert np.array_equal(read_prediction(tmp_path / "a.seg.nrrd").array == 1, found)


def test_empty_segments_and_segmentations(scene, tmp_path):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume, {"a": labels_array() == 1, "b": None})
    assert not segment_mask(theirs, "b", volume).any()
    export_segmentation(theirs, volume, tmp_path / "a.seg.nrrd")
    again = load_segmentation(scene, tmp_path / "a.seg.nrrd", volume, "again")
    assert segment_names(again) == {"a": "Liver", "b": "Milz 脾"}
    assert not segment_mask(again, "b", volume).any()
    untouched = add_segmentation(scene, volume, {"a": None})
    assert not segment_mask(untouched, "a", volume).any()
    export_segmentation(untouched, volume, tmp_path / "b.seg.nrrd")
    assert not read_prediction(tmp_path / "b.seg.nrrd").array.any()


def test_a_file_that_cannot_be_written_or_read_says_so(application, scene, tmp_path):
    volume = add_volume(scene)
    theirs = add_segmentation(scene, volume)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        export_segmentation(theirs, volume, tmp_path / "file" / "a.seg.nrrd")
    before = node_names(scene)
    with pytest.raises(InputError, match="no such file"):
        load_segmentation(scene, tmp_path / "absent.seg.nrrd", volume, "x")
    assert node_names(scene) == before


ORGANS = (
    Organ("liver", 1, (0, 0, 0)),
    Organ("spleen", 2, (0, 0, 0)),
    Organ("left kidney", 3, (0, 0, 0)),
    Organ("right kidney", 4, (0, 0, 0)),
    Organ("tumor", 5, (0, 0, 0)),
)


def matched(scene, names, codes=()):
    volume = add_volume(scene)
    node = add_segmentation(scene, volume, dict.fromkeys(names), names)
    for segment_id, code in dict(codes).items():
        node.GetSegmentation().GetSegment(segment_id).SetTerminology(terminology_of(code))
    return match_segments(node, ORGANS)


def test_names_match_whatever_the_order_and_spelling(scene):
    found = matched(scene, {"x": "Tumor", "y": "LEFT_kidney", "z": "Liver "})
    assert found.segments == {"tumor": "x", "left kidney": "y", "liver": "z"}
    assert found.missing == ["spleen", "right kidney"] and not found.ignored


def test_codes_match_where_names_are_in_another_language(scene):
    found = matched(scene, {"x": "Niere links", "y": "Leber"}, {"x": "left kidney", "y": "liver"})
    assert found.segments == {"left kidney": "x", "liver": "y"}
    assert found.missing == ["spleen", "right kidney", "tumor"]


def test_the_generic_tissue_matches_nothing(scene):
    found = matched(scene, {"x": "Segment_1"})
    assert found.segments == {} and found.ignored == ["Segment_1"]


def test_two_segments_of_one_name_are_told_and_none_is_taken(scene):
    found = matched(scene, {"x": "liver", "y": "Liver"})
    assert found.segments == {} and found.ambiguous == {"liver": ["liver", "Liver"]}


def test_a_name_that_contradicts_its_code_is_doubted(scene):
    found = matched(scene, {"x": "spleen"}, {"x": "liver"})
    assert found.segments == {"spleen": "x"}
    assert found.doubts == ["the segment 'spleen' is coded as liver"]


def test_volumes_in_millilitres(scene):
    volume = add_volume(scene)  # voxels of 0.7 x 0.9 x 2.5 mm = 0.001575 ml
    theirs = add_segmentation(scene, volume, {"a": labels_array() == 1, "b": None})
    liver, spleen = organ_volumes(theirs, volume)
    assert (liver.name, liver.voxels, spleen.voxels, spleen.ml) == ("Liver", 6 * 15 * 7, 0, 0.0)
    assert liver.ml == pytest.approx(630 * 0.001575)
    table = volumes_table(scene, theirs, [liver, spleen])
    assert [table.GetCellText(0, column) for column in range(3)] == ["Liver", "0.992", "630"]
    assert volumes_table(scene, theirs, [liver]) is table and table.GetNumberOfRows() == 1
    remove_volumes_table(theirs)
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_a_transform_that_enlarges_enlarges_the_organ(scene):
    volume = add_volume(scene)
    add_transform(scene, volume, np.diag([2.0, 1, 1, 1]))
    theirs = add_segmentation(scene, volume)
    assert organ_volumes(theirs, volume)[0].ml == pytest.approx(2 * 630 * 0.001575)


def test_the_file_is_on_the_volumes_grid(scene, tmp_path):
    volume = add_volume(scene, matrix=GRIDS["oblique"])
    export_segmentation(add_segmentation(scene, volume), volume, tmp_path / "a.seg.nrrd")
    assert largest_distance_mm(read_prediction(tmp_path / "a.seg.nrrd").geometry, world_geometry(volume)) < 1e-4
    assert len(segment_ids(load_segmentation(scene, tmp_path / "a.seg.nrrd", volume, "x"))) == 3
