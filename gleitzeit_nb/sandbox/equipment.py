"""What a container is given beside the profile: volumes, another runtime, GPUs. Decisions over what the daemon says of itself."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from gleitzeit_nb.core.execution import ModeSettings
from gleitzeit_nb.core.runtimes import has_own_kernel
from gleitzeit_nb.errors import ConfigError, SandboxUnavailableError
from gleitzeit_nb.sandbox.volumes import Held

Info = Mapping[str, Any]  # the daemon's answer to GET /info

NVIDIA = "nvidia"
ALL_BY_CDI = "nvidia.com/gpu=all"
NO_DRIVER = "could not select device driver"


def isolation_line(mode: ModeSettings, image: str, uid: int) -> str:
    """What holds a run, and what was let in to it."""
    kernel = f"a kernel of its own ({mode.runtime})" if has_own_kernel(mode.runtime) else "seccomp"
    given = [f"{each.guest} {'writable' if each.writable else 'read-only'}" for each in mode.volumes]
    given += ["GPU"] if mode.gpu else []
    line = f"container of {image}: no network, no capabilities, read-only root, {kernel}, uid {uid}"
    return f"{line}; given: {', '.join(given)}" if given else line


def equipment(mode: ModeSettings, held: Held, info: Callable[[], Info]) -> dict[str, Any]:
    """More arguments of `APIClient.create_host_config`. `info` is asked only where the answer matters.

    Raises SandboxUnavailableError for what the daemon has not got.
    """
    found: dict[str, Any] = {}
    if held.volumes:
        found["mounts"] = held.mounts
    if mode.runtime is not None:
        refuse_runtime(mode, info())
        found["runtime"] = mode.runtime
    if mode.gpu:
        found["device_requests"] = [gpu_request(mode.id, info())]
    return found


def refuse_runtime(mode: ModeSettings, info: Info) -> None:
    """Raises SandboxUnavailableError when the daemon does not know the mode's runtime."""
    known = sorted(info.get("Runtimes") or ())
    if mode.runtime in known:
        return
    near = difflib.get_close_matches(str(mode.runtime), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise SandboxUnavailableError(
        f"The Docker daemon has no runtime {mode.runtime!r}, which the mode {mode.id!r} asks for.{hint} It has: {', '.join(known)}.\n"
        "Install it and register it with the daemon (for gVisor: `sudo runsc install`, then restart Docker), or take `runtime` out."
    )


def gpu_request(mode: str, info: Info) -> dict[str, Any]:
    """A request for every GPU of the machine: by CDI where the daemon has found such devices, else by NVIDIA's runtime."""
    devices = [str(each.get("ID", "")) for each in info.get("DiscoveredDevices") or () if isinstance(each, Mapping)]
    if ALL_BY_CDI in devices:
        return {"Driver": "cdi", "DeviceIDs": [ALL_BY_CDI]}
    if NVIDIA in (info.get("Runtimes") or ()):
        return {"Driver": NVIDIA, "Count": -1, "Capabilities": [["gpu"]]}
    raise no_gpu(mode)


def no_gpu(mode: str) -> SandboxUnavailableError:
    return SandboxUnavailableError(
        f"The mode {mode!r} asks for a GPU, and this Docker daemon has none to give: neither NVIDIA's runtime nor a CDI device.\n"
        "Install nvidia-container-toolkit, run `sudo nvidia-ctk runtime configure --runtime=docker`, and restart Docker;"
        " or take `gpu: true` out."
    )


def refuse_unfitting(mode: ModeSettings) -> None:
    """Raises ConfigError when a mode that is no container asks for what only containers have, or when volumes could not be compared."""
    asked = [name for name in ("volumes", "gpu", "runtime") if getattr(mode, name)]
    if asked and mode.kind != "docker":
        raise ConfigError(f"The mode {mode.id!r} is no container and has no {' and no '.join(asked)}: choose a docker mode.")
    if mode.volumes and has_own_kernel(mode.runtime):
        raise ConfigError(
            f"The mode {mode.id!r} runs on {mode.runtime}, a kernel of its own: a volume cannot be compared inside.\n"
            "Pass values with inputs and outputs, or files with the run, or choose a mode without that runtime."
        )


def daemon_cpus(cpus: float, info: Callable[[], Info]) -> float:
    """A bound above what the machine has is the same as what it has, and a daemon refuses it."""
    if cpus <= 1:
        return cpus
    return min(cpus, float(info().get("NCPU") or cpus))
