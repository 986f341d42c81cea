"""The page says what NumPy says of planted results; published figures stay figures of others."""

import csv
import io
import sys
from dataclasses import replace

import numpy as np
import pytest

from Testing.benchmark.conftest import CASES, ORGANS, SHAPE, plant, random_dice
from VoxelAdvSegLib.benchmark.embedding import Voxels, class_purity, embed, read_voxels, told_apart
from VoxelAdvSegLib.benchmark.overlays import choose_cases
from VoxelAdvSegLib.benchmark.plan import Run, write_benchmark
from VoxelAdvSegLib.benchmark.published import PUBLISHED, Published
from VoxelAdvSegLib.benchmark.report import write_page
from VoxelAdvSegLib.benchmark.tables import main_table, markdown, measured_rows, organ_table, summary_csv
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.manifest import read_manifest
from VoxelAdvSegLib.data.phantoms import sphere
from VoxelAdvSegLib.data.volume import read_geometry
from VoxelAdvSegLib.errors import ConfigError, RunError
from VoxelAdvSegLib.inference.output import write_segmentation
from VoxelAdvSegLib.methods import METHODS

FIRST, SECOND = random_dice(2, seed=3), random_dice(2, 0.05, seed=4)


@pytest.fixture
def planted(make_benchmark):
    benchmark = make_benchmark()
    plant(benchmark, {"supervised": FIRST, "mean_teacher": SECOND})
    return benchmark


def cells(table: str, line: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[line + 2].strip("|").split(" | ")]


def test_the_tables_numbers(planted):
    rows = measured_rows(planted)
    table = main_table(rows, {})
    for number, dice in enumerate((FIRST, SECOND)):
        by_seed = 100 * dice.mean((1, 2))
        assert cells(table, number)[2] == f"{by_seed.mean():.2f} ({by_seed.std(ddof=1):.2f})"
        assert cells(table, number)[4] == f"{2 * by_seed.mean() / 100:.2f} ({2 * by_seed.std(ddof=1) / 100:.2f})"
    assert cells(table, 1)[-2].startswith(f"{100 * (SECOND - FIRST).mean():+.2f} [")
    assert cells(table, 1)[-1] == "yes" and cells(table, 0)[-2:] == ["first", ""]
    organs = organ_table(rows, {})
    ball = 100 * SECOND[:, :, 0].mean(1)
    assert cells(organs, 1)[1] == f"{ball.mean():.2f} ({ball.std(ddof=1):.2f})"


def test_published_figures_enter_no_mean(planted):
    rows = measured_rows(planted)
    absurd = {"mean_teacher": Published(-999.0, -999.0, 999.0, 999.0, "a protocol", (-999.0, -999.0))}
    without, beside = main_table(rows, {}), main_table(rows, absurd)
    for line in range(2):
        assert cells(beside, line)[: len(cells(without, line))] == cells(without, line)
    assert cells(beside, 1)[-2:] == ["-999.00, -999.00, 999.00, 999.00", "a protocol"]
    assert cells(beside, 0)[-2] == "-"
    assert cells(organ_table(rows, {}), 1) == cells(organ_table(rows, absurd), 1)
    assert "-999" not in summary_csv(rows)


def test_published_figures_are_the_papers():
    assert set(PUBLISHED) == {"la-8", "la-16", "mo-14"}
    assert {n for _, table in PUBLISHED.values() for n in table if ":" not in n} <= set(METHODS)
    about, table = PUBLISHED["la-16"]
    assert "cropped" in about
    assert (table["voxel_adversarial"].dice, table["mc_net"].hd95, table["ablation:adv"].assd) == (90.56, 6.00, 2.64)
    assert "best on the test list" in table["mc_net"].protocol and "last" in table["ua_mt"].protocol
    for row in PUBLISHED["mo-14"][1].values():
        assert np.mean(row.organs) == pytest.approx(row.dice, abs=0.02)


def test_csv_has_every_case(planted):
    write_page(planted.folder, figures="none")
    lines = list(csv.DictReader(io.StringIO((planted.folder / "cases.csv").read_text())))
    assert len(lines) == 2 * 2 * len(CASES) * len(ORGANS)
    chosen = next(
        x for x in lines if (x["row"], x["seed"], x["case"], x["organ"]) == ("mean_teacher", "1", CASES[3], "pebble")
    )
    assert float(chosen["dice"]) == SECOND[1, 3, 1]
    summary = list(csv.DictReader(io.StringIO((planted.folder / "summary.csv").read_text())))
    assert float(summary[1]["dice_mean"]) == pytest.approx(SECOND.mean())
    assert float(summary[1]["low"]) < float(summary[1]["difference"]) < float(summary[1]["high"])


def test_the_page_says_how_it_came_about(planted, tmp_path, capsys):
    page = tmp_path / "docs" / "benchmark.md"
    words = ["benchmark", "report", "--output", str(planted.folder), "--page", str(page), "--published", "la-8"]
    assert main([*words, "--figures", "none"]) == 0
    assert str(page) in capsys.readouterr().out
    text = page.read_text()
    assert "--methods supervised,mean_teacher --seeds 0,1 --steps 6 --preset auto" in text
    assert "no checkpoint was chosen by a score" in text and "enter no mean" in text
    assert "79.99, 58.12, 21.11, 5.48" in text
    assert str(tmp_path) not in text  # a page is for others: no folder of this machine
    assert "Not measured yet" not in text


def test_what_is_not_measured_yet_is_named(make_benchmark):
    benchmark = make_benchmark("supervised,ua_mt,ablation:adv")
    with pytest.raises(RunError, match="no result yet"):
        write_page(benchmark.folder, figures="none")
    plant(benchmark, {"supervised": FIRST, "ablation:adv": SECOND})
    text = write_page(benchmark.folder, figures="none").read_text()
    assert "ua_mt, seed 0; ua_mt, seed 1" in text
    assert "## Ablation" in text and "+ L_adv" in text
    with pytest.raises(ConfigError, match="unknown published"):
        write_page(benchmark.folder, published="nonsense", figures="none")


def test_a_bar_in_a_cell_does_not_break_the_table():
    assert markdown([["a", "b"], ["x|y", "z"]]).splitlines()[2] == "| x\\|y | z |"


def test_the_cases_shown_are_worst_middle_and_best(planted):
    first = measured_rows(planted)[0]
    order = [CASES[i] for i in np.argsort(FIRST[0].mean(1))]
    assert choose_cases(first, 0) == [(order[0], "worst"), (order[4], "middle"), (order[7], "best")]


def write_predictions(benchmark, data):
    """The reference, moved by a voxel per row."""
    manifest = read_manifest(data)
    for number, row in enumerate(benchmark.rows):
        for case in manifest.validation:
            label = np.zeros(SHAPE, np.uint8)
            label[sphere(SHAPE, (5, 6 + number, 5), 3)] = 1
            label[sphere(SHAPE, (6, 8, 11 - number), 2)] = 2
            file = Run(benchmark, row, 0).predictions / f"{case.name}.nii.gz"
            write_segmentation(label, read_geometry(case.image), manifest.organs, file)


def write_made_up_features(benchmark):
    rng = np.random.default_rng(0)
    label, case = np.tile(np.repeat([0, 1, 2], 8), 4), np.repeat(np.arange(4), 24)
    for row in benchmark.rows:
        file = Run(benchmark, row, 0).features
        file.parent.mkdir(parents=True)
        values = {
            f"{when}_2": rng.standard_normal((96, 8)) + far * np.eye(3, 8)[label]
            for when, far in (("before", 0), ("after", 8))
        }
        np.savez(file, label=label, case=case, unlabeled=case > 1, **values)


def test_every_figure_is_drawn(planted, data):
    write_predictions(planted, data)
    write_made_up_features(planted)
    text = write_page(planted.folder).read_text()
    for name in ("dice", "differences", "overlays", "features"):
        content = (planted.folder / "report" / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 5000
        assert f"](report/{name}.png)" in text
    before = (planted.folder / "report" / "overlays.png").read_bytes()
    write_page(planted.folder)
    assert (planted.folder / "report" / "overlays.png").read_bytes() == before  # nothing of the day is in it


def test_charts_alone_show_no_scan(planted, data):
    write_made_up_features(planted)
    text = write_page(planted.folder, figures="charts").read_text()
    assert "report/dice.png" in text and "report/features.png" in text and "overlays" not in text
    assert not (planted.folder / "report" / "overlays.png").exists()


def test_several_benchmarks_are_sections_of_one_page(planted, tmp_path, capsys):
    other = replace(planted, folder=tmp_path / "other", scanner_shift=2.0, rows=planted.rows[:1])
    write_benchmark(other)
    plant(other, {"supervised": SECOND})
    page = tmp_path / "page.md"
    words = ["benchmark", "report", "--output", str(planted.folder), str(other.folder), "--page", str(page)]
    assert main([*words, "--figures", "charts"]) == 0
    text = page.read_text()
    sections = [line for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "## Ball, pebble: 1 labeled and 1 unlabeled scans",
        "## Ball, pebble: 1 labeled and 1 unlabeled scans, shown as by another scanner (strength 2)",
    ]
    assert text.count("# Benchmark\n") == 1 and text.count("### All organs together") == 2
    for number, folder in enumerate((planted.folder, other.folder), 1):
        place = f"page/{number}_{folder.name}/dice.png"
        assert f"]({place})" in text and (tmp_path / place).exists()
        assert (folder / "cases.csv").exists()


def test_one_row_without_features_is_drawn_too(make_benchmark, data):
    benchmark = make_benchmark("supervised", (0,))
    plant(benchmark, {"supervised": FIRST[:1]})
    write_predictions(benchmark, data)
    text = write_page(benchmark.folder).read_text()
    assert "dice.png" in text and "differences.png" not in text and "features.png" not in text


def test_without_its_packages_the_report_says_what_to_install(planted, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["benchmark", "report", "--output", str(planted.folder)]) == 2
    assert "pip install scikit-learn matplotlib" in capsys.readouterr().err


def made_up(far_apart: float, shift: float, per_scan: float, seed: int = 0) -> Voxels:
    """Two classes, six scans, three of them unlabeled: distances of classes, of origins, and between scans."""
    rng = np.random.default_rng(seed)
    label, case = np.tile(np.repeat([0, 1], 30), 6), np.repeat(np.arange(6), 60)
    values = rng.standard_normal((360, 5))
    values[:, 0] += far_apart * label
    values[:, 1] += shift * (case > 2)
    values[:, 2:] += per_scan * rng.standard_normal((6, 3))[case]
    return Voxels(values, label, case > 2, case)


def test_a_shift_between_origins_is_found_and_knowing_scans_by_heart_is_not():
    assert told_apart(made_up(0, 4, 0)) > 0.95
    assert 0.4 < told_apart(made_up(0, 0, 0)) < 0.6
    assert told_apart(made_up(0, 0, 4)) < 0.75  # every scan lies apart: within scans it would be 1
    few = made_up(0, 4, 0)
    assert told_apart(Voxels(few.features, few.label, few.case > 4, few.case)) is None


def test_purity_of_separate_and_of_mixed_classes():
    assert class_purity(made_up(8, 0, 0)) > 0.98
    assert class_purity(made_up(0, 0, 0)) == pytest.approx(0.5, abs=0.07)


def test_the_embedding_repeats_and_keeps_classes_apart(tmp_path):
    voxels = made_up(12, 0, 0)
    few = Voxels(*(column[::4] for column in (voxels.features, voxels.label, voxels.unlabeled, voxels.case)))
    points = embed(few)
    assert points.shape == (90, 2) and np.array_equal(points, embed(few))
    nearest = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(90)
    assert np.mean(few.label[nearest.argmin(1)] == few.label) > 0.97


def test_voxels_that_share_their_features_are_one(tmp_path):
    values = np.random.default_rng(0).standard_normal((6, 3))
    values[4] = values[1]
    np.savez(tmp_path / "f.npz", after_2=values, label=np.arange(6), unlabeled=np.arange(6) > 2, case=np.arange(6))
    found = read_voxels(tmp_path / "f.npz", "after")
    assert found.label.tolist() == [0, 1, 2, 3, 5]
    assert found.features.mean(0) == pytest.approx(0) and found.features.std(0) == pytest.approx(1)
