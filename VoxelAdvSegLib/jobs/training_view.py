"""What a panel shows of a training: curves, the discriminator at work, preview, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.jobs.curves import Curve
from VoxelAdvSegLib.jobs.discriminator_reading import Reading, read_discriminator

MOST_WARNINGS = 50
MOST_CURVES = 500


class TrainingView:
    """Built up event by event; its memory does not grow with the length of the training.

    terms: each loss term by name; dice: validation Dice by organ, and "mean"; on_labeled,
    on_unlabeled: share of drawn voxels whose origin the discriminator tells rightly, by organ,
    "background" included; observed: everything else that is one number per step. All over steps.
    `version` grows with every change.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = 0
        self.organs: list[str] = []
        self.colors: dict[str, tuple[int, int, int]] = {}
        self.method = ""
        self.device = ""
        self.plan: list[str] = []
        self.terms: dict[str, Curve] = {}
        self.weights: dict[str, float] = {}
        self.dice: dict[str, Curve] = {}
        self.on_labeled: dict[str, Curve] = {}
        self.on_unlabeled: dict[str, Curve] = {}
        self.observed: dict[str, Curve] = {}
        self.best: tuple[int, float] | None = None  # step and mean Dice
        self.final_dice: dict[str, float | None] = {}
        self.preview: Path | None = None
        self.preview_step: int | None = None
        self.warnings: list[str] = []
        self.messages: list[str] = []
        self.reason = ""  # of the end: finished, stopped, out of time

    def take(self, event: Mapping[str, Any]) -> None:
        """Follows one event; unknown types change nothing."""
        handler = getattr(self, f"_on_{event['type']}", None)
        if handler is not None:
            handler(event)
            self.version += 1

    def reading(self) -> Reading:
        """What the discriminator's numbers say now, overall and per organ, in plain words."""
        return read_discriminator(self.on_labeled, self.on_unlabeled, self.organs, self.method)

    # --- events -------------------------------------------------------------------------------

    def _on_start(self, event: Mapping[str, Any]) -> None:
        self.organs = [str(organ["name"]) for organ in event["organs"]]
        self.colors = {str(o["name"]): tuple(o["color_rgb"]) for o in event["organs"]}
        self.method, self.device = str(event["method"]), str(event["device"])
        self.plan = [str(sentence) for sentence in event["plan"]]
        self.reason = ""

    def _on_plan(self, event: Mapping[str, Any]) -> None:
        _keep(self.messages, str(event["text"]))

    def _on_message(self, event: Mapping[str, Any]) -> None:
        _keep(self.warnings if event["level"] == "warning" else self.messages, str(event["text"]))

    def _on_step(self, event: Mapping[str, Any]) -> None:
        step = int(event["step"])
        for player, terms in event["terms"].items():
            for name, value in terms.items():
                _add(self.terms, name if player == "student" else player, step, value)
        self.weights = {str(k): float(v) for k, v in event["weights"].items()}
        names = ["background", *self.organs]
        for name, value in event["observed"].items():
            if isinstance(value, list):
                curves = {"accuracy_labeled": self.on_labeled, "accuracy_unlabeled": self.on_unlabeled}.get(name)
                if curves is not None:
                    for organ, share in zip(names, value, strict=False):
                        _add(curves, organ, step, share)
            else:
                _add(self.observed, name, step, value)

    def _on_validation(self, event: Mapping[str, Any]) -> None:
        step = int(event["step"])
        if event["final"]:
            self.final_dice = dict(event["dice"])
            return
        for organ, value in {**event["dice"], "mean": event["mean"]}.items():
            _add(self.dice, organ, step, value)
        if event["best"] and event["mean"] is not None:
            self.best = (step, float(event["mean"]))

    def _on_preview(self, event: Mapping[str, Any]) -> None:
        name = Path(str(event["file"])).name  # a diary names no file outside its folder
        self.preview, self.preview_step = self.folder / "previews" / name, int(event["step"])

    def _on_end(self, event: Mapping[str, Any]) -> None:
        self.reason = str(event["reason"])
        self.final_dice = dict(event["dice"])


def _add(curves: dict[str, Curve], name: str, step: int, value: Any) -> None:
    if value is None or isinstance(value, str | bool) or (name not in curves and len(curves) >= MOST_CURVES):
        return
    curves.setdefault(str(name), Curve()).add(step, float(value))


def _keep(texts: list[str], text: str) -> None:
    if text not in texts:
        texts.append(text)
        del texts[:-MOST_WARNINGS]
