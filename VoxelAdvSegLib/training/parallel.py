"""Several processes that train one model: who leads, what all decide alike, and one voice for failures."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store, get_node_local_rank
from torch.distributed.rendezvous import rendezvous

from VoxelAdvSegLib.config import Config
from VoxelAdvSegLib.errors import ConfigError, RunError, VoxelAdvSegError
from VoxelAdvSegLib.methods.contract import Method
from VoxelAdvSegLib.networks.device import choose_device
from VoxelAdvSegLib.networks.joint import average
from VoxelAdvSegLib.networks.joint_layers import join_layers
from VoxelAdvSegLib.training.loop import StepReport

# Others wait while the leader reads scans, or validates. A process that is gone is noticed at once all the same.
LONGEST_WAIT = timedelta(days=2)
LOOK_SECONDS = 0.3
GRACE_SECONDS = 3.0  # for a leader that is already about to end by itself
HEARD_SECONDS = 10.0  # in which it has said what another process failed of; then that one may end
FAILED = 2  # exit code, as the command line has it for what a person can repair
FAILURE, TOLD = "voxeladvseg/failure", "voxeladvseg/told"


@dataclass
class Team:
    """The processes of a training. Alone, every method returns what it was given."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    tell: Callable[..., None] = field(default=lambda type, **fields: None)  # of the leader, once there is a diary
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def device(self, wish: str) -> torch.device:
        """This process's own; raises ConfigError as `choose_device`."""
        return choose_device(wish, self.local_rank, self.local_size)

    def agree(self, value: Any) -> Any:
        """The leader's value, in every process; waits for the leader."""
        if self.size == 1:
            return value
        box = [value if self.leads else None]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def average(self, report: StepReport) -> StepReport:
        """The report with terms and observed values as means over the processes."""
        if self.size == 1:
            return report
        terms = [(player, name) for player, values in report.terms.items() for name in values]
        seen = [k for k, v in report.observed.items() if isinstance(v, torch.Tensor) and v.is_floating_point()]
        values = [report.terms[p][n] for p, n in terms] + [torch.as_tensor(report.observed[k]) for k in seen]
        means = average(values)
        for (player, name), mean in zip(terms, means, strict=False):
            report.terms[player][name] = mean
        return replace(report, observed={**report.observed, **dict(zip(seen, means[len(terms) :], strict=True))})


@contextlib.contextmanager
def team() -> Iterator[Team]:
    """The processes that torchrun has started, or this one alone.

    A failure of one ends all, and is said once: by the leader on the screen and in the diary. One within
    another has the same processes, and leaves them to that.
    """
    if not dist.is_torchelastic_launched():
        yield Team()
        return
    if dist.is_initialized():
        yield _members(dist.get_rank(), dist.get_world_size())
        return
    store, rank, size = next(iter(rendezvous("env://", timeout=timedelta(minutes=10))))
    if size == 1:
        yield Team()
        return
    mine = _members(rank, size)
    on_gpu = torch.cuda.is_available()
    if on_gpu and mine.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(mine.local_rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT
    )
    # A connection of its own: a wait in one does not hold up the other. Older versions of torch have one for both.
    own = getattr(store, "clone", lambda: store)()
    threading.Thread(target=_watch, args=(mine, own), daemon=True).start()
    try:
        with _deaf(not mine.leads):
            yield mine
    except BaseException as error:
        mine.ending.set()
        _post(store, error)
        if mine.leads:
            _say(store, TOLD)
            raise
        _wait_until_told(store)
        os._exit(FAILED)  # in silence: the leader speaks; and threads of a broken group would wait for ever
    mine.ending.set()
    dist.destroy_process_group()


def _members(rank: int, size: int) -> Team:
    """The launcher says by its variables which of the processes are on this computer."""
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return Team(rank, size, get_node_local_rank(fallback_rank=rank), local_size)


@contextlib.contextmanager
def _deaf(follows: bool) -> Iterator[None]:
    """Ctrl-C and a launcher's signal reach every process; whether to stop is the leader's to say."""
    if not follows:
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _post(store: Store, error: BaseException) -> None:
    """What went wrong, where the watchers of the others see it; the first to say so is heard."""
    known = isinstance(error, VoxelAdvSegError)
    text = str(error) if known else "".join(traceback.format_exception(error))
    with contextlib.suppress(RuntimeError):  # the launcher, and its store with it, may be gone
        store.compare_set(FAILURE, "", text)


def _say(store: Store, key: str) -> None:
    with contextlib.suppress(RuntimeError):
        store.set(key, "yes")


def _wait_until_told(store: Store) -> None:
    """The launcher ends all processes when one has ended: not before the leader has said why."""
    with contextlib.suppress(RuntimeError):
        store.wait([TOLD], timedelta(seconds=HEARD_SECONDS))
        time.sleep(1.0)  # the leader is writing


def _watch(mine: Team, store: Store) -> None:
    """Ends this process when another one has failed: it may hang in an exchange with it for ever."""
    with contextlib.suppress(RuntimeError):
        while not mine.ending.wait(LOOK_SECONDS):
            if not store.check([FAILURE]):
                continue
            if mine.leads:
                if mine.ending.wait(GRACE_SECONDS):
                    return  # it fails, or ends, by itself
                text = store.get(FAILURE).decode(errors="replace")
                with contextlib.suppress(OSError):
                    mine.tell("error", text=text.strip())
                print(text, file=sys.stderr, flush=True)
                _say(store, TOLD)
            elif mine.ending.is_set():
                return
            os._exit(FAILED)


def lost_another(error: BaseException) -> RunError | None:
    """The error in words, where it says no more than that another process has gone."""
    gone = isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
    if not gone or isinstance(error, VoxelAdvSegError):
        return None
    return RunError(
        "another process of this training has ended", expected="all processes until the end",
        found=str(error).splitlines()[0][:200],
        do="see what it has said above; the last checkpoint is untouched, so go on with --resume",
    )  # fmt: skip


def refuse_several(what: str) -> None:
    """Raises ConfigError, once for all, where torchrun has started more than one process."""
    with team() as mine:
        if mine.size > 1:
            raise ConfigError(
                f"{what} is for one process", expected="one process", found=f"{mine.size} processes",
                do=f"start it without torchrun, or leave {what} out",
            )  # fmt: skip


def check_shares(config: Config, size: int) -> None:
    """Raises ConfigError where a step cannot be shared by that many processes as one process would do it."""
    patches, adversarial = config.patches, config.adversarial
    parts = config.training.accumulate or 1
    for name in ("batch_labeled", "batch_unlabeled") if parts > 1 else ():
        batch = getattr(patches, name)
        if batch is not None and batch % (size * parts):
            raise ConfigError(
                f"{batch} patches cannot go through the network in {parts} equal parts",
                expected=f"{name} a multiple of {size * parts} (accumulate={parts}, {size} processes)",
                found=f"{name}={batch}", do="set another accumulate or batch",
            )  # fmt: skip
    if size == 1:
        return
    for name in ("batch_labeled", "batch_unlabeled"):
        batch = getattr(patches, name)
        if batch is not None and batch % size:
            raise ConfigError(
                f"{size} processes cannot share {batch} patches",
                expected=f"{name} a multiple of {size}: the number of patches of a step, of all processes together",
                found=f"{name}={batch}",
                do=f"--set {name}={max(size, round(batch / size) * size)}, or start another number of processes",
            )
    only_alone = {
        "fusion_path=dense": adversarial.fusion_path == "dense",
        "pseudo_quantile": adversarial.pseudo_quantile > 0,
    }
    for setting, chosen in only_alone.items():
        if chosen:
            raise ConfigError(
                f"the setting {setting} is for one process",
                expected="its default with several processes",
                found=f"{size} processes",
                do="change the setting, or train with one process",
            )


def join(method: Method, config: Config, size: int) -> None:
    """The method made ready for several processes: joint layers, and the leader's weights everywhere."""
    if size == 1:
        return
    join_layers(method.networks, config.network.sync_batch_norm)
    share_weights(method.networks)


@torch.no_grad()
def share_weights(networks: torch.nn.Module) -> None:
    """The leader's parameters and buffers in every process."""
    if not dist.is_initialized():
        return
    tensors: Sequence[torch.Tensor] = [*networks.parameters(), *networks.buffers()]
    for tensor in tensors:
        whole = tensor.detach().contiguous()
        dist.broadcast(whole, src=0)
        tensor.copy_(whole)
