"""The profile and the guest with one protection taken away, to see that the check of that protection fails without it.

Nothing but the self-check's own probes ever runs in such a guest, and no other module imports this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gleitzeit_nb.core.execution import MIB, Limits, ModeSettings
from gleitzeit_nb.sandbox.channel import Expectations, GuestChannel
from gleitzeit_nb.sandbox.docker import DockerLauncher
from gleitzeit_nb.sandbox.profile import Profile
from gleitzeit_nb.sandbox.selfcheck.probing import SECRET, SECRET_NAME
from gleitzeit_nb.sandbox.volumes import Held

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Weakening:
    """`host`, `config` and `equipment` change the SDK's arguments; `source` replaces text in the guest."""

    host: Change | None = None
    config: Change | None = None
    equipment: Change | None = None
    source: tuple[tuple[str, str], ...] = ()


def setting(**values: Any) -> Change:
    return lambda arguments: arguments.update(values)


def without(name: str) -> Change:
    return lambda arguments: arguments.pop(name)


def security(*options: str) -> Change:
    return setting(security_opt=list(options))


def _with_capabilities(arguments: dict[str, Any]) -> None:
    arguments.update(cap_drop=[], security_opt=["seccomp=unconfined"], tmpfs=_tmpfs("dev", "uid=0,gid=0"))


def _with_administration(arguments: dict[str, Any]) -> None:
    arguments.update(cap_drop=[], cap_add=["SYS_ADMIN", "SYS_MODULE"], security_opt=["seccomp=unconfined", "apparmor=unconfined"])


def _tmpfs(*options: str) -> dict[str, str]:
    return {folder: ",".join(("rw", "uid=65534,gid=65534", "mode=1777", *options)) for folder in ("/work", "/tmp", "/dev/shm")}


def _ulimits_without(*names: str) -> Change:
    def change(arguments: dict[str, Any]) -> None:
        arguments["ulimits"] = [each for each in arguments["ulimits"] if each["Name"] not in names]

    return change


NO_RLIMITS = (
    ("for name, value in rlimits.items():", "for name, value in ():"),
    ("os.setsid()\n", "os.setsid()\n    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"),
)

WEAKENINGS: Mapping[str, Weakening] = {
    "host network": Weakening(host=setting(network_mode="host")),
    "no seccomp": Weakening(host=security("no-new-privileges:true", "seccomp=unconfined")),
    # Without no_new_privs the filter is loaded before the runtime changes the user, which it does not allow: both have to go.
    "new privileges": Weakening(host=security("seccomp=unconfined")),
    "writable root": Weakening(host=setting(read_only=False)),
    "host files": Weakening(host=setting(binds=["/var/tmp:/var/tmp:ro"])),
    "no queue limit": Weakening(host=_ulimits_without("msgqueue")),
    "capabilities kept": Weakening(host=without("cap_drop")),
    "root with capabilities": Weakening(host=_with_capabilities, config=setting(user="0:0")),
    "administrator": Weakening(host=_with_administration, config=setting(user="0:0")),
    # The handshake would refuse it, so that this guest also has to lie.
    "dumpable guest": Weakening(source=(("self.prctl(PR_SET_DUMPABLE, 0)", "pass"), ("self.prctl(PR_GET_DUMPABLE, 0)", "0"))),
    "inherited descriptors": Weakening(source=(("os.closerange(REPORT_FD + 1", "os.closerange(REPORT_FD + 100"),)),
    "guest obeys signals": Weakening(source=(("signal.signal(signal.SIGINT, signal.SIG_IGN)", "pass"),)),
    "unwatched guest": Weakening(source=(("witness.nature() == self.nature", "True"),)),
    "no memory limit": Weakening(host=setting(mem_limit=1024 * MIB, memswap_limit=1024 * MIB)),
    "no process limit": Weakening(host=setting(pids_limit=500)),
    "no disk limit": Weakening(host=setting(tmpfs=_tmpfs("size=256m", "nr_inodes=8192"))),
    "no inode limit": Weakening(host=setting(tmpfs=_tmpfs("size=64m", "nr_inodes=100000"))),
    "no resource limits": Weakening(host=setting(ulimits=[]), source=NO_RLIMITS),
    "no output limit": Weakening(source=(("data[: self.head_left]", "data[:]"),)),
    "no deadline": Weakening(source=(("left = deadline - time.monotonic()", "left = 3600.0"),)),
    "nothing killed": Weakening(source=(("os.kill(pid, signal.SIGKILL)", "return True"),)),
    "nothing wiped": Weakening(source=(("for path, mode in self.wiped.items()]", "for path, mode in ()]"),)),
    "state kept": Weakening(
        source=(
            ("child = os.fork()", "child = os.fork()\n            if child: import builtins; builtins.left = 1"),
            ("os.chdir(work)", "os.chdir('/')"),
        )
    ),
    "host environment": Weakening(config=setting(environment={SECRET_NAME: SECRET})),
    "host processes": Weakening(host=setting(pid_mode="host")),
    "host name": Weakening(config=without("hostname")),
    "host ipc": Weakening(host=setting(ipc_mode="host")),
    "input inherited": Weakening(source=(("os.dup2(null, 0)", "pass"),)),
    "source cut": Weakening(source=(('code.decode("utf-8", "surrogatepass")', 'code.partition(b"\\0")[0].decode()'),)),
    "strict text": Weakening(source=(('errors="backslashreplace"', 'errors="strict"'),)),
}


class WeakProfile(Profile):
    """Also takes back what the guest would verify: else every weakening would end at the handshake."""

    expectations = Expectations(weaker="one protection was taken away, to see its checks fail")

    def __init__(self, weakening: Weakening) -> None:
        self.weakening = weakening

    def host_config(self, limits: Limits) -> dict[str, Any]:
        arguments = super().host_config(limits)
        if self.weakening.host is not None:
            self.weakening.host(arguments)
        return arguments

    def expectations_of(self, mode: ModeSettings, held: Held) -> Expectations:
        return replace(self.expectations, preload=mode.preload or ())

    def equipment(self, mode: ModeSettings, held: Held, info: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        arguments = super().equipment(mode, held, info)
        if self.weakening.equipment is not None:
            self.weakening.equipment(arguments)
        return arguments

    def container_config(self, image: str, mode: ModeSettings, labels: Mapping[str, str]) -> dict[str, Any]:
        arguments = super().container_config(image, mode, labels)
        if self.weakening.config is not None:
            self.weakening.config(arguments)
        return arguments


class WeakLauncher(DockerLauncher):
    def __init__(self, weakening: Weakening) -> None:
        super().__init__(profile=WeakProfile(weakening))
        self._source = weakening.source

    async def launch(self, mode: ModeSettings, limits: Limits, image: str | None) -> GuestChannel:  # type: ignore[override]
        channel = await super().launch(mode, limits, image)
        return AlteredSource(channel, self._source)


class AlteredSource:
    """A channel that changes the guest's source on its way in: it is the first thing that is written."""

    def __init__(self, channel: GuestChannel, replacements: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._replacements = replacements
        self._sent = False

    @property
    def name(self) -> str:
        return self._channel.name

    @property
    def expectations(self) -> Expectations:
        return self._channel.expectations

    async def read(self) -> bytes:
        return await self._channel.read()

    async def write(self, data: bytes) -> None:
        if not self._sent:
            self._sent = True
            data = altered(data, self._replacements)
        await self._channel.write(data)

    async def kill(self) -> None:
        await self._channel.kill()

    async def oom_kills(self) -> int:
        return await self._channel.oom_kills()

    async def memory_bytes(self) -> int | None:
        return await self._channel.memory_bytes()

    async def resize(self, memory_bytes: int, cpus: float) -> None:
        await self._channel.resize(memory_bytes, cpus)


def altered(message: bytes, replacements: tuple[tuple[str, str], ...]) -> bytes:
    """Raises AssertionError when a text is not in the guest (any more): then the weakening would weaken nothing."""
    modules = json.loads(message[4:])
    for old, new in replacements:
        if not any(old in source for _, source in modules):
            raise AssertionError(f"the guest holds no {old!r}")
        modules = [(name, source.replace(old, new)) for name, source in modules]
    data = json.dumps(modules).encode("ascii")
    return len(data).to_bytes(4, "big") + data
