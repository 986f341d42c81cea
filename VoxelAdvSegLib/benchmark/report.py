"""The report of a benchmark: a page in Markdown, two CSV files and the figures, from what the runs have left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from VoxelAdvSegLib.benchmark.charts import box_plots, difference_chart
from VoxelAdvSegLib.benchmark.embedding import feature_figure
from VoxelAdvSegLib.benchmark.overlays import overlay_figure
from VoxelAdvSegLib.benchmark.plan import Benchmark, read_benchmark
from VoxelAdvSegLib.benchmark.published import PUBLISHED
from VoxelAdvSegLib.benchmark.tables import (
    Measured,
    ablation_rows,
    case_csv,
    main_table,
    markdown,
    measured_rows,
    organ_table,
    penalty_notes,
    show,
    summary_csv,
)
from VoxelAdvSegLib.data.manifest import Manifest, read_manifest
from VoxelAdvSegLib.errors import ConfigError, RunError
from VoxelAdvSegLib.evaluation.statistics import DRAWS, FEWEST_CASES, spread
from VoxelAdvSegLib.training.run_folder import write_text

PAGE, CASES, SUMMARY = "report.md", "cases.csv", "summary.csv"
OVERLAYS = (
    "Predictions of one seed over the scan, in the radiological view (the patient's right on the left). White: the "
    "reference; filled: what differs from it. The cases are the first row's worst, middle and best; Dice is that of "
    "the whole scan."
)


def write_page(
    folders: Path | Sequence[Path],
    page: Path | None = None,
    published: str = "none",
    figures: str = "all",
    tell: Callable[[str], None] = lambda text: None,
) -> Path:
    """Writes the report of one or more benchmarks, a section for each, and returns the page's path.

    page: instead of report.md in the first folder; figures lie beside it, in a folder of its name.
    published: a name of PUBLISHED, or none. figures: all; charts, without those that show scans; or none.
    CSV files always lie in the benchmarks' folders. Raises RunError when one has no result yet,
    ConfigError for an unknown name or when packages for figures are missing.
    """
    if published != "none" and published not in PUBLISHED:
        known = " | ".join(["none", *PUBLISHED])
        raise ConfigError("unknown published figures", expected=known, found=published, do="correct --published")
    places = [folders] if isinstance(folders, Path) else list(folders)
    page = (page or places[0] / PAGE).absolute()
    parts = ["# Benchmark", "Written by `python -m VoxelAdvSegLib benchmark report`."]
    for number, folder in enumerate(places, 1):
        benchmark = read_benchmark(folder.absolute())
        rows = measured_rows(benchmark)
        if not rows:
            raise RunError(
                "the benchmark has no result yet", file=folder, expected="at least one run that has ended",
                found="none", do="run it first: benchmark run",
            )  # fmt: skip
        manifest = read_manifest(benchmark.data, anywhere=True)
        write_text(folder / CASES, case_csv(rows))
        write_text(folder / SUMMARY, summary_csv(rows))
        place = (
            page.with_suffix("") if len(places) == 1 else page.with_suffix("") / f"{number}_{folder.absolute().name}"
        )
        pictures = [] if figures == "none" else _draw(benchmark, rows, manifest, place, figures == "all", tell)
        linked = [(file.relative_to(page.parent).as_posix(), text) for file, text in pictures]
        parts += _section(benchmark, rows, manifest, published, linked)
    write_text(page, "\n\n".join(parts) + "\n")
    return page


def _draw(
    benchmark: Benchmark,
    rows: Sequence[Measured],
    manifest: Manifest,
    folder: Path,
    with_scans: bool,
    tell: Callable[[str], None],
) -> list[tuple[Path, str]]:
    """Files, with what each figure shows."""
    tell("Figures are being drawn.")
    made = [
        (
            box_plots(rows, folder / "dice.png"),
            "Dice per organ. Dots: cases (mean over seeds); box: quartiles; whiskers: to 1.5 box lengths.",
        )
    ]
    if len(rows) > 1:
        made.append(
            (
                difference_chart(rows, folder / "differences.png"),
                f"Difference of Dice to {rows[0].row.title}, on the same cases and seeds. Diamond: mean; bar: its 95 % "
                "interval; dots: cases.",
            )
        )
    if with_scans:
        made.append((overlay_figure(benchmark, rows, manifest, folder / "overlays.png"), OVERLAYS))
    features = feature_figure(benchmark, rows, manifest.organs, folder / "features.png")
    if features is not None:
        made.append(
            (
                features,
                "Features of the second block at voxels of labeled and unlabeled scans, embedded by t-SNE (distances "
                "between far groups mean nothing). Classes of unlabeled voxels are the trained network's. Class "
                "purity: part of the ten nearest voxels of other scans, in the full feature space, that are of the "
                "same class. Origin told: balanced accuracy of a linear classifier that tells labeled from unlabeled "
                "voxels of scans that it has not seen; 0.5 is chance.",
            )
        )
    return made


def _section(
    benchmark: Benchmark,
    rows: Sequence[Measured],
    manifest: Manifest,
    published: str,
    pictures: Sequence[tuple[str, str]],
) -> list[str]:
    about, figures = PUBLISHED.get(published, ("", {}))
    parts = [f"## {_title(benchmark, rows, manifest)}", *_setting(benchmark, rows, manifest)]
    parts += ["### All organs together", main_table(rows, figures), _reading(rows, about)]
    parts += penalty_notes(rows)
    if len(manifest.organs) > 1:
        parts += ["### Dice % of each organ", organ_table(rows, figures)]
    if ablation_rows(rows):
        parts += ["### Ablation", main_table(ablation_rows(rows), figures)]
    parts += ["### With each organ's largest part alone", _largest(rows)]
    missing = _missing(benchmark, rows)
    if missing:
        parts += ["### Not measured yet", missing]
    for file, text in pictures:
        parts.append(f"![{text.partition('.')[0]}]({file})\n\n{text}")
    return parts


def _title(benchmark: Benchmark, rows: Sequence[Measured], manifest: Manifest) -> str:
    labeled = next(iter(rows[0].reports.values()))["run"]["labeled_scans"]
    organs = ", ".join(organ.name for organ in manifest.organs)
    shift = f", shown as by another scanner (strength {benchmark.scanner_shift:g})" if benchmark.scanner_shift else ""
    return f"{organs[0].upper()}{organs[1:]}: {labeled} labeled and {len(manifest.unlabeled)} unlabeled scans{shift}"


def _setting(benchmark: Benchmark, rows: Sequence[Measured], manifest: Manifest) -> list[str]:
    facts = next(iter(rows[0].reports.values()))["run"]
    length = f"{benchmark.steps} steps" if benchmark.steps else f"{benchmark.minutes:g} minutes"
    settings = "".join(f" --set {key}={value}" for key, value in benchmark.settings.items())
    shift = f" --scanner-shift {benchmark.scanner_shift:g}" if benchmark.scanner_shift else ""
    cases = len(manifest.split(benchmark.split))
    names = ",".join(f"'{row.name}'" if "[" in row.name else row.name for row in benchmark.rows)
    seeds = ",".join(map(str, benchmark.seeds))
    words = f"--steps {benchmark.steps}" if benchmark.steps else f"--minutes {benchmark.minutes:g}"
    lines = [
        f"{facts['labeled_scans']} labeled and "
        f"{len(manifest.unlabeled)} unlabeled scans ({benchmark.data.name}), preset `{benchmark.preset}`, {length} "
        f"for every method, {cases} scans of the list '{benchmark.split}' scored on their own grids with the weights "
        "of the last step; no checkpoint was chosen by a score.",
        "```\npython -m VoxelAdvSegLib benchmark run --data MANIFEST "
        f"--methods {names} --seeds {seeds} {words} --preset {benchmark.preset}{settings} --split {benchmark.split}"
        f"{shift} --output DIR\n```",
    ]
    if benchmark.scanner_shift:
        lines.append(
            f"Unlabeled and scored scans are shown as by another scanner: contrast, noise and bias field of strength "
            f"{benchmark.scanner_shift:g} (benchmark/scanner_shift.py)."
        )
    if benchmark.split == "validation":
        lines.append("Validation scans may have been used to choose settings, so these figures may flatter.")
    return lines


def _reading(rows: Sequence[Measured], about: str) -> str:
    text = (
        "Mean over cases per organ, then over organs; in round brackets the standard deviation between seeds. Against "
        f"the first: mean difference on the same cases and seeds, with its 95 % interval from {DRAWS:,} bootstrap "
        f"draws of cases and seeds, not corrected for the number of rows. Below {FEWEST_CASES} cases the answer is "
        "always 'cannot tell'."
    )
    if len({len(row.reports) for row in rows}) > 1 or max(len(row.reports) for row in rows) < 2:
        text += " With one seed the interval leaves out how much seeds differ."
    if about:
        text += (
            f"\n\nPublished figures ({about}; percent and voxels, ASSD as printed) were measured by others under other "
            "protocols. They stand here for the eye and enter no mean."
        )
    return text


def _largest(rows: Sequence[Measured]) -> str:
    lines = [["method", "Dice %", "95HD voxel", "ASSD voxel"]]
    for row in rows:
        means = [report["largest_component"] for report in row.reports.values()]
        lines.append(
            [
                row.row.title,
                show(spread([m["dice"] for m in means])),
                show(spread([m["hd95_voxel"] for m in means]), 1),
                show(spread([m["assd_voxel"] for m in means]), 1),
            ]
        )
    return markdown(lines)


def _missing(benchmark: Benchmark, rows: Sequence[Measured]) -> str:
    done = {(row.row.name, seed) for row in rows for seed in row.reports}
    left = [f"{run.row.title}, seed {run.seed}" for run in benchmark.runs() if (run.row.name, run.seed) not in done]
    return "; ".join(left)
