"""Everything works without a network, and looks for none: not even through the libraries it brings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.soak_record import record
from Testing.training.conftest import TINY, write_manifest, write_scan

REPOSITORY = Path(__file__).resolve().parents[2]
GUARD = Path(__file__).parent / "netguard"
PROMISE = "No network is used, and no port is opened"
SETTINGS = [f"--set={key}={value}" for key, value in TINY.items()]
# Runs in a name space of its own, whose counters of the kernel know of every attempt, by whatever library.
DRIVER = """
import json, sys, threading
from pathlib import Path

def counters():
    lines = Path("/proc/net/snmp").read_text().splitlines()
    table = {}
    for names, values in zip(lines[::2], lines[1::2]):
        kind = names.split(":")[0]
        table |= {f"{kind}.{n}": int(v) for n, v in zip(names.split()[1:], values.split()[1:])}
    wanted = ("Tcp.ActiveOpens", "Udp.OutDatagrams", "Ip.OutRequests", "Ip.OutNoRoutes")
    return {name: table[name] for name in wanted}

def open_sockets():
    kinds = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")
    return [line for kind in kinds if Path("/proc/net", kind).exists()
            for line in Path("/proc/net", kind).read_text().splitlines()[1:]]

seen, over = [], threading.Event()
def look():
    while not over.wait(0.05):
        seen.extend(open_sockets())
threading.Thread(target=look, daemon=True).start()
before = counters()
codes = run()
after = counters()
over.set()
print("RESULT " + json.dumps({"codes": codes, "used": {n: after[n] - before[n] for n in after}, "sockets": seen}))
"""
COMMANDS = """
from VoxelAdvSegLib.cli.main import main
def run():
    return [main(words) for words in json.loads(sys.argv[1])]
"""
ATTEMPTS = """
import ctypes, socket, subprocess, time
def run():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    time.sleep(0.2)
    codes = []
    for family, place in ((socket.SOCK_STREAM, ("192.0.2.1", 80)), (socket.SOCK_DGRAM, ("192.0.2.1", 53))):
        try:
            one = socket.socket(socket.AF_INET, family)
            one.connect(place)
        except OSError as error:
            codes.append(error.errno)
    return codes
"""


def alone(program: str, *words: str, guarded: bool = True, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python without a network; guarded: with Python's own sockets watched, too, in all its children."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    path = os.pathsep.join(map(str, [GUARD, REPOSITORY] if guarded else [REPOSITORY]))
    environment = {**os.environ, "PYTHONPATH": path}
    environment |= {"NETGUARD_LOG": str(folder / "network.txt"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", program, *words],
        capture_output=True, text=True, env=environment, check=False, timeout=280,
    )  # fmt: skip
    if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"no name space can be made here: {done.stderr.strip()}")
    return done


def result(done: subprocess.CompletedProcess[str]) -> dict:
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


def test_an_attempt_is_seen(tmp_path: Path):
    """That the tests below can fail: by the kernel's counters, by the list of sockets, and by the guard."""
    found = result(alone("import json, sys" + ATTEMPTS + DRIVER, folder=tmp_path, guarded=False))
    assert found["used"]["Ip.OutNoRoutes"] > 0 and found["sockets"] and len(found["codes"]) == 2
    done = alone("import subprocess, sys\nsys.exit(subprocess.call([sys.executable, '-c', "
                 "\"import socket; socket.getaddrinfo('example.org', 80)\"]))", folder=tmp_path)  # fmt: skip
    assert done.returncode == 98 and "getaddrinfo" in (tmp_path / "network.txt").read_text()


@pytest.mark.trust
def test_no_command_looks_for_a_network(tmp_path: Path):
    for seed, name in enumerate("abcdef"):
        write_scan(tmp_path / "data", name, seed, labeled=name in "abf")
    data, run = str(write_manifest(tmp_path / "data")), str(tmp_path / "run")
    scan = str(tmp_path / "data" / "images" / "c.nii.gz")
    commands = [
        ["doctor", "--data", data],
        ["train", "--data", data, "--run", run, "--steps", "2", *SETTINGS],
        ["segment", "--model", run, "--input", scan, "--output", str(tmp_path / "out"), "--discriminator-map"],
        ["evaluate", "--data", data, "--split", "validation", "--model", run, "--output", str(tmp_path / "r.json")],
    ]
    done = alone("import json, sys" + COMMANDS + DRIVER, json.dumps(commands), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = result(done)
    assert found["codes"] == [0, 0, 0, 0]
    assert found["sockets"] == [] and set(found["used"].values()) == {0}
    assert not (tmp_path / "network.txt").exists()
    record(PROMISE, "doctor, train, segment and evaluate in a computer without a network: no attempt, no socket")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_whole_loop_of_the_panel_looks_for_no_network(tmp_path: Path):
    """Project, training, segmentation, correction and a second training, with the real child processes."""
    tests = ["Testing/panel/test_end_to_end.py", "Testing/panel/test_train_section.py"]
    program = f"""
import json, sys, pytest
def run():
    return [int(pytest.main([*{tests!r}, "-q", "-p", "no:cacheprovider", "--basetemp", {str(tmp_path / "base")!r}]))]
"""
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", program + DRIVER], capture_output=True, text=True, check=False,
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = result(done)
    assert found["codes"] == [0], done.stdout
    assert found["sockets"] == [] and set(found["used"].values()) == {0}
    record(PROMISE, f"the panel's flows ({', '.join(tests)}) likewise")
