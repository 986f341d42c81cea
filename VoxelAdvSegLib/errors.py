"""What can go wrong and be repaired by the user: one family, one message form.

Everything else is a bug and keeps its traceback.
"""

from __future__ import annotations

from pathlib import Path


class VoxelAdvSegError(Exception):
    """A problem told as: what, in which file, what was expected, found, and what to do."""

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        expected: str | None = None,
        found: str | None = None,
        do: str | None = None,
    ) -> None:
        self.what = what
        self.file = None if file is None else str(file)
        self.expected = expected
        self.found = found
        self.do = do
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{type(self).__name__}: {self.what}"]
        for name in ("file", "expected", "found", "do"):
            text = getattr(self, name)
            if text:
                lines.append(f"  {name:<9} {text}")
        return "\n".join(lines)


class InputError(VoxelAdvSegError):
    """A volume, label or manifest the user can repair."""


class ConfigError(VoxelAdvSegError):
    """A setting."""


class BundleError(VoxelAdvSegError):
    """A model folder."""


class RunError(VoxelAdvSegError):
    """A run that cannot continue: not finite, disk full, folder in use."""


class ProjectError(VoxelAdvSegError):
    """A project folder, or what a person asks of it."""
