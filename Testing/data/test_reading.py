"""Reading in a child: the same result, and a child that falls, hangs or takes too much takes nothing along."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VoxelAdvSegLib.data import labels, reading, volume
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.readers import Limits, Readers
from VoxelAdvSegLib.data.reading import read_geometry, read_label_map, read_volume, reading_apart
from VoxelAdvSegLib.errors import InputError

ORGANS = organs_of({"liver": 3, "spleen": 5})


def write(path: Path, array: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((1.5, -2.0, 3.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(autouse=True)
def _nobody_reads_yet(monkeypatch: pytest.MonkeyPatch):
    """Children that other tests keep are not those that are counted here."""
    monkeypatch.setattr(reading, "_readers", [])


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write(tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32))


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    return write(tmp_path / "mask.nrrd", np.random.default_rng(1).choice([0, 3, 5], (5, 6, 7)).astype(np.uint8))


def pids() -> list[int]:
    return [reader.process.pid for reader in reading._readers[-1]._idle]


def test_the_result_is_the_same_as_here(scan: Path, mask: Path):
    with reading_apart():
        apart = read_volume(scan), read_geometry(scan), read_label_map(mask, ORGANS, read_geometry(scan))
    here = volume.read_volume(scan), volume.read_geometry(scan)
    assert np.array_equal(apart[0].array, here[0].array) and apart[0].array.dtype == np.float32
    assert (apart[0].geometry, apart[0].modality, apart[1]) == (here[0].geometry, here[0].modality, here[1])
    label = labels.read_label_map(mask, ORGANS, here[1])
    assert np.array_equal(apart[2].array, label.array) and apart[2].array.dtype == np.uint8
    assert apart[2].ignored_segments == label.ignored_segments == ()
    apart[0].array[:] = 0  # the caller's own


def test_an_error_is_the_one_that_reading_here_gives(tmp_path: Path):
    (tmp_path / "x.nii").write_bytes(b"no image")
    told = []
    with reading_apart():
        for read in (read_volume, volume.read_volume):
            with pytest.raises(InputError) as refused:
                read(tmp_path / "x.nii")
            told.append(str(refused.value))
    assert told[0] == told[1]


def test_one_child_reads_many_files_and_each_thread_has_its_own(scan: Path, tmp_path: Path):
    with reading_apart():
        for _ in range(5):
            read_volume(scan)
        assert reading._readers[-1].started == 1
        with ThreadPoolExecutor(4) as pool:
            arrays = [found.array for found in pool.map(read_volume, [scan] * 40)]
        assert all(np.array_equal(array, arrays[0]) for array in arrays)
        assert reading._readers[-1].started <= 4
        children = pids()
    assert not any(alive(pid) for pid in children)
    assert not reading._readers


def test_a_command_within_another_uses_its_children(scan: Path):
    with reading_apart():
        read_volume(scan)
        with reading_apart():
            read_volume(scan)
        assert reading._readers[-1].started == 1


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A child that does otherwise than it should, for want of a file that brings every ITK down."""
    package = tmp_path / "fake" / "VoxelAdvSegLib" / "data"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "reader.py").write_text(f"import json, os, signal, sys, time\nfor line in sys.stdin:\n    {code}\n")
    monkeypatch.setattr("VoxelAdvSegLib.data.readers.ROOT", tmp_path / "fake")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("os._exit(3)", "code 3"),
        ("print('{', flush=True)", "signal"),
        ("print(json.dumps({'array': {'shape': [2, 2, 2], 'dtype': 'float32'}}), flush=True); os._exit(0)", "code 0"),
        ("print(json.dumps({'array': {'shape': [10**6] * 3, 'dtype': 'float32'}}), flush=True)", "signal"),
        ("print(json.dumps({'array': {'shape': [2, 2, 2], 'dtype': 'object'}}), flush=True)", "signal"),
        ("print('x' * 30_000_000, flush=True)", "signal"),
    ],
)  # fmt: skip
@pytest.mark.skipif(os.name != "posix", reason="ends of processes are told as on Linux")
def test_a_child_that_falls_is_an_error_that_names_the_file(scan: Path, tmp_path: Path, monkeypatch, code, words):
    program(tmp_path, monkeypatch, code)
    with Readers(Limits()) as readers:
        with pytest.raises(InputError, match="its reader fell") as refused:
            readers.ask(scan, "volume")
        assert refused.value.file == str(scan) and words in str(refused.value.found)
        assert readers._idle == []


def test_a_child_that_hangs_is_ended(tmp_path: Path):
    """On a real one: it opens a pipe that nobody writes into."""
    header = write(tmp_path / "scan.nhdr", np.zeros((5, 6, 7), np.float32))
    os.mkfifo(tmp_path / "pipe")
    code = (
        "import sys; from VoxelAdvSegLib.data import reader\n"
        "reader._read = lambda path, *rest: open(path.parent / 'pipe').read()\nreader.main()"
    )
    with Readers(Limits(seconds=1.0)) as readers:
        hanging = readers._take()
        hanging.kill()
        hanging.process = subprocess.Popen(
            [sys.executable, "-c", code, str(1 << 30), "20"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        readers._idle.append(hanging)
        begin = time.monotonic()
        with pytest.raises(InputError, match="its reader fell") as refused:
            readers.ask(header, "volume")
        assert "no end after 1 seconds" in str(refused.value.found) and time.monotonic() - begin < 20
        assert not alive(hanging.process.pid)
        array = write(tmp_path / "next.nrrd", np.arange(27, dtype=np.float32).reshape(3, 3, 3))
        assert readers.ask(array, "volume")[1] is not None  # another child goes on


def test_a_header_that_claims_more_than_the_memory_is_refused_before_it_is_taken(tmp_path: Path):
    """300 million voxels that are there, as far as the file's size can tell."""
    path = write(tmp_path / "scan.nii", np.zeros((2, 6, 7), np.uint8))
    content = bytearray(path.read_bytes()[:352])
    struct.pack_into("<8h", content, 40, 3, 1000, 1000, 300, 1, 1, 1, 1)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(352 + 300_000_000)
    with reading_apart(Limits(memory_bytes=1 << 30)):
        with pytest.raises(InputError, match="too large for this computer") as refused:
            read_volume(path)
        assert "1000 x 1000 x 300" in str(refused.value.found)
        (pid,) = pids()
        peak = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    assert int(peak) < 400_000  # kilobytes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is capped on Linux")
def test_a_child_cannot_take_more_memory_than_it_may(tmp_path: Path):
    code = (
        "import sys; from VoxelAdvSegLib.data import reader\n"
        "import numpy; reader._read = lambda *rest: numpy.ones(3 << 30, numpy.uint8)\nreader.main()"
    )
    order = json.dumps({"kind": "volume", "path": "/x", "seconds": 60}) + "\n"
    done = subprocess.run(
        [sys.executable, "-c", code, str(1 << 30), "20"], input=order, capture_output=True, text=True, check=False
    )
    assert "more than 1.1 GB of memory" in json.loads(done.stdout)["fault"]["found"]


@pytest.mark.skipif(os.name != "posix", reason="signals as on Linux")
def test_children_end_with_their_parent(scan: Path):
    code = (
        "import sys, time; from VoxelAdvSegLib.data import reading\n"
        f"with reading.reading_apart():\n    reading.read_volume({str(scan)!r})\n"
        "    print(reading._readers[-1]._idle[0].process.pid, flush=True)\n    time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not alive(child) or Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the child outlived its parent")


def test_a_child_without_work_ends_itself(scan: Path, monkeypatch):
    monkeypatch.setattr("VoxelAdvSegLib.data.readers.IDLE_SECONDS", 0.5)
    with reading_apart():
        read_volume(scan)
        (first,) = reading._readers[-1]._idle
        first.process.wait(timeout=20)
        read_volume(scan)  # by another, and no error for the first
        assert reading._readers[-1].started == 2
