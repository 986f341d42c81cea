"""The installation: looked at from a process like the one that works, and mended on a person's click only."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

import VoxelAdvSegLib
from VoxelAdvSegLib.errors import ConfigError, RunError
from VoxelAdvSegLib.jobs.interpreter import find_python_slicer, own_interpreter
from VoxelAdvSegLib.jobs.probe import ProbeJob
from VoxelAdvSegLib.jobs.protocol import ProbeRequest
from VoxelAdvSegLib.jobs.verdict import device_verdict, time_estimate
from VoxelAdvSegLib.panel import dialogs
from VoxelAdvSegLib.panel.bench import INTERPRETER_SETTING
from VoxelAdvSegLib.panel.keeping import Keeping

REQUIREMENTS = Path(VoxelAdvSegLib.__file__).parent / "requirements.txt"
# torch comes by the PyTorch extension alone; the others are Slicer's own and are never replaced.
TORCH = "torch"
OF_SLICER = ("numpy", "scipy", "vtk", "SimpleITK", "pydicom", "highdicom")


class Installing(Keeping):
    """The part with the installation."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.installation: ProbeJob | None = None
        self._probe_told = True

    def set_interpreter(self, path: str) -> None:
        """Another Python to work with, "" for Slicer's own. Raises ConfigError when it is none."""
        if path:
            own_interpreter(path, {})
        qt.QSettings().setValue(INTERPRETER_SETTING, path)
        self.installation = None
        self.notify("installation", "training")

    # --- looking ------------------------------------------------------------------------------

    def check_installation(self, wait: bool = False) -> ProbeJob:
        """Looks at the installation in a child process."""
        folder = Path(tempfile.mkdtemp(prefix="VoxelAdvSeg-"))
        self.installation = ProbeJob.start(folder, ProbeRequest(), self.the_interpreter())
        self._probe_told = False
        self.notify("installation")
        if wait:
            self.wait_until(lambda: self._probe_told)
        return self.installation

    def follow(self, seconds: float) -> None:
        super().follow(seconds)
        job = self.installation
        if job is None or self._probe_told:
            return
        job.poll(seconds)
        if job.state.is_over and not job.behind:
            shutil.rmtree(job.folder, ignore_errors=True)  # the verdict is kept
            self._probe_told = True
            self.notify("installation", "training")

    def device_text(self, device: str) -> str:
        """What would compute, in a sentence."""
        if self.installation is None or self.installation.verdict is None:
            return _("Not checked yet: see Installation.")
        return device_verdict(self.installation.installation, device)

    def budget_text(self, device: str, minutes: float) -> str:
        """What a time budget means on a device, in a sentence; "" before the installation was checked."""
        if self.installation is None or self.installation.verdict is None:
            return ""
        return time_estimate(self.installation.installation, device, minutes)

    # --- mending ------------------------------------------------------------------------------

    def command_elsewhere(self) -> str:
        """What installs the packages into the Python that a person named; "" where that is Slicer's own.

        The install methods reach Slicer's own Python alone.
        """
        named = self.interpreter_path()
        if not named or Path(named).absolute() == self._slicers_python():
            return ""
        return f'"{named}" -m pip install -r "{REQUIREMENTS}"'

    @staticmethod
    def _slicers_python() -> Path | None:
        try:  # links are not followed: a virtual environment's Python is a link to another
            return find_python_slicer(slicer.app.slicerHome, os.environ).path.absolute()
        except ConfigError:
            return None

    def _check_reach(self) -> None:
        command = self.command_elsewhere()
        if command:
            raise ConfigError(
                _("another Python works for this extension: installing into Slicer would change nothing"),
                file=self.interpreter_path(), do=_("run {command}").format(command=command),
            )  # fmt: skip

    def install_torch(self) -> None:
        """By the PyTorch extension, which knows the build for this computer. Raises ConfigError without it."""
        self._check_reach()
        try:
            import PyTorchUtils  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            raise ConfigError(
                _("the PyTorch extension is not installed"),
                do=_("install 'PyTorch' in the Extensions Manager and start Slicer again"),
            ) from error
        logic = PyTorchUtils.PyTorchUtilsLogic()
        logic.installTorch(askConfirmation=True)
        if not logic.torchInstalled():
            raise RunError(_("PyTorch was not installed"), do=_("try again, or ask for help with Copy report"))
        self._forget_probe()

    def install_packages(self) -> bool:
        """The packages that are missing, after a question; False when it is declined. Raises RunError, ConfigError."""
        return self._install(self.missing_packages(), [])

    def install_from_folder(self, folder: str | Path) -> bool:
        """As install_packages, from a folder of wheels, for computers without internet."""
        folder = Path(folder)
        if not any(folder.glob("*.whl")):
            raise ConfigError(
                _("there are no packages in the folder"), file=folder, expected=_("files ending in .whl"),
                do=_("fill it with: pip download -r requirements.txt -d FOLDER"),
            )  # fmt: skip
        return self._install(self.missing_packages(), ["--no-index", "--find-links", str(folder)])

    def missing_packages(self) -> list[str]:
        """Requirements that Slicer's Python lacks, without torch and what is Slicer's own."""
        missing = []
        for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
            requirement = line.partition(";")[0].partition("#")[0].strip()
            name = re.split(r"[<>=!~ \[]", requirement)[0]
            if not name or name in (TORCH, *OF_SLICER) or name == "tomli":
                continue
            if not _installed(name):
                missing.append(requirement)
        return missing

    def _install(self, requirements: Sequence[str], options: Sequence[str]) -> bool:
        self._check_reach()
        if not requirements:
            return True
        if not _installed(TORCH):
            raise RunError(  # or pip would bring a torch of its own choice with one of them
                _("PyTorch is not installed yet"), expected=_("PyTorch before the other packages"),
                do=_("press Install PyTorch first"),
            )  # fmt: skip
        if not dialogs.agreed(_("Install these packages into Slicer?") + "\n" + "\n".join(requirements)):
            return False
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(installed_versions()) + "\n", encoding="utf-8")
            try:
                if hasattr(slicer, "packaging") and not options:
                    slicer.packaging.pip_ensure(
                        list(requirements),
                        constraints=constraints,
                        requester="VoxelAdvSeg",
                        skip_packages=list(OF_SLICER),
                        prompt_install=False,
                    )
                else:  # 5.10, and everywhere from a folder: the options go to pip as they are
                    slicer.util.pip_install([*options, "-c", str(constraints), *requirements])
            except Exception as error:  # pip's own errors are of many kinds
                raise RunError(
                    _("the packages were not installed"), expected=", ".join(requirements), found=str(error)[:500],
                    do=_("check the network, or use a folder of packages"),
                ) from error  # fmt: skip
        self._forget_probe()
        return True

    def _forget_probe(self) -> None:
        self.installation = None
        self.notify("installation", "training")


def installed_versions() -> list[str]:
    """The versions of what is Slicer's own, as constraints: pip must not replace them."""
    names = [name for name in (*OF_SLICER, TORCH) if _installed(name)]
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
