"""After the training: a judge on frozen features, and how good a new segmentation probably is (method.md 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from VoxelAdvSegLib.bundle import JUDGE, Bundle
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.evaluation.calibration import Example, calibrate
from VoxelAdvSegLib.evaluation.metrics import dice
from VoxelAdvSegLib.inference.quality import FEWEST_CASES, Quality, make_groups
from VoxelAdvSegLib.inference.signs import (
    Anchors,
    CaseSigns,
    Networks,
    look_at,
    make_anchors,
    mirrored_axes,
    read_signs,
)
from VoxelAdvSegLib.inference.windows import predict_probabilities
from VoxelAdvSegLib.training.batches import Batches
from VoxelAdvSegLib.training.degrading import degrade
from VoxelAdvSegLib.training.judge import STEPS, train_judge

MOST_REFERENCES = 40  # scans of the training whose look is remembered; more cost time and change little
MOST_CALIBRATED = 40  # validation scans; each is looked at as it is and made worse

Told = Callable[[str, int, int], None]


def with_quality(
    bundle: Bundle,
    labeled: Sequence[LabeledArrays],
    unlabeled: Sequence[UnlabeledArrays],
    validation: Sequence[LabeledArrays],
    batches: Batches,
    device: torch.device,
    watch: Told = lambda phase, done, total: None,
) -> Bundle:
    """The model with its judge, where there were unlabeled scans, and with what it takes to assess new segmentations.

    Calibrated on the validation scans, none of which the networks or the judge have seen. watch: gets a
    phase's name, and how many of how many are done.
    """
    networks = Networks(bundle.network().to(device), bundle.network("student").to(device))
    weights = dict(bundle.weights)
    if unlabeled:
        # A short training gets a short second phase.
        steps = min(STEPS, max(1, int(bundle.provenance["steps"])))
        judge = train_judge(
            networks.student, bundle.config, len(bundle.organs) + 1, batches, steps, lambda n: watch("judge", n, steps)
        )
        weights[JUDGE] = judge.state_dict()
        networks = replace(networks, judge=judge)
    classes = len(bundle.organs) + 1
    # Those with labels first: they are few, and new scans are held against them.
    references = [*labeled, *spread_out(unlabeled, MOST_REFERENCES - len(labeled))][:MOST_REFERENCES]
    seen = []
    for done, case in enumerate(references):
        watch("references", done, len(references))
        seen.append(look_at(networks, tensor_of(case.image, device), bundle.config, classes))
    means = [mean for _, mean in seen if mean is not None]
    anchors = make_anchors(means[: len(labeled)], means[len(labeled) :])
    examples, found, _ = examine(bundle, networks, anchors, validation[:MOST_CALIBRATED], device, watch)
    voxels = {
        organ.name: [int(np.count_nonzero(np.asarray(case.label) == index)) for case in labeled]
        for index, organ in enumerate(bundle.organs, 1)
    }
    calibration = calibrate(examples, voxels)
    refused = "" if calibration else refusal(len(validation))
    familiarity = make_groups([look for look, _ in seen], [signs.look for signs in found])
    return replace(bundle, weights=weights, quality=Quality(calibration, familiarity, anchors, refused).to_dict())


def what_is_known(bundle: Bundle) -> str:
    """What the model can say of new segmentations, as a sentence."""
    assert bundle.quality is not None
    quality = Quality.from_dict(bundle.quality)
    if quality.calibration is None:
        return quality.refused
    return f"The probable Dice of new segmentations is calibrated on {quality.calibration.cases} validation cases."


def refusal(cases: int) -> str:
    return (
        f"How good this is cannot be predicted: that takes at least {FEWEST_CASES} validation cases, "
        f"and the training had {cases}."
    )


def examine(
    bundle: Bundle,
    networks: Networks,
    anchors: Anchors | None,
    cases: Sequence[LabeledArrays],
    device: torch.device,
    watch: Told = lambda phase, done, total: None,
) -> tuple[list[Example], list[CaseSigns], list[float]]:
    """Signs and true Dice of every organ of the cases, as they are and made worse; signs and mean entropy (in
    nats, over the scan) of the cases as they are."""
    examples, seen, entropies = [], [], []
    # With too few nothing can be learned, but they still tell what scans look like.
    versions = (False, True) if len(cases) >= FEWEST_CASES else (False,)
    for number, case in enumerate(cases):
        watch("calibration", number, len(cases))
        label = np.asarray(case.label)
        for degraded in versions:
            image = degrade(np.asarray(case.image, np.float32), number) if degraded else case.image
            signs, found, entropy = look_and_segment(bundle, networks, tensor_of(image, device))
            signs = signs if anchors is None else anchors.place(signs)
            if not degraded:
                seen.append(signs)
                entropies.append(entropy)
            for index, organ in enumerate(bundle.organs, 1):
                true = dice(found == index, label == index)
                if true is not None:
                    examples.append(Example(number, organ.name, signs.organs[organ.name], true, degraded))
    return examples, seen, entropies


def look_and_segment(bundle: Bundle, networks: Networks, volume: Tensor) -> tuple[CaseSigns, np.ndarray, float]:
    """Signs of a scan (1, 1, D, H, W) on the working grid, classes (D, H, W) found, and mean entropy in nats."""
    config = bundle.config
    assert config.patches.patch is not None
    axes = mirrored_axes(config)
    probabilities = predict_probabilities(
        networks.segmenter, volume, config.patches.patch[::-1], config.inference, axes
    )
    names = [organ.name for organ in bundle.organs]
    signs = read_signs(networks, volume, probabilities, names, config, axes)
    entropy = -(probabilities * probabilities.clamp_min(1e-12).log()).sum(0).mean()
    return signs, probabilities.argmax(0).cpu().numpy(), float(entropy)


def tensor_of(image: np.ndarray, device: torch.device) -> Tensor:
    """A scan (z, y, x) as (1, 1, D, H, W) float32."""
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None].to(device)


def spread_out(cases: Sequence[UnlabeledArrays], count: int) -> list[UnlabeledArrays]:
    """At most so many, at equal distances through the list."""
    if len(cases) <= count:
        return list(cases)
    return [cases[i] for i in np.linspace(0, len(cases) - 1, max(count, 0)).round().astype(int)]
