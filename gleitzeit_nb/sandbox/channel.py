"""The seam between the guest's protocol and whatever holds the guest: a container, a namespace jail, a plain process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from gleitzeit_nb.core.execution import Limits, ModeSettings


@dataclass(frozen=True)
class Expectations:
    """What the guest must find about itself before it may serve; None means not promised by this mode.

    `interfaces` lists the network interfaces that may be up beside none at all. `own_network`: a loopback of its own, on which the
    guest may listen. `weaker` is one line on what the mode does not promise here, shown wherever the mode shows; "" when it promises
    everything. `preload`: the modules that it imports first. `own_python`: it runs on this process's own Python, not another.
    `mounts`: what it must see at each mount point, as (device, inode, read-only).
    """

    pid: int | None = None
    uid: int | None = None
    capabilities_bounding: int | None = None
    no_new_privs: bool | None = None
    seccomp: bool | None = None
    read_only_root: bool | None = None
    interfaces: tuple[str, ...] | None = None
    own_network: bool = False
    weaker: str = ""
    own_python: bool = False
    preload: tuple[str, ...] = ()
    mounts: Mapping[str, tuple[int, int, bool]] = field(default_factory=dict)


class GuestChannel(Protocol):
    """A started guest's byte stream and its off switch. The guest's source has not been sent yet."""

    @property
    def name(self) -> str:
        """Short and stable: a container's short id, `restricted-4711`."""
        ...

    @property
    def expectations(self) -> Expectations: ...

    async def read(self) -> bytes:
        """Some bytes that the guest wrote; b"" once it has gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Everything written, or SandboxProtocolError when the guest has gone."""
        ...

    async def kill(self) -> None:
        """SIGKILL to everything inside, now, and release what held it. Idempotent; never a graceful stop."""
        ...

    async def oom_kills(self) -> int:
        """How often the kernel's OOM killer struck inside so far; 0 where nobody counts."""
        ...

    async def memory_bytes(self) -> int | None:
        """What everything inside uses now; None where nobody counts."""
        ...

    async def resize(self, memory_bytes: int, cpus: float) -> None:
        """Give an idle guest other bounds. SandboxUnavailableError where they are fixed, or refused."""
        ...


@runtime_checkable
class PeakCounting(Protocol):
    """A channel that can tell what everything inside used at most, since it was last asked to begin."""

    def begin_peak(self) -> None: ...

    def peak_bytes(self) -> int | None:
        """None where it cannot be told for this one run."""
        ...


class Launcher(Protocol):
    """Starts guests of one kind of isolation. Raises SandboxUnavailableError with what to start or install."""

    async def check(self, mode: ModeSettings) -> str:
        """Can this mode be had here? Returns one line on what it runs with; raises SandboxUnavailableError or ImageMissingError."""
        ...

    async def launch(self, mode: ModeSettings, limits: Limits, image: str | None) -> GuestChannel: ...

    async def aclose(self) -> None: ...
