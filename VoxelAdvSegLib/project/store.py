"""project.json: read with every doubt, written whole."""

from __future__ import annotations

from pathlib import Path

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.disk import read_json, write_bytes, write_json, written_or_told
from VoxelAdvSegLib.project.records import Content, from_json, to_json

FORMAT = 1
FILE = "project.json"
BACKUP = "project.backup.json"  # as it was when the project was last opened


class Store:
    """The file of one project, and what it looked like when this program last saw it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> Content:
        """Raises ProjectError when there is no project, it is damaged, or of a newer format."""
        try:
            fields = read_json(self.path)
        except FileNotFoundError as error:
            raise ProjectError(
                "there is no project", file=self.folder, expected=f"a folder with {FILE}",
                found=f"a folder without {FILE}" if self.folder.is_dir() else "no such folder",
                do="choose another folder, or make a new project",
            ) from error  # fmt: skip
        except OSError as error:
            raise ProjectError(
                "the project cannot be read", file=self.path, expected="the right to read it",
                found=error.strerror or str(error), do="change the folder's rights",
            ) from error  # fmt: skip
        except ValueError as error:
            raise self._damaged(str(error)) from error
        if not isinstance(fields, dict) or not isinstance(fields.get("format"), int):
            raise self._damaged("no format number")
        if fields["format"] != FORMAT:
            raise ProjectError(
                "the project was made by a newer version", file=self.path,
                expected=f"format {FORMAT} (VoxelAdvSeg {__version__})",
                found=f"format {fields['format']} (VoxelAdvSeg {fields.get('version', '?')})",
                do="update VoxelAdvSeg; nothing was changed",
            )  # fmt: skip
        try:
            content = from_json(fields, self.folder)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise self._damaged(found) from error
        self._seen = self._signature()
        return content

    def write(self, content: Content) -> None:
        """Raises ProjectError when it cannot be written, or another program has written meanwhile."""
        if self._seen is not None and self._signature() != self._seen:
            raise ProjectError(
                "the project was changed by another program", file=self.path,
                expected="the file as this program saved it", found="another content",
                do="open the project again; the last change here was not saved",
            )  # fmt: skip
        write_json(self.path, {"format": FORMAT, "version": __version__, **to_json(content, self.folder)})
        self._seen = self._signature()

    def back_up(self) -> None:
        """A copy of the file as it is now, for a person to fall back on."""
        with written_or_told(self.path):
            write_bytes(self.folder / BACKUP, self.path.read_bytes())

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _damaged(self, found: str) -> ProjectError:
        backup = self.folder / BACKUP
        return ProjectError(
            "the project's file is damaged", file=self.path, expected="the JSON text that was saved", found=found,
            do=f"rename {BACKUP} to {FILE}: it is the project as it was last opened" if backup.is_file()
            else "take the file from a backup; scans, labels and models in the folder are untouched",
        )  # fmt: skip
