"""Runs what of a benchmark is not done yet: one child process per run, several at once where asked. No torch here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from VoxelAdvSegLib.benchmark.plan import Benchmark, Run, write_benchmark
from VoxelAdvSegLib.benchmark.rows import check_row
from VoxelAdvSegLib.benchmark.scanner_shift import write_shifted
from VoxelAdvSegLib.data.manifest import LabeledCase, Manifest, read_manifest
from VoxelAdvSegLib.errors import ConfigError, InputError
from VoxelAdvSegLib.training.run_folder import share_cache

Tell = Callable[[str], None]
LAST_WORDS = 2000  # characters of a child's log that are looked through for its error
CHILD = "VoxelAdvSegLib.benchmark.one_run"
END_WITH_PARENT = "--end-with-parent"


@dataclass
class Tally:
    """How the runs ended; failed: with the last words of the child."""

    done: list[Run] = field(default_factory=list)
    skipped: list[Run] = field(default_factory=list)
    failed: list[tuple[Run, str]] = field(default_factory=list)
    interrupted: bool = False


def run_benchmark(benchmark: Benchmark, tell: Tell, parallel: int = 1, child: Sequence[str] = ()) -> Tally:
    """Every run that has no result yet; a failed one does not keep the others from running.

    parallel: child processes at once; child: the command of a child in place of the own one (for tests).
    Raises VoxelAdvSegError before any run when the data or a row cannot be used, or the folder holds a
    benchmark of another kind. Ctrl-C lets running children save and end; the same call goes on.
    """
    for row in benchmark.rows:
        check_row(row, benchmark.preset, benchmark.settings)
    manifest = read_manifest(benchmark.data, anywhere=True)
    _check_split(manifest, benchmark.split)
    if benchmark.scanner_shift:
        tell(f"Scans of another scanner are being made (strength {benchmark.scanner_shift:g}).")
        folder = benchmark.folder.absolute() / f"data_shift_{benchmark.scanner_shift:g}"
        benchmark = replace(benchmark, data=write_shifted(manifest, folder, benchmark.scanner_shift))
    benchmark = replace(benchmark, folder=benchmark.folder.absolute(), data=benchmark.data.absolute())
    write_benchmark(benchmark)
    runs = list(benchmark.runs())
    tally = Tally()
    stop = threading.Event()
    command = child or (sys.executable, "-m", CHILD, END_WITH_PARENT)

    def one(number: int, run: Run) -> None:
        name = f"[{number}/{len(runs)}] {run.row.name}, seed {run.seed}"
        if run.read_result() is not None:
            tally.skipped.append(run)
            tell(f"{name}: done before")
            return
        if stop.is_set():
            return
        tell(f"{name}: begins")
        code = _run_child(run, command, parallel)
        result = run.read_result() if code == 0 else None
        if result is not None:
            tally.done.append(run)
            tell(f"{name}: Dice {_shown(result['mean']['dice'])}")
        elif not stop.is_set():
            words = _last_words(run.log)
            tally.failed.append((run, words))
            tell(f"{name}: failed (exit code {code}, log {run.log})\n{words}")

    with ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        futures = [pool.submit(one, number, run) for number, run in enumerate(runs, 1)]
        try:
            for future in futures:
                future.result()
        except BaseException as error:
            stop.set()  # children get Ctrl-C themselves; they save, and the pool waits for them
            tally.interrupted = isinstance(error, KeyboardInterrupt)
            if not tally.interrupted:
                raise
    return tally


def _run_child(run: Run, command: Sequence[str], parallel: int) -> int:
    for path in (run.folder, run.log.parent):
        path.mkdir(parents=True, exist_ok=True)
    share_cache(run.folder, run.benchmark.folder / "cache")
    environment = dict(os.environ)
    if parallel > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // parallel)))
    words = [*command, str(run.benchmark.folder), run.row.name, str(run.seed)]
    # Its standard input is never written to: it closes when this process ends, however it ends.
    with (
        run.log.open("a", encoding="utf-8") as log,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment) as child,
    ):
        return child.wait()


def _check_split(manifest: Manifest, split: str) -> None:
    cases = manifest.split(split)
    if not cases or not all(isinstance(case, LabeledCase) for case in cases):
        raise InputError(
            f"the cases of '{split}' cannot be scored", file=manifest.path, expected="cases with labels",
            found="none" if not cases else "cases without labels", do="choose another --split",
        )  # fmt: skip


def check_length(steps: int | None, minutes: float | None) -> None:
    """Raises ConfigError unless one of the two says how long every training is."""
    if (steps is None) == (minutes is None) or (steps or minutes or 0) <= 0:
        raise ConfigError(
            "the length of the trainings is not given", expected="--steps N or --minutes M, more than 0",
            found=f"steps {steps}, minutes {minutes}", do="give one of them",
        )  # fmt: skip


def _last_words(log: Path) -> str:
    """The error with which a child ended, or the end of its log."""
    text = log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:] if log.exists() else ""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.partition(":")[0].endswith("Error")]
    return "\n".join(lines[starts[-1] :] if starts else lines[-3:])


def _shown(dice: float | None) -> str:
    return "-" if dice is None else f"{dice:.4f}"
