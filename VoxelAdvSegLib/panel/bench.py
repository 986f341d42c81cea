"""What all parts of the workbench share: the scene, the project, who wants to hear of changes, and the clock."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.jobs.interpreter import Interpreter, find_python_slicer, own_interpreter
from VoxelAdvSegLib.jobs.process import is_alive
from VoxelAdvSegLib.jobs.pulse import read_pulse
from VoxelAdvSegLib.project.project import Project

INTERPRETER_SETTING = "VoxelAdvSeg/interpreter"
TURN_SECONDS = 0.02  # for all jobs of one turn; a single piece of work may take longer, and is measured
SIDES = ("vtkMRMLSliceNodeRed", "vtkMRMLSliceNodeYellow")  # the views of Slicer's layout with two
WAIT_SECONDS = 0.05  # between turns where a script waits


class Bench:
    """Base of the parts. interpreter: the Python that trains and segments; None: as the settings say."""

    def __init__(self, scene: slicer.vtkMRMLScene, interpreter: Interpreter | None = None) -> None:
        self.scene = scene
        self.project: Project | None = None
        self.longest_turn = 0.0  # seconds, as a person would feel it
        self.threads: int | None = None  # of the CPU for the work; None: all but one
        self._interpreter = interpreter
        self._observers: list[Callable[[str], None]] = []
        self._chores: deque[Callable[[], None]] = deque()
        self._untold: deque[tuple[Callable[[str], None], str]] = deque()
        self._turning = False

    # --- who listens --------------------------------------------------------------------------

    def observe(self, observer: Callable[[str], None]) -> None:
        """observer(what) after each change; what: project, cases, training, progress, segmenting, results,
        review, models, installation or scene."""
        self._observers.append(observer)

    def forget(self, observer: Callable[[str], None]) -> None:
        if observer in self._observers:
            self._observers.remove(observer)

    def notify(self, *what: str) -> None:
        """Tells all observers: at once after a click, and in turns of their own from within a turn."""
        for word in what:
            for observer in list(self._observers):
                if not self._turning:
                    observer(word)
                elif (observer, word) not in self._untold:
                    self._untold.append((observer, word))
                    self.later(self._tell_one)

    def _tell_one(self) -> None:
        observer, word = self._untold.popleft()
        if observer in self._observers:
            observer(word)

    # --- the project --------------------------------------------------------------------------

    def the_project(self) -> Project:
        """The open project; raises InputError when there is none."""
        if self.project is None:
            raise InputError(
                _("no project is open"),
                expected=_("a folder for scans, labels and models"),
                do=_("make or open one under Project"),
            )
        return self.project

    def new_folder(self) -> Path:
        """A job folder of the project that is not there yet."""
        place = self.the_project().path / "jobs"
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        taken = {path.name for path in place.iterdir()} if place.is_dir() else set()
        name, number = stamp, 2
        while name in taken:
            name, number = f"{stamp}-{number}", number + 1
        (place / name).mkdir(parents=True)
        return place / name

    @staticmethod
    def alive(folder: Path) -> bool | None:
        """Whether a child works in a job folder; None where that cannot be known."""
        pulse = read_pulse(folder)
        return False if pulse is None else is_alive(pulse.process)

    # --- time ---------------------------------------------------------------------------------

    def later(self, chore: Callable[[], None]) -> None:
        """Puts a longer piece of work into a turn of its own."""
        self._chores.append(chore)

    def soon(self, chore: Callable[[], None]) -> None:
        """Puts a piece of work before all that waits."""
        self._chores.appendleft(chore)

    @property
    def behind(self) -> bool:
        """Whether work waits, so that the next turn should come soon."""
        return bool(self._chores)

    def follow(self, seconds: float) -> None:
        """What a part does in every turn; each calls the next."""

    def turn(self) -> float:
        """Follows all jobs and does one chore; the longest turn so far in seconds.

        A box that is opened meanwhile runs the timer again: such inner turns do nothing.
        """
        if self._turning:
            return self.longest_turn
        self._turning = True
        begin = time.perf_counter()
        try:
            if self._chores:
                self._chores.popleft()()
            else:
                self.follow(TURN_SECONDS)
        finally:
            self._turning = False
            self.longest_turn = max(self.longest_turn, time.perf_counter() - begin)
        return self.longest_turn

    def wait_until(self, over: Callable[[], bool]) -> None:
        """Turns until it is over, for scripts; Slicer stays responsive."""
        while not over() or self.behind:
            self.turn()
            slicer.app.processEvents()
            time.sleep(WAIT_SECONDS)

    # --- who works ----------------------------------------------------------------------------

    def the_interpreter(self) -> Interpreter:
        """The Python that works; raises ConfigError when there is none."""
        if self._interpreter is not None:
            return self._interpreter
        own = self.interpreter_path()
        if own:
            return own_interpreter(own, dict(slicer.util.startupEnvironment()))
        return find_python_slicer(slicer.app.slicerHome, os.environ)

    def interpreter_path(self) -> str:
        """The Python that a person named; "" for Slicer's own."""
        return str(qt.QSettings().value(INTERPRETER_SETTING) or "")

    def show_volume(self, volume_node: Any) -> None:
        """The volume in the slice views, fitted to them."""
        if slicer.app.layoutManager() is not None:  # None without a main window
            slicer.util.setSliceViewerLayers(background=volume_node, fit=True)

    def show_side_by_side(self, volume_node: Any) -> None:
        """The volume in two slice views beside each other, both cut the same way."""
        layout_manager = slicer.app.layoutManager()
        if layout_manager is None:
            return
        layout_manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
        left, right = (self.scene.GetNodeByID(view) for view in SIDES)
        right.SetOrientation(left.GetOrientation())
        self.show_volume(volume_node)
