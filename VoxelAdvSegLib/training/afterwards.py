"""The second phase of a finished training, made anew: with further validation cases, or for an earlier model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from VoxelAdvSegLib.bundle import Bundle, read_bundle, write_bundle
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays, prepare_labeled, prepare_unlabeled
from VoxelAdvSegLib.data.manifest import Manifest, check_roles, read_manifest
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.evaluation.calibration import Example
from VoxelAdvSegLib.networks.device import choose_device
from VoxelAdvSegLib.training.again import FEWEST_LABELED, Tell, make_folds, train_fold
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.card import model_card
from VoxelAdvSegLib.training.run_folder import RunDescription, RunFolder, claimed, read_description
from VoxelAdvSegLib.training.second_phase import examine, learn_to_look, with_quality
from VoxelAdvSegLib.training.session import Cases, patch_plan, prepare_device

FOLDER = "calibration"  # of the trainings that leave labeled cases out, in a run's own
Told = Callable[[str, int, int], None]


def calibrate_run(
    run: Path,
    manifest: Manifest,
    device_name: str = "auto",
    leave_out: bool = False,
    tell: Tell = lambda text: None,
    watch: Told = lambda phase, done, total: None,
) -> Bundle:
    """Learns again how good the run's segmentations are, on the manifest's validation cases; the networks stay.

    leave_out: also on the labeled cases, which take turns: for each fold of them a model is trained as the
    run's was, without them, in RUN/calibration. The model folder is replaced whole. Raises BundleError when
    there is no model, InputError when the organs differ, the manifest lacks labeled cases, or a case has two
    roles; RunError while the run is in use.
    """
    folder = RunFolder(Path(run).absolute())
    bundle = read_bundle(folder.model)
    description = read_description(folder)
    check_roles(manifest)
    names = [organ.name for organ in bundle.organs]
    if [organ.name for organ in manifest.organs] != names or not manifest.training:
        raise InputError(
            "the manifest does not fit the model", file=manifest.path,
            expected=f"labeled cases with {', '.join(names)}",
            found=", ".join(organ.name for organ in manifest.organs) if manifest.training else "no labeled case",
            do="give the manifest of the training, with more validation cases if you like",
        )  # fmt: skip
    _check_unseen(description, manifest)
    device = choose_device(device_name)
    prepare_device(device)
    with contextlib.ExitStack() as stack:
        stack.enter_context(claimed(folder, True))
        recipe, cache = bundle.recipe, folder.cache
        labeled = prepare_labeled(manifest.training, bundle.organs, recipe, cache)
        unlabeled = prepare_unlabeled(manifest.unlabeled, recipe, cache)
        validation = prepare_labeled(manifest.validation, bundle.organs, recipe, cache)
        batches = stack.enter_context(contextlib.closing(_batches(bundle, description, labeled, unlabeled, device)))
        examples = _left_out(folder.path, manifest, device, tell, watch) if leave_out else []
        better = with_quality(bundle, labeled, unlabeled, validation, batches, device, watch, examples)
        write_bundle(folder.model, better, model_card(better))
    return better


def _check_unseen(description: RunDescription, manifest: Manifest) -> None:
    """Raises InputError for a validation case that the training has learned from, as far as its list is still there."""
    if not Path(description.data).is_file():
        return
    first = read_manifest(Path(description.data), anywhere=True)
    learned = {case.image for case in (*first.training, *first.unlabeled)}
    known = [case.name for case in manifest.validation if case.image in learned]
    if known:
        raise InputError(
            "a validation case was learned from", file=manifest.path,
            expected="cases that the training has not seen, or what is said of new scans is too good",
            found=", ".join(known), do="take it off the list 'validation', or train the model anew without it",
        )  # fmt: skip


def _batches(
    bundle: Bundle, description: RunDescription, labeled: Sequence[LabeledArrays], unlabeled: Sequence[UnlabeledArrays],
    device: torch.device,
) -> Batches:  # fmt: skip
    config = bundle.config
    plan = patch_plan(config, description, Cases(labeled, unlabeled, ()))
    return Batches(labeled, unlabeled, plan, config.patches.foreground_patches, config.training.seed, device)


def _left_out(run: Path, manifest: Manifest, device: torch.device, tell: Tell, watch: Told) -> list[Example]:
    """Examples of every labeled case, from the model of its fold that was trained without it."""
    if len(manifest.training) < FEWEST_LABELED:
        raise InputError(
            "there are too few labeled cases to leave some out", file=manifest.path,
            expected=f"at least {FEWEST_LABELED}", found=str(len(manifest.training)), do="label more cases",
        )  # fmt: skip
    examples: list[Example] = []
    folds = make_folds(manifest.training)
    for k, held_out in enumerate(folds):
        target, data = train_fold(run, manifest, run / FOLDER, k, folds, str(device), tell, lambda event: None)
        bundle, description = read_bundle(target / "model"), read_description(RunFolder(target))
        without, recipe, cache = read_manifest(data, anywhere=True), bundle.recipe, RunFolder(target).cache
        labeled = prepare_labeled(without.training, bundle.organs, recipe, cache)
        unlabeled = prepare_unlabeled(without.unlabeled, recipe, cache)
        with contextlib.closing(_batches(bundle, description, labeled, unlabeled, device)) as batches:
            looking = learn_to_look(bundle, labeled, unlabeled, batches, device, watch)
        found, _, _ = examine(looking, prepare_labeled(held_out, bundle.organs, recipe, cache), device, watch=watch)
        first = min((example.case for example in examples), default=0) - 1
        examples += [replace(example, case=first - example.case) for example in found]
    return examples
