"""A model to ship: weights in safetensors, everything else in JSON, a card for people. No pickle."""

from __future__ import annotations

import hashlib
import json
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
from VoxelAdvSegLib.data.organs import Organ, same_name
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.errors import BundleError, VoxelAdvSegError
from VoxelAdvSegLib.methods.adversary import make_discriminator, make_fusion
from VoxelAdvSegLib.networks.discriminator import Discriminator
from VoxelAdvSegLib.networks.vnet import VNet

FORMAT = 1
MODEL = "model.json"
CARD = "README.md"
OPPONENT = "discriminator"  # weights of the training's own discriminator
JUDGE = "post_discriminator"  # of the one that was trained afterwards


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
        file = partial / f"{name}.safetensors"
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, file)
        checksums[file.name] = _checksum(file)
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
    (partial / MODEL).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
    (partial / CARD).write_text(card, encoding="utf-8")
    old = folder.with_name(f".{folder.name}.old")
    _remove(old)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    _remove(old)


def read_bundle(folder: Path) -> Bundle:
    """Raises BundleError when the folder is no model, was altered, or is of another version."""
    about = _read_about(folder)
    weights: dict[str, dict[str, Tensor]] = {}
    for name, checksum in about["sha256"].items():
        file = folder / name
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise _damaged(folder, f"a weights file called {name}")
        if not file.is_file():
            raise _damaged(folder, f"{name} is missing")
        if _checksum(file) != checksum:
            raise _damaged(folder, f"{name} is not the file that was saved (its checksum differs)")
        try:
            weights[name.removesuffix(".safetensors")] = load_file(file)
        except (SafetensorError, OSError, ValueError) as error:
            raise _damaged(folder, f"{name}: {error}") from error
    try:
        bundle = Bundle(
            organs=tuple(
                Organ(o["name"], o["value"], tuple(o["color_rgb"]), o["terminology"]) for o in about["organs"]
            ),
            recipe=Recipe.from_dict(about["preprocessing"]),
            config=from_dict(about["config"]),
            segmenter=about["segmenter"],
            weights=weights,
            provenance=about["provenance"],
            quality=about.get("quality"),
        )
        bundle.network()
        return bundle
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    except VoxelAdvSegError as error:
        raise BundleError(
            "the model has a setting that this version does not know", file=folder,
            expected=f"a model of VoxelAdvSeg {__version__}",
            found=f"{error.what} (VoxelAdvSeg {about.get('version')})",
            do="use the version that made it, or train the model anew",
        ) from error  # fmt: skip


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


def _read_about(folder: Path) -> dict[str, Any]:
    file = folder / MODEL
    if not file.is_file():
        raise BundleError(
            "there is no model", file=folder, expected=f"a run folder, or a model folder with {MODEL}",
            found="a folder without it" if folder.is_dir() else "no such folder", do="check the path after --model",
        )  # fmt: skip
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        found = about["format"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise _damaged(folder, f"{MODEL}: {error}") from error
    if found != FORMAT:
        raise BundleError(
            "the model is from another version", file=folder,
            expected=f"format {FORMAT} (VoxelAdvSeg {__version__})",
            found=f"format {found} (VoxelAdvSeg {about.get('version', '?')})",
            do="update VoxelAdvSeg, or train the model anew",
        )  # fmt: skip
    missing = {"sha256", "organs", "preprocessing", "config", "segmenter", "provenance"} - set(about)
    if missing:
        raise _damaged(folder, f"{MODEL} lacks {', '.join(sorted(missing))}")
    if not isinstance(about["sha256"], dict):
        raise _damaged(folder, f"{MODEL} has no table of weights files")
    return about


def _damaged(folder: Path, found: str) -> BundleError:
    return BundleError(
        "the model is damaged", file=folder, expected="the files as they were saved", found=found,
        do="copy the model folder again, or train the model anew",
    )  # fmt: skip


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
