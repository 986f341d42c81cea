"""What the facts of an installation mean: verdict, causes and cures in plain words, and a report to copy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from VoxelAdvSegLib.data.plan import LARGEST_PATCH, NETWORK_GMAC_PER_STEP, STEP_PATCHES_VOXELS
from VoxelAdvSegLib.jobs.explain import Failure, explain_text
from VoxelAdvSegLib.jobs.installation import Device, Installation, is_built_for

OLDEST_PYTHON = (3, 10)
LITTLE_CARD_BYTES = 4 * 2**30
FEW_STEPS = 1000  # below, a model is rough
NOT_BUILT_FOR = "no kernel image is available"  # in CUDA's own words
PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^/\\\s:'\",;()]+){2,}")
STEPS_SHARE = 0.85  # of a budget, as the course of a training plans it


@dataclass(frozen=True)
class Finding:
    """severity: error (no training), warning (works, but), ok; cure: what to do; action: install torch,
    install packages, update driver, choose python, or "" - what a panel may offer as a button."""

    severity: str
    cause: str
    cure: str = ""
    action: str = ""


@dataclass(frozen=True)
class Verdict:
    """usable: a training can run; text: that in a sentence; report: all of it, to copy."""

    usable: bool
    text: str
    findings: tuple[Finding, ...]
    report: str


def judge(found: Installation, failure: Failure | None) -> Verdict:
    """The verdict; failure: why the probe itself ended early, if it did."""
    findings = tuple(_findings(found, failure))
    errors = [f for f in findings if f.severity == "error"]
    warnings = [f for f in findings if f.severity == "warning"]
    if errors:
        text = f"Training is not possible yet: {errors[0].cause} {errors[0].cure}"
    elif warnings:
        text = f"Training is possible. {warnings[0].cause} {warnings[0].cure}"
    else:
        best = found.device("auto")
        text = "Everything is ready." if best is None else f"Everything is ready: training runs on {best.title}."
    return Verdict(not errors, text.strip(), findings, _report(found, findings, failure))


def device_verdict(found: Installation, device: str) -> str:
    """A device in a sentence: name, memory, and whether it can be used."""
    this = found.device(device)
    if this is None:
        return f"There is no device {device}."
    if this.error is not None:
        return f"{_capital(this.title)}: cannot be used. {_cause(this.error)[0]}"
    words = "ready" if not this.is_cpu else f"ready, {found.cores} cores; training is slower than on a graphics card"
    return f"{_capital(this.title)}: {words}."


def time_estimate(found: Installation, device: str, minutes: float) -> str:
    """What a budget of minutes gives on a device, from the speed of the test kernel.

    Steps are counted for scans that fill the largest patch of the device; smaller scans give more.
    """
    this = found.device(device)
    text = f"The training ends after about {duration(minutes)}"
    if this is None or this.gmac_per_second is None:
        return f"{text}."
    steps = _steps(this, STEPS_SHARE * 60 * minutes)
    told = f"{float(f'{steps:.1g}' if steps < 1000 else f'{steps:.2g}'):,.0f}"
    text = f"{text}; with large scans that is about {told} steps on {this.title}"
    return text + (": little, unless the scans are small." if steps < FEW_STEPS else ".")


def _steps(device: Device, seconds: float) -> float:
    """Steps in that time, with the network that the plan would choose (data/plan.py)."""
    assert device.gmac_per_second is not None
    kind = "cpu" if device.is_cpu else "cuda"
    work = NETWORK_GMAC_PER_STEP * min(1.0, LARGEST_PATCH[kind] / STEP_PATCHES_VOXELS)
    steps = 0.0
    for filters in (16, 12, 8) if device.is_cpu else (16,):
        steps = seconds * device.gmac_per_second / (work * (filters / 16) ** 2)
        if steps >= FEW_STEPS:
            break
    return steps


def duration(minutes: float) -> str:
    """12 min, 1 h, 1 h 30 min."""
    hours, rest = divmod(round(minutes), 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest or not hours)
    return " ".join(parts)


def _findings(found: Installation, failure: Failure | None) -> Iterator[Finding]:
    if found.python is not None:
        yield from _python(found)
    if failure is not None:
        yield Finding("error", f"The check itself ended early. {failure.why}", failure.do, _action(failure.do))
    if found.python is None or (failure is not None and not found.torch_told):
        return
    yield from _torch(found)
    yield from _packages(found)
    if found.torch_version is not None:
        yield from _devices(found)


def _python(found: Installation) -> Iterator[Finding]:
    version = tuple(int(n) for n in re.findall(r"\d+", found.python or "")[:2])
    if version < OLDEST_PYTHON:
        yield Finding(
            "error", f"This Python is {found.python}; 3.10 or newer is needed.",
            "Choose another Python, or update Slicer.", "choose python",
        )  # fmt: skip


def _torch(found: Installation) -> Iterator[Finding]:
    if found.torch_missing:
        yield Finding("error", "torch is not installed.", "Install it under Installation.", "install torch")
    elif found.torch_error is not None:
        cause, cure = _cause(found.torch_error)
        yield Finding("error", f"torch cannot be loaded: {cause}", cure, "install torch")
    cards = ", ".join(card["name"] for card in found.cards or ())
    if found.torch_version is None or not cards or found.cuda_works or found.torch_rocm:
        return
    if found.torch_cuda is None:
        yield Finding(
            "warning", f"The computer has {cards}, but the installed torch is the build for the CPU.",
            "Install the CUDA build of torch under Installation; until then the training runs on the CPU.",
            "install torch",
        )  # fmt: skip
    else:
        driver = (found.cards or [{}])[0].get("driver", "unknown")
        yield Finding(
            "warning",
            f"torch (for CUDA {found.torch_cuda}) cannot use {cards} with the driver {driver}, "
            "which is most often too old for it.",
            "Update the driver of the graphics card; until then the training runs on the CPU.", "update driver",
        )  # fmt: skip


def _packages(found: Installation) -> Iterator[Finding]:
    others = [p for p in found.packages if p.name != "torch" or p.too_old]
    missing = [p.name for p in others if p.version is None]
    if missing:
        yield Finding(
            "error", f"{_list(missing)} {'is' if len(missing) == 1 else 'are'} not installed.",
            "Install the missing packages under Installation.", "install packages",
        )  # fmt: skip
    for package in others:
        if package.too_old:
            yield Finding(
                "error", f"{package.name} {package.version} is too old; {package.needs} or newer is needed.",
                f"Update {package.name} under Installation.",
                "install torch" if package.name == "torch" else "install packages",
            )  # fmt: skip
        if package.error is not None:
            yield Finding(
                "error", f"{package.name} {package.version} cannot be loaded: {_cause(package.error)[0]}",
                f"Reinstall {package.name} under Installation.", "install packages",
            )  # fmt: skip


def _devices(found: Installation) -> Iterator[Finding]:
    for device in found.devices:
        unfit = device.capability is not None and (
            NOT_BUILT_FOR in (device.error or "")
            or (not found.torch_rocm and not is_built_for(device.capability, found.built_for))
        )
        severity = "error" if device.is_cpu else "warning"
        if unfit and device.error is not None:
            yield Finding(
                severity,
                f"{device.name} (compute capability {device.capability}) is not among the cards that this torch was "
                f"built for ({', '.join(found.built_for)}).",
                "Install a torch build for this card under Installation; until then choose the CPU as device.",
                "install torch",
            )  # fmt: skip
        elif device.error is not None:
            cause, cure = _cause(device.error)
            yield Finding(severity, f"The test on {device.title} failed: {cause}", cure, _action(cure))
        elif not device.is_cpu and (device.memory_bytes or LITTLE_CARD_BYTES) < LITTLE_CARD_BYTES:
            yield Finding(
                "warning", f"{device.title} has little memory: the training uses smaller patches there.",
                "Choose the CPU as device if it runs out of memory.",
            )  # fmt: skip
        else:
            yield Finding("ok", device_verdict(found, device.device))


def _cause(error: str) -> tuple[str, str]:
    meaning = explain_text(error)
    if meaning is not None:
        return meaning
    return error.splitlines()[0][:200].rstrip(".") + ".", "Reinstall torch under Installation, or send the report."


def _action(cure: str) -> str:
    if "driver" in cure and "torch" not in cure:
        return "update driver"
    if "another Python" in cure or "own Python" in cure:
        return "choose python"
    return "install torch" if "torch" in cure else ""


def _report(found: Installation, findings: tuple[Finding, ...], failure: Failure | None) -> str:
    """Facts and findings as text, without names of persons and without folders but the interpreter's."""
    lines = [
        f"VoxelAdvSeg {found.library or '(not told)'}",
        f"Python {found.python or '(not told)'} at {_without_home(found.executable)}",
        f"System {found.system} {found.machine}, {found.cores} cores, {_gb(found.memory_bytes)}",
        f"torch {found.torch_version or '-'}, CUDA {found.torch_cuda or '-'}, ROCm {found.torch_rocm or '-'}, "
        f"built for {' '.join(found.built_for) or '-'}",
    ]
    lines += [f"NVIDIA {' / '.join(f'{k} {v}' for k, v in card.items())}" for card in found.cards or ()]
    lines += [_device_line(device) for device in found.devices]
    for package in found.packages:
        trouble = "" if package.fits else " !"
        lines.append(f"{package.name} {package.version or 'not installed'} (needs {package.needs}){trouble}")
    lines += [f"{finding.severity}: {finding.cause} {finding.cure}".rstrip() for finding in findings]
    errors = [found.torch_error, *(p.error for p in found.packages), *(d.error for d in found.devices)]
    lines += [f"said: {error}" for error in errors if error]
    if failure is not None and failure.details:
        lines += ["The end of the log:", *failure.details.splitlines()[-20:]]
    return "\n".join(_without_paths(line) if not line.startswith("Python ") else line for line in lines) + "\n"


def _device_line(device: Device) -> str:
    speed = "" if device.gmac_per_second is None else f", {device.gmac_per_second:.1f} GMAC/s"
    capability = "" if device.capability is None else f", capability {device.capability}"
    return f"{device.device}: {device.name}, {_gb(device.memory_bytes)}{capability}{speed}"


def _without_home(path: str) -> str:
    """The path with the person's folder as ~."""
    home = str(Path.home())
    text = "~" + path[len(home) :] if len(home) > 1 and path.startswith(home) else path
    return re.sub(r"(?i)([/\\](?:users|home)[/\\])[^/\\]+", r"\1~", text)


def _without_paths(line: str) -> str:
    """The line with every absolute path cut to its last part."""
    return re.sub(
        r"(?:[A-Za-z]:)?(?:[/\\][^/\\\s:'\",;()]+){2,}", lambda m: ".../" + re.split(r"[/\\]", m[0])[-1], line
    )


def _gb(size: int | None) -> str:
    return "memory unknown" if size is None else f"{size / 2**30:.1f} GB"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
