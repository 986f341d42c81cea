"""A model to ship: comes back as it was, is refused when altered, and continues with other organs."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.bundle import Bundle, make_network, read_bundle, start_from, write_bundle
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.data.organs import organs_of
from VoxelAdvSegLib.data.preprocess import Recipe
from VoxelAdvSegLib.errors import BundleError
from VoxelAdvSegLib.methods.adversary import make_discriminator, make_fusion
from VoxelAdvSegLib.model_folder import sealed
from VoxelAdvSegLib.networks.vnet import VNet

ORGANS = organs_of({"liver": 1, "Left_Kidney": 4}, {"liver": "SCT~1~Organ^SCT~2~Liver"})


def make_bundle(seed: int = 0, organs=ORGANS, **settings: object) -> Bundle:
    config = resolve("auto", {"filters": 4, "patch": "32,16,16", "mirror_axes": "x", **settings})
    torch.manual_seed(seed)
    student, teacher = (make_network(config, len(organs) + 1) for _ in range(2))
    discriminator = make_discriminator(config, len(organs) + 1, make_fusion(config, 4))
    weights = {"student": student, "teacher": teacher, "discriminator": discriminator}
    recipe = Recipe(True, (0.5, 0.5, 2.0), None, "fixed", (-100.0, 250.0), 80.0, 33.0)
    tensors = {name: dict(network.state_dict()) for name, network in weights.items()}
    return Bundle(organs, recipe, config, "teacher", tensors, {"steps": 12, "validation_dice": {"liver": None}})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model", make_bundle(), "# A model")
    return tmp_path / "model"


def edit(model: Path, **changes: object) -> None:
    """As one would who knows of the checksum."""
    about = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(sealed({**about, **changes})))


def test_a_model_comes_back_as_it_was(model: Path):
    made, read = make_bundle(), read_bundle(model)
    assert (read.organs, read.recipe, read.config, read.segmenter) == (
        made.organs, made.recipe, made.config, made.segmenter,
    )  # fmt: skip
    assert read.provenance == made.provenance
    assert {n: set(w) for n, w in read.weights.items()} == {n: set(w) for n, w in made.weights.items()}
    for name, weights in made.weights.items():
        assert all(torch.equal(value, read.weights[name][key]) for key, value in weights.items())
    volume = torch.rand(1, 1, 16, 16, 32)
    with torch.no_grad():
        assert torch.equal(read.network()(volume), made.network("teacher")(volume))
        assert not torch.equal(read.network()(volume), read.network("student")(volume))
    discriminator = read.discriminator()
    assert discriminator is not None and not discriminator.training
    assert sorted(p.name for p in model.iterdir()) == [
        "README.md", "discriminator.safetensors", "model.json", "student.safetensors", "teacher.safetensors",
    ]  # fmt: skip
    assert [p.name for p in model.parent.iterdir()] == ["model"]


def test_a_model_without_discriminator_has_none(tmp_path: Path):
    bundle = make_bundle()
    weights = {"student": bundle.weights["student"]}
    write_bundle(tmp_path / "model", replace(bundle, weights=weights, segmenter="student"), "")
    assert read_bundle(tmp_path / "model").discriminator() is None


def test_a_newer_model_takes_the_place_of_the_older(model: Path):
    (model / "notes").mkdir()  # whatever a person has put there
    (model.parent / ".model.partial").mkdir()  # what a killed process left
    (model.parent / ".model.partial" / "student.safetensors").write_bytes(b"half")
    write_bundle(model, replace(make_bundle(seed=5), segmenter="student"), "")
    assert read_bundle(model).segmenter == "student" and not (model / "notes").exists()
    assert [p.name for p in model.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/secret.safetensors", "sub/secret.safetensors", "model.json", ".."]
)
def test_weights_are_never_sought_elsewhere(model: Path, name: str):
    for place in (model.parent / "secret.safetensors", model / "sub" / "secret.safetensors"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((model / "student.safetensors").read_bytes())
    checksums = json.loads((model / "model.json").read_text())["sha256"]
    edit(model, sha256={**checksums, name: checksums["student.safetensors"]})
    with pytest.raises(BundleError, match="damaged") as caught:
        read_bundle(model)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["student.safetensors", "model.json"])
def test_a_missing_file_is_named(model: Path, name: str):
    (model / name).unlink()
    with pytest.raises(BundleError) as caught:
        read_bundle(model)
    assert name in str(caught.value)


def test_an_altered_weight_is_noticed(model: Path):
    content = bytearray((model / "student.safetensors").read_bytes())
    content[-3] ^= 4
    (model / "student.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="damaged") as caught:
        read_bundle(model)
    assert "student.safetensors" in str(caught.value) and "checksum" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": ["student.safetensors"]},
        {"organs": [{"name": "liver"}]},
        {"organs": "liver"},
        {"preprocessing": ["scan"]},
        {"preprocessing": {"what": 1}},
        {"config": 3},
        {"config": {"network": {"norm": "sideways"}}},
        {"segmenter": "nobody"},
        {"segmenter": "discriminator"},
    ],
)
def test_a_damaged_description_is_told(model: Path, changes: dict):
    edit(model, **changes)
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(model)


def test_junk_and_other_versions_are_told(model: Path):
    edit(model, format=3, version="7.5")
    with pytest.raises(BundleError, match="another version") as caught:
        read_bundle(model)
    assert "7.5" in str(caught.value.found) and __version__ in str(caught.value.expected)
    for junk in ("", "[]", "{}", "\xff"):
        (model / "model.json").write_text(junk, encoding="latin-1")
        with pytest.raises(BundleError, match="damaged"):
            read_bundle(model)
    with pytest.raises(BundleError, match="no model"):
        read_bundle(model.parent / "nothing")


def test_a_model_from_before_the_seal_is_read(model: Path):
    about = json.loads((model / "model.json").read_text())
    del about["sha256_of_this"]
    (model / "model.json").write_text(json.dumps({**about, "format": 1}))
    assert read_bundle(model).organs == ORGANS


@pytest.mark.parametrize(
    "path",
    [("organs", 0, "value"), ("preprocessing", "sd"), ("config", "inference", "overlap"), ("provenance", "steps")],
)
def test_an_altered_description_is_refused_by_its_checksum(model: Path, path: tuple):
    about = json.loads((model / "model.json").read_text())
    place = about
    for key in path[:-1]:
        place = place[key]
    assert path[-1] in place and place[path[-1]] != 2.5
    place[path[-1]] = 2.5
    (model / "model.json").write_text(json.dumps(about))
    with pytest.raises(BundleError, match="damaged") as caught:
        read_bundle(model)
    assert "model.json" in str(caught.value) and "checksum" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("network", "filters", 1_000_000), ("network", "filters", 10**30), ("network", "filters", None),
        ("patches", "patch", [1_600_000, 16, 16]), ("patches", "patch", [16 * 10**6] * 3), ("patches", "patch", None),
        ("representation", "feature_dim", 10**9), ("network", "norm", "batch"),
    ],
)  # fmt: skip
def test_sizes_are_checked_before_memory_is_taken(model: Path, section: str, name: str, value: object):
    about = json.loads((model / "model.json").read_text())
    edit(model, config={**about["config"], section: {**about["config"][section], name: value}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError):
        read_bundle(model)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.pop("head.bias"), lambda w: w.update(extra=torch.zeros(3)),
        lambda w: w.update({"head.bias": torch.zeros(7)}), lambda w: w.clear(),
    ],
)  # fmt: skip
def test_weights_of_another_shape_are_refused(tmp_path: Path, change):
    bundle = make_bundle()
    weights = {name: dict(tensors) for name, tensors in bundle.weights.items()}
    change(weights["student"])
    write_bundle(tmp_path / "model", replace(bundle, weights=weights), "")
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(tmp_path / "model")


@pytest.mark.parametrize(
    "organ",
    [
        {"name": ""}, {"name": "x" * 30_000}, {"name": 5}, {"value": 0}, {"value": 256}, {"value": -1}, {"value": 1.5},
        {"value": True}, {"color_rgb": [1, 2]}, {"color_rgb": [0, 0, 999]}, {"color_rgb": "red"},
    ],
)  # fmt: skip
def test_organs_that_cannot_be_are_refused(model: Path, organ: dict):
    about = json.loads((model / "model.json").read_text())
    edit(model, organs=[{**about["organs"][0], **organ}, about["organs"][1]])
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(model)


def test_organs_are_continued_by_name():
    """Other spelling and order: rows follow the names; a new organ keeps its own beginning."""
    bundle = make_bundle()
    organs = organs_of({"left kidney": 1, "spleen": 2, "Liver": 3})
    network = VNet(1, 4, 4, bundle.config.network.norm)
    own = network.head.weight[2].clone()
    assert start_from(network, organs, bundle) == ["spleen"]
    old = bundle.weights["teacher"]
    assert torch.equal(network.head.weight[0], old["head.weight"][0])
    assert torch.equal(network.head.weight[1], old["head.weight"][2])
    assert torch.equal(network.head.weight[3], old["head.weight"][1])
    assert torch.equal(network.head.bias[[0, 1, 3]], old["head.bias"][[0, 2, 1]])
    assert torch.equal(network.head.weight[2], own)
    assert all(torch.equal(v, old[k]) for k, v in network.state_dict().items() if not k.startswith("head"))


@pytest.mark.parametrize(
    "filters, norm, of_model", [(8, "instance", "instance"), (4, "batch", "instance"), (4, "instance", "batch")]
)
def test_another_architecture_cannot_be_continued(filters: int, norm: str, of_model: str):
    network = VNet(1, 3, filters, norm)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(BundleError, match="cannot be continued"):
        start_from(network, ORGANS, make_bundle(norm=of_model))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
