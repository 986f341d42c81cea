"""What one row of a comparison is: a method with settings, by its own name or one of the paper's ablations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from VoxelAdvSegLib.config import PRESETS, resolve
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.methods import METHODS, with_own_settings

OURS = "voxel_adversarial"
# Table IV of the paper, and what its two ideas are worth: features of every level against the last layer's
# alone, one head per class against one for all.
ABLATION: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "ablation:vnet": ("supervised", {}, "VNet"),
    "ablation:adv": (OURS, {"feature_weight": "0", "consistency_weight": "0"}, "+ L_adv"),
    "ablation:feature": (OURS, {"adv_weight": "0", "consistency_weight": "0"}, "+ L_feature"),
    "ablation:adv+feature": (OURS, {"consistency_weight": "0"}, "+ L_adv + L_feature"),
    "ablation:all": (OURS, {}, "+ L_adv + L_feature + L_c"),
    "ablation:last_layer": (OURS, {"feature_levels": "9"}, "all terms, features of the last layer only"),
    "ablation:one_head": (OURS, {"disc_heads": "single"}, "all terms, one discriminator head for all classes"),
}
GROUP = "ablation"  # stands for all of them


@dataclass(frozen=True)
class Row:
    """name: as it was asked for; title: as tables show it; settings: on top of the benchmark's own."""

    name: str
    method: str
    title: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The name with what file systems dislike replaced; different names stay different."""
        return re.sub(r"[^\w.+-]+", lambda found: "_" + found.group().encode().hex() + "_", self.name)


def parse_rows(text: str) -> list[Row]:
    """Rows of a list such as `supervised,voxel_adversarial[adv_weight=0,feature_levels=[3,4]],ablation`.

    Raises ConfigError for an unknown name, a bracket that is not closed, or a row that occurs twice.
    """
    names = [name for part in _split(text) for name in (ABLATION if part == GROUP else (part,))]
    rows = [_row(name) for name in names]
    for row in rows:
        if names.count(row.name) > 1:
            raise ConfigError(
                "a row of the comparison occurs twice", expected="every name once", found=row.name, do="remove one"
            )
    return rows


def check_row(row: Row, preset: str, settings: Mapping[str, str]) -> None:
    """Raises ConfigError when the preset and settings cannot be those of a training."""
    if preset not in PRESETS:
        raise ConfigError("unknown preset", expected=" | ".join(PRESETS), found=preset, do="correct --preset")
    resolve(preset, with_own_settings(preset, {**settings, **row.settings, "method": row.method}))


def _row(name: str) -> Row:
    if name in ABLATION:
        method, settings, title = ABLATION[name]
        return Row(name, method, title, settings)
    method, bracket, rest = name.partition("[")
    if method not in METHODS:
        known = [*METHODS, GROUP, *ABLATION]
        raise ConfigError("unknown method", expected=" | ".join(known), found=method, do="correct --methods")
    if not bracket:
        return Row(name, method, method)
    if not rest.endswith("]"):
        raise ConfigError(
            "the settings of a method are not in brackets", expected="method[key=value,key=value]", found=name,
            do="add the bracket, and put the whole in quotes",
        )  # fmt: skip
    settings = {}
    for part in _split(rest[:-1]):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError("a setting has no value", expected="key=value", found=part, do="add =value")
        settings[key.strip()] = value.strip()
    return Row(name, method, f"{method}, {', '.join(f'{k} {v}' for k, v in settings.items())}", settings)


def _split(text: str) -> list[str]:
    """Parts between commas that are not within brackets. Raises ConfigError for brackets that do not match."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise ConfigError(
            "brackets do not match", expected="as many ] as [", found=text, do="correct the list of methods"
        )
    return [part.strip() for part in parts if part.strip()]
