"""The installation: looked at from inside by a real child, and judged by facts of machines that are not here."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from Testing.jobs.conftest import JOB_EVENT, Bench, pump_to_end
from VoxelAdvSegLib.cli.job_probe import package_facts, requirements
from VoxelAdvSegLib.jobs.explain import explain_exit
from VoxelAdvSegLib.jobs.installation import Installation, Package, is_built_for
from VoxelAdvSegLib.jobs.interpreter import Interpreter
from VoxelAdvSegLib.jobs.job import JobState
from VoxelAdvSegLib.jobs.probe import ProbeJob
from VoxelAdvSegLib.jobs.protocol import ProbeRequest
from VoxelAdvSegLib.jobs.verdict import device_verdict, duration, judge, time_estimate
from VoxelAdvSegLib.jobs.vocabulary import EVENTS, misfits


def test_this_installation_is_fit(bench: Bench, real: Interpreter):
    job = bench.start(ProbeJob, ProbeRequest(), real)
    assert job.verdict is None
    events = pump_to_end(job)
    for event in events:
        assert misfits("probe", event) == [], event
    assert {e["type"] for e in events} >= set(EVENTS["probe"]) - {"error", "heartbeat"}
    assert job.state is JobState.FINISHED and job.verdict is not None and job.verdict.usable, job.verdict
    found = job.installation
    assert found.python == ".".join(map(str, sys.version_info[:3])) and found.torch_version
    assert {p.name for p in found.packages} == {name for name, _ in requirements()}
    assert all(p.fits for p in found.packages)
    cpu = found.device("cpu")
    assert cpu is not None and cpu.gmac_per_second > 0 and cpu.memory_bytes > 2**28
    assert found.torch_version in job.verdict.report and os.sep + "log.txt" not in job.verdict.report


def broken_torch(real: Interpreter, folder: Path, code: str) -> Interpreter:
    package = folder / "packages" / "torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    # What is not asked about here is replaced, too: importing it would import the broken torch.
    for name in ("monai", "safetensors"):
        (package.parent / f"{name}.py").write_text("")
    return replace(real, environment={**real.environment, "PYTHONPATH": str(package.parent)})


@pytest.mark.parametrize(
    "code, cause, action",
    [
        ("raise ModuleNotFoundError('No module named torch', name='torch')", "torch is not installed", "install torch"),
        ("raise OSError('libcudnn.so.9: cannot open shared object file')", "torch cannot be loaded", "install torch"),
        ("import os; os.kill(os.getpid(), 11)", "crashed inside a library", ""),
    ],
    ids=["missing", "broken", "crash"],
)
def test_a_torch_that_is_missing_broken_or_crashes(
    bench: Bench, real: Interpreter, tmp_path: Path, code: str, cause: str, action: str
):
    job = bench.start(ProbeJob, ProbeRequest(), broken_torch(real, tmp_path, code))
    pump_to_end(job)
    verdict = job.verdict
    assert verdict is not None and not verdict.usable
    errors = [f for f in verdict.findings if f.severity == "error"]
    assert cause in errors[0].cause and errors[0].action == action and errors[0].cure
    assert job.installation.python and "numpy" in verdict.report  # what was told before is kept


def test_a_python_that_does_not_know_the_library(bench: Bench, tmp_path: Path):
    job = bench.play(["print", "/usr/bin/python: No module named VoxelAdvSegLib"], ["exit", 1], kind=ProbeJob,
                     request=ProbeRequest())  # fmt: skip
    pump_to_end(job)
    assert not job.verdict.usable and "does not find the library" in job.verdict.text
    assert job.verdict.findings[0].action == "choose python"


def test_a_cancelled_probe_has_no_verdict(bench: Bench):
    job = bench.play(["event", JOB_EVENT], ["hang"], kind=ProbeJob, request=ProbeRequest())
    job.cancel(grace_seconds=0)
    pump_to_end(job)
    assert job.state is JobState.CANCELLED and job.verdict is None


# --- facts of other machines -----------------------------------------------------------------------

CARD = {"name": "NVIDIA GeForce RTX 5090", "driver": "570.1", "memory_mb": "32607", "capability": "12.0"}
HOPPER = ["sm_50", "sm_80", "sm_86", "sm_90", "compute_90"]


def machine(**changes: Any) -> Installation:
    """A good one with a card, then changed."""
    facts: dict[str, dict] = {
        "job": {"version": "0.1.0"},
        "python": {"python": "3.12.10", "executable": "/home/miller/Slicer/bin/PythonSlicer", "system": "Linux 6",
                   "machine": "x86_64", "cores": 8, "memory_bytes": 32 * 2**30},
        "driver": {"cards": [CARD]},
        "package": {"name": "scipy", "needs": "1.11", "version": "1.17.1", "error": None},
        "torch": {"version": "2.9.0", "error": None, "missing": False, "cuda": "12.8", "rocm": None,
                  "cuda_works": True, "built_for": [*HOPPER, "sm_120"]},
        "cpu": {"device": "cpu", "name": "x86_64", "memory_bytes": 32 * 2**30, "free_bytes": None, "capability": None,
                "error": None, "gmac_per_second": 100.0},
        "card": {"device": "cuda:0", "name": CARD["name"], "memory_bytes": 32 * 2**30, "free_bytes": 30 * 2**30,
                 "capability": "12.0", "error": None, "gmac_per_second": 5000.0},
    }  # fmt: skip
    made = Installation()
    for name, fields in facts.items():
        if changes.get(name, {}) is not None:
            kind = "device" if name in ("cpu", "card") else name
            made.take({"type": kind, "time": 1.0, **fields, **changes.get(name, {})})
    return made


def verdict(**changes: Any):
    return judge(machine(**changes), None)


def test_a_good_machine_with_a_card():
    found = verdict()
    assert found.usable and found.text == "Everything is ready: training runs on NVIDIA GeForce RTX 5090, 32 GB."
    assert {f.severity for f in found.findings} == {"ok"}
    assert device_verdict(machine(), "auto") == "NVIDIA GeForce RTX 5090, 32 GB: ready."
    assert device_verdict(machine(), "cuda:3") == "There is no device cuda:3."


NO_CUDA = {"cuda": None, "cuda_works": False, "built_for": []}
BAD_CASES = [
    ({"python": {"python": "3.9.10"}}, False, "3.10 or newer", "choose python"),
    ({"torch": {"version": None, "missing": True, "error": "x"}, "cpu": None, "card": None}, False,
     "torch is not installed", "install torch"),
    ({"package": {"version": None}}, False, "scipy is not installed", "install packages"),
    ({"package": {"version": "1.9.3"}}, False, "scipy 1.9.3 is too old; 1.11", "install packages"),
    ({"package": {"name": "torch", "needs": "2.4", "version": "2.0.1+cu118"}}, False, "torch 2.0.1+cu118 is too old",
     "install torch"),
    ({"package": {"error": "ImportError: DLL load failed while importing x"}}, False, "scipy 1.17.1 cannot be loaded",
     "install packages"),
    ({"torch": NO_CUDA, "card": None}, True, "is the build for the CPU", "install torch"),
    ({"torch": {"cuda_works": False}, "card": None}, True, "cannot use NVIDIA GeForce RTX 5090 with the driver 570.1",
     "update driver"),
    ({"torch": {"built_for": ["sm_90"]}, "card": {"error": "RuntimeError: strange"}}, True,
     "(compute capability 12.0) is not among the cards that this torch was built for (sm_90)", "install torch"),
    ({"card": {"error": "CUDA error: no kernel image is available for execution on the device"}}, True,
     "(compute capability 12.0) is not among the cards that this torch was built for", "install torch"),
    ({"card": {"error": "CUDA out of memory"}}, True, "The graphics card has too little free memory", ""),
    ({"card": {"memory_bytes": 2 * 2**30}}, True, "has little memory", ""),
    ({"cpu": {"error": "RuntimeError: strange"}}, False, "RuntimeError: strange", "install torch"),
]  # fmt: skip


@pytest.mark.parametrize("changes, usable, cause, action", BAD_CASES, ids=range(len(BAD_CASES)))
def test_what_is_wrong_is_said_with_cause_and_cure(changes: dict, usable: bool, cause: str, action: str):
    found = verdict(**changes)
    wrong = [f for f in found.findings if f.severity != "ok"]
    assert found.usable is usable and len(wrong) == 1
    assert cause in wrong[0].cause and wrong[0].cure.endswith(".") and wrong[0].action == action
    assert wrong[0].cause in found.text and wrong[0].cause.split("/")[0] in found.report


def test_without_nvidia_program_a_cpu_build_is_no_fault():
    found = verdict(torch=NO_CUDA, card=None, driver={"cards": None})
    assert found.usable and "training runs on the CPU" in found.text


def test_a_crash_is_judged_with_what_was_told_before():
    made = machine(torch=None, cpu=None, card=None)
    found = judge(made, explain_exit(-11, "Fatal Python error: Segmentation fault", "loading torch"))
    assert not found.usable and "crashed" in found.text and "Segmentation fault" in found.report


@pytest.mark.parametrize(
    "capability, built_for, fits",
    [("8.9", HOPPER, True), ("8.0", ["sm_86"], False), ("12.0", ["sm_90"], False), ("12.0", HOPPER, True),
     ("7.5", ["sm_80", "compute_80"], False), ("9.0", ["sm_90a"], True), ("9.0", ["gfx90a"], True), ("9.0", [], True)],
)  # fmt: skip
def test_which_cards_a_build_is_for(capability: str, built_for: list[str], fits: bool):
    assert is_built_for(capability, built_for) is fits


@pytest.mark.parametrize(
    "version, needs, old",
    [("2.10.0", "2.9", False), ("2.4.0+cu121", "2.4", False), ("1.9", "1.11", True), ("3.0.0rc1", "3.0", False),
     ("2026.1", "3", False), ("2.3.1.dev0", "2.4", True)],
)  # fmt: skip
def test_versions_are_compared_by_number(version: str, needs: str, old: bool):
    assert Package("x", needs, version, None).too_old is old


def test_the_report_names_no_person_and_no_folder_but_the_interpreters():
    error = "OSError: /home/miller/Patients/Doe John/x.so: cannot open shared object file; C:\\Users\\Miller\\a\\b.dll"
    report = verdict(torch={"version": None, "error": error}, cpu=None, card=None).report
    assert "miller" not in report.lower() and "Patients" not in report and "x.so" in report and "b.dll" in report
    assert "Python 3.12.10 at /home/~/Slicer/bin/PythonSlicer" in report
    assert CARD["name"] in report and "570.1" in report and "scipy 1.17.1" in report


def test_budgets_in_words():
    assert [duration(m) for m in (15, 60, 90, 240, 0.2)] == ["15 min", "1 h", "1 h 30 min", "4 h", "0 min"]
    # 3060 s at 5000 GMAC/s, 641.7 GMAC a step: 23,843
    assert time_estimate(machine(), "auto", 60) == (
        "The training ends after about 1 h; with large scans that is about 24,000 steps on "
        "NVIDIA GeForce RTX 5090, 32 GB."
    )
    little = time_estimate(machine(cpu={"gmac_per_second": 1.0}), "cpu", 15)
    assert "little, unless the scans are small" in little and "the CPU, 32 GB" in little
    unknown = machine(card={"gmac_per_second": None})
    assert time_estimate(unknown, "cuda:0", 15) == "The training ends after about 15 min."


def test_a_package_is_looked_up_as_it_is_installed():
    found = package_facts("numpy", "1.26")
    assert found["version"] and found["error"] is None
    assert package_facts("no-such-package-here", "1")["version"] is None
    names = dict(requirements())
    assert (names["torch"] == "2.4" and "tomli" not in names) or sys.version_info < (3, 11)
    assert json.dumps(found)
