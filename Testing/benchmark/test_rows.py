"""Rows of a comparison by their names."""

import pytest

from VoxelAdvSegLib.benchmark.rows import ABLATION, Row, check_row, parse_rows
from VoxelAdvSegLib.config import resolve
from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.methods import METHODS


def test_names_and_settings():
    text = "supervised, voxel_adversarial[adv_weight=0, feature_levels=[3,4]] ,ua_mt"
    rows = parse_rows(text)
    assert [row.method for row in rows] == ["supervised", "voxel_adversarial", "ua_mt"]
    assert rows[1].settings == {"adv_weight": "0", "feature_levels": "[3,4]"}
    assert rows[1].title == "voxel_adversarial, adv_weight 0, feature_levels [3,4]"


def test_the_ablation_is_the_papers_and_its_two_ideas():
    rows = {row.name: row for row in parse_rows("ablation")}
    assert list(rows) == list(ABLATION)

    def weights(name):
        row = rows[name]
        config = resolve("la-paper", {**row.settings, "method": row.method})
        return (
            config.adversarial.adv_weight, config.representation.feature_weight, config.consistency.consistency_weight
        )  # fmt: skip

    assert rows["ablation:vnet"].method == "supervised"
    assert weights("ablation:adv") == (0.01, 0, 0)
    assert weights("ablation:feature") == (0, 0.1, 0)
    assert weights("ablation:adv+feature") == (0.01, 0.1, 0)
    assert weights("ablation:all") == (0.01, 0.1, 0.001)
    last, one = (resolve("la-paper", rows[f"ablation:{n}"].settings).adversarial for n in ("last_layer", "one_head"))
    assert last.feature_levels == (9,) and one.disc_heads == "single"
    for row in rows.values():
        check_row(row, "auto", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "unknown method"),
        ("supervised,supervised", "twice"),
        ("ablation,ablation:adv", "twice"),
        ("ua_mt[uamt_passes=2", "brackets do not match"),
        ("ua_mt]", "brackets do not match"),
        ("ua_mt[uamt_passes]", "has no value"),
        ("ua_mt[uamt_passes=2]x", "not in brackets"),
    ],
)
def test_what_cannot_be_a_row(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_rows(text)


def test_wrong_settings_are_told_before_anything_runs():
    with pytest.raises(ConfigError, match="uamt_passes"):
        check_row(parse_rows("ua_mt[uamt_passes=0]")[0], "auto", {})
    with pytest.raises(ConfigError, match="unknown preset"):
        check_row(parse_rows("ua_mt")[0], "nonsense", {})


def test_folders_are_names_that_every_system_takes_and_differ():
    names = [*METHODS, *ABLATION, "ua_mt[a=1]", "ua_mt[a=.1]", "ua_mt_a=1_", "dap[x=[1,2]]", "dap[x=[1.2]]"]
    folders = [Row(name, "ua_mt", "").folder for name in names]
    assert len({folder.casefold() for folder in folders}) == len(names)
    assert not set("".join(folders)) & set('<>:"/\\|?*[]= ,')
