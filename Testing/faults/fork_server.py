"""A process that has loaded torch once, and does each piece of work in a fork of itself that may be killed.

A killed fork is a killed process like any other; only the seconds of loading are saved. It reads one
JSON object per line: {"train": {...fields of Request...}, "log": FILE, "trap": [N, NAME, SIGNAL] or null}. It
says "ready", and answers with the number of the new process, and with its exit status once that has ended.

trap: the process sends itself the signal just before the Nth time that it opens for writing, makes,
renames or removes something whose path has NAME in it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch

from VoxelAdvSegLib.errors import VoxelAdvSegError
from VoxelAdvSegLib.training.session import Request, train

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


def set_trap(number: int, name: str, signal_name: str) -> None:
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        writes = writes or (event == "open" and arguments[1] is None and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if (writes or event in CHANGES) and name in " ".join(map(str, arguments)):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.Signals[signal_name])

    sys.addaudithook(count)


def work(order: dict[str, Any]) -> int:
    os.setsid()  # what it starts can be found by its session
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if order["trap"]:
        set_trap(*order["trap"])
    fields = order["train"]
    try:
        train(Request(**{**fields, "data": Path(fields["data"]), "run": Path(fields["run"])}))
    except VoxelAdvSegError as error:
        print(error, flush=True)
        return 2
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for late in ("monai.inferers.utils", "torch._dynamo"):  # loaded by validation and by optimizers
            importlib.import_module(late)
    os.write(1, b"ready\n")
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(work(order))
        os.write(1, b"%d\n" % pid)
        status = os.waitpid(pid, 0)[1]
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
