"""From a request to a trained model: data, plan, network and method made ready, then the course run."""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.bundle import Bundle, make_network, read_bundle, start_from
from VoxelAdvSegLib.config import Config, resolve, with_setting
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays, prepare_labeled, prepare_unlabeled
from VoxelAdvSegLib.data.doctor import check_training_data
from VoxelAdvSegLib.data.manifest import Manifest, check_roles, read_manifest
from VoxelAdvSegLib.data.memory import one_size_smaller
from VoxelAdvSegLib.data.plan import gather_statistics, make_plan
from VoxelAdvSegLib.data.pseudonyms import KEY, Pseudonyms, reveal
from VoxelAdvSegLib.data.sampling import PatchPlan
from VoxelAdvSegLib.errors import ConfigError, InputError, RunError, VoxelAdvSegError
from VoxelAdvSegLib.inference.segment import find_bundle
from VoxelAdvSegLib.methods import METHODS, method_class, with_own_settings
from VoxelAdvSegLib.methods.contract import Method
from VoxelAdvSegLib.networks.device import describe_machine, is_out_of_memory
from VoxelAdvSegLib.networks.heap import keep_freed_memory
from VoxelAdvSegLib.networks.vnet import VNet
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.course import Course, Outcome
from VoxelAdvSegLib.training.events import PROTOCOL, EventWriter, heartbeat
from VoxelAdvSegLib.training.failures import device_failure
from VoxelAdvSegLib.training.loop import SEED_STRIDE
from VoxelAdvSegLib.training.parallel import Team, check_shares, join, lost_another, team
from VoxelAdvSegLib.training.run_folder import (
    RunDescription,
    RunFolder,
    claimed,
    data_checksum,
    read_description,
    write_description,
)

AT_RESUME = ("device", "recompute", "accumulate")  # settings that may change when a training goes on


@dataclass(frozen=True)
class Request:
    """What a person asks for; overrides: settings of config.py by name; anywhere: see read_manifest."""

    data: Path
    run: Path
    preset: str = "auto"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    init: Path | None = None
    resume: bool = False
    anywhere: bool = False


@dataclass(frozen=True)
class Cases:
    """Prepared arrays by role; a validation case is never a training case."""

    labeled: Sequence[LabeledArrays]
    unlabeled: Sequence[UnlabeledArrays]
    validation: Sequence[LabeledArrays]


def train(request: Request, watch: Callable[[dict[str, Any]], None] = lambda event: None) -> Outcome:
    """Runs or resumes a training; `watch` gets every event that goes into events.jsonl.

    Raises VoxelAdvSegError for what the user can repair. A run that could not begin leaves
    nothing behind; one that had begun keeps its last checkpoint.
    """
    with team() as processes:
        return _train(request, watch, processes)


def _train(request: Request, watch: Callable[[dict[str, Any]], None], processes: Team) -> Outcome:
    began = time.monotonic()
    folder = RunFolder(Path(request.run).absolute())
    config = resolve(request.preset, with_own_settings(request.preset, request.overrides))
    _check_method(config)
    manifest = _read_data(request.data, config, request.anywhere)
    if not processes.leads:
        return _follow(request, folder, manifest, processes, began)
    is_new = not folder.path.exists()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claimed(folder, request.resume))
            description = _describe(request, folder, config, manifest, processes)
            events = EventWriter(folder.events)
            stack.callback(events.close)
            stack.enter_context(heartbeat(events))

            names = Pseudonyms(manifest, folder.path)

            def tell(type: str, **fields: Any) -> None:
                # Failures quote files; all else speaks of cases by the names that their arrays have got.
                watch(events.write(type, **(names.hide(fields) if type == "error" else fields)))

            processes.tell = tell
            device = processes.device(description.config.training.device)
            _announce(description, folder, device, request.resume, processes, tell)
            with _failures_told(tell):
                cases = _prepare_cases(manifest, description, folder, tell)
                if not request.resume:
                    write_description(folder, description)
                names.save(folder.path, description.data, description.init)
                cases = _renamed(cases, manifest, names)
        except VoxelAdvSegError:
            if not request.resume and not folder.config.exists():
                stack.close()
                _clear(folder, is_new)
            raise
        with _with_real_names(folder.path), _failures_told(tell):
            processes.agree(description)
            return _run(request.resume, description, _Sitting(folder, manifest, cases, device, processes, began))


def _follow(request: Request, folder: RunFolder, manifest: Manifest, processes: Team, began: float) -> Outcome:
    """What a process does that does not lead: it finds plan and prepared scans, and takes part in the steps."""
    description: RunDescription = processes.agree(None)
    device = processes.device(description.config.training.device)
    cases = _prepare_cases(manifest, description, folder, processes.tell)
    return _run(request.resume, description, _Sitting(folder, manifest, cases, device, processes, began))


def _check_method(config: Config) -> None:
    name = config.training.method
    if name not in METHODS:
        raise ConfigError("unknown method", expected=" | ".join(METHODS), found=name, do="correct --method")


def _read_data(path: Path, config: Config, anywhere: bool) -> Manifest:
    manifest = read_manifest(path, anywhere=anywhere)
    check_roles(manifest)
    for split, needed in (("training", True), ("unlabeled", config.training.method != "supervised")):
        if needed and not manifest.split(split):
            raise InputError(
                f"the manifest's list '{split}' is empty",
                file=path,
                expected="at least one case",
                found="none",
                do="add labeled scans"
                if split == "training"
                else "add unlabeled scans, or train with --method supervised",
            )
    return manifest


def _describe(
    request: Request, folder: RunFolder, config: Config, manifest: Manifest, processes: Team
) -> RunDescription:
    """The run's description: read back when it goes on, planned when it is new."""
    if request.resume:
        description = read_description(folder)
        if [asdict(o)["name"] for o in manifest.organs] != [o["name"] for o in description.organs]:
            raise InputError(
                "the manifest has other organs than the run", file=manifest.path,
                expected=", ".join(o["name"] for o in description.organs),
                found=", ".join(o.name for o in manifest.organs), do="resume with the manifest that began it",
            )  # fmt: skip
        for key in AT_RESUME:
            if request.overrides.get(key) is not None:
                description = replace(
                    description, config=with_setting(description.config, f"training.{key}", request.overrides[key])
                )
        check_shares(description.config, processes.size)
        return description
    check_shares(config, processes.size)
    init = None if request.init is None else find_bundle(Path(request.init))
    recipe = None
    if init is not None:
        bundle = read_bundle(init)
        recipe = bundle.recipe
        config = _like_model(config, bundle, request.overrides)
    facts = gather_statistics(manifest, config)
    machine = describe_machine(processes.device(config.training.device), processes.local_size)
    plan = make_plan(config, facts, machine, manifest.organs, manifest.mirror_axes, processes.size)
    check_shares(plan.config, processes.size)
    sentences = list(plan.sentences)
    if init is not None:
        sentences.append("The training goes on from an earlier model with its preprocessing.")
    return RunDescription(
        config=plan.config,
        recipe=recipe or plan.recipe,
        data=str(manifest.path),
        init=None if init is None else str(init),
        organs=[asdict(organ) for organ in manifest.organs],
        sentences=sentences,
        data_sha256=data_checksum(manifest.path),
    )


def _like_model(config: Config, bundle: Bundle, overrides: Mapping[str, Any]) -> Config:
    """The configuration with the model's architecture and working grid, where nothing else was set."""
    set_by_hand = {key.rpartition(".")[2] for key in overrides}
    grid = {"spacing_mm", "recipe", "shape", "window"} & set_by_hand
    if grid:
        raise ConfigError(
            f"'{sorted(grid)[0]}' cannot be changed when training goes on from a model",
            expected="the model's own preprocessing",
            found=f"--set {sorted(grid)[0]}=...",
            do="leave it out, or train from scratch without --init",
        )
    network = replace(config.network, filters=bundle.config.network.filters, norm=bundle.config.network.norm)
    patches = config.patches
    if "patch" not in set_by_hand:
        patches = replace(patches, patch=bundle.config.patches.patch)
    preprocessing = replace(
        bundle.config.preprocessing, spacing_mm=bundle.recipe.spacing_xyz_mm, shape=bundle.recipe.shape_xyz
    )
    return replace(config, network=network, patches=patches, preprocessing=preprocessing)


def _announce(
    description: RunDescription,
    folder: RunFolder,
    device: torch.device,
    resumed: bool,
    processes: Team,
    tell: Callable,
) -> None:
    tell(
        "start",
        protocol=PROTOCOL,
        version=__version__,
        method=description.config.training.method,
        preset=description.config.preset,
        organs=[{"name": o["name"], "color_rgb": o["color_rgb"]} for o in description.organs],
        device=str(device),
        processes=processes.size,
        steps=description.config.training.steps,
        minutes=description.config.training.minutes,
        resumed=resumed,
        plan=description.sentences,
        run=folder.path.name,
    )


def _prepare_cases(manifest: Manifest, description: RunDescription, folder: RunFolder, tell: Callable) -> Cases:
    recipe, cache = description.recipe, folder.cache

    def progress(phase: str) -> Callable[[int, int], None]:
        return lambda done, total: tell("progress", phase=phase, done=done, total=total)

    # A training beside this one, of the same project, has prepared most scans already.
    earlier = sorted(other for other in folder.path.parent.glob("*/cache") if other != cache)
    labeled = prepare_labeled(manifest.training, manifest.organs, recipe, cache, progress("labeled scans"), earlier)
    unlabeled: list[UnlabeledArrays] = []
    if description.config.training.method != "supervised":
        unlabeled = prepare_unlabeled(manifest.unlabeled, recipe, cache, progress("unlabeled scans"), earlier)
    validation = prepare_labeled(
        manifest.validation, manifest.organs, recipe, cache, progress("validation scans"), earlier
    )
    by_name = {
        (role, a.name): a.content
        for role, arrays in (("training", labeled), ("unlabeled", unlabeled), ("validation", validation))
        for a in arrays
    }
    check_training_data(
        manifest,
        {
            case.image: by_name[role, case.name]
            for role in ("training", "unlabeled", "validation")
            for case in manifest.split(role)
            if (role, case.name) in by_name
        },
    )
    _warn_of_missing_organs(manifest, labeled, tell)
    return Cases(labeled, unlabeled, validation)


def _renamed(cases: Cases, manifest: Manifest, names: Pseudonyms) -> Cases:
    """From here on a case is known by its pseudonym: nothing that the run writes can name a patient."""

    def of(split: str, arrays: Sequence) -> list:
        return [replace(a, name=names[case]) for a, case in zip(arrays, manifest.split(split), strict=False)]

    return Cases(of("training", cases.labeled), of("unlabeled", cases.unlabeled), of("validation", cases.validation))


def _warn_of_missing_organs(manifest: Manifest, labeled: Sequence[LabeledArrays], tell: Callable) -> None:
    for index, organ in enumerate(manifest.organs, 1):
        if not any((case.label == index).any() for case in labeled):
            tell("message", level="warning", text=f"No labeled scan shows {organ.name}: it cannot be learned.")


@dataclass(frozen=True)
class _Sitting:
    """What stays when a training goes on one size smaller."""

    folder: RunFolder
    manifest: Manifest
    cases: Cases
    device: torch.device
    processes: Team
    began: float


def _run(resume: bool, description: RunDescription, sitting: _Sitting) -> Outcome:
    """The course; where memory runs out, again from the last checkpoint and one size smaller, for as many steps."""
    while True:
        try:
            return _run_course(resume, description, sitting)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            found = (str(error).splitlines() or [type(error).__name__])[0][:200]
        # Outside of the clause: the error held the course, and with it the memory.
        description = _smaller(description, sitting.folder, sitting.processes, found)
        resume = sitting.folder.last.exists()
        gc.collect()
        if sitting.device.type == "cuda":
            torch.cuda.empty_cache()


def _smaller(description: RunDescription, folder: RunFolder, processes: Team, found: str) -> RunDescription:
    """The run's description one size smaller, written down, and told.

    Raises RunError where there is nothing smaller, and with several processes, which are not all at the same place.
    """
    smaller = one_size_smaller(description.config, processes.size)
    if smaller is None or processes.size > 1:
        raise RunError(
            "there is too little memory for this training", expected="room for a step of the training", found=found,
            do="close other programs, or use another --device; what was saved is untouched"
            if smaller is None
            else "go on with --resume and --set recompute=true, or --set accumulate=2, or with more processes",
        )  # fmt: skip
    config, what = smaller
    text = f"Memory ran out. The training goes on from its last checkpoint, one size smaller: {what}."
    processes.tell("message", level="warning", text=text)
    description = replace(description, config=config, sentences=[*description.sentences, text])
    write_description(folder, description)
    return description


def _run_course(resume: bool, description: RunDescription, sitting: _Sitting) -> Outcome:
    config, cases, device, processes = description.config, sitting.cases, sitting.device, sitting.processes
    tell = processes.tell
    prepare_device(device)
    method = _make_method(config, sitting.manifest, cases, description, device, tell)
    join(method, config, processes.size)
    batches = Batches(
        cases.labeled,
        cases.unlabeled,
        patch_plan(config, description, cases),
        config.patches.foreground_patches,
        config.training.seed,
        device,
        processes.rank,
        processes.size,
    )
    course = Course(
        folder=sitting.folder, config=config, recipe=description.recipe, organs=sitting.manifest.organs, method=method,
        batches=batches, labeled=cases.labeled, unlabeled=cases.unlabeled, validation=cases.validation, device=device,
        tell=tell, began=sitting.began, team=processes,
    )  # fmt: skip
    with contextlib.closing(batches):
        return course.run(resume=resume)


def prepare_device(device: torch.device) -> None:
    """What a process that trains on that device sets once."""
    if device.type == "cpu":
        # Sums over drawn voxels in a fixed order: a resumed run is the same run, bit for bit.
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        keep_freed_memory()


def _make_method(
    config: Config,
    manifest: Manifest,
    cases: Cases,
    description: RunDescription,
    device: torch.device,
    tell: Callable,
) -> Method:
    classes = len(manifest.organs) + 1
    torch.manual_seed(config.training.seed * SEED_STRIDE - 1)  # weights; steps have the seeds from there on
    network = make_network(config, classes)
    if config.network.init_output_prior:
        counts = sum(np.bincount(np.asarray(c.label).ravel(), minlength=classes) for c in cases.labeled)
        network.set_output_prior([float(n) for n in np.asarray(counts) / np.sum(counts)])
    if description.init is not None:
        new = start_from(network, manifest.organs, read_bundle(Path(description.init)))
        tell(
            "message",
            level="info",
            text="New organs: " + ", ".join(new) if new else "All organs are known to the model.",
        )
    network = network.to(device=device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    make = method_class(config.training.method)
    made = make(config, network, classes, config.training.steps or 0, len(cases.labeled))
    made.networks.to(device)
    if config.training.recompute:
        for part in [n for n in made.networks.modules() if isinstance(n, VNet)]:
            part.recompute_blocks()
    return made


def patch_plan(config: Config, description: RunDescription, cases: Cases) -> PatchPlan:
    """How patches of a run are cut and changed."""
    assert config.patches.patch is not None
    mirrors = config.patches.mirror_axes or ()
    patch_x, patch_y, patch_z = config.patches.patch
    x, y, z = description.recipe.spacing_xyz_mm or (1.0, 1.0, 1.0)
    return PatchPlan(
        shape_zyx=(patch_z, patch_y, patch_x),
        augment=config.patches.augment,
        spacing_zyx_mm=(z, y, x),
        mirror_zyx=("z" in mirrors, "y" in mirrors, "x" in mirrors),
    )


@contextlib.contextmanager
def _with_real_names(run: Path) -> Iterator[None]:
    """The diary knows cases by pseudonym; who reads the error itself sits at this computer."""
    try:
        yield
    except VoxelAdvSegError as error:
        error.what = reveal(run, error.what)
        error.found = reveal(run, error.found)
        raise


@contextlib.contextmanager
def _failures_told(tell: Callable) -> Iterator[None]:
    """A failure is the last event of the diary, in the words a person sees."""
    try:
        yield
    except VoxelAdvSegError as error:
        with contextlib.suppress(OSError):
            tell("error", text=str(error))
        raise
    except BrokenPipeError:
        raise  # the reader of the screen has left: no matter of the run
    except (OSError, SafetensorError) as error:
        # Most often a full disk, and then the diary, too, cannot be written.
        problem = RunError(
            "a file of the run could not be written or read", file=getattr(error, "filename", None),
            expected="room on the disk and the right to write", found=str(error),
            do="free some space; the last checkpoint is untouched, so go on with --resume",
        )  # fmt: skip
        with contextlib.suppress(OSError):
            tell("error", text=str(problem))
        raise problem from error
    except (MemoryError, RuntimeError) as error:
        problem = lost_another(error) or device_failure(error)
        with contextlib.suppress(OSError):
            tell("error", text=str(problem or f"{type(error).__name__}: {error}"))
        if problem is None:
            raise
        raise problem from error


def _clear(folder: RunFolder, is_new: bool) -> None:
    """What a run that never began has put into its folder."""
    shutil.rmtree(folder.cache, ignore_errors=True)
    folder.events.unlink(missing_ok=True)
    (folder.path / KEY).unlink(missing_ok=True)
    (folder.path / ".lock").unlink(missing_ok=True)
    if is_new and folder.path.is_dir() and not any(folder.path.iterdir()):
        folder.path.rmdir()
