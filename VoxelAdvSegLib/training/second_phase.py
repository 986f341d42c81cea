"""After the training: a judge on frozen features, and how good a new segmentation probably is (method.md 4.4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from VoxelAdvSegLib.bundle import JUDGE, Bundle
from VoxelAdvSegLib.data.cache import LabeledArrays, UnlabeledArrays
from VoxelAdvSegLib.evaluation.calibration import Example, calibrate
from VoxelAdvSegLib.evaluation.metrics import dice
from VoxelAdvSegLib.inference.quality import FEWEST_CASES, Quality, make_groups
from VoxelAdvSegLib.inference.segment import without_islands
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

JUDGE_SHARE, REFERENCE_SHARE = 0.4, 0.6  # of the time there is, when each of these ends
FEWEST_REFERENCES = 4

Told = Callable[[str, int, int], None]


class Clock:
    """How much of the seconds is gone; None: there is no hurry."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.began = time.monotonic()

    def until(self, share: float) -> Callable[[], bool]:
        """Tells whether that share of the time is over."""
        return lambda: self.seconds is not None and time.monotonic() - self.began > share * self.seconds


@dataclass(frozen=True)
class Looking:
    """A model made ready to be asked about scans: judge: its weights, None without unlabeled scans; looks: of scans
    of the training."""

    bundle: Bundle
    networks: Networks
    judge: Mapping[str, Tensor] | None
    anchors: Anchors | None
    looks: Sequence[Mapping[str, np.ndarray]]


def learn_to_look(
    bundle: Bundle,
    labeled: Sequence[LabeledArrays],
    unlabeled: Sequence[UnlabeledArrays],
    batches: Batches,
    device: torch.device,
    watch: Told = lambda phase, done, total: None,
    clock: Clock | None = None,
) -> Looking:
    """Trains the judge, where there are unlabeled scans, and looks at the scans of the training.

    watch: gets a phase's name, and how many of how many are done.
    """
    clock = clock or Clock(None)
    networks = Networks(bundle.network().to(device), bundle.network("student").to(device))
    classes = len(bundle.organs) + 1
    judge = None
    if unlabeled:
        # A short training gets a short second phase.
        steps = min(STEPS, max(1, int(bundle.provenance["steps"])))
        judge = train_judge(
            networks.student,
            bundle.config,
            classes,
            batches,
            steps,
            lambda n: watch("judge", n, steps),
            clock.until(JUDGE_SHARE),
        )
        networks = replace(networks, judge=judge)
    # Those with labels first: they are few, and new scans are held against them.
    references = [*labeled, *spread_out(unlabeled, MOST_REFERENCES - len(labeled))][:MOST_REFERENCES]
    looks, means = [], []
    for done, case in enumerate(references):
        watch("references", done, len(references))
        if done >= max(len(labeled), FEWEST_REFERENCES) and clock.until(REFERENCE_SHARE)():
            break
        look, mean = look_at(networks, tensor_of(case.image, device), bundle.config, classes)
        looks.append(look)
        means += [] if mean is None else [mean]
    anchors = make_anchors(means[: len(labeled)], means[len(labeled) :])
    return Looking(bundle, networks, None if judge is None else judge.state_dict(), anchors, looks)


def with_quality(
    bundle: Bundle,
    labeled: Sequence[LabeledArrays],
    unlabeled: Sequence[UnlabeledArrays],
    validation: Sequence[LabeledArrays],
    batches: Batches,
    device: torch.device,
    watch: Told = lambda phase, done, total: None,
    left_out: Sequence[Example] = (),
    seconds: float | None = None,
) -> Bundle:
    """The model with its judge, and with what it takes to assess new segmentations.

    Calibrated on the validation scans, none of which the networks or the judge have seen, and on examples of
    labeled scans from trainings that left them out (numbers of their scans below 0). seconds: what it may take;
    what is not learned by then is left out, and said to be.
    """
    clock = Clock(seconds)
    looking = learn_to_look(bundle, labeled, unlabeled, batches, device, watch, clock)
    asked = validation[:MOST_CALIBRATED]
    # With too few nothing can be learned, but they still tell what scans look like.
    enough = len(asked) + len({example.case for example in left_out}) >= FEWEST_CASES
    examples, found, _ = examine(looking, asked, device, enough, watch, clock.until(1.0))
    voxels = {
        organ.name: [int(np.count_nonzero(np.asarray(case.label) == index)) for case in labeled]
        for index, organ in enumerate(bundle.organs, 1)
    }
    calibration = calibrate([*examples, *left_out], voxels)
    refused = "" if calibration else refusal(len(validation), len(labeled), enough)
    quality = Quality(
        calibration, make_groups(looking.looks, [signs.look for signs in found]), looking.anchors, refused
    )
    weights = dict(bundle.weights) if looking.judge is None else {**bundle.weights, JUDGE: looking.judge}
    return replace(bundle, weights=weights, quality=quality.to_dict())


def what_is_known(bundle: Bundle) -> str:
    """What the model can say of new segmentations, as a sentence."""
    assert bundle.quality is not None
    quality = Quality.from_dict(bundle.quality)
    if quality.calibration is None:
        return quality.refused
    return (
        f"The probable Dice of new segmentations is calibrated on {quality.calibration.cases} cases that were left out."
    )


def refusal(validation: int, labeled: int, enough: bool = False) -> str:
    """Why no Dice is predicted, and what would help; enough: there were cases enough, but not the time or organs."""
    if enough:
        return (
            f"How good this is cannot be predicted: organs were found in too few of the {validation} validation cases, "
            "or the time was too short to look at them. The command 'calibrate' takes the time it needs."
        )
    help_by = " The labeled ones can take turns: see the command 'calibrate'."
    return (
        f"How good this is cannot be predicted: that takes at least {FEWEST_CASES} validation cases, "
        f"and the training had {validation}.{help_by if validation + labeled >= FEWEST_CASES else ''}"
    )


def examine(
    looking: Looking,
    cases: Sequence[LabeledArrays],
    device: torch.device,
    degraded: bool = True,
    watch: Told = lambda phase, done, total: None,
    is_over: Callable[[], bool] = lambda: False,
) -> tuple[list[Example], list[CaseSigns], list[float]]:
    """Signs and true Dice of every organ of the cases, as they are and, with `degraded`, made worse; signs and mean
    entropy (in nats, over the scan) of the cases as they are."""
    examples, seen, entropies = [], [], []
    for number, case in enumerate(cases):
        if is_over():
            break
        watch("calibration", number, len(cases))
        label = np.asarray(case.label)
        for worse in (False, True) if degraded else (False,):
            image = degrade(np.asarray(case.image, np.float32), number) if worse else case.image
            signs, found, entropy = look_and_segment(looking, tensor_of(image, device))
            if not worse:
                seen.append(signs)
                entropies.append(entropy)
            for index, organ in enumerate(looking.bundle.organs, 1):
                true = dice(found == index, label == index)
                if true is not None:
                    examples.append(Example(number, organ.name, signs.organs[organ.name], true, worse))
    return examples, seen, entropies


def look_and_segment(looking: Looking, volume: Tensor) -> tuple[CaseSigns, np.ndarray, float]:
    """Signs of a scan (1, 1, D, H, W) on the working grid, classes (D, H, W) found, and mean entropy in nats."""
    config, networks = looking.bundle.config, looking.networks
    axes = mirrored_axes(config)
    probabilities = predict_probabilities(networks.segmenter, volume, config, flip_axes_zyx=axes)
    names = [organ.name for organ in looking.bundle.organs]
    signs = read_signs(networks, volume, probabilities, names, config, axes)
    signs = signs if looking.anchors is None else looking.anchors.place(signs)
    entropy = -(probabilities * probabilities.clamp_min(1e-12).log()).sum(0).mean()
    found = without_islands(probabilities.argmax(0).cpu().numpy(), looking.bundle, config.inference)
    return signs, found, float(entropy)


def tensor_of(image: np.ndarray, device: torch.device) -> Tensor:
    """A scan (z, y, x) as (1, 1, D, H, W) float32."""
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None].to(device)


def spread_out(cases: Sequence[UnlabeledArrays], count: int) -> list[UnlabeledArrays]:
    """At most so many, at equal distances through the list."""
    if len(cases) <= count:
        return list(cases)
    return [cases[i] for i in np.linspace(0, len(cases) - 1, max(count, 0)).round().astype(int)]
