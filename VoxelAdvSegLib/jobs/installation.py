"""The facts of an installation, as a probe tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Package:
    """needs: least version; version: None when it is not installed; error: of importing it."""

    name: str
    needs: str
    version: str | None
    error: str | None

    @property
    def too_old(self) -> bool:
        return self.version is not None and _numbers(self.version) < _numbers(self.needs)

    @property
    def fits(self) -> bool:
        return self.version is not None and self.error is None and not self.too_old


@dataclass(frozen=True)
class Device:
    """A device that torch sees; gmac_per_second: of the test kernel; error: what the test said."""

    device: str
    name: str
    memory_bytes: int | None = None
    free_bytes: int | None = None
    capability: str | None = None
    error: str | None = None
    gmac_per_second: float | None = None

    @property
    def is_cpu(self) -> bool:
        return self.device == "cpu"

    @property
    def title(self) -> str:
        """Name and memory in words."""
        name = "the CPU" if self.is_cpu else self.name
        return name if self.memory_bytes is None else f"{name}, {self.memory_bytes / 2**30:.0f} GB"


@dataclass
class Installation:
    """None and empty: not told (yet)."""

    python: str | None = None
    executable: str = ""
    system: str = ""
    machine: str = ""
    cores: int = 1
    memory_bytes: int | None = None
    library: str = ""
    cards: list[dict[str, str]] | None = None  # of NVIDIA's own program
    packages: list[Package] = field(default_factory=list)
    torch_told: bool = False
    torch_version: str | None = None
    torch_missing: bool = False
    torch_error: str | None = None
    torch_cuda: str | None = None
    torch_rocm: str | None = None
    cuda_works: bool = False
    built_for: list[str] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> None:
        """Notes what one event of a probe tells."""
        kind = event["type"]
        if kind == "job":
            self.library = str(event["version"])
        elif kind == "python":
            self.python, self.executable = str(event["python"]), str(event["executable"])
            self.system, self.machine = str(event["system"]), str(event["machine"])
            self.cores, self.memory_bytes = int(event["cores"]), event["memory_bytes"]
        elif kind == "driver":
            self.cards = event["cards"]
        elif kind == "package":
            self.packages.append(Package(event["name"], event["needs"], event["version"], event["error"]))
        elif kind == "torch":
            self.torch_told = True
            self.torch_version, self.torch_error = event["version"], event["error"]
            self.torch_missing = bool(event["missing"])
            self.torch_cuda, self.torch_rocm = event.get("cuda"), event.get("rocm")
            self.cuda_works, self.built_for = bool(event.get("cuda_works")), list(event.get("built_for", ()))
        elif kind == "device":
            names = ("device", "name", "memory_bytes", "free_bytes", "capability", "error", "gmac_per_second")
            self.devices.append(Device(**{name: event[name] for name in names}))

    def device(self, name: str) -> Device | None:
        """The device of that name; "auto": the first graphics card, else the CPU."""
        if name == "auto":
            cards = [d for d in self.devices if not d.is_cpu and d.error is None]
            return cards[0] if cards else self.device("cpu")
        name = "cuda:0" if name == "cuda" else name
        return next((d for d in self.devices if d.device == name), None)


def is_built_for(capability: str, built_for: list[str]) -> bool:
    """Whether a torch build has code for a card: its own, of the same generation, or code to be compiled."""
    major, minor = _numbers(capability)[:2]
    for name in built_for:
        kind, _, digits = name.partition("_")
        digits = "".join(filter(str.isdigit, digits))  # sm_90a
        if kind not in ("sm", "compute") or len(digits) < 2:
            return True  # of another maker: nothing is known
        code = (int(digits[:-1]), int(digits[-1]))
        if kind == "sm" and code[0] == major and code[1] <= minor:
            return True
        if kind == "compute" and code <= (major, minor):
            return True
    return not built_for


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("+")[0].split("."):
        digits = "".join(c for c in part if c.isdigit()) if part[:1].isdigit() else ""
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
