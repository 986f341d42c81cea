"""The command line as its users meet it: a process, its output and its exit code."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.cli import main as command_line

REPOSITORY = Path(__file__).resolve().parents[2]
IN_STEPS = """
import sys
{before}
from VoxelAdvSegLib.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def start(*arguments, before=None):
    """The command line as a process; `before` is run in it first."""
    what = ["-m", "VoxelAdvSegLib"] if before is None else ["-c", IN_STEPS.format(before=before)]
    return subprocess.Popen(
        [sys.executable, *what, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def run(*arguments, before=None):
    with start(*arguments, before=before) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture
def write_scans(tmp_path):
    """A data set of so many unlabeled scans and one labeled one; gives its manifest."""

    def write(count=1):
        rng = np.random.default_rng(0)
        for index in range(count + 1):
            image = sitk.GetImageFromArray(rng.normal(size=(16, 18, 20)).astype(np.float32))
            sitk.WriteImage(image, str(tmp_path / f"scan{index}.nrrd"))
        label = np.zeros((16, 18, 20), np.uint8)
        label[4:9, 5:9, 6:9] = 1
        sitk.WriteImage(sitk.GetImageFromArray(label), str(tmp_path / "label.nrrd"))
        content = {
            "labels": {"1": "liver"},
            "training": [{"image": "scan0.nrrd", "label": "label.nrrd"}],
            "unlabeled": [f"scan{index}.nrrd" for index in range(1, count + 1)],
        }
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_help_lists_every_command():
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"\n    {command} " in out for command in ("train", "segment", "evaluate", "doctor", "demo"))


def test_version():
    assert run("--version") == (0, f"VoxelAdvSegLib {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["--nonsense"], "COMMAND"),
        (["operate"], "invalid choice: 'operate'"),
        (["doctor"], "--data"),
        (["doctor", "--data", "x.json", "--verbos"], "unrecognized arguments: --verbos"),
        (["evaluate", "--data", "x", "--split", "unlabeled", "--model", "m", "--output", "o"], "'unlabeled'"),
        (["evaluate", "--data", "x", "--split", "test", "--output", "o"], "--model --predictions"),
        (
            [
                "evaluate",
                "--data",
                "x",
                "--split",
                "test",
                "--output",
                "o",
                "--model",
                "m",
                "--predictions",
                "p",
            ],
            "not allowed with",
        ),
    ],
)
def test_wrong_use_is_told_with_the_usage(capsys, arguments, complaint):
    with pytest.raises(SystemExit) as stop:
        command_line.main(arguments)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: ")
    assert complaint in err


def test_bad_input_is_one_message_and_exit_code_2(tmp_path):
    code, out, err = run("doctor", "--data", tmp_path / "none.json")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0] == "InputError: there is no such manifest"
    assert [line.split()[0] for line in lines[1:]] == ["file", "expected", "found", "do"]
    assert str(tmp_path / "none.json") in lines[1]


def test_a_missing_package_is_named_with_what_to_do():
    code, out, err = run("doctor", "--data", "x.json", before="sys.modules['SimpleITK'] = None")
    assert (code, out) == (2, "")
    assert "doctor needs the package SimpleITK" in err
    assert "pip install" in err
    assert "Traceback" not in err


def test_doctor_finds_a_usable_data_set(write_scans):
    code, out, err = run("doctor", "--data", write_scans())
    assert (code, err) == (0, "")
    assert out.startswith("dataset.json\n")
    assert out.endswith("Every case can be used.\n")
    rows = [line.split() for line in out.splitlines()]
    assert " ".join(rows[3]).startswith("training 1 1 20 x 18 x 16 1 x 1 x 1 ")
    assert ["liver", "1", "of", "1", "0.06", "0.06"] in rows  # 5 x 4 x 3 voxels of 1 mm


def test_doctor_lists_what_cannot_be_used_and_exits_with_1(write_scans, tmp_path):
    path = write_scans(2)
    (tmp_path / "scan2.nrrd").write_bytes(b"")
    content = json.loads(path.read_text())
    content["unlabeled"].append("none.nrrd")
    path.write_text(json.dumps(content))
    code, out, err = run("doctor", "--data", path, "--cases")
    assert (code, err) == (1, "")
    problems = [line for line in out.splitlines() if line.startswith("error")]
    assert len(problems) == 2
    assert problems[0].split()[:4] == ["error", "none", "unlabeled", "none.nrrd:"]
    assert "none: " not in problems[0]  # the name stands once, in its column
    assert problems[1].split()[:4] == ["error", "scan2", "unlabeled", "scan2.nrrd:"]
    assert "-> " in out
    assert out.splitlines()[-1].startswith("Not every case can be used (2 errors)")
    assert all(len(line) <= 110 for line in out.splitlines())
    listed = [line.split()[:2] for line in out.splitlines() if line.startswith("scan")]
    assert listed == [["scan0", "training"], ["scan1", "unlabeled"]]


def test_doctor_needs_no_torch(write_scans):
    blocked = "sys.modules['torch'] = sys.modules['monai'] = None"
    code, _, err = run("doctor", "--data", write_scans(), before=blocked)
    assert (code, err) == (0, "")


def test_a_reader_that_has_seen_enough_gets_no_traceback(write_scans):
    with start("doctor", "--data", write_scans()) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=120) == 141
    assert err == ""


def test_ctrl_c_ends_with_130_and_no_traceback(write_scans):
    path = write_scans()
    content = json.loads(path.read_text())
    content["unlabeled"] = [f"scan{index % 2}.nrrd" for index in range(20_000)]
    path.write_text(json.dumps(content))
    # The runners of tests and of background jobs ignore Ctrl-C, and a child inherits that.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    ready = f"{listen}; import VoxelAdvSegLib.cli.doctor; print('ready', flush=True)"
    with start("doctor", "--data", path, before=ready) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted\n"


def test_files_outside_the_manifests_folder_need_to_be_allowed(tmp_path, write_scans):
    manifest = json.loads(write_scans().read_text())
    for split in ("training", "unlabeled"):
        manifest[split] = [
            {
                key: str(tmp_path / file)
                for key, file in (entry if isinstance(entry, dict) else {"image": entry}).items()
            }
            for entry in manifest[split]
        ]
    manifest["validation"] = manifest["training"]
    path = tmp_path / "project" / "dataset.json"
    path.parent.mkdir()
    path.write_text(json.dumps(manifest))
    for command in (
        ["doctor", "--data", path],
        [
            "evaluate",
            "--data",
            path,
            "--split",
            "validation",
            "--predictions",
            tmp_path,
            "--output",
            tmp_path / "r.json",
        ],
        ["train", "--data", path, "--run", tmp_path / "run", "--steps", "1"],
    ):
        code, out, err = run(*command)
        assert code != 0
        assert "leaves the folder of the manifest" in " ".join((out + err).split())
        code, out, err = run(*command, "--anywhere")
        assert "leaves the folder" not in " ".join((out + err).split())
