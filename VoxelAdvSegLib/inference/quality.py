"""How good a segmentation probably is, and whether the scan is of a kind the model knows: what a bundle says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from VoxelAdvSegLib.inference.signs import Anchors, CaseSigns, OrganSigns

# What raises the probable error of an organ, each so that more of it is worse.
SIGNS = ("agreement", "disagreement", "overlap", "entropy", "typicality", "distance", "small", "volume", "scattered")
SMALL = 0.01  # errors are looked at as log(1 - Dice + SMALL): one part in a hundred is as good as none
MOST_DEVIATIONS = 4.0  # of an organ's volume; more says no more
USUAL_DEVIATIONS = 2.0  # up to which a volume is not unusual
FEWEST_CASES = 8  # scans with labels that the model has not seen, below which nothing is predicted
WORDS = {  # what a sign says of an organ, to a person
    "agreement": "changes when the picture is changed a little",
    "disagreement": "is seen otherwise by the second network",
    "overlap": "has many unsure voxels",
    "entropy": "has an unsure boundary",
    "typicality": "looks unlike those of the labeled scans",
    "distance": "lies far from those of the labeled scans in the network's features",
    "small": "is smaller than most",
    "volume": "has an unusual size",
    "scattered": "was found in several parts",
}
UNLIKE = "unlike anything in training"
# Of the clouds of a training's scans.
FEWEST_SCANS = 3  # one or two have no extent
MOST_AXES = 8  # directions in which scans may differ
MARGIN = 1.3  # above what is usual, from which a scan is of another kind
USUAL_SHARE = 0.9  # of the training's scans
SMALLEST = 1e-9  # distance that still means something: scans of a training may all look the same


@dataclass(frozen=True)
class PredictedDice:
    """value: median; low, high: the 90 % interval, all 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """From signs to Dice: log(1 - Dice + 0.01) = intercept of the organ + sum of weight x standardized sign.

    cases: scans behind it; weights: not negative, as every sign is bad; centers, scales: of the signs; spread: by
    organ, deviation of the left-out errors in that logarithm; reach: deviations to either end of the interval;
    volumes: by organ, mean and deviation of the logarithm of its voxels in the labeled scans.
    """

    cases: int
    weights: Mapping[str, float]
    centers: Mapping[str, float]
    scales: Mapping[str, float]
    intercepts: Mapping[str, float]
    spread: Mapping[str, float]
    reach: float
    volumes: Mapping[str, tuple[float, float]]

    def predict(self, signs: Mapping[str, OrganSigns]) -> dict[str, PredictedDice | None]:
        """By organ; None for one that was not found, or that too few of the calibration's scans have shown."""
        found: dict[str, PredictedDice | None] = {}
        for name, organ in signs.items():
            if not organ.voxels or name not in self.intercepts:
                found[name] = None
                continue
            error = self.intercepts[name] + sum(self._shares(name, organ).values())
            wide = self.reach * self.spread[name]
            value, high, low = (_dice(error + shift) for shift in (0.0, -wide, wide))
            found[name] = PredictedDice(round(value, 4), round(low, 4), round(high, 4))
        return found

    def _shares(self, name: str, organ: OrganSigns) -> dict[str, float]:
        """What each sign that was measured adds to the logarithm of the error."""
        return {
            sign: self.weights[sign] * (value - self.centers[sign]) / self.scales[sign]
            for sign, value in badness(organ, self.volumes.get(name)).items()
            if value is not None
        }

    def worst_sign(self, name: str, organ: OrganSigns) -> str | None:
        """The sign that lowers the organ's predicted Dice most; None where none does."""
        shares = self._shares(name, organ)
        worst = max(shares, key=lambda sign: shares[sign])
        return worst if shares[worst] > 0 else None

    def explain(self, signs: Mapping[str, OrganSigns]) -> str:
        """The organ of the lowest predicted Dice, and why, as a sentence."""
        lost = [name for name, organ in signs.items() if not organ.voxels]
        if lost:
            return f"{lost[0]} was not found."
        known = {name: dice for name, dice in self.predict(signs).items() if dice is not None}
        if not known:
            return ""
        name = min(known, key=lambda organ: known[organ].value)
        found, sign = known[name], self.worst_sign(name, signs[name])
        why = f", as it {WORDS[sign]}" if sign else ""
        return f"{name} is probably the least right (Dice {found.value:.2f}, {found.low:.2f} to {found.high:.2f}){why}."


@dataclass(frozen=True)
class Group:
    """A cloud of descriptors: mean (d,), axes (k, d) with their variances (k,), variance of the rest per
    dimension, scale (d,) before all that, and the distance beyond which a scan is of another kind."""

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    rest: float
    limit: float

    def to_dict(self) -> dict[str, Any]:
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(self).items()}

    def distance(self, values: np.ndarray) -> float:
        """Root of the mean square deviation along the axes and beside them, in deviations of the cloud."""
        # What was not found has no place, so it is nowhere unusual.
        away = np.where(np.isfinite(values), (values - self.mean) / self.scale, 0.0)
        along = self.axes @ away
        beside = float(away @ away - along @ along)
        total = float((along**2 / self.variances).sum()) + max(beside, 0.0) / max(self.rest, SMALLEST)
        return math.sqrt(total / len(away))


@dataclass(frozen=True)
class Familiarity:
    """What the scans of the training looked like, as aggregates over them. No groups: too few to say."""

    scans: int
    groups: Mapping[str, Group]

    def novelty(self, look: Mapping[str, np.ndarray]) -> tuple[float, str]:
        """How far a scan lies outside, 1 at the limit; and in which group of descriptors."""
        if not self.groups:
            return 0.0, ""
        values = {name: group.distance(look[name]) / max(group.limit, SMALLEST) for name, group in self.groups.items()}
        worst = max(values, key=lambda name: values[name])
        return values[worst], worst


@dataclass(frozen=True)
class Quality:
    """calibration: None with the reason in `refused`, where too few labeled scans were there to learn from."""

    calibration: Calibration | None
    familiarity: Familiarity
    anchors: Anchors | None = None
    refused: str = ""

    def assess(self, signs: CaseSigns) -> Assessment:
        signs = signs if self.anchors is None else self.anchors.place(signs)
        novelty, group = self.familiarity.novelty(signs.look)
        if self.calibration is None:
            return Assessment(None, round(novelty, 3), group, round(signs.doubt(), 4), self.refused)
        predicted = self.calibration.predict(signs.organs)
        # What was not found may have been missed: a person should look.
        values = [d.value if d else 0.0 for name, d in predicted.items() if d or not signs.organs[name].voxels]
        need = 1 - float(np.mean(values)) if values else 1.0
        why = self.calibration.explain(signs.organs)
        return Assessment(predicted, round(novelty, 3), group, round(need, 4), self.refused, why)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        groups = {name: group.to_dict() for name, group in self.familiarity.groups.items()}
        return {
            "calibration": None if self.calibration is None else asdict(self.calibration), "refused": self.refused,
            "familiarity": {"scans": self.familiarity.scans, "groups": groups},
            "anchors": None if self.anchors is None else _anchors_to_dict(self.anchors),
        }  # fmt: skip

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Quality:
        """Raises KeyError, TypeError or ValueError for anything but what `to_dict` has written."""
        known = content["calibration"]
        calibration = None
        if known is not None:
            volumes = {str(k): (float(v[0]), float(v[1])) for k, v in known["volumes"].items()}
            tables = ("weights", "centers", "scales", "intercepts", "spread")
            calibration = Calibration(
                cases=int(known["cases"]), reach=float(known["reach"]), volumes=volumes,
                **{name: {str(k): float(v) for k, v in known[name].items()} for name in tables},
            )  # fmt: skip
        groups = {}
        for name, group in content["familiarity"]["groups"].items():
            arrays = {key: np.asarray(group[key], float) for key in ("mean", "scale", "axes", "variances")}
            arrays["axes"] = arrays["axes"].reshape(len(arrays["variances"]), len(arrays["mean"]))
            rest, limit = float(group["rest"]), float(group["limit"])
            if not all(np.isfinite(value).all() for value in (*arrays.values(), rest, limit)):
                raise ValueError(f"numbers of {name} that are not finite")
            if not arrays["scale"].shape == arrays["mean"].shape == (arrays["mean"].size,):
                raise ValueError(f"a scale of {name} for other descriptors")
            groups[str(name)] = Group(**arrays, rest=rest, limit=limit)
        familiarity = Familiarity(int(content["familiarity"]["scans"]), groups)
        return Quality(calibration, familiarity, _anchors_from(content["anchors"]), str(content["refused"]))


def _anchors_to_dict(anchors: Anchors) -> dict[str, Any]:
    means = [
        [None if value != value else round(value, 5) for value in row]
        for row in anchors.means.reshape(len(anchors.means), -1).tolist()
    ]
    return {"means": means, "scale": anchors.scale.tolist()}


def _anchors_from(content: Mapping[str, Any] | None) -> Anchors | None:
    if content is None:
        return None
    scale = np.asarray(content["scale"], float)
    means = np.array([[math.nan if value is None else value for value in row] for row in content["means"]], float)
    return Anchors(means.reshape(len(means), *scale.shape), scale)


@dataclass(frozen=True)
class Assessment:
    """What is said of a segmented scan.

    dice: by organ, None where it was refused; novelty: 1 and more is another kind of scan; group: what is unlike
    (intensities, arrangement, features, organs); need: how much it needs a person, 1 - mean predicted Dice, or
    the signs' doubt where that was refused; refused: why there is no predicted Dice; why: what lowers it.
    """

    dice: Mapping[str, PredictedDice | None] | None
    novelty: float
    group: str
    need: float
    refused: str
    why: str = ""

    @property
    def is_unlike(self) -> bool:
        return self.novelty >= 1

    def mean(self) -> PredictedDice | None:
        """Over the organs of which there is one."""
        known = [dice for dice in (self.dice or {}).values() if dice is not None]
        if not known:
            return None
        means = (float(np.mean([getattr(d, end) for d in known])) for end in ("value", "low", "high"))
        return PredictedDice(*(round(mean, 4) for mean in means))

    def warning(self) -> str:
        """A sentence where the scan is of another kind, else nothing."""
        if not self.is_unlike:
            return ""
        words = {
            "intensities": "its grey values are distributed otherwise",
            "arrangement": "what it shows lies elsewhere in the picture",
            "features": "the network sees other structures in it",
            "organs": "organs were found where they never are",
        }
        return f"This scan is {UNLIKE}: {words.get(self.group, self.group)}. Do not trust the result."

    def reason(self, otherwise: str = "") -> str:
        """Why a person should look at the case; otherwise: where no Dice is predicted."""
        reasons = [f"This scan is {UNLIKE}: look whether it belongs here."] if self.is_unlike else []
        return " ".join([*reasons, self.why or otherwise]).strip()

    def to_dict(self) -> dict[str, Any]:
        mean = self.mean()
        return {
            "predicted_dice": None if self.dice is None else {
                name: None if d is None else asdict(d) for name, d in self.dice.items()
            },
            "predicted_dice_mean": None if mean is None else asdict(mean),
            "novelty": self.novelty, "unlike_training": self.is_unlike, "warning": self.warning() or self.refused,
            "need": self.need, "why": self.why,
        }  # fmt: skip


def badness(organ: OrganSigns, volume: tuple[float, float] | None) -> dict[str, float | None]:
    """Each of SIGNS as a number of which more is worse; None where it was not measured."""
    small = unusual = None
    if volume is not None and organ.voxels:
        size = float(np.clip((math.log(organ.voxels) - volume[0]) / volume[1], -MOST_DEVIATIONS, MOST_DEVIATIONS))
        # The same error of the outline costs a small organ more Dice.
        small, unusual = -size, max(abs(size) - USUAL_DEVIATIONS, 0.0)
    return {
        "agreement": _log(None if organ.agreement is None else 1 - organ.agreement),
        "disagreement": _log(organ.disagreement),
        "overlap": _log(None if organ.overlap is None else 1 - organ.overlap),
        "entropy": _log(organ.entropy),
        "typicality": None if organ.typicality is None else 1 - organ.typicality,
        "distance": organ.distance,
        "small": small,
        "volume": unusual,
        "scattered": _log(organ.scattered),
    }


def error_of(dice: float) -> float:
    """The scale on which errors are predicted."""
    return math.log(1 - dice + SMALL)


def _dice(error: float) -> float:
    return float(np.clip(1 + SMALL - math.exp(min(error, 1.0)), 0.0, 1.0))


def _log(share: float | None) -> float | None:
    return None if share is None or not math.isfinite(share) else math.log(max(share, 0.0) + SMALL)


def make_groups(looks: Sequence[Mapping[str, np.ndarray]], unseen: Sequence[Mapping[str, np.ndarray]]) -> Familiarity:
    """The clouds of the scans of a training; unseen: scans that the network was not trained with.

    The limit of a group is a margin above what is usual: above the farthest of the unseen scans, as those of the
    training look more familiar than any other scan would, and above nine in ten of the training's, each held
    against the cloud of the others (all of them, where nothing unseen is there).
    """
    groups = {}
    # A cloud of one or two scans has no extent: any other scan would seem to be of another kind.
    for name in looks[0] if len(looks) >= FEWEST_SCANS or (unseen and len(looks) > 1) else ():
        rows = np.stack([look[name] for look in looks])
        others = np.stack([look[name] for look in unseen]) if unseen else rows[:0]
        groups[name] = _group(rows, others)
    return Familiarity(len(looks), groups)


def _group(rows: np.ndarray, others: np.ndarray) -> Group:
    cloud = _cloud(rows)
    distances = [_cloud(np.delete(rows, i, 0)).distance(rows[i]) for i in range(len(rows))] if len(rows) > 2 else []
    unseen = [cloud.distance(row) for row in others]
    usual = [float(np.quantile(distances, USUAL_SHARE if unseen else 1.0))] if distances else []
    limit = MARGIN * max([*usual, *unseen], default=1.0)
    return Group(cloud.mean, cloud.scale, cloud.axes, cloud.variances, cloud.rest, limit)


def _cloud(rows: np.ndarray) -> Group:
    """Probabilistic principal components (Tipping and Bishop, 1999) of the rows (n, d)."""
    known = np.isfinite(rows)
    counts = np.maximum(known.sum(0), 1)
    mean = np.where(known, rows, 0).sum(0) / counts
    rows = np.where(known, rows, mean)
    deviation = rows.std(0)
    # A channel that never changes would make the smallest change infinitely far.
    scale = np.maximum(deviation, 0.1 * np.sqrt((deviation**2).mean()) + 1e-6)
    count = min(MOST_AXES, max(len(rows) // 4, 0))
    away = (rows - mean) / scale
    _, sizes, axes = np.linalg.svd(away, full_matrices=False)
    variances = sizes**2 / max(len(rows) - 1, 1)
    left = float((away**2).sum() / max(len(rows) - 1, 1) - variances[:count].sum())
    rest = max(left / max(away.shape[1] - count, 1), 1e-3)
    return Group(mean, scale, axes[:count], np.maximum(variances[:count], rest), rest, 1.0)
