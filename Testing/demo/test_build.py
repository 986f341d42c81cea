"""The demo, small but real: phantoms, two trainings, held-out scans, one page."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from VoxelAdvSegLib.cli.main import BAD_INPUT, main
from VoxelAdvSegLib.demo.build import METHODS, PAGE, Wish, clear_folder, make_demo
from VoxelAdvSegLib.demo.page import TERM_TITLES, write_page
from VoxelAdvSegLib.errors import RunError

REPOSITORY = Path(__file__).resolve().parents[2]
COUNTS = {"training": (1, 1), "unlabeled": (1, 1), "validation": (1, 0), "test": (1, 1)}
SETTINGS = {
    "filters": 4,
    "batch_labeled": 1,
    "batch_unlabeled": 1,
    "bn_recalibrate": 0,
    "validate_every": 4,
    "checkpoint_every": 8,
}

pytestmark = pytest.mark.timeout(900)  # ten seconds of work; a busy machine may need many times that


def wish(output, **changes):
    return Wish(output, steps=24, counts=COUNTS, voxel_factor=2.0, settings=SETTINGS, **changes)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder, sentences told and the story of a demo of 24 steps, enough for curves on a fast machine too."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    told = []
    story = make_demo(wish(folder), told.append)
    return folder, told, story


@pytest.fixture(scope="module")
def page(demo):
    return (demo[0] / PAGE).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """What a browser would have to close, and every address it would go to."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.names, self.ids = [], [], set(), set()

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.addresses += [v for k, v in attrs if k in ("href", "src", "srcset", "action", "data", "xlink:href")]
        self.ids |= {v for k, v in attrs if k == "id"}
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not tags.names & {"script", "link", "iframe", "object"}
    assert tags.addresses and all(a.startswith("data:image/png;base64,") for a in tags.addresses)
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", page)


def test_the_page_has_every_section(page):
    tags = Tags()
    tags.feed(page)
    assert tags.ids >= {"answer", "done", "result", "overlays", "training", "discriminator", "limits"}
    for name in ("dice", "feature", "adversarial", "discriminator", "consistency", "pseudo_label"):
        assert escape(TERM_TITLES[name]) in page
    for organ in ("liver", "spleen", "right kidney", "left kidney"):
        assert f"phantom {organ}" in page
    assert "chance" in page and "looks unlabeled" in page and "Teacher&#x27;s confidence" in page


def test_numbers_of_the_table_are_those_of_the_reports(demo, page):
    folder, _, _ = demo
    supervised, semi = (json.loads((folder / f"report_{name}.json").read_text()) for name in METHODS)
    rows = {
        cells[0]: cells[1:]
        for row in re.findall("<tr class='[a-z]*'>(.*?)</tr>", page)
        if (cells := re.findall("<td>(.*?)</td>", row))
    }
    for organ in supervised["organs"]:
        first, second = (r["organs"][organ]["dice"] for r in (supervised, semi))
        assert rows[organ][:3] == [f"{first:.3f}", f"{second:.3f}", f"{second - first:+.3f}"]
    assert rows["all organs"][:2] == [f"{r['mean']['dice']:.3f}" for r in (supervised, semi)]


def test_both_methods_had_as_many_steps_and_the_held_out_scans_were_not_theirs(demo):
    folder, _, story = demo
    held_out = {case.name for case in story.manifest.test}
    for method in METHODS:
        diary = (folder / "runs" / method / "events.jsonl").read_text()
        assert not any(name in diary for name in held_out)
        end = json.loads(diary.splitlines()[-1])
        assert (end["type"], end["step"], end["reason"]) == ("end", 24, "finished")


def test_segmentations_and_maps_lie_beside_the_page(demo):
    folder, _, story = demo
    for case in story.manifest.test:
        assert (folder / "segmentations" / "supervised" / f"{case.name}.nii.gz").exists()
        assert (folder / "segmentations" / "voxel_adversarial" / f"{case.name}_looks_labeled.nii.gz").exists()
    assert all(np.all((scan.looks_labeled >= 0) & (scan.looks_labeled <= 1)) for scan in story.scans)


def test_the_answer_on_the_page_and_in_the_mark_is_computed(demo, page):
    folder, _, story = demo
    mark = json.loads((folder / "demo.json").read_text())
    verdict = mark["verdict"]
    assert mark["finished"] and "<b>Cannot tell, in this run.</b>" in page
    # So few steps teach nothing, and the page has to say so.
    assert verdict["answer"] == "cannot tell" and "more time is needed" in verdict["sentence"]
    assert f"{story.verdict.overall.before:.3f} without" in verdict["sentence"]


def test_planted_losses_make_the_page_say_no(demo, tmp_path):
    _, _, story = demo
    planted = {}
    for method, dice in (("supervised", 0.9), ("semi", 0.4)):
        trained = getattr(story, method)
        report = json.loads(json.dumps(trained.report))
        report["cases"] = [{**json.loads(json.dumps(report["cases"][0])), "name": f"case_{n}_a"} for n in range(8)]
        for number, case in enumerate(report["cases"]):
            for organ in case["organs"].values():
                organ["dice"] = dice + 0.01 * number
        planted[method] = replace(trained, report=report)
    scans = [replace(story.scans[0], name=f"case_{n}_a") for n in range(8)]
    write_page(replace(story, scans=scans, **planted), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<b>No, in this run.</b>" in page and "It is worse with them." in page
    assert "-0.500" in page


def test_folders_that_hold_other_things_are_left_alone(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("ten years of work")
    with pytest.raises(RunError, match="holds other things") as error:
        make_demo(wish(folder), print)
    assert "thesis.txt" in str(error.value)
    assert [file.name for file in folder.iterdir()] == ["thesis.txt"]


def test_an_earlier_demo_is_replaced_but_not_what_lies_beside_it(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"demo": True}))
    (tmp_path / "runs" / "supervised").mkdir(parents=True)
    for name in (PAGE, "report_supervised.json", "notes.txt"):
        (tmp_path / name).write_text("earlier")
    clear_folder(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["demo.json", "notes.txt"]


def test_bad_requests_end_with_one_message_and_code_2(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    assert main(["demo", "--output", str(tmp_path)]) == BAD_INPUT
    assert main(["demo", "--output", str(tmp_path / "thesis.txt" / "demo")]) == BAD_INPUT
    assert main(["demo", "--output", str(tmp_path / "new"), "--minutes", "0"]) == BAD_INPUT
    assert capsys.readouterr().err.count("RunError") == 2
    assert not (tmp_path / "new").exists()


def test_help_does_not_wait_for_torch():
    code = "import sys; sys.modules['torch'] = None\nfrom VoxelAdvSegLib.cli.main import main\nmain(['demo', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0 and "--minutes" in done.stdout
