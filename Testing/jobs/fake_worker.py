"""A child that does what its script says: python fake_worker.py FOLDER, with FOLDER/script.json.

Steps of the script, in order: ["event", {...}], ["raw", "text for events.jsonl"], ["print", "text"],
["wait for", "file"], ["sleep", seconds], ["hang"], ["deaf"] (to polite signals), ["child"] (starts a
process of its own that hangs, its number in child.txt), ["signal", number], ["exit", code].
"silent" in the script's first step keeps pid.json from being written.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from VoxelAdvSegLib.jobs.protocol import EVENTS, read_order
from VoxelAdvSegLib.jobs.pulse import beating

BEAT_SECONDS = 0.05


def main(folder: Path) -> None:
    script = json.loads((folder / "script.json").read_text(encoding="utf-8"))
    sitting = read_order(folder).sitting
    silent = script[:1] == [["silent"]]
    with contextlib.nullcontext() if silent else beating(folder, sitting, BEAT_SECONDS):
        for word, *arguments in script:
            act(folder, sitting, word, *arguments)


def act(folder: Path, sitting: str, word: str, argument=None) -> None:
    if word in ("event", "raw"):
        if word == "event":
            event = {"time": time.time(), **argument}
            if event["type"] == "job":
                event["sitting"] = sitting
            argument = json.dumps(event) + "\n"
        with (folder / EVENTS).open("ab") as file:
            file.write(argument.encode("utf-8", "surrogateescape"))
    elif word == "print":
        print(argument, flush=True)
    elif word == "wait for":
        while not (folder / argument).exists():
            time.sleep(0.01)
    elif word == "sleep":
        time.sleep(argument)
    elif word == "hang":
        while True:
            time.sleep(1)
    elif word == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif word == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child.partial").write_text(str(child.pid))
        (folder / "child.partial").rename(folder / "child.txt")
    elif word == "signal":
        os.kill(os.getpid(), argument)
    elif word == "exit":
        os._exit(argument)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
