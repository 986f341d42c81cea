"""What a benchmark is: its data, rows, seeds and settings, and where everything of it lies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from VoxelAdvSegLib.benchmark.rows import Row
from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.training.run_folder import write_text

FORMAT = 1
FILE = "benchmark.json"
NEVER = 10**9  # steps
# No checkpoint but the last exists, so none can be chosen; previews of every run would fill the disk.
QUIET: Mapping[str, Any] = {
    "checkpoint": "last", "validate_every": NEVER, "preview_every": NEVER, "quality": False,
}  # fmt: skip


@dataclass(frozen=True)
class Benchmark:
    """data: manifest as given; split: cases that are scored; settings: of every run, by name.

    steps or minutes: length of every training; scanner_shift: strength, 0 for none.
    """

    folder: Path
    data: Path
    rows: Sequence[Row]
    seeds: Sequence[int]
    preset: str = "auto"
    steps: int | None = None
    minutes: float | None = None
    split: str = "validation"
    settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    scanner_shift: float = 0.0

    def runs(self) -> Iterator[Run]:
        """Every run, seed by seed: after the first seed each row has a figure."""
        for seed in self.seeds:
            for row in self.rows:
                yield Run(self, row, seed)


@dataclass(frozen=True)
class Run:
    """One training of a benchmark, and its scores."""

    benchmark: Benchmark
    row: Row
    seed: int

    def place(self, kind: str) -> Path:
        return self.benchmark.folder / kind / self.row.folder / f"seed_{self.seed}"

    @property
    def folder(self) -> Path:
        return self.place("runs")

    @property
    def predictions(self) -> Path:
        return self.place("predictions")

    @property
    def features(self) -> Path:
        return self.place("features").with_suffix(".npz")

    @property
    def log(self) -> Path:
        return self.place("logs").with_suffix(".txt")

    @property
    def result(self) -> Path:
        return self.place("results").with_suffix(".json")

    def overrides(self) -> dict[str, Any]:
        """Settings of the training; those of the row come last, but for what makes runs comparable."""
        b = self.benchmark
        length = {"steps": b.steps, "minutes": b.minutes}
        own = {"method": self.row.method, "seed": self.seed, "device": b.device}
        return {**QUIET, **b.settings, **self.row.settings, **length, **own, "checkpoint": "last"}

    def read_result(self) -> dict[str, Any] | None:
        """The run's scores; None while there are none.

        Raises RunError when the file is damaged, or its scores are not those of the last step.
        """
        try:
            result = json.loads(self.result.read_text(encoding="utf-8"))
            facts = result["run"]
            is_last = facts["weights_of_step"] == facts["steps"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                "a result of the benchmark is not readable", file=self.result, expected="the file as it was written",
                found=f"{type(error).__name__}: {error}", do="delete it; the run is then scored again",
            ) from error  # fmt: skip
        if not is_last:
            raise not_the_last(self.result, facts["weights_of_step"], facts["steps"])
        return result


def find_run(benchmark: Benchmark, row: str, seed: int) -> Run:
    return next(run for run in benchmark.runs() if run.row.name == row and run.seed == seed)


def not_the_last(file: Path, found: object, steps: object) -> RunError:
    return RunError(
        "a model is not that of its last step", file=file, expected=f"weights of step {steps}",
        found=f"weights of step {found}, perhaps chosen by their score", do="delete this run, and let it run anew",
    )  # fmt: skip


def write_benchmark(benchmark: Benchmark) -> Benchmark:
    """The benchmark with the rows and seeds that its folder already had added to, written there.

    Raises RunError when the folder holds one of other data, length or settings: its figures could not be
    compared with the new ones.
    """
    file = benchmark.folder / FILE
    if file.exists():
        old = read_benchmark(benchmark.folder)
        different = [
            name
            for name in ("data", "preset", "steps", "minutes", "split", "settings", "scanner_shift")
            if getattr(old, name) != getattr(benchmark, name)
        ]
        if different:
            raise RunError(
                "the folder holds a benchmark of another kind", file=file,
                expected="; ".join(f"{name} {getattr(old, name)}" for name in different),
                found="; ".join(f"{name} {getattr(benchmark, name)}" for name in different),
                do="choose another --output; rows and seeds alone may be added",
            )  # fmt: skip
        known = {row.name for row in old.rows}
        rows = [*old.rows, *(row for row in benchmark.rows if row.name not in known)]
        written = replace(benchmark, rows=rows, seeds=sorted({*old.seeds, *benchmark.seeds}))
    else:
        written = benchmark
    content = {
        "format": FORMAT, "data": str(written.data), "preset": written.preset, "steps": written.steps,
        "minutes": written.minutes, "split": written.split, "settings": dict(written.settings),
        "scanner_shift": written.scanner_shift, "device": written.device, "seeds": list(written.seeds),
        "rows": [
            {"name": r.name, "method": r.method, "title": r.title, "settings": dict(r.settings)} for r in written.rows
        ],
    }  # fmt: skip
    write_text(file, json.dumps(content, indent=1, ensure_ascii=False))
    return written


def read_benchmark(folder: Path) -> Benchmark:
    """Raises RunError when there is none, or it is of another version."""
    file = folder / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        return Benchmark(
            folder=folder, data=Path(content["data"]), preset=content["preset"], steps=content["steps"],
            minutes=content["minutes"], split=content["split"], settings=content["settings"],
            scanner_shift=content["scanner_shift"], device=content["device"], seeds=content["seeds"],
            rows=[Row(r["name"], r["method"], r["title"], r["settings"]) for r in content["rows"]],
        )  # fmt: skip
    except FileNotFoundError as error:
        raise RunError(
            "there is no benchmark in this folder", file=folder, expected=f"{FILE}, which 'benchmark run' writes",
            found="no such file", do="check the path after --output",
        ) from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            "the benchmark is not readable", file=file, expected=f"a benchmark of format {FORMAT}",
            found=f"{type(error).__name__}: {error}", do="use the version that made it, or another --output",
        ) from error  # fmt: skip
