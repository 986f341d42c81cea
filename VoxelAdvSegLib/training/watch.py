"""Signs during a training that a person should hear of, each said once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PATIENCE = 500  # steps that a sign must last (method.md 1.4)
COLLAPSED_COSINE = 0.99
CHANCE_MARGIN = 0.03
NOTHING_FOUND = 0.01  # Dice of an organ up to which nothing of it is found
EARLY, EARLY_STEPS = 1 / 3, 200  # share and steps of a run in which that is no sign yet

# name of the observed value: when it is a sign, and what it means
SIGNS = {
    "class_cosine": (
        lambda value: value > COLLAPSED_COSINE,
        "The features of all classes point one way: the feature term has collapsed and teaches nothing. "
        "Lower its weight (--set feature_weight=...).",
    ),
    "moving_accuracy": (
        lambda value: abs(value - 0.5) < CHANCE_MARGIN,
        "The discriminator cannot tell labeled from unlabeled voxels: their features are alike, and "
        "the adversarial term changes little.",
    ),
}


@dataclass
class Watch:
    """Counts for how many steps each sign has lasted."""

    lasted: dict[str, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def look(self, observed: Mapping[str, object]) -> list[str]:
        """What is to be said after a step with these observed values."""
        messages = []
        for name, (is_sign, text) in SIGNS.items():
            if name not in observed or name in self.told:
                continue
            self.lasted[name] = self.lasted.get(name, 0) + 1 if is_sign(float(observed[name])) else 0  # type: ignore[arg-type]
            if self.lasted[name] >= PATIENCE:
                self.told.add(name)
                messages.append(text)
        return messages

    def look_at_scores(self, dice: Mapping[str, float | None], step: int, total: int) -> list[str]:
        """What is to be said after a validation: organs that are never found, each named once."""
        if step < max(EARLY * total, EARLY_STEPS):
            return []
        lost = [name for name, score in dice.items() if score is not None and score <= NOTHING_FOUND]
        new = [name for name in lost if name not in self.told]
        self.told.update(new)
        if not new:
            return []
        return [
            f"After {step} of {total} steps nothing of {', '.join(new)} is found on the validation scans (Dice 0). "
            "Check the labels of the scans; when they are right, label more scans or train longer."
        ]
