"""A model to ship: weights in safetensors, everything else in JSON, a card for people. No pickle."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.config import Config, from_dict, to_dict
from VoxelAdvSegLib.data.organs import Organ, name_problem, same_name, terminology_problem
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.errors import BundleError, VoxelAdvSegError
from VoxelAdvSegLib.methods.adversary import make_discriminator, make_fusion
from VoxelAdvSegLib.model_folder import (
    ABOUT,
    CARD,
    FORMAT,
    WEIGHTS,
    check_model,
    check_safetensors,
    damaged,
    sealed,
    sha256,
)
from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.vnet import VNet

OPPONENT = "discriminator"  # weights of the training's own discriminator
JUDGE = "post_discriminator"  # of the one that was trained afterwards
# The largest patch, in voxels, that a model may ask memory for: 512 x 512 x 512.
MOST_PATCH_VOXELS = 2**27
# What comes of a description whose values are of another kind than they should be.
DAMAGE = (LookupError, TypeError, ArithmeticError, ValueError, AttributeError, RuntimeError)
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Bundle:
    """A trained model as read from disk.

    segmenter: the name of the network to segment with (student or teacher); weights: by name of
    network; provenance: facts of the training, without anything that names a patient; quality: what
    inference.quality reads to say how good a segmentation probably is, None for a model without.
    """

    organs: tuple[Organ, ...]
    recipe: Recipe
    config: Config
    segmenter: str
    weights: Mapping[str, Mapping[str, Tensor]]
    provenance: Mapping[str, Any]
    quality: Mapping[str, Any] | None = None

    def network(self, name: str | None = None) -> VNet:
        """A V-Net with the weights of `name` (default: the segmenter), in evaluation mode."""
        network = make_network(self.config, len(self.organs) + 1, dropout=False)
        network.load_state_dict(dict(self.weights[name or self.segmenter]))
        return network.eval()

    def discriminator(self, name: str | None = None) -> Discriminator | None:
        """A discriminator with its fusion, in evaluation mode; None for a model without.

        name: JUDGE, trained afterwards on features that no longer moved, or OPPONENT, the training's own;
        None: the first of these that there is.
        """
        if name is None:
            name = JUDGE if JUDGE in self.weights else OPPONENT
        if name not in self.weights:
            return None
        assert self.config.network.filters is not None
        fusion = make_fusion(self.config, self.config.network.filters)
        discriminator = make_discriminator(self.config, len(self.organs) + 1, fusion)
        discriminator.load_state_dict(dict(self.weights[name]))
        return discriminator.eval()


def make_network(config: Config, classes: int, dropout: bool | None = None, channels: int = 1) -> VNet:
    n = config.network
    assert n.filters is not None
    return VNet(channels, classes, n.filters, n.norm, n.dropout if dropout is None else dropout)


def write_bundle(folder: Path, bundle: Bundle, card: str) -> None:
    """The model folder, written beside and moved into place; an older one there is replaced."""
    partial = folder.with_name(f".{folder.name}.partial")
    _remove(partial)
    partial.mkdir(parents=True)
    checksums = {}
    for name, weights in bundle.weights.items():
        file = partial / f"{name}{WEIGHTS}"
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, file)
        checksums[file.name] = sha256(file)
    about = {
        "format": FORMAT,
        "version": __version__,
        "segmenter": bundle.segmenter,
        "architecture": {
            "name": "vnet", "in_channels": 1, "classes": len(bundle.organs) + 1,
            "filters": bundle.config.network.filters, "norm": bundle.config.network.norm,
            "patch_xyz": bundle.config.patches.patch,
        },
        "organs": [asdict(organ) for organ in bundle.organs],
        "preprocessing": bundle.recipe.to_dict(),
        "config": to_dict(bundle.config),
        "provenance": dict(bundle.provenance),
        "quality": None if bundle.quality is None else dict(bundle.quality),
        "sha256": checksums,
    }  # fmt: skip
    text = json.dumps(sealed(json.loads(json.dumps(about))), indent=1, ensure_ascii=False)
    (partial / ABOUT).write_text(text, encoding="utf-8")
    (partial / CARD).write_text(card, encoding="utf-8")
    old = folder.with_name(f".{folder.name}.old")
    _remove(old)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    _remove(old)


def read_bundle(folder: Path) -> Bundle:
    """Raises BundleError when the folder is no model, was altered, or is of another version."""
    about = check_model(folder)
    shapes = {name: check_safetensors(folder / name) for name in about["sha256"]}
    try:
        organs = tuple(_organ(fields) for fields in about["organs"])
        config = from_dict(about["config"])
        _check_size(config, len(organs), {n.removesuffix(WEIGHTS): s for n, s in shapes.items()}, about["segmenter"])
        recipe = Recipe.from_dict(about["preprocessing"])
        weights = {name.removesuffix(WEIGHTS): load_file(folder / name) for name in shapes}
        bundle = Bundle(organs, recipe, config, about["segmenter"], weights, about["provenance"], about.get("quality"))
        bundle.network()
        return bundle
    except (*DAMAGE, SafetensorError, OSError) as error:
        raise damaged(folder, f"{type(error).__name__}: {error}"[:300]) from error
    except VoxelAdvSegError as error:
        raise BundleError(
            "the model has a setting that this version does not know", file=folder,
            expected=f"a model of VoxelAdvSeg {__version__}",
            found=f"{error.what} (VoxelAdvSeg {about.get('version')})",
            do="use the version that made it, or train the model anew",
        ) from error  # fmt: skip


def _organ(fields: Mapping[str, Any]) -> Organ:
    """Raises ValueError, TypeError or KeyError for one that cannot be."""
    name, value, color = fields["name"], fields["value"], tuple(fields["color_rgb"])
    if not isinstance(name, str) or name_problem(name) or type(value) is not int or not 0 < value <= 255:
        raise ValueError(f"an organ called {str(name)[:100]!r} of value {value!r}")
    if len(color) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in color):
        raise ValueError(f"a color of {color}")
    if terminology_problem(fields["terminology"]):
        raise ValueError(f"a terminology of {terminology_problem(fields['terminology'])}")
    return Organ(name, value, color, fields["terminology"])


def _check_size(config: Config, organs: int, found: Mapping[str, Shapes], segmenter: str) -> None:
    """Raises ValueError unless the weights found are those of the configuration. Takes no memory for them."""
    patch, filters = config.patches.patch, config.network.filters
    if patch is None or filters is None or math.prod(patch) > MOST_PATCH_VOXELS:
        raise ValueError(f"patches of {patch} voxels, {filters} filters")
    with torch.device("meta"):  # shapes without memory
        made: dict[str, torch.nn.Module] = {name: make_network(config, organs + 1) for name in {segmenter, *found}}
        for name in {OPPONENT, JUDGE} & set(found):
            made[name] = make_discriminator(config, organs + 1, make_fusion(config, filters))
    for name, network in made.items():
        expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        if different := sorted(key for key, _ in expected.items() ^ found[name].items()):
            raise ValueError(f"{name} has other weights than the settings say, beginning with {different[0][:100]}")


def start_from(network: VNet, organs: Sequence[Organ], bundle: Bundle) -> list[str]:
    """Fills a network with an earlier model's weights; returns the names of organs that are new.

    Rows of the last convolution are matched by organ name, so organs may be added, left out or
    come in another order; those of new organs keep their beginning.
    Raises BundleError when the architecture differs.
    """
    source = bundle.weights[bundle.segmenter]
    own = network.state_dict()
    head = {"head.weight", "head.bias"}
    shapes, known = ({k: v.shape for k, v in w.items() if k not in head} for w in (own, source))
    different = sorted({name for name, _ in shapes.items() ^ known.items()})
    if different:
        raise BundleError(
            "the model cannot be continued with this configuration",
            expected=f"{bundle.config.network.filters} filters and {bundle.config.network.norm} norm, as the model",
            found=f"a difference in {different[0]}",
            do="leave out --set filters=... and norm=...",
        )
    new = []
    with torch.no_grad():
        for name in own:
            if name not in head:
                own[name].copy_(source[name])
        for name in head:
            own[name][0].copy_(source[name][0])
            for row, organ in enumerate(organs, 1):
                match = [i for i, old in enumerate(bundle.organs, 1) if same_name(old.name, organ.name)]
                if match:
                    own[name][row].copy_(source[name][match[0]])
                elif name == "head.bias":
                    new.append(organ.name)
    return new


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
