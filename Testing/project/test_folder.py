"""A project on the disk: opened, saved, damaged, locked, and in folders of all names."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Testing.project.conftest import write_scan
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project import disk
from VoxelAdvSegLib.project.folder import ProjectFolder
from VoxelAdvSegLib.project.project import Project
from VoxelAdvSegLib.project.records import ROLES, STATES, Case, Content, ProjectOrgan, from_json, to_json
from VoxelAdvSegLib.project.store import BACKUP, FILE, Store

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_project_is_found_again_as_it_was_left(tmp_path):
    with Project.create(tmp_path / "p", " Lebern ") as project:
        identity = project.id
        project.add_organ("liver")
        project.add_files([write_scan(tmp_path / "a.nrrd")])
        project.set_setting("device", "cpu")
        cases = project.cases
    with Project.open(tmp_path / "p") as project:
        assert (project.id, project.name, project.cases) == (identity, "Lebern", cases)
        assert [organ.name for organ in project.organs] == ["liver"]
        assert project.settings == {"device": "cpu"}
        project.rename("Milzen")
    with Project.open(tmp_path / "p") as project:
        assert project.name == "Milzen"


@pytest.mark.parametrize(
    "folder",
    ["Ordner mit Leerzeichen", "Grüße 名前 مشروع", "a'b\"c&d%20", "x" * 200, "/".join(["deep" * 20] * 8)],
)
def test_folders_of_all_names_work(tmp_path, folder):
    place = tmp_path / folder
    scan = write_scan(place / "Müller, Jörg.nrrd")
    with Project.create(place / "p", "ü") as project:
        (case_id,) = project.add_files([scan]).added
        project.add_exported("名前", lambda path: write_scan(path, seed=1))
        assert project.case(case_id).name == "Müller, Jörg"
    with Project.open(place / "p") as project:
        assert [case.image.exists() for case in project.cases] == [True, True]


@pytest.mark.parametrize(
    ("prepare", "found"),
    [
        (lambda folder: folder.write_text("x"), "a file"),
        (lambda folder: (folder.mkdir(), (folder / "thesis.doc").touch()), "a folder with other files"),
        (lambda folder: Project.create(folder, "first").close(), "a project"),
    ],
)
def test_a_project_is_not_made_over_something_else(tmp_path, prepare, found):
    prepare(tmp_path / "p")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ProjectError) as caught:
        Project.create(tmp_path / "p", "second")
    assert caught.value.found == found
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_is_needed(tmp_path, project):
    with pytest.raises(ProjectError, match="no name"):
        Project.create(tmp_path / "q", "  ")
    assert not (tmp_path / "q").exists()
    with pytest.raises(ProjectError, match="no name"):
        project.rename("")


def test_a_folder_without_a_project_is_told_and_left_alone(tmp_path):
    for folder, found in ((tmp_path, "a folder without project.json"), (tmp_path / "none", "no such folder")):
        with pytest.raises(ProjectError, match="there is no project") as caught:
            Project.open(folder)
        assert caught.value.found == found
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format_is_refused_with_both_versions(project):
    project.close()
    file = project.path / FILE
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "format": 2, "version": "9.1"}), encoding="utf-8")
    before = file.read_bytes()
    with pytest.raises(ProjectError, match="newer version") as caught:
        Project.open(project.path)
    assert "9.1" in str(caught.value)
    assert "format 1" in str(caught.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": "one"'),
        lambda text: text.replace('"organs": []', '"organs": 7'),
        lambda text: text.replace('"cases": []', '"cases": [{"id": "case-0001"}]'),
        lambda text: text.replace('"next_case": 1', '"next_case": "many"'),
        lambda text: text.replace('"organs": []', '"organs": [{"name": "x", "color_rgb": [1, 2, 999]}]'),
    ],
)
def test_a_damaged_file_is_told_with_the_way_out(project, spoil):
    project.add_organ("liver")
    project.close()
    Project.open(project.path).close()  # makes the copy to fall back on
    file = project.path / FILE
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(spoil(json.dumps({**content, "organs": []}, ensure_ascii=False)), encoding="utf-8")
    with pytest.raises(ProjectError, match="damaged") as caught:
        Project.open(project.path)
    assert BACKUP in caught.value.do
    (project.path / BACKUP).replace(file)
    with Project.open(project.path) as opened:
        assert [organ.name for organ in opened.organs] == ["liver"]


def test_an_image_path_may_not_climb_out_of_the_project(project):
    project.close()
    file = project.path / FILE
    content = json.loads(file.read_text(encoding="utf-8"))
    case = Case("case-0001", "x", project.path / "cases" / "x", "unlabeled", "not started")
    entry = to_json(Content("", "", "", cases={"case-0001": case}), project.path)["cases"][0]
    file.write_text(json.dumps({**content, "cases": [{**entry, "image": "../../etc/passwd"}]}), encoding="utf-8")
    with pytest.raises(ProjectError, match="damaged"):
        Project.open(project.path)
    file.write_text(json.dumps({**content, "cases": [{**entry, "id": "../../x"}]}), encoding="utf-8")
    with pytest.raises(ProjectError, match="damaged"):
        Project.open(project.path)


def test_what_a_killed_program_left_is_cleared_and_the_saved_state_is_there(project):
    project.add_organ("liver")
    project.close()
    (project.path / f".{FILE}.partial").write_text('{"format": 1, "na')
    (project.path / "cases" / ".case-0001.partial").mkdir(parents=True)
    with Project.open(project.path) as opened:
        assert [organ.name for organ in opened.organs] == ["liver"]
    assert not list(project.path.rglob("*.partial"))


OPEN_IT = "import sys; from VoxelAdvSegLib.project.project import Project; Project.open(sys.argv[1]); print('opened')"


def test_a_second_program_is_refused_until_the_first_ends(project):
    def open_elsewhere():
        return subprocess.run(
            [sys.executable, "-c", OPEN_IT, str(project.path)], capture_output=True, text=True, cwd=REPOSITORY,
            check=False,
        )  # fmt: skip

    refused = open_elsewhere()
    assert "ProjectError: the project is open in another program" in refused.stderr
    assert f"by process {os.getpid()}" in refused.stderr
    project.close()
    assert open_elsewhere().stdout == "opened\n"
    Project.open(project.path).close()  # the other one ended without closing


def test_a_second_window_of_the_same_program_is_refused_too(project):
    with pytest.raises(ProjectError, match="open in another program"):
        Project.open(project.path)
    with pytest.raises(ProjectError, match="own"):
        Project.create(project.path, "again")


def test_changes_of_another_program_are_never_overwritten(project):
    """Where the file system has no locks, the second one to save is told."""
    other = Store(project.path)
    content = other.read()
    content.name = "changed elsewhere"
    other.write(content)
    with pytest.raises(ProjectError, match="changed by another program"):
        project.rename("changed here")
    project.close()
    with Project.open(project.path) as opened:
        assert opened.name == "changed elsewhere"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind this user")
def test_a_read_only_folder_is_told(project):
    project.close()
    project.path.chmod(0o555)
    try:
        with pytest.raises(ProjectError, match="cannot be written"):
            Project.open(project.path)
    finally:
        project.path.chmod(0o755)


def test_a_disk_that_refuses_to_write_is_told_and_the_project_stays(tmp_path, project, monkeypatch):
    """As on a read-only or full disk, also where the tests run as a user whom rights do not bind."""
    (case_id,) = project.add_files([write_scan(tmp_path / "a.nrrd")]).added

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "move", refuse)
    with pytest.raises(ProjectError, match="cannot be written") as caught:
        project.rename_case(case_id, "new")
    assert caught.value.found == "No space left on device"
    assert project.case(case_id).name == "a"
    monkeypatch.undo()
    project.rename_case(case_id, "newer")
    project.close()
    with Project.open(project.path) as opened:
        assert opened.case(case_id).name == "newer"
    assert not list(project.path.rglob("*.partial"))


def test_a_file_that_is_held_for_a_moment_is_waited_for(tmp_path, project, monkeypatch):
    """As a virus scanner does on Windows."""
    replaced = Path.replace
    refusals = [PermissionError(13, "in use")] * 3

    def replace(path, target):
        if refusals:
            raise refusals.pop()
        return replaced(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(disk, "MOVE_PAUSE", 0)
    monkeypatch.setattr(disk, "MOVE_ATTEMPTS", 4)
    project.rename("after all")
    refusals += [PermissionError(13, "in use")] * 4
    with pytest.raises(ProjectError, match="cannot be written"):
        project.rename("not this time")


def test_what_a_system_puts_into_folders_is_no_content(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / ".DS_Store").touch()
    Project.create(tmp_path / "p", "p").close()


def test_a_folder_in_which_no_file_can_be_made_is_told(project, monkeypatch):
    project.close()
    opened = Path.open

    def refuse(path, mode="r", *arguments, **named):
        if path.name == ".lock":
            raise PermissionError(13, "Permission denied")
        return opened(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ProjectError, match="folder cannot be written") as caught:
        Project.open(project.path)
    assert caught.value.found == "Permission denied"


def test_a_batch_saves_once_and_also_when_it_is_broken_off(tmp_path, project):
    saved = (project.path / FILE).stat().st_mtime_ns

    def stop(done, total, name):
        assert (project.path / FILE).stat().st_mtime_ns == saved
        if done == 2:
            raise KeyboardInterrupt

    scans = [write_scan(tmp_path / f"{seed}.nrrd", seed) for seed in range(4)]
    with pytest.raises(KeyboardInterrupt):
        project.add_files(scans, stop)
    project.close()
    with Project.open(project.path) as opened:
        assert [case.name for case in opened.cases] == ["0", "1"]


names = st.text(st.characters(codec="utf-8"), max_size=30)
cases = st.builds(
    Case,
    id=st.integers(1, 9_999_999).map(lambda n: f"case-{n:04}"),
    name=names,
    image=st.sampled_from([Path("/data/höhle/a b.nii.gz"), Path("/projects/p/cases/case-0001/image.nrrd")]),
    role=st.sampled_from(ROLES),
    state=st.sampled_from(STATES),
    label=st.none() | st.integers(1, 10_000),
    score=st.none() | st.floats(0, 1),
    reason=names,
    model=names,
    changed=names,
    content=names,
    skipped=st.booleans(),
)
colors = st.tuples(*[st.integers(0, 255)] * 3)
organs = st.builds(
    ProjectOrgan, name=names, color_rgb=colors, terminology=names, names=st.lists(names, max_size=3).map(tuple)
)


@given(
    st.builds(
        Content,
        id=names,
        name=names,
        created=names,
        organs=st.lists(organs, max_size=4),
        cases=st.lists(cases, max_size=5).map(lambda found: {case.id: case for case in found}),
        next_case=st.integers(1, 10**7),
        validation=st.none() | st.just({"fraction": 0.2, "date": "2026", "cases": ["case-0001"]}),
        rounds=st.just({}),
        model_names=st.dictionaries(names, names, max_size=3),
        settings=st.dictionaries(names, st.none() | st.booleans() | st.integers() | names, max_size=3),
    )
)
def test_project_json_gives_back_what_was_written(content):
    folder = Path("/projects/p")
    text = json.dumps(to_json(content, folder), ensure_ascii=False, allow_nan=False)
    assert from_json(json.loads(text), folder) == content


def test_the_layer_of_a_project_needs_neither_torch_nor_slicer():
    lines = [
        "import sys",
        "absent = 'torch monai safetensors filelock psutil highdicom slicer qt ctk vtk'.split()",
        "for name in absent: sys.modules[name] = None",
        "import VoxelAdvSegLib.project.project",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_knows_whether_it_is_a_project(tmp_path, project):
    assert ProjectFolder.is_project(project.path)
    assert not ProjectFolder.is_project(tmp_path)
