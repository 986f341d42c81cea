"""The second phase of a finished training, made anew: with further validation cases, or for an earlier model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from VoxelAdvSegLib.bundle import Bundle, read_bundle, write_bundle
from VoxelAdvSegLib.data.cache import prepare_labeled, prepare_unlabeled
from VoxelAdvSegLib.data.manifest import Manifest, check_roles
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.networks.device import choose_device
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.card import model_card
from VoxelAdvSegLib.training.run_folder import RunFolder, claimed, read_description
from VoxelAdvSegLib.training.second_phase import with_quality
from VoxelAdvSegLib.training.session import Cases, patch_plan

Told = Callable[[str, int, int], None]


def calibrate_run(
    run: Path, manifest: Manifest, device_name: str = "auto", watch: Told = lambda phase, done, total: None
) -> Bundle:
    """Learns again how good the run's segmentations are, on the manifest's validation cases; the networks stay.

    The model folder is replaced whole. Raises BundleError when there is no model, InputError when the organs
    differ, the manifest lacks labeled cases, or a case has two roles; RunError while the run is in use.
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
    device = choose_device(device_name)
    with contextlib.ExitStack() as stack:
        stack.enter_context(claimed(folder, True))
        recipe, cache = bundle.recipe, folder.cache
        labeled = prepare_labeled(manifest.training, bundle.organs, recipe, cache)
        unlabeled = prepare_unlabeled(manifest.unlabeled, recipe, cache)
        validation = prepare_labeled(manifest.validation, bundle.organs, recipe, cache)
        config = bundle.config
        plan = patch_plan(config, description, Cases(labeled, unlabeled, validation))
        batches = Batches(labeled, unlabeled, plan, config.patches.foreground_patches, config.training.seed, device)
        facts = {**bundle.provenance, "validation_scans": len(validation)}
        better = with_quality(bundle, labeled, unlabeled, validation, batches, device, watch)
        better = replace(better, provenance=facts)
        write_bundle(folder.model, better, model_card(better))
    return better
