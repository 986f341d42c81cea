"""Trainings that are killed, a disk that is full, a clock that is set back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from Testing.conftest import REPOSITORY
from Testing.training.conftest import TINY, write_manifest, write_scan

KILLED = -9


@dataclass
class ForkServer:
    """The other side of fork_server.py."""

    process: subprocess.Popen[str]
    log: Path
    pids: list[int] = field(default_factory=list)

    def begin(self, data: Path, run: Path, trap: tuple[int, str, str] | None = None, **request: Any) -> int:
        """Starts a training (fields of training.session.Request); its process number. trap: see fork_server.py."""
        train = {"data": str(data), "run": str(run), **request}
        order = {"train": train, "log": str(self.log), "trap": trap}
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self.pids.append(int(self.process.stdout.readline()))
        return self.pids[-1]

    def wait(self) -> int:
        """The exit code of the training that was begun last."""
        assert self.process.stdout
        return int(self.process.stdout.readline())


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    log = tmp_path_factory.mktemp("fork_server") / "log.txt"
    process = subprocess.Popen(
        [sys.executable, "-m", "Testing.faults.fork_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    yield ForkServer(process, log)
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of two labeled, three unlabeled and one validation scan of 20 x 18 x 16 voxels."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate("abcdef"):
        write_scan(folder, name, seed, labeled=name in "abf")
    return write_manifest(folder)


def quick(**changes: Any) -> dict[str, Any]:
    """Settings of a training of a few seconds that writes a checkpoint after every step."""
    often = {"checkpoint_every": 1, "validate_every": 5, "preview_every": 5, "bn_recalibrate": 2}
    return {**TINY, **often, "steps": 15, **changes}
