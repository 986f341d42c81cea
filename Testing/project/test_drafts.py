"""Half-done corrections: whole whenever the process is killed, and told of when they are not ours."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from Testing.project.conftest import BOTH, LIVER, write_scan, write_segments
from Testing.soak_record import record
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project import drafts
from VoxelAdvSegLib.project.drafts import read_draft, write_draft

REPOSITORY = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are made by fork")


def writes(content: bytes):
    return lambda path: path.write_bytes(content)


def test_a_draft_is_found_with_what_it_began_from(project, filled):
    first, second = filled(1, 1)
    assert project.draft(first) is None
    draft = project.save_draft(first, lambda path: write_segments(path, {"liver": LIVER}))
    assert draft == project.draft(first)
    assert draft.base == 1
    assert draft.file.name == "draft.seg.nrrd"
    assert project.save_draft(second, writes(b"x")).base is None
    assert [case.state for case in project.cases] == ["in progress", "in progress"]


def test_the_journal_survives_the_end_of_the_program(project, filled):
    (case_id,) = filled(0, 1)
    project.save_draft(case_id, writes(b"old"))
    project.save_draft(case_id, writes(b"new"))
    project.close()
    with type(project).open(project.path) as opened:
        draft = opened.draft(case_id)
        assert draft is not None
        assert draft.file.read_bytes() == b"new"
        assert opened.case(case_id).state == "in progress"


def test_discarding_goes_back_to_what_was_before(project, filled):
    labeled, unlabeled = filled(1, 1)
    for case_id, state in ((labeled, "completed"), (unlabeled, "not started")):
        project.save_draft(case_id, writes(b"x"))
        assert project.discard_draft(case_id).state == state
        assert project.draft(case_id) is None
        assert not list(project.case_folder(case_id).glob("*draft*"))


def test_what_the_writer_raises_leaves_the_old_draft(project, filled):
    (case_id,) = filled(0, 1)
    project.save_draft(case_id, writes(b"old"))

    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        project.save_draft(case_id, fail)
    with pytest.raises(ProjectError, match="not written"):
        project.save_draft(case_id, lambda path: None)
    draft = project.draft(case_id)
    assert draft is not None
    assert draft.file.read_bytes() == b"old"
    assert len(list(project.case_folder(case_id).glob("*draft*"))) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("draft.seg.nrrd", b"other", "not the one that was saved"), ("draft.json", b"{", "description of a draft")],
)
def test_a_draft_that_someone_changed_is_told(project, filled, name, content, message):
    (case_id,) = filled(0, 1)
    project.save_draft(case_id, writes(b"mine"))
    (project.case_folder(case_id) / name).write_bytes(content)
    with pytest.raises(ProjectError, match=message):
        project.draft(case_id)
    project.discard_draft(case_id)
    assert project.draft(case_id) is None


def test_an_excluded_case_is_not_edited(project, filled):
    (case_id,) = filled(0, 1)
    project.set_role(case_id, "excluded")
    with pytest.raises(ProjectError, match="excluded"):
        project.save_draft(case_id, writes(b"x"))
    assert project.draft(case_id) is None


def test_a_draft_is_accepted_and_then_gone(project, filled):
    (case_id,) = filled(1)
    draft = project.save_draft(case_id, lambda path: write_segments(path, BOTH))
    project.accept(case_id, draft.file, decision="corrected")
    assert project.draft(case_id) is None
    assert project.case(case_id).label == 2


KILLED_AT_STEP = """
import os, signal, sys
from pathlib import Path
from VoxelAdvSegLib.project.drafts import read_draft, write_draft

folder, results = Path(sys.argv[1]), []
STEPS = {"open", "os.rename", "os.remove", "os.mkdir"}

def save(step):
    seen = 0
    def count(event, arguments):
        nonlocal seen
        if event in STEPS:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    write_draft(folder, lambda path: path.write_bytes(b"new %d" % step), step)

for step in range(1, 100):
    pid = os.fork()
    if pid == 0:
        save(step)
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    draft = read_draft(folder)
    print(step, killed, draft.base if draft else None, draft.file.read_bytes().decode() if draft else "")
    if not killed:
        break
"""


@posix
def test_killed_before_any_step_the_draft_is_the_old_or_the_new_one(tmp_path):
    """A child is killed before its first, second, ... touch of the disk while it saves, until it gets through."""
    write_draft(tmp_path, writes(b"new 0"), 0)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_STEP, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY,
        check=True,
    )  # fmt: skip
    rows = [line.split(" ", 3) for line in done.stdout.splitlines()]
    assert len(rows) > 10
    assert [killed for _, killed, _, _ in rows] == ["True"] * (len(rows) - 1) + ["False"]
    last = 0
    for step, _, base, content in rows:
        assert content == f"new {base}"  # segmentation and description belong together
        assert int(base) in (last, int(step))
        last = int(base)
    assert last == len(rows)


SAVES_ON = """
import os, sys
from pathlib import Path
from VoxelAdvSegLib.project.project import Project

def work(first):
    with Project.open(sys.argv[1]) as project:
        for number in range(first, first + 10**6):
            content = (b"%08d" % number) * 5000
            project.save_draft("case-0001", lambda path: path.write_bytes(content))
            os.write(1, b"%08d\\n" % number)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        work(int(line))
        os._exit(0)
    os.write(1, b"pid %d\\n" % pid)
    os.waitpid(pid, 0)
    os.write(1, b"over\\n")
"""


@posix
@pytest.mark.trust
def test_killed_at_random_moments_no_draft_is_lost(tmp_path, project):
    """25 times a process that saves drafts without end is killed: the last one it told of, or a newer one, is whole."""
    project.add_files([write_scan(tmp_path / "a.nrrd")])
    project.close()
    moments = random.Random(9)
    kills = 25
    child = subprocess.Popen(
        [sys.executable, "-c", SAVES_ON, str(project.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=REPOSITORY,
    )  # fmt: skip
    assert child.stdin
    assert child.stdout
    told = 0
    try:
        for _ in range(kills):
            first = told + 1
            child.stdin.write(f"{first}\n")
            child.stdin.flush()
            pid = int(child.stdout.readline().split()[1])
            told = int(child.stdout.readline())  # it has begun to save
            time.sleep(moments.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            while (line := child.stdout.readline()) != "over\n":
                told = int(line)
            with type(project).open(project.path) as opened:  # the system has taken the lock back
                draft = opened.draft("case-0001")
                assert draft is not None
                content = draft.file.read_bytes()
                assert opened.case("case-0001").state == "in progress"
            number = int(content[:8])
            assert content == b"%08d" % number * 5000
            assert number in (told, told + 1)
            told = number
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait()
    record("A correction that was begun is kept when the program is killed.", f"{kills} kills, the newest draft whole")


def test_the_description_is_the_moment_that_decides(tmp_path):
    """Between the two renames the new draft bears its temporary name; the next look puts it in place."""
    write_draft(tmp_path, writes(b"old"), 1)
    write_draft(tmp_path / "other", writes(b"new"), 2)
    (tmp_path / "other" / drafts.FILE).replace(tmp_path / drafts.NEXT)
    (tmp_path / "other" / drafts.ABOUT).replace(tmp_path / drafts.ABOUT)
    draft = read_draft(tmp_path)
    assert draft is not None
    assert (draft.base, draft.file.read_bytes()) == (2, b"new")
    assert json.loads((tmp_path / drafts.ABOUT).read_text())["base"] == 2
    assert not (tmp_path / drafts.NEXT).exists()
