"""Why work failed and what to do next, in plain words, from what a child left behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """what happened, why (the cause), what to do next; details: text for a report, e.g. the log's end."""

    what: str
    why: str
    do: str
    details: str = ""

    @property
    def text(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.do) if part)


SMALLER = (
    "Choose a smaller patch or batch under Advanced, close other programs that use the graphics card, "
    "or train on the CPU; then resume."
)
INSTALL = "Install or repair torch under Installation, then try again."
# What a child's last words mean: pattern, cause, next step. The first that fits counts.
SIGNS: Sequence[tuple[str, str, str]] = (
    (
        r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
        "The graphics card has too little free memory.", SMALLER,
    ),
    (
        r"no kernel image is available|not compatible with the current PyTorch installation",
        "The installed torch was not built for this graphics card: the card is newer or older than the build.",
        "Install a torch build for this card under Installation, or choose the CPU as device.",
    ),
    (
        r"CUDA driver version is insufficient|driver on your system is too old",
        "The driver of the graphics card is older than torch needs.",
        "Update the driver of the graphics card, or choose the CPU as device.",
    ),
    (
        r"No module named '?VoxelAdvSegLib",
        "The chosen Python does not find the library of this extension.",
        "Reinstall the extension, or choose Slicer's own Python under Installation.",
    ),
    (
        r"No module named '?torch['\"]?(?:\s|$)|needs the package torch\b",
        "torch is not installed in this Python.", INSTALL,
    ),
    (
        r"No module named '?([\w.]+)|needs the package ([\w.]+)",
        "A package is missing in this Python: {0}.", "Install it under Installation, then try again.",
    ),
    (
        r"DLL load failed|WinError 126|WinError 1114|WinError 127\b|cannot open shared object file|undefined symbol|"
        r"Library not loaded|symbol not found in flat namespace",
        "A program library could not be loaded: torch is damaged, incomplete, or clashes with another installation.",
        INSTALL,
    ),
    (
        r"No space left on device|Errno 28|WinError 112|Disk quota exceeded",
        "The disk is full.", "Make room on the disk, then resume: the last saved state is untouched.",
    ),
    (
        r"MemoryError|bad_alloc|not enough memory: you tried to allocate|DefaultCPUAllocator|Cannot allocate memory|"
        r"OpenBLAS error: Memory allocation|could not create a primitive|"
        r"WinError 1455|paging file is too small",
        "The computer has too little free memory.",
        "Close other programs, or choose a smaller patch or batch under Advanced; then resume.",
    ),
    (
        r"CUDA error|CUDNN_STATUS|cuDNN error|CUBLAS_STATUS|device-side assert",
        "The graphics card reported an error.",
        "Restart the computer and try again; if it happens again, update the driver or train on the CPU.",
    ),
    (
        r"PermissionError|Errno 13|WinError 5\b|WinError 32\b|Read-only file system",
        "A file or folder may not be written.",
        "Choose a folder that you may write to, and close programs that hold its files (also synchronizing ones).",
    ),
)  # fmt: skip

LOST_BY_THE_SYSTEM = (
    "The operating system ended it, most often because the computer ran out of memory.",
    "Close other programs, or choose a smaller patch or batch under Advanced; then resume.",
)
CRASH = (
    "The program crashed inside a library.",
    "Check the installation; if it happens again, try the CPU as device and send the report.",
)
LIBRARY_MISSING = ("A program library that it needs was not found.", INSTALL)
ENDED_FROM_OUTSIDE = (
    "It was ended from outside, for instance at log-off, shutdown or in the task manager.",
    "Resume it, or start it again.",
)
# Exit codes: negative ones are signals; a shell or launcher reports them as 128 + n; large ones are Windows'.
CODES: Mapping[int, tuple[str, str]] = {
    -9: LOST_BY_THE_SYSTEM,
    -11: CRASH,
    -6: CRASH,
    -8: CRASH,
    -7: ("A file that was in use vanished or the shared memory is full.", "Check the disk, then resume."),
    -4: (
        "The processor does not know an instruction that torch was built with.",
        "Install another torch build under Installation.",
    ),
    -15: ENDED_FROM_OUTSIDE,
    -2: ENDED_FROM_OUTSIDE,
    -1: ENDED_FROM_OUTSIDE,
    126: ("The chosen Python may not be run.", "Choose another Python under Installation."),
    127: LIBRARY_MISSING,
    0xC0000005: CRASH,
    0xC0000409: CRASH,
    0xC0000374: CRASH,
    0xC00000FD: CRASH,
    0xC000001D: (
        "The processor does not know an instruction that torch was built with.",
        "Install another torch build under Installation.",
    ),
    0xC0000135: LIBRARY_MISSING,
    0xC0000139: LIBRARY_MISSING,
    0xC0000142: LIBRARY_MISSING,
    0xC0000017: LOST_BY_THE_SYSTEM,
    0xC000013A: ENDED_FROM_OUTSIDE,
    0x40010004: ENDED_FROM_OUTSIDE,
}


def explain_error(event: Mapping[str, Any]) -> Failure:
    """The failure that a child's last event tells: its own words, or what they mean."""
    text = str(event.get("text") or "").strip()
    what, do = event.get("what"), event.get("do")
    if what and do:
        file, expected, found = (event.get(key) for key in ("file", "expected", "found"))
        why = "; ".join(f"{name} {value}" for name, value in (("expected", expected), ("found", found)) if value)
        if file:
            why = f"{file}: {why}" if why else str(file)
        return Failure(_sentence(str(what)), _sentence(why), _sentence(str(do)), text)
    meaning = explain_text(text)
    if meaning is not None:
        return Failure("The work ended early.", *meaning, text)
    first = text.splitlines()[0] if text else "no reason was given"
    return Failure(
        "The work ended early.", _sentence(first[:300]),
        "Look into the log; if it does not help, send the report to the developers.", text,
    )  # fmt: skip


def explain_exit(code: int | None, log: str, phase: str) -> Failure:
    """The failure of a child that ended without a last word, from exit code and the end of its log."""
    what = f"The work ended suddenly ({phase})." if phase else "The work ended suddenly."
    details = f"exit code {'unknown' if code is None else code}\n{log}".strip()
    told = _told_in(log)
    if told is not None:
        return told
    meaning = explain_text(log) or (None if code is None else _meaning_of_code(code))
    if meaning is None:
        last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
        why = f"Its last words were: {last[:300]}" if last else "It left no message."
        meaning = (why, "Look into the log; then try again, or send the report to the developers.")
    return Failure(what, *meaning, details)


def explain_text(text: str) -> tuple[str, str] | None:
    """Cause and next step that a log or an exception's text points to; None when nothing is known of it.

    The last line that says something counts: earlier ones may be warnings.
    """
    for line in reversed(text.splitlines()):
        for pattern, why, do in SIGNS:
            found = re.search(pattern, line)
            if found:
                name = next((group for group in found.groups() if group), "")
                return why.format(name), do
    return None


def _told_in(log: str) -> Failure | None:
    """The last error in a log that has the library's own form (errors.py), and so says what to do."""
    found = None
    for found in re.finditer(r"^\w+Error: (.+)((?:\n  (?:file|expected|found|do) .+)+)", log, re.MULTILINE):  # noqa: B007
        pass
    if found is None:
        return None
    fields = dict(re.findall(r"^  (file|expected|found|do) +(.+)", found[2], re.MULTILINE))
    return explain_error({"text": found[0], "what": found[1], **fields}) if "do" in fields else None


def _meaning_of_code(code: int) -> tuple[str, str] | None:
    if code < -255:
        code &= 0xFFFFFFFF  # Windows' codes as signed numbers
    if 128 < code < 160:
        code = 128 - code
    return CODES.get(code)


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
