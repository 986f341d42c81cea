"""The page of a speed report, and its one-line summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MEANING = {
    "step_over_bare": "step / bare network",
    "step_over_dense_time": "step / step with dense fusion, time",
    "step_over_dense_memory": "step / step with dense fusion, memory",
    "data_wait_share": "waiting for patches / time of a run",
    "segment_over_bare": "segmenting / its windows through the bare network",
    "segment_over_monai": "segmenting / MONAI's inferer, one window at a time",
    "metrics_over_medpy": "metrics of a case / medpy's",
    "two_process_efficiency": "two processes: part of twice the speed of one",
    "seconds_for_6000_steps": "seconds for 6000 steps, extrapolated from the steps measured",
}
MIB = 2**20


def speed_page(report: Mapping[str, Any], command: str) -> str:
    """Markdown: ratios with their targets first, then what they came from."""
    parts = [
        "# Performance",
        f"Written by `{command}`.",
        _machine(report["machine"]),
        "## Ratios",
        _ratios(report),
        "The bare network is the same student's forward and backward on the step's four patches with a trivial loss, "
        "and the teacher's forward: no loss of the method, no optimizer, no average. What a figure compares is timed "
        "in turn in one process, the warm-up left out; a ratio is the median of the ratios round by round. What a step "
        "does only every hundredth time (comparing the terms' gradients) is in the ratio with its share. Segmenting "
        "is timed at the benchmark's stride on a scan of twelve windows. Where patches are cut on the CPU that also "
        "trains, not waiting for them does not make them free: see the seconds of cutting below.",
    ]
    for name, facts in report["scales"].items():
        patch = " x ".join(map(str, facts["patch_zyx"][::-1]))
        parts += [
            f"## Size '{name}': patches of {patch} voxels, {facts['filters']} filters, {facts['precision']}",
            _table(
                ["measured", "ratio"],
                [[MEANING[k], f"{v:.3f}"] for k, v in facts["ratios"].items()],
            ),
            _table(["action", "median seconds"], [[k, f"{v:.4g}"] for k, v in facts["median_seconds"].items()]),
        ]
        if "peak_bytes" in facts:
            parts.append(
                f"Peak memory of a step: {facts['peak_bytes']['sampled'] / MIB:.0f} MiB, with dense fusion "
                f"{facts['peak_bytes']['dense'] / MIB:.0f} MiB."
            )
    last = list(report["scales"])[-1]
    parts += [
        f"## Methods, at size '{last}'",
        _table(
            ["method", "steps per second", "peak MiB"],
            [
                [name, f"{m['steps_per_second']:.3f}", f"{m['peak_bytes'] / MIB:.0f}"]
                for name, m in report["methods"].items()
            ],
        ),
        f"## Where a step's time goes, at size '{last}'",
        "The device's own time of each operation, in a step and in the bare network.",
        _profile(report["profile"]["top"]),
        "What the difference from the bare network is made of:",
        _profile(report["profile"]["gap"]),
    ]
    if report.get("utilization_percent") is not None:
        parts.append(f"The GPU was at work for {report['utilization_percent']:.0f} % of the time.")
    return "\n\n".join(parts) + "\n"


def summary(report: Mapping[str, Any]) -> list[str]:
    """One line per ratio, for the screen."""
    return [f"{meaning}: {shown}, target {target}: {met}" for meaning, shown, target, met in _rows(report)]


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, meaning in MEANING.items():
        if name not in report:
            continue
        value, target = report[name], report["targets"].get(name)
        shown = f"not measured ({report['reasons'].get(name, 'unknown')})" if value is None else f"{value:.3f}"
        verdict = "" if value is None or target is None else "yes" if value <= target else "no"
        rows.append([meaning, shown, "" if target is None else f"<= {target:g}", verdict])
    return rows


def _ratios(report: Mapping[str, Any]) -> str:
    return _table(["measured", "figure", "target", "met"], _rows(report))


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"Measured on {machine['device']} ({machine['system']}), {machine['threads']} of {machine['cores']} threads, "
        f"{machine['free_memory_gib']} GiB free, with a load of {machine['load']} when it began; Python "
        f"{machine['python']}, torch {machine['torch']}, VoxelAdvSeg {machine['VoxelAdvSeg']}."
    )


def _profile(rows: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        ["operation", "step ms", "bare ms"],
        [[f"`{row['operation']}`", f"{row['step_ms']:.1f}", f"{row['bare_ms']:.1f}"] for row in rows],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))
