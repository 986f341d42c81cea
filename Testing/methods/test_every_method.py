"""What every method of the registry has to keep to: the contract, its own parameters, resuming, a plain V-Net."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from Testing.training.conftest import TINY, write_manifest, write_scan
from VoxelAdvSegLib.bundle import make_network, read_bundle
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.methods import METHODS, method_class, with_own_settings
from VoxelAdvSegLib.training.checkpoint import read_tensors
from VoxelAdvSegLib.training.loop import take_step
from VoxelAdvSegLib.training.session import Request, train

TOTAL = 100
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)
# name: terms of the student, and networks besides it. A new method is one line here.
EXPECTED = {
    "supervised": ({"dice"}, set()),
    "mean_teacher": ({"dice", "cross_entropy", "consistency"}, {"teacher"}),
    "ua_mt": ({"dice", "cross_entropy", "consistency"}, {"teacher"}),
    "sassnet": ({"dice", "distance", "adversarial"}, {"discriminator"}),
    "dtc": ({"dice", "distance", "consistency"}, set()),
    "lg_er_mt": (
        {"dice", "cross_entropy", "consistency", "local_structure", "global_structure", "entropy"},
        {"teacher"},
    ),
    "mc_net": ({"dice", "consistency"}, set()),
    "dap": (
        {"focal", "adversarial_labeled", "adversarial_unlabeled", "self_training"},
        {"discriminator", "atlas"},
    ),
    "duwm": ({"dice", "consistency", "feature"}, {"teacher"}),
    "cvrl": (
        {"dice", "cross_entropy", "consistency", "contrast"},
        {"teacher", "projection", "teacher_projection", "queue"},
    ),
    "voxel_adversarial": (
        {"dice", "adversarial", "feature", "consistency"},
        {"teacher", "feature_layer", "teacher_feature_layer", "discriminator"},
    ),
}
SMALL = {
    "filters": 4, "patch": [32, 16, 16], "steps": TOTAL, "pseudo_threshold": 0.0, "disc_voxels_per_class": 32,
    "feature_voxels_per_class": 32, "cvrl_voxels": 32, "cvrl_queue": 64, "lger_points": 64, "uamt_passes": 2,
}  # fmt: skip


def build(name: str, classes: int = 3, preset: str = "la-paper", channels: int = 1, **settings: object):
    torch.manual_seed(0)
    config = resolve(preset, with_own_settings(preset, {**SMALL, "method": name, **settings}))
    network = make_network(config, classes, channels=channels)
    return method_class(name)(config, network, classes, TOTAL, 4)


class Watched:
    """A method whose parameters are compared before and after every turn."""

    def __init__(self, method) -> None:
        self.method = method
        self.moved: dict[str, set[str]] = {}

    def __getattr__(self, name: str):
        return getattr(self.method, name)

    def parameters(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.method.networks.named_parameters()}

    def turns(self, batch, step: int) -> Iterator:
        for turn in self.method.turns(batch, step):
            before = self.parameters()
            yield turn
            after = self.parameters()
            self.moved.setdefault(turn.player, set()).update(n for n in after if not torch.equal(before[n], after[n]))

    def own(self, player: str) -> set[str]:
        ids = {id(p) for p in self.method.players[player].parameters}
        return {name for name, p in self.method.networks.named_parameters() if id(p) in ids}


def test_the_registry_is_expected():
    assert set(EXPECTED) == set(METHODS)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_step_moves_every_player_and_nothing_else(name: str, make_batch):
    method = Watched(build(name))
    step = 50  # after the ramps have begun
    report = take_step(method, make_batch(*method.batch_sizes(step)), step, TOTAL, 0, NO_SCALER, measure_ratios=True)
    terms, networks = EXPECTED[name]
    assert set(report.terms["student"]) == terms
    assert set(method.networks) == {"student"} | networks
    assert set(method.moved) == set(method.players)
    # Biases that a norm takes away again get no gradient worth the name; weights all do.
    for player in method.players:
        weights = {n for n in method.own(player) if n.endswith("weight")}
        assert weights <= method.moved[player] <= method.own(player)
    owners = [n for player in method.players for n in method.own(player)]
    teachers = [n for n, _ in method.networks.named_parameters() if n.startswith("teacher")]
    assert sorted(owners + teachers) == sorted(n for n, _ in method.networks.named_parameters())
    assert all(torch.isfinite(t) for values in report.terms.values() for t in values.values())
    assert report.ratios.keys() == terms - {"dice", "cross_entropy", "focal"}


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_shipped_is_a_plain_vnet(name: str, classes: int, make_batch):
    method = build(name, classes)
    batch = make_batch(*method.batch_sizes(0), classes=classes)
    take_step(method, batch, 0, TOTAL, 0, NO_SCALER)
    shipped = method.exports()["student"]
    plain = make_network(method.config, classes, dropout=False)
    plain.load_state_dict(shipped)
    segmenter = method.segmenter().eval()
    with torch.no_grad():
        expected, found = segmenter(batch.labeled), plain.eval()(batch.labeled)
    assert found.shape == (len(batch.labeled), classes, *batch.label.shape[1:])
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", EXPECTED)
def test_under_auto_the_average_is_evaluated(name: str, make_batch):
    method = build(name, preset="auto", batch_labeled=2, batch_unlabeled=2, seed=1)
    take_step(method, make_batch(*method.batch_sizes(0)), 0, TOTAL, 0, NO_SCALER)
    assert method.segmenter() is method.networks["teacher"]
    assert set(method.exports()) >= {"student", "teacher"}


@pytest.mark.parametrize("name", ["mean_teacher", "sassnet", "mc_net", "cvrl"])
def test_two_image_channels(name: str, make_batch):
    method = build(name, channels=2)
    take_step(method, make_batch(2, 2, channels=2), 0, TOTAL, 0, NO_SCALER)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate("abcdef"):
        write_scan(folder, name, seed, labeled=name in "abf")
    return write_manifest(folder)


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in ("supervised", "voxel_adversarial")])
def test_a_resumed_run_is_the_unbroken_one(name: str, data: Path, tmp_path: Path):
    settings = {**SMALL, **TINY, "method": name, "steps": 8, "checkpoint_every": 4, "validate_every": 9,
                "gradient_ratio_every": 0, "preview_every": 9, "stride": "none"}  # fmt: skip
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    train(Request(data, straight, "la-paper", {**settings, "checkpoint_every": 9}))

    def stop(event: dict) -> None:
        if event["type"] == "checkpoint" and event["step"] == 4:
            (stopped / "STOP").touch()

    assert train(Request(data, stopped, "la-paper", settings), watch=stop).step == 4
    assert train(Request(data, stopped, "la-paper", settings, resume=True)).step == 8
    one, other = (read_tensors(run / "checkpoints" / "last.safetensors")[0] for run in (straight, stopped))
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    bundle = read_bundle(straight / "model")
    assert bundle.network().head.out_channels == 3
    assert METHODS[name].left_out in (straight / "model" / "README.md").read_text()


def test_published_settings_are_for_the_papers_presets_and_give_way():
    assert with_own_settings("la-paper", {"method": "ua_mt"})["supervision.ce_weight"] == 1.0
    assert "supervision.ce_weight" not in with_own_settings("auto", {"method": "ua_mt"})
    assert with_own_settings("auto", {"method": "ua_mt"})["network.dropout"] is True
    wish = {"method": "ua_mt", "ce_weight": 0.0, "dropout": False}
    config = resolve("la-paper", with_own_settings("la-paper", wish))
    assert config.supervision.ce_weight == 0 and config.network.dropout is False
    assert with_own_settings("la-paper", {}) == {}  # the paper's own method is the preset
    assert with_own_settings("auto", {"method": "nonsense"}) == {"method": "nonsense"}


def test_the_list_names_every_method_and_its_source(capsys: pytest.CaptureFixture[str]):
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(METHODS)
    for line, (name, entry) in zip(lines, METHODS.items(), strict=True):
        assert entry.citation in line
        assert ("reconstruction" in line) == (name in ("dap", "duwm", "cvrl"))
