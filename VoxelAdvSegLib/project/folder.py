"""The folder of a project: opened by one program at a time, and saved whole at every change."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from VoxelAdvSegLib.data.organs import Organ
from VoxelAdvSegLib.errors import ProjectError
from VoxelAdvSegLib.project.disk import is_partial, remove, written_or_told
from VoxelAdvSegLib.project.findings import Memory
from VoxelAdvSegLib.project.lock import FolderLock
from VoxelAdvSegLib.project.records import Case, Content, ProjectOrgan, now
from VoxelAdvSegLib.project.segmentation import find_organ
from VoxelAdvSegLib.project.store import FILE, Store

# What systems put into folders by themselves, and what an earlier attempt here may have left.
NO_CONTENT = frozenset((".DS_Store", "desktop.ini", "Thumbs.db", ".lock", ".lock.json"))

P = TypeVar("P", bound="ProjectFolder")


class ProjectFolder:
    """What every part of a project needs: its content, how it is saved, its cases and organs."""

    def __init__(self, folder: Path, store: Store, lock: FolderLock, content: Content) -> None:
        self.path = folder
        self._store = store
        self._lock = lock
        self._content = content
        self._batches = 0
        self.memory = Memory(folder)

    # --- opening ------------------------------------------------------------------------------

    @staticmethod
    def is_project(folder: str | Path) -> bool:
        return (Path(folder) / FILE).is_file()

    @classmethod
    def create(cls: type[P], folder: str | Path, name: str) -> P:
        """A new project in a new or empty folder."""
        folder = Path(folder).absolute()
        if not name.strip():
            raise ProjectError("the project has no name", expected="a name", found="nothing", do="type a name")
        if folder.exists() and not folder.is_dir():
            raise _not_empty(folder, "a file")
        if folder.is_dir() and any(path.name not in NO_CONTENT for path in folder.iterdir()):
            raise _not_empty(folder, "a project" if cls.is_project(folder) else "a folder with other files")
        with written_or_told(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
        lock.take()
        try:
            project = cls(folder, Store(folder), lock, Content(str(uuid.uuid4()), name.strip(), now()))
            project.save()
        except BaseException:
            lock.release()
            raise
        return project

    @classmethod
    def open(cls: type[P], folder: str | Path) -> P:
        """The project of a folder. What a killed program left unfinished in it is cleared away."""
        folder = Path(folder).absolute()
        store = Store(folder)
        store.read()  # a folder without a project is not locked, and nothing is written into it
        lock = FolderLock(folder)
        lock.take()
        try:
            content = store.read()
            store.back_up()
            _clear_partial(folder)
        except BaseException:
            lock.release()
            raise
        return cls(folder, store, lock, content)

    def close(self) -> None:
        """Lets other programs open the project. This object is then of no more use."""
        self._lock.release()

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- saving -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Changes within are saved together at the end, also when it ends by an error."""
        self._batches += 1
        try:
            yield
        finally:
            self._batches -= 1
            if not self._batches:
                self.save()

    def save(self) -> None:
        if not self._batches:
            self._store.write(self._content)

    # --- the whole ----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self._content.id

    @property
    def name(self) -> str:
        return self._content.name

    def rename(self, name: str) -> None:
        if not name.strip():
            raise ProjectError("the project has no name", expected="a name", found="nothing", do="type a name")
        self._content.name = name.strip()
        self.save()

    @property
    def content(self) -> Content:
        """What project.json holds, for the modules of this package; others use the methods."""
        return self._content

    @property
    def settings(self) -> Mapping[str, Any]:
        return self._content.settings

    def set_setting(self, key: str, value: Any) -> None:
        """value: anything that JSON can hold."""
        self._content.settings[key] = value
        self.save()

    # --- cases --------------------------------------------------------------------------------

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(self._content.cases.values())

    def case(self, case_id: str) -> Case:
        if case_id not in self._content.cases:
            raise ProjectError(
                f"there is no case {case_id}", file=self.path, expected="a case of the project", found="none",
                do="choose another case",
            )  # fmt: skip
        return self._content.cases[case_id]

    def case_of_image(self, image: str | Path) -> Case | None:
        """The case whose scan lies at a path."""
        wanted = Path(image).absolute()
        return next((case for case in self.cases if case.image == wanted), None)

    def case_folder(self, case_id: str) -> Path:
        return self.path / "cases" / self.case(case_id).id

    def put(self, case: Case) -> Case:
        """Takes a case in, or its changes, and saves; the time of change is set here."""
        case, before = replace(case, changed=now()), self._content.cases.get(case.id)
        self._content.cases[case.id] = case
        try:
            self.save()
        except ProjectError:
            if before is None:
                del self._content.cases[case.id]
            else:
                self._content.cases[case.id] = before
            raise
        return case

    # --- organs -------------------------------------------------------------------------------

    @property
    def organs(self) -> tuple[ProjectOrgan, ...]:
        return tuple(self._content.organs)

    @property
    def training_organs(self) -> tuple[Organ, ...]:
        return self._content.training_organs

    def organ_of(self, segment_name: str, terminology: str = "") -> ProjectOrgan | None:
        """The organ that a segment means, by name, else by code."""
        return find_organ(self._content.organs, segment_name, terminology)


def _not_empty(folder: Path, found: str) -> ProjectError:
    return ProjectError(
        "a project needs a folder of its own", file=folder, expected="a new or empty folder", found=found,
        do="open the project" if found == "a project" else "choose a new folder",
    )  # fmt: skip


def _clear_partial(folder: Path) -> None:
    """Removes what was being written when a program ended; drafts and predictions see to their own."""
    cases = folder / "cases"
    for place in (folder, cases, folder / "models", *cases.glob("case-*/labels")):
        if place.is_dir():
            for path in [path for path in place.iterdir() if is_partial(path)]:
                with written_or_told(path):
                    remove(path)
