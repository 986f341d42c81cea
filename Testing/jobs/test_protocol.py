"""Both sides of the protocol against each other, and against its description."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from Testing.conftest import REPOSITORY
from VoxelAdvSegLib.errors import InputError, RunError
from VoxelAdvSegLib.jobs.protocol import (
    JOB,
    REQUESTS,
    CompareRequest,
    ProbeRequest,
    SegmentCase,
    SegmentRequest,
    TrainRequest,
    read_order,
    write_order,
)  # fmt: skip
from VoxelAdvSegLib.jobs.vocabulary import EVENTS, misfits
from VoxelAdvSegLib.training.events import PROTOCOL

DESCRIPTION = REPOSITORY / "docs" / "protocol.md"
REQUEST_EXAMPLES = [
    TrainRequest(data="d.json", minutes=15.0, settings={"lr": 0.1, "patch": "32,16,16"}, init="models/é", seed=3),
    SegmentRequest("models/a", (SegmentCase("case-0001", "a b.nii.gz", "out/Ü"), SegmentCase("2", "x", "y")), True),
    CompareRequest("runs/é", "d.json", threads=2),
    ProbeRequest(kernel=False),
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUEST_EXAMPLES, ids=lambda r: r.kind)
def test_the_child_reads_what_the_parent_writes(tmp_path: Path, request_):
    written = write_order(tmp_path, request_, tmp_path / "locks")
    assert read_order(tmp_path) == written and written.request == request_
    assert write_order(tmp_path, request_).sitting != written.sitting
    assert [p.name for p in tmp_path.iterdir()] == [JOB]


def test_examples_are_of_every_kind():
    assert {type(r) for r in REQUEST_EXAMPLES} == set(REQUESTS.values()) and set(REQUESTS) == set(EVENTS)


def change(folder: Path, **changes: object) -> None:
    content = json.loads((folder / JOB).read_text())
    (folder / JOB).write_text(json.dumps({**content, **changes}))


def test_a_newer_job_is_refused_and_both_versions_are_named(tmp_path: Path):
    write_order(tmp_path, ProbeRequest())
    change(tmp_path, protocol=PROTOCOL + 1, kind="something new")
    with pytest.raises(InputError) as caught:
        read_order(tmp_path)
    assert str(PROTOCOL + 1) in str(caught.value.found) and str(PROTOCOL) in str(caught.value.expected)
    assert "update" in str(caught.value.do)


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "1"}, {"protocol": 0}, {"kind": "dance"}, {"kind": []}, {"request": None}, {"request": []},
        {"request": {"kernel": True, "shell": "rm"}}, {"sitting": None, "request": {"a": 1}},
    ],
)  # fmt: skip
def test_a_damaged_job_is_refused(tmp_path: Path, changes: dict):
    write_order(tmp_path, ProbeRequest())
    change(tmp_path, **changes)
    with pytest.raises(InputError, match="job cannot be read"):
        read_order(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000, "\0"])
def test_no_json_is_refused(tmp_path: Path, text: str):
    (tmp_path / JOB).write_text(text)
    with pytest.raises(InputError, match="job cannot be read"):
        read_order(tmp_path)


def test_no_job_at_all_is_told(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        read_order(tmp_path)
    assert caught.value.found == "no such file"


def test_a_scan_is_once_in_a_queue():
    with pytest.raises(InputError, match="two scans"):
        SegmentRequest("m", (SegmentCase("a", "1", "1"), SegmentCase("a", "2", "2")))


def test_a_job_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_order(tmp_path / "file", ProbeRequest())


# --- events -------------------------------------------------------------------------------------


def test_a_training_writes_what_the_vocabulary_says(trained):
    for event in trained.events:
        assert misfits("train", event) == [], event
    seen = {event["type"] for event in trained.events}
    # `plan` needs a time budget, `message` a reason, `error` a failure; a fast machine may end before a heartbeat.
    assert seen >= set(EVENTS["train"]) - {"plan", "message", "error", "heartbeat"}


def test_the_vocabulary_finds_what_does_not_fit():
    assert misfits("train", {"type": "dance", "time": 1}) == ["unknown type dance"]
    assert misfits("train", {"type": "message", "time": 1, "text": "a", "colour": 3}) == [
        "no level", "unknown field colour",
    ]  # fmt: skip
    assert misfits("probe", {"type": "error", "time": 1, "text": "a", "do": "b"}) == []


def described(title: str) -> dict[str, set[str]]:
    """Rows of the table under a heading of the description: name to names in its second cell."""
    text = DESCRIPTION.read_text(encoding="utf-8")
    section = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"no section {title}"
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section[1], re.MULTILINE)
    return {name: set(re.findall(r"`([\w?]+)`", cell)) for name, cell in rows}


@pytest.mark.parametrize("kind", EVENTS)
def test_every_event_and_field_is_described(kind: str):
    told = described("Events of every child") | described(f"Events of a {kind} job")
    assert told == {name: set(names) for name, names in EVENTS[kind].items()}


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_field_of_a_request_is_described(kind: str):
    assert set(described(f"Request of a {kind} job")) == {field.name for field in fields(REQUESTS[kind])}


def test_the_version_is_described():
    assert f"protocol **{PROTOCOL}**" in DESCRIPTION.read_text(encoding="utf-8")
