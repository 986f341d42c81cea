"""Every event a child writes, with its fields: what docs/protocol.md tells, and both sides are tested against.

Every event also has `type` and `time`. A name that ends in "?" may be missing; a reader passes over
types and fields that are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = tuple[str, ...]

OF_ALL: Mapping[str, Fields] = {
    "job": ("protocol", "version", "kind", "sitting"),
    "heartbeat": (),
    "error": ("text", "kind?", "what?", "file?", "expected?", "found?", "do?", "sitting?"),
}
EVENTS: Mapping[str, Mapping[str, Fields]] = {
    "train": {
        **OF_ALL,
        "start": (
            "protocol", "version", "method", "preset", "organs", "device", "steps", "minutes", "resumed", "plan", "run",
            "processes?",
        ),
        "progress": ("phase", "done", "total"),
        "message": ("level", "text"),
        "plan": ("steps", "seconds_per_step", "text"),
        "step": (
            "step", "steps", "terms", "weights", "lr", "observed", "gradient_ratios", "seconds_per_step",
            "seconds_left",
        ),
        "validation": ("step", "dice", "mean", "cases", "best", "final"),
        "preview": ("step", "file", "case"),
        "checkpoint": ("step", "file"),
        "end": ("reason", "step", "steps", "model", "dice"),
    },
    "segment": {
        **OF_ALL,
        "start": ("protocol", "version", "device", "cases", "organs"),
        "message": ("level", "text"),
        "case": (
            "case", "state", "done", "total", "seconds?", "volumes_ml?", "looks_labeled_mean?", "confidence?", "score?",
            "reason?", "organ_scores?", "assessment?", "text?", "what?", "file?", "expected?", "found?", "do?",
        ),
        "progress": ("case", "phase", "fraction"),
        "end": ("reason", "done", "skipped", "failed"),
    },
    "compare": {
        **OF_ALL,
        "start": ("protocol", "version", "device"),
        "message": ("level", "text"),
        "progress": ("phase", "done", "total", "seconds_left?"),
        "end": ("reason", "answer?", "sentence?"),
    },
    "probe": {
        **OF_ALL,
        "start": ("protocol", "version"),
        "progress": ("phase",),
        "python": ("python", "executable", "system", "machine", "cores", "memory_bytes"),
        "driver": ("cards",),
        "package": ("name", "needs", "version", "error"),
        "torch": ("version", "error", "missing", "seconds?", "cuda?", "rocm?", "cuda_works?", "built_for?"),
        "device": ("device", "name", "memory_bytes", "free_bytes", "capability", "error", "gmac_per_second"),
        "end": ("reason",),
    },
}  # fmt: skip


def misfits(kind: str, event: Mapping[str, Any]) -> list[str]:
    """What an event has too much or too little by the vocabulary of its kind of job; [] when it fits."""
    fields = EVENTS[kind].get(event["type"])
    if fields is None:
        return [f"unknown type {event['type']}"]
    needed = {name for name in fields if not name.endswith("?")} | {"type", "time"}
    known = needed | {name.removesuffix("?") for name in fields}
    return [f"no {name}" for name in sorted(needed - set(event))] + [
        f"unknown field {name}" for name in sorted(set(event) - known)
    ]
