"""What to do with these data on this machine, in numbers and in sentences (method.md 1.6, `auto`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.data.geometry import reorient_geometry, reorientation
from VoxelAdvSegLib.data.manifest import Manifest
from VoxelAdvSegLib.data.memory import GIB, memory_need, possible_parts, step_need
from VoxelAdvSegLib.data.organs import Organ, names_a_side
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.data.reading import read_geometry, read_label, read_volume
from VoxelAdvSegLib.errors import ConfigError, InputError

LARGEST_PATCH = {"cuda": 1_048_576, "cpu": 262_144}  # voxels
STEP_PATCHES_VOXELS = 1_003_520  # the benchmark's 112 x 112 x 80
NETWORK_GMAC_PER_STEP = 641.7  # at 16 filters and that patch, 2 + 2 patches (method.md 5.1)
CPU_GMAC_PER_SECOND_AND_CORE = 15.0  # measured, fp32 (method.md 5.4)
CPU_SECONDS_FOR_1000_STEPS = 20 * 60  # without a budget; on two cores it gives small scans 16 filters
MEMORY_SHARE = 0.85


@dataclass(frozen=True)
class Machine:
    """kind: cpu or cuda; memory_bytes: free; cores: of the processor."""

    kind: str
    memory_bytes: float
    cores: int = 1
    name: str = ""


@dataclass(frozen=True)
class Statistics:
    """Facts of the labeled and unlabeled training cases, axes in working order.

    shapes_xyz, spacings_xyz_mm: one per case; ct: clip low, clip high, mean and sd of the
    labeled foreground where the scans are CT, else None.
    """

    shapes_xyz: tuple[tuple[int, int, int], ...]
    spacings_xyz_mm: tuple[tuple[float, float, float], ...]
    labeled: int
    unlabeled: int
    ct: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Plan:
    """config: with nothing left to plan but steps under a time budget; recipe; sentences for a person."""

    config: Config
    recipe: Recipe
    sentences: tuple[str, ...]


def gather_statistics(manifest: Manifest, config: Config) -> Statistics:
    """Headers of all training cases, and intensities of the labeled ones where the recipe needs them.

    Nothing is read from validation or test.
    """
    shapes, spacings = [], []
    for case in (*manifest.training, *manifest.unlabeled):
        geometry = read_geometry(case.image)
        if config.preprocessing.recipe != "la":
            geometry = reorient_geometry(geometry, reorientation(geometry))
        shapes.append(geometry.shape_zyx[::-1])
        spacings.append(geometry.spacing_xyz_mm)
    return Statistics(
        shapes_xyz=tuple(shapes),
        spacings_xyz_mm=tuple(spacings),
        labeled=len(manifest.training),
        unlabeled=len(manifest.unlabeled),
        ct=_ct_statistics(manifest, config),
    )


def _ct_statistics(manifest: Manifest, config: Config) -> tuple[float, float, float, float] | None:
    recipe = config.preprocessing.recipe
    if recipe == "la":
        return None
    if recipe == "mo":
        low, high = config.preprocessing.window or (-200.0, 250.0)
        windowed = [
            np.clip(read_volume(case.image).array[::2, ::2, ::2], low, high)
            for case in (*manifest.training, *manifest.unlabeled)
        ]
        mean, sd = _mean_sd(windowed)
        return low, high, mean, sd
    foreground = []
    for case in manifest.training:
        volume = read_volume(case.image)
        if not _is_ct(volume.array, volume.modality or manifest.modality):
            return None
        label = read_label(case.label, manifest.organs, volume.geometry)
        foreground.append(volume.array[label > 0])
    values = np.concatenate(foreground)
    if values.size == 0:
        raise InputError(
            "no labeled scan shows any organ", file=manifest.path, expected="labels with voxels of the organs",
            found="empty labels", do="check the labels with: python -m VoxelAdvSegLib doctor",
        )  # fmt: skip
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    mean, sd = _mean_sd([np.clip(values, low, high)])
    return low, high, mean, sd


def _is_ct(array: np.ndarray, modality: str) -> bool:
    if modality:
        return modality == "CT"
    thinned = array[::2, ::2, ::2]
    return bool(np.percentile(thinned, 1) < -300 and np.all(thinned == np.round(thinned)))


def _mean_sd(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    count = sum(p.size for p in parts)
    mean = sum(float(p.sum(dtype=np.float64)) for p in parts) / count
    variance = sum(float(((p.astype(np.float64) - mean) ** 2).sum()) for p in parts) / count
    return mean, max(variance, 1e-12) ** 0.5


def make_plan(
    config: Config,
    facts: Statistics,
    machine: Machine,
    organs: Sequence[Organ],
    mirror_axes: Sequence[str],
    processes: int = 1,
) -> Plan:
    """The configuration with every open setting decided, by rules on facts and machine alone.

    processes: how many share the patches of a step; machine: what each of them has. Raises ConfigError
    when no patch fits the machine's memory.
    """
    says: list[str] = []
    semi = config.training.method != "supervised"
    classes = len(organs) + 1
    if config.training.memory_gb is not None:
        machine = replace(machine, memory_bytes=config.training.memory_gb * GIB)
    largest = _largest_patch(config, machine, classes)
    spacing, shape = _working_grid(config, facts, largest, says)
    patch = config.patches.patch or _patch(shape, largest)
    if config.network.norm == "instance" and max(patch) <= 16:
        raise ConfigError(
            "the patch is too small for instance norm, which needs two voxels at the lowest level",
            expected="a patch of 32 voxels or more along one axis",
            found=_by(patch),
            do="use a larger patch (--set patch=32,16,16), or --set norm=batch",
        )
    voxels = int(np.prod(patch))
    scan = _by(np.round(shape).astype(int))
    says.append(f"The network sees patches of {_by(patch)} voxels ({voxels:,}; a scan has about {scan}).")
    filters = config.network.filters or _filters(config, voxels, machine, classes)
    config = replace(config, network=replace(config.network, filters=filters))
    config = _with_batch(config, patch, machine, classes, processes)
    batch_labeled, batch_unlabeled = config.patches.batch_labeled, config.patches.batch_unlabeled
    assert batch_labeled is not None and batch_unlabeled is not None
    need = step_need(config, machine.kind, classes, processes)
    patches = f"{batch_labeled} labeled and {batch_unlabeled} unlabeled patches"
    if not semi:
        patches = (
            f"{batch_labeled + (batch_unlabeled if config.patches.supervised_equal_patches else 0)} labeled patches"
        )
    if processes > 1:
        patches += f", shared by {processes} processes,"
    says.append(
        f"A step takes {patches} through a V-Net with {filters} filters and needs about {need / GIB:.1f} GiB of the "
        f"{machine.memory_bytes / GIB:.1f} GiB free on {machine.name or machine.kind}."
    )
    if need > MEMORY_SHARE * machine.memory_bytes:
        says.append("WARNING: that may be too much; when memory runs out, the training goes on one size smaller.")
    if config.training.recompute:
        says.append("To save memory, blocks are computed again on the way back: the same result, a third more time.")
    if (config.training.accumulate or 1) > 1:
        says.append(f"To save memory, a batch goes through the network in {config.training.accumulate} parts.")
    steps = config.training.steps
    if config.training.minutes is None and steps is None:
        steps = int(np.clip(150 * facts.labeled + 50 * facts.unlabeled, 2000, 15000))
    if config.training.minutes is not None:
        steps = None
        says.append(f"The number of steps is measured, so that all ends within {config.training.minutes:g} minutes.")
    else:
        says.append(f"The training runs for {steps} steps.")
    mirrors = _mirror_axes(config, organs, mirror_axes, says)
    stride = config.inference.stride
    if stride is not None and any(s > p for s, p in zip(stride, patch, strict=True)):
        stride = None
    says += _role_sentences(facts, semi)
    planned = replace(
        config,
        patches=replace(config.patches, mirror_axes=mirrors),
        training=replace(config.training, steps=steps),
        inference=replace(config.inference, stride=stride),
    )  # fmt: skip
    return Plan(planned, _recipe(config, facts, spacing, says), tuple(says))


def _largest_patch(config: Config, machine: Machine, classes: int) -> int:
    """Voxels of the largest patch for 1 + 1 patches within memory and the cap of the device."""
    filters = config.network.filters or (16 if machine.kind == "cuda" else 8)
    budget = MEMORY_SHARE * machine.memory_bytes
    fixed = memory_need(0, 2, filters, machine.kind)
    again = bool(config.training.recompute)
    step = memory_need(10**6, 2, filters, machine.kind, amp=config.training.amp, classes=classes, recompute=again)
    per_voxel = (step - fixed) / 10**6
    voxels = int((budget - fixed) / per_voxel)
    if voxels < 32**3:
        least = (fixed + 32**3 * per_voxel) / MEMORY_SHARE / GIB
        raise ConfigError(
            "there is too little memory to train",
            expected=f"at least {least:.1f} GiB free on {machine.name or machine.kind}",
            found=f"{machine.memory_bytes / GIB:.1f} GiB",
            do="close other programs, or use --device cpu",
        )
    return min(voxels, LARGEST_PATCH.get(machine.kind, LARGEST_PATCH["cpu"]))


def _working_grid(config: Config, facts: Statistics, largest: int, says: list[str]) -> tuple[tuple | None, np.ndarray]:
    """Spacing (x, y, z mm; None: as it is) and the median scan's size in working voxels."""
    shapes = np.asarray(facts.shapes_xyz, float)
    spacings = np.asarray(facts.spacings_xyz_mm)
    p = config.preprocessing
    if p.shape is not None and p.recipe != "mo":
        raise ConfigError(
            "the setting 'shape' is for the recipe mo alone",
            expected="--set recipe=mo with it, or --set spacing_mm=...",
            found=f"recipe {p.recipe}",
            do="leave it out",
        )
    if p.shape is not None:
        says.append(f"Every scan is brought to {_by(p.shape)} voxels.")
        return None, np.asarray(p.shape, float)
    if p.recipe == "la" and p.spacing_mm is None:
        return None, np.median(shapes, 0)
    if p.spacing_mm is not None:
        spacing = np.asarray(p.spacing_mm)
        says.append(f"The working grid has {_by(spacing)} mm, as set.")
    else:
        spacing = np.median(spacings, 0)
        order = np.argsort(spacing)
        if spacing[order[2]] >= 3 * spacing[order[0]]:
            thick = order[2]
            spacing[thick] = max(np.percentile(spacings[:, thick], 10), spacing[order[1]])
        size = np.median(shapes * spacings / spacing, 0)
        if np.prod(size) > 24 * largest:
            spacing = spacing * (np.prod(size) / (24 * largest)) ** (1 / 3)
            says.append("The grid is coarser than the scans, so that a patch sees enough of the body.")
        says.append(f"The working grid has {_by(spacing)} mm (median of the scans: {_by(np.median(spacings, 0))} mm).")
    size = np.median(shapes * spacings / spacing, 0)
    return tuple(float(s) for s in spacing), size


def _patch(size: np.ndarray, largest: int) -> tuple[int, ...]:
    """Multiples of 16 nearest to the scan's size, at least 32 where the scan has 24, within `largest`.

    Nearest, not above: instance statistics include padding, and windows cover what is left.
    """
    patch = 16 * np.maximum(1, np.round(size / 16)).astype(int)
    if patch.max() == 16:
        patch[np.argmax(size)] = 32  # instance norm needs two voxels at the lowest level
    while np.prod(patch) > largest:
        ratio = np.where(patch > 32, patch / size, -np.inf)
        if not np.isfinite(ratio).any():
            ratio = np.where(patch > 16, patch / size, -np.inf)
        widest = np.flatnonzero(np.isclose(ratio, ratio.max()))
        patch[widest[np.argmax(patch[widest])]] -= 16
    return tuple(int(p) for p in patch)


def _with_batch(config: Config, patch: Sequence[int], machine: Machine, classes: int, processes: int) -> Config:
    """Patches per side: 2 to 4 by the patch's size on a GPU, 2 on the CPU, where time is what lacks.

    At least one per process, and equally many in each. Two are worth saving memory for (method.md 1.6).
    """
    p, t = config.patches, config.training
    x, y, z = (int(n) for n in patch)

    def candidate(size: int, recompute: bool = False, parts: int = 1) -> Config:
        return replace(
            config,
            patches=replace(
                p, patch=(x, y, z), batch_labeled=p.batch_labeled or size, batch_unlabeled=p.batch_unlabeled or size
            ),
            training=replace(
                t, recompute=recompute if t.recompute is None else t.recompute, accumulate=t.accumulate or parts
            ),
        )

    most = 4 if machine.kind == "cuda" else 2
    largest = int(np.clip(STEP_PATCHES_VOXELS // (x * y * z), 2, most))
    sizes = [processes * -(-size // processes) for size in range(largest, 0, -1)]
    tried = [candidate(size) for size in sizes if size >= 2]
    parts = possible_parts(config, p.batch_labeled or sizes[-2], p.batch_unlabeled or sizes[-2], processes)
    tried += [candidate(sizes[-2], True, n) for n in parts]
    tried += [candidate(sizes[-1]), candidate(sizes[-1], True)]
    budget = MEMORY_SHARE * machine.memory_bytes
    fitting = [one for one in tried if step_need(one, machine.kind, classes, processes) <= budget]
    return fitting[0] if fitting else min(tried, key=lambda one: step_need(one, machine.kind, classes, processes))


def _filters(config: Config, voxels: int, machine: Machine, classes: int) -> int:
    if machine.kind == "cuda":
        return 16
    seconds = 60 * config.training.minutes if config.training.minutes else CPU_SECONDS_FOR_1000_STEPS
    for filters in (16, 12, 8):
        work = NETWORK_GMAC_PER_STEP * voxels / STEP_PATCHES_VOXELS * (filters / 16) ** 2
        in_time = 1000 * work / (CPU_GMAC_PER_SECOND_AND_CORE * machine.cores) <= seconds
        need = memory_need(voxels, 2, filters, machine.kind, amp=config.training.amp, classes=classes)
        if in_time and need <= MEMORY_SHARE * machine.memory_bytes:
            return filters
    return 8


def _mirror_axes(config: Config, organs: Sequence[Organ], listed: Sequence[str], says: list[str]) -> tuple[str, ...]:
    if config.patches.mirror_axes is not None:
        return config.patches.mirror_axes
    sided = names_a_side(organs)
    always = config.patches.augment in ("uamt", "d4")  # these know of no rule
    if sided and always:
        says.append(
            f"WARNING: patches are mirrored (augment={config.patches.augment}), though {', '.join(sided)} then gets a "
            "wrong name; --set augment=mild never mirrors them."
        )
        return ()
    if sided:
        says.append(f"Scans are never mirrored: {', '.join(sided)} would get a wrong name.")
        return ()
    if always:
        says.append(f"Patches are turned and mirrored within the slices (augment={config.patches.augment}).")
    elif listed:
        says.append(f"Scans may be mirrored along {', '.join(listed)}, as the data set says.")
    else:
        says.append("Scans are not mirrored: the data set does not say that they may be.")
    return tuple(listed)


def _role_sentences(facts: Statistics, semi: bool) -> list[str]:
    labeled = f"{facts.labeled} labeled scan{'s' if facts.labeled != 1 else ''}"
    if semi:
        return [f"{labeled} and {facts.unlabeled} unlabeled ones are used."]
    return [f"{labeled} used; unlabeled ones ({facts.unlabeled}) are left alone."]


def _recipe(config: Config, facts: Statistics, spacing: tuple | None, says: list[str]) -> Recipe:
    p = config.preprocessing
    if p.recipe == "la":
        says.append("Intensities: each scan to mean 0 and standard deviation 1.")
        return Recipe(orient=False, spacing_xyz_mm=spacing, intensity="scan")
    if facts.ct is not None:
        low, high, mean, sd = facts.ct
        says.append(f"Intensities: CT, clipped to {low:.0f} to {high:.0f} HU, minus {mean:.1f}, divided by {sd:.1f}.")
        shape = p.shape if p.recipe == "mo" else None
        return Recipe(True, spacing, shape, "fixed", (low, high), mean, sd)
    says.append(
        "Intensities: each scan clipped to the 0.5 and 99.5 percentiles of its voxels that are not zero, then to "
        "mean 0 and standard deviation 1."
    )
    return Recipe(True, spacing, None, "nonzero")


def _by(values) -> str:
    return " x ".join(f"{v:g}" if float(v) == int(v) else f"{v:.3g}" for v in values)
