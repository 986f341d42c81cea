"""What a training is asked for: the fields of the section Train as arguments of Workbench.train."""

from __future__ import annotations

from typing import Any

import slicer  # noqa: F401  the form's widgets are Slicer's
from slicer.i18n import tr as _

from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.panel.training import SUPERVISED
from VoxelAdvSegLib.panel.workbench import Workbench

BUDGETS = (15.0, 60.0, 240.0, 600.0)  # minutes, in the order of budgetBox; what follows is "Custom"
AUTOMATIC, CPU = "auto", "cpu"
PATCH_MULTIPLE = 16
WEIGHTS = {
    "adv_weight": "alphaBox", "feature_weight": "betaBox", "consistency_weight": "gammaBox",
    "pseudo_threshold": "thresholdBox",
}  # fmt: skip


class TrainForm:
    """Reads startFromBox to seedBox, and fills the two boxes whose choices depend on the computer and the project."""

    def __init__(self, ui: Any, workbench: Workbench) -> None:
        self.ui = ui
        self.workbench = workbench
        self._models: list[tuple[str, str]] = []
        self._devices: list[tuple[str, str]] = []

    @property
    def minutes(self) -> float:
        index = self.ui.budgetBox.currentIndex
        return BUDGETS[index] if self.is_budget(index) else float(self.ui.customMinutesBox.value)

    @staticmethod
    def is_budget(index: int) -> bool:
        return 0 <= index < len(BUDGETS)

    @property
    def steps(self) -> int | None:
        return self.ui.stepsBox.value or None

    @property
    def device(self) -> str:
        devices, index = self.devices(), self.ui.deviceBox.currentIndex
        return devices[index][0] if 0 <= index < len(devices) else AUTOMATIC

    @property
    def start_from(self) -> str | None:
        """Id of a model; None: from scratch."""
        return self._models[max(0, self.ui.startFromBox.currentIndex)][0] or None

    @property
    def method(self) -> str:
        return str(self.ui.methodBox.currentText)

    @property
    def uses_unlabeled(self) -> bool:
        return self.method != SUPERVISED

    def settings(self) -> dict[str, Any]:
        """The settings that a person changed, by their names in the configuration. Raises ConfigError."""
        ui = self.ui
        changed: dict[str, Any] = {}
        for name, box in WEIGHTS.items():
            value = getattr(ui, box).value
            if value >= 0:  # below zero the box says "preset"
                changed[name] = value
        if ui.levelsBox.text.strip():
            changed["feature_levels"] = _numbers(ui.levelsBox.text, _("feature levels"), _("numbers, as in 1,2,3,4"))
        if ui.patchBox.text.strip():
            changed["patch"] = _patch(ui.patchBox.text)
        if ui.batchBox.value:
            changed["batch_labeled"] = changed["batch_unlabeled"] = ui.batchBox.value
        return changed

    def arguments(self) -> dict[str, Any]:
        """For Workbench.train. Raises ConfigError for settings that cannot be, before anything is started."""
        settings, preset = self.settings(), str(self.ui.presetBox.currentText)
        resolve(preset, settings)
        return {
            "minutes": self.minutes, "steps": self.steps, "start_from": self.start_from, "preset": preset,
            "method": self.method, "settings": settings, "seed": self.ui.seedBox.value or None, "device": self.device,
        }  # fmt: skip

    def fill_models(self) -> None:
        usable = [model for model in self.workbench.models() if not model.problem]
        models = [("", _("Scratch")), *((model.id, model.name) for model in usable)]
        self._models = _fill(self.ui.startFromBox, models, self._models)

    def devices(self) -> list[tuple[str, str]]:
        """What can compute, by its name for a training and for a person."""
        devices = [(AUTOMATIC, _("Automatic")), (CPU, _("CPU"))]
        probe = self.workbench.installation
        if probe is not None and probe.verdict is not None:
            cards = [device for device in probe.installation.devices if device.device != CPU]
            devices += [(card.device, card.title) for card in cards]
        return devices

    def fill_devices(self) -> None:
        self._devices = _fill(self.ui.deviceBox, self.devices(), self._devices)

    def verdict(self) -> str:
        """What to expect of the device, and of the time on it."""
        sentences = [self.workbench.device_text(self.device)]
        if self.steps is None:
            sentences.append(self.workbench.budget_text(self.device, self.minutes))
        return " ".join(sentence for sentence in sentences if sentence)


def _fill(box: Any, wanted: list[tuple[str, str]], shown: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Gives a combo box these (key, text) choices and keeps the chosen one, else takes the first."""
    if wanted == shown:
        return wanted
    index = box.currentIndex
    key = shown[index][0] if 0 <= index < len(shown) else wanted[0][0]
    was_blocked = box.blockSignals(True)
    try:
        box.clear()
        for _key, text in wanted:
            box.addItem(text)
        box.currentIndex = next((i for i, (other, _text) in enumerate(wanted) if other == key), 0)
    finally:
        box.blockSignals(was_blocked)
    return wanted


def _patch(text: str) -> list[int]:
    wish = _("three multiples of {n}, as in 96,96,64").format(n=PATCH_MULTIPLE)
    sizes = _numbers(text, _("patch"), wish)
    if len(sizes) != 3 or any(size <= 0 or size % PATCH_MULTIPLE for size in sizes):
        raise _cannot_be(text, _("patch"), wish)
    return sizes


def _numbers(text: str, field: str, wish: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise _cannot_be(text, field, wish) from None


def _cannot_be(text: str, field: str, wish: str) -> ConfigError:
    return ConfigError(
        _("the {field} under Advanced cannot be read").format(field=field), expected=wish, found=text,
        do=_("correct it, or leave the field empty"),
    )  # fmt: skip
