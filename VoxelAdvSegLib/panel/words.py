"""Times as people say them."""

from __future__ import annotations

from slicer.i18n import tr as _


def duration(seconds: float) -> str:
    """A time as people say it: "45 s", "12 min", "2 h 10 min"."""
    if seconds < 90:
        return _("{n} s").format(n=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("{n} min").format(n=minutes)
    hours, minutes = divmod(5 * round(minutes / 5), 60)
    if not minutes:
        return _("{h} h").format(h=hours)
    return _("{h} h {n} min").format(h=hours, n=minutes)
