"""Python modules of Slicer that the table does not describe: SampleData, and PyTorchUtils of the PyTorch extension."""

# ruff: noqa: N802, N803, N815  names as in Slicer; tables of classes

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer


@dataclass
class SampleDataSource:
    sampleName: str
    customDownloader: Any
    thumbnailFileName: str | None
    sampleDescription: str | None


class SampleDataLogic:
    """Where modules register their samples: slicer.modules.sampleDataSources, category -> sources."""

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
        thumbnailFileName=None, loadFileType="VolumeFile", loadFiles=None, loadFileProperties=None, checksums=None,
        sampleDescription=None,
    ):  # fmt: skip
        if uris is not None:
            raise ValueError("samples are made on this computer: give customDownloader, no uris")
        if not callable(customDownloader) or not sampleName:
            raise ValueError("a sample needs a name and a customDownloader")
        if thumbnailFileName is not None and not Path(thumbnailFileName).is_file():
            raise ValueError(f"thumbnail {thumbnailFileName} is not there")
        sources = vars(slicer.modules).setdefault("sampleDataSources", {}).setdefault(category, [])
        sources.append(SampleDataSource(sampleName, customDownloader, thumbnailFileName, sampleDescription))


def add_sample_data():
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    sys.modules["SampleData"] = module


def samples():
    """(category, name) of all registered samples; the same twice when a module registers it twice."""
    sources = vars(slicer.modules).get("sampleDataSources", {})
    return [(category, one.sampleName) for category, some in sources.items() for one in some]


def download(name):
    """What the Sample Data module does when a person clicks on a sample."""
    sources = vars(slicer.modules).get("sampleDataSources", {})
    (source,) = [one for some in sources.values() for one in some if one.sampleName == name]
    return source.customDownloader(source)


class TorchInstallation:
    """The PyTorch extension: whether torch is there, and what was asked of it; `fails`: the error that it raises."""

    def __init__(self, installed=False, fails=None):
        self.installed, self.fails, self.calls = installed, fails, []


def add_pytorch(installation):
    """Makes `import PyTorchUtils` work, as when the PyTorch extension is installed."""

    class PyTorchUtilsLogic:
        def torchInstalled(self):
            return installation.installed

        def installTorch(
            self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None,
            torchvisionVersionRequirement=None,
        ):  # fmt: skip
            installation.calls.append((askConfirmation, forceComputationBackend, torchVersionRequirement))
            if installation.fails is not None:
                raise installation.fails
            installation.installed = True

        def getCompatibleComputationBackends(self):
            return ["cpu"]

        def uninstallTorch(self, askConfirmation=False, askRestart=False):
            installation.installed = False

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    sys.modules["PyTorchUtils"] = module


def remove():
    for name in ("SampleData", "PyTorchUtils"):
        sys.modules.pop(name, None)
