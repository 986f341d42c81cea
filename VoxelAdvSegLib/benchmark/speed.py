"""How far every stage is from what its arithmetic costs: ratios of times taken in turn in one process."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.benchmark.processes import measure_two_processes
from VoxelAdvSegLib.benchmark.speed_inference import ATRIUM_ZYX, time_metrics, time_segmenting
from VoxelAdvSegLib.benchmark.speed_peak import peak_of_steps
from VoxelAdvSegLib.benchmark.speed_profile import profile_steps, watch_utilization
from VoxelAdvSegLib.benchmark.speed_training import STEPS, Setup, Training
from VoxelAdvSegLib.benchmark.stopwatch import Lap, finish, in_turn
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.methods import METHODS
from VoxelAdvSegLib.methods.optimizers import precision
from VoxelAdvSegLib.networks.device import describe_machine
from VoxelAdvSegLib.training.session import prepare_device

GIB = 2**30
WARM_UP = 2
DENSE = {"fusion_path": "dense"}
# (at most) for the CPU and for a GPU
TARGETS: dict[str, tuple[float, float]] = {
    "step_over_bare": (1.10, 1.10),
    "step_over_dense_time": (0.5, 0.5),
    "step_over_dense_memory": (0.5, 0.5),
    "data_wait_share": (0.02, 0.02),
    "segment_over_bare": (1.05, 1.05),
    "segment_over_monai": (1.0, 0.5),
    "metrics_over_medpy": (0.5, 0.5),
}
GPU_SECONDS_FOR_THE_PAPER = 180.0  # of 6000 steps on an H200


@dataclass(frozen=True)
class Scale:
    """One size of everything, and how often it is timed; paper: the size of the benchmark's own patches."""

    name: str
    setup: Setup
    rounds: int
    paper: bool = False


FULL = Setup((80, 112, 112), 16)
REDUCED = Setup((48, 48, 48), 16)


def scales(device: torch.device, reduced_only: bool = False) -> list[Scale]:
    """The paper's size, and one that the CPU can repeat often."""
    many = 30 if device.type == "cuda" else 15
    full = [] if reduced_only else [Scale("full", FULL, many if device.type == "cuda" else 3, paper=True)]
    return [*full, Scale("reduced", REDUCED, many)]


def measure_speed(
    device: torch.device, chosen: Sequence[Scale], methods: Sequence[str] = tuple(METHODS),
    atrium_zyx: tuple[int, int, int] = ATRIUM_ZYX, tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """The report: ratios by name (None where one could not be measured, with the reason), and what they came from.

    The ratios are those of the first scale; dense fusion, recipe and methods are measured at the last.
    """
    prepare_device(device)
    report: dict[str, Any] = dict.fromkeys((*TARGETS, "methods", "two_process_efficiency"))
    report["targets"] = {name: pair[device.type == "cuda"] for name, pair in TARGETS.items()}
    report["reasons"] = {}
    report["machine"] = machine_facts(device)
    report["scales"] = {}
    for scale in chosen:
        tell(f"steps and segmenting with patches of {_by(scale.setup.patch_zyx)} and {scale.setup.filters} filters")
        facts = _measure_scale(scale, device)
        report["scales"][scale.name] = facts
        if len(report["scales"]) == 1:
            report |= facts["ratios"]
        if scale.paper and device.type == "cuda":
            report["seconds_for_6000_steps"] = STEPS * facts["median_seconds"]["step"]
            report["targets"]["seconds_for_6000_steps"] = GPU_SECONDS_FOR_THE_PAPER
            report["utilization_percent"] = watch_utilization(Training(scale.setup, device), scale.rounds)
    last = chosen[-1]
    tell("the dense fusion of the paper's figure")
    _compare_dense(last, device, report)
    tell("the preset auto")
    report["scales"][last.name]["median_seconds"]["step of the preset auto"] = _time_steps(
        replace(last.setup, preset="auto"), device, last.rounds
    ).median
    tell("profile")
    report["profile"] = profile_steps(Training(last.setup, device))
    report["methods"] = {}
    for method in methods:
        tell(f"method {method}")
        setup = replace(last.setup, method=method)
        report["methods"][method] = {
            "steps_per_second": 1 / _time_steps(setup, device, max(2, last.rounds // 3)).median,
            "peak_bytes": peak_of_steps(setup, device),
        }
    tell("two processes")
    _compare_processes(last, device, report)
    tell("metrics")
    try:
        laps = time_metrics(atrium_zyx, 5)
        report["metrics_over_medpy"] = laps["own"].over(laps["medpy"])
        report["metrics_median_seconds"] = {name: lap.median for name, lap in laps.items()}
    except ModuleNotFoundError as error:
        report["reasons"]["metrics_over_medpy"] = f"the package {error.name} is not installed"
    return report


def _compare_processes(scale: Scale, device: torch.device, report: dict[str, Any]) -> None:
    """Efficiency of two processes, or why there is none."""
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        report["reasons"]["two_process_efficiency"] = "it takes two graphics cards"
        return
    try:
        measured = measure_two_processes(
            device.type, scale.setup.patch_zyx[::-1], scale.setup.filters, rounds=2, steps=max(2, scale.rounds // 3)
        )
    except RunError as error:
        report["reasons"]["two_process_efficiency"] = f"{error.what}: {error.found}"
        return
    report["two_process_efficiency"] = measured["two_process_efficiency"]
    report["two_processes"] = measured


def machine_facts(device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    machine = describe_machine(device)
    processor = str(getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name", "")) or platform.processor()
    return {
        "device": machine.name if device.type == "cuda" else processor or platform.machine(),
        "cores": machine.cores, "threads": torch.get_num_threads(),
        "free_memory_gib": round(machine.memory_bytes / GIB, 1), "load": round(psutil.getloadavg()[0], 1),
        "system": platform.system(), "python": platform.python_version(), "torch": torch.__version__,
        "VoxelAdvSeg": __version__,
    }  # fmt: skip


def _measure_scale(scale: Scale, device: torch.device) -> dict[str, Any]:
    """A step beside the bare network, how long it waits for its patches, and segmenting."""
    training = Training(scale.setup, device)
    laps = in_turn({"bare": training.bare, "step": training.step}, scale.rounds, device)
    laps |= in_turn({"step with gradient ratios": training.step_with_ratios}, max(1, scale.rounds // 5), device)
    laps |= in_turn({"cutting a batch": lambda: training.batches.cut_at(0, *training.sizes)}, 3, device)
    # What is done every hundredth step, shared out.
    rare = max(0.0, laps["step with gradient ratios"].median / laps["step"].median - 1)
    rare /= training.config.training.gradient_ratio_every
    waiting = _waiting(training, scale.rounds)
    half = precision(training.config, device)

    segmenting, windows = time_segmenting(scale.setup, device, max(2, scale.rounds // 3))
    return {
        "patch_zyx": list(scale.setup.patch_zyx),
        "filters": scale.setup.filters,
        "precision": "float32" if half is None else str(half).removeprefix("torch."),
        "rounds": scale.rounds,
        "windows": windows,
        "ratios": {
            "step_over_bare": laps["step"].over(laps["bare"]) * (1 + rare),
            "data_wait_share": waiting,
            "segment_over_bare": segmenting["segment"].over(segmenting["bare"]),
            "segment_over_monai": segmenting["segment"].over(segmenting["monai"]),
        },
        "median_seconds": {name: lap.median for name, lap in laps.items()}
        | {f"segmenting: {name}": lap.median for name, lap in segmenting.items()},
    }


def _waiting(training: Training, rounds: int) -> float:
    """Part of a run's time that goes by before the next step's patches are there."""
    waited = passed = 0.0
    for number in range(WARM_UP + rounds):
        begin = time.perf_counter()
        batch = training.batches.at(training.done, *training.sizes)
        finish(training.device)
        there = time.perf_counter()
        training.step(batch)
        finish(training.device)
        if number >= WARM_UP:
            waited += there - begin
            passed += time.perf_counter() - begin
    return waited / passed


def _compare_dense(scale: Scale, device: torch.device, report: dict[str, Any]) -> None:
    """A step beside the same with every voxel fused: time, and memory of the step."""
    sampled, dense = scale.setup, replace(scale.setup, settings={**scale.setup.settings, **DENSE})
    try:
        peaks = {"sampled": peak_of_steps(sampled, device), "dense": peak_of_steps(dense, device)}
        ours, theirs = Training(sampled, device), Training(dense, device)
        laps = in_turn({"sampled": ours.step, "dense": theirs.step}, max(2, scale.rounds // 3), device)
    except (RunError, torch.cuda.OutOfMemoryError) as error:
        reason = str(error).splitlines()[0]
        report["reasons"] |= {"step_over_dense_time": reason, "step_over_dense_memory": reason}
        return
    report["step_over_dense_time"] = laps["sampled"].over(laps["dense"])
    report["step_over_dense_memory"] = peaks["sampled"] / peaks["dense"]
    facts = report["scales"][scale.name]
    facts["peak_bytes"] = peaks
    facts["median_seconds"]["step with dense fusion"] = laps["dense"].median


def _time_steps(setup: Setup, device: torch.device, rounds: int) -> Lap:
    return in_turn({"step": Training(setup, device).step}, rounds, device, WARM_UP)["step"]


def _by(numbers: Sequence[int]) -> str:
    return " x ".join(map(str, numbers[::-1]))
