"""The profile and the guest with one protection taken away, to see that the check of that protection fails without it.

Nothing but the self-check's own probes ever runs in such a guest, and no other module imports this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gleitzeit_nb.core.execution import MIB, Limits, ModeSettings
from gleitzeit_nb.sandbox.channel import Expectations, GuestChannel
from gleitzeit_nb.sandbox.docker import DockerLauncher
from gleitzeit_nb.sandbox.network import Gateway
from gleitzeit_nb.sandbox.profile import Profile, seccomp_profile
from gleitzeit_nb.sandbox.selfcheck.probing import SECRET, SECRET_NAME
from gleitzeit_nb.sandbox.selfcheck.weak_gateways import OpenAddresses, OpenRules
from gleitzeit_nb.sandbox.volumes import Held

# Not every daemon can give every one of the administrator's rights: those that the checks of system calls ask for.
ADMINISTRATION = (
    *("DAC_READ_SEARCH", "NET_RAW", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_TIME"),
    "SYS_TTY_CONFIG",
)

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Weakening:
    """`host`, `config` and `equipment` change the SDK's arguments, `raw` what it has none for; `source` replaces text in the guest;
    `gateway` judges connections.
    """

    host: Change | None = None
    config: Change | None = None
    equipment: Change | None = None
    doors: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict)
    source: tuple[tuple[str, str], ...] = ()
    gateway: type[Gateway] = Gateway


def setting(**values: Any) -> Change:
    return lambda arguments: arguments.update(values)


def without(name: str) -> Change:
    return lambda arguments: arguments.pop(name)


def security(*options: str) -> Change:
    return setting(security_opt=list(options))


def _with_capabilities(arguments: dict[str, Any]) -> None:
    arguments.update(cap_drop=[], security_opt=["seccomp=unconfined"], tmpfs=_tmpfs("dev", "uid=0,gid=0"))


def _with_administration(arguments: dict[str, Any]) -> None:
    arguments.update(cap_drop=[], cap_add=list(ADMINISTRATION), security_opt=["seccomp=unconfined", "apparmor=unconfined"])


def filtered(change: Callable[[list[dict[str, Any]]], None]) -> Change:
    """The seccomp list with its rules changed."""

    def changed(arguments: dict[str, Any]) -> None:
        profile = json.loads(seccomp_profile())
        change(profile["syscalls"])
        arguments["security_opt"] = ["no-new-privileges:true", f"seccomp={json.dumps(profile)}"]

    return changed


def _any_arguments(call: str) -> Change:
    def change(rules: list[dict[str, Any]]) -> None:
        rules[:] = [rule for rule in rules if rule["names"] != [call]]
        rules[0]["names"] = [*rules[0]["names"], call]

    return filtered(change)


def _tmpfs(*options: str) -> dict[str, str]:
    return {folder: ",".join(("rw", "uid=65534,gid=65534", "mode=1777", *options)) for folder in ("/work", "/tmp", "/dev/shm")}


def _unmasked(arguments: dict[str, Any]) -> None:
    _with_administration(arguments)
    arguments["binds"] = ["/sys:/sys:rw", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]


def _with_a_disk(arguments: dict[str, Any]) -> None:
    """Any block device does; a loop device is there on nearly every machine, and without a file behind it holds nothing."""
    disks = sorted(path for path in Path("/dev").iterdir() if path.is_block_device())
    arguments["devices"] = [{"PathOnHost": str(disk), "PathInContainer": str(disk), "CgroupPermissions": "m"} for disk in disks[:1]]


def _each_mount(**changes: Any) -> Change:
    def change(arguments: dict[str, Any]) -> None:
        arguments["mounts"] = [{**mount, **changes} for mount in arguments.get("mounts", ())]

    return change


def _ulimits_without(*names: str) -> Change:
    def change(arguments: dict[str, Any]) -> None:
        arguments["ulimits"] = [each for each in arguments["ulimits"] if each["Name"] not in names]

    return change


def _bare_python(arguments: dict[str, Any]) -> None:
    arguments["command"] = [word for word in arguments["command"] if word != "-I"]


def _with_limit(name: str, value: int) -> Change:
    def change(arguments: dict[str, Any]) -> None:
        _ulimits_without(name)(arguments)
        arguments["ulimits"].append({"Name": name, "Soft": value, "Hard": value})

    return change


def _unlimited_shm(arguments: dict[str, Any]) -> None:
    arguments["tmpfs"] = {**arguments["tmpfs"], "/dev/shm": _tmpfs("size=256m", "nr_inodes=100000")["/dev/shm"]}


IGNORED_RLIMITS = ("for name, value in rlimits.items():", "for name, value in ():")
NO_RLIMITS = (
    IGNORED_RLIMITS,
    ("os.setsid()\n", "os.setsid()\n    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"),
)

# What code would leave behind in a guest that ran it in itself instead of in a child.
KEPT = (
    "import builtins, socket; builtins.left = os.left = 1; os.environ['LEFT'] = '1'; os.umask(0);"
    " sys.setrecursionlimit(77777); socket.setdefaulttimeout(1)"
)
FORK = "child = os.fork()"
START = "    reseed()\n    return _finish"
KEPT_MAIN = "runner.run_cell(header, code, inputs, namespace)"
EXIT_CODE = '"exit_code": runner.exit_code_of(status)'

WEAKENINGS: Mapping[str, Weakening] = {
    "host network": Weakening(host=setting(network_mode="host")),
    "name servers": Weakening(host=setting(dns=["192.0.2.53"])),
    "any clone": Weakening(host=_any_arguments("clone")),
    "any personality": Weakening(host=_any_arguments("personality")),
    "any socket": Weakening(host=_any_arguments("socket")),
    "another group": Weakening(host=setting(group_add=["4711"])),
    "unmasked": Weakening(host=_unmasked, config=setting(user="0:0"), raw={"MaskedPaths": [], "ReadonlyPaths": []}),
    "soft limits": Weakening(source=(("(number, (value, value))", "(number, (max(0, value - 1), value))"),)),
    "disk given": Weakening(host=_with_a_disk),
    "loose places": Weakening(host=setting(tmpfs=_tmpfs("suid", "dev", "exec", "size=64m", "nr_inodes=8192"))),
    "host uts": Weakening(host=setting(uts_mode="host"), config=without("hostname")),
    "no seccomp": Weakening(host=security("no-new-privileges:true", "seccomp=unconfined")),
    # Without no_new_privs the filter is loaded before the runtime changes the user, which it does not allow: both have to go.
    "new privileges": Weakening(host=security("seccomp=unconfined")),
    "writable root": Weakening(host=setting(read_only=False)),
    "host files": Weakening(host=setting(binds=["/var/tmp:/var/tmp:ro"])),
    "volumes writable": Weakening(equipment=_each_mount(ReadOnly=False)),
    "doors in volumes": Weakening(doors=True),
    "another volume": Weakening(equipment=_each_mount(Source="/var/tmp")),
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
    "shm unlimited": Weakening(host=_unlimited_shm),
    "swap open": Weakening(host=setting(memswap_limit=-1)),
    "no processor limit": Weakening(host=without("nano_cpus")),
    "core dumps on": Weakening(host=_with_limit("core", 1 << 20), source=(IGNORED_RLIMITS,)),
    "no output limit": Weakening(source=(("data[: self.head_left]", "data[:]"),)),
    "links followed": Weakening(
        source=(
            ("os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_RDONLY | os.O_NONBLOCK"),
            ("if stat.S_ISLNK(status.st_mode):", "if False:"),
            ("if not stat.S_ISREG(status.st_mode):", "if False:"),
        )
    ),
    "files without limit": Weakening(source=(("if status.st_size > most_bytes:", "if False:"),)),
    "hidden files brought out": Weakening(source=((" and os.path.basename(name) not in HOUSEKEEPING", ""),)),
    "inputs forgotten": Weakening(source=(("if noted and not fault:", "if False:"),)),
    "live HTML sent": Weakening(source=(('and (html or kind != "html")', ""), ("    if not html:\n", "    if False:\n"))),
    "no deadline": Weakening(source=(("left = deadline - time.monotonic()", "left = 3600.0"),)),
    "nothing killed": Weakening(source=(("os.kill(pid, signal.SIGKILL)", "return True"),)),
    "nothing wiped": Weakening(source=(("for path, mode in self.wiped.items()]", "for path, mode in ()]"),)),
    "state kept": Weakening(
        source=(
            (FORK, f"{FORK}\n            if child: {KEPT}"),
            ("os.chdir(work)", "os.chdir('/')"),
            ("os.umask(0o022)", "pass"),
        )
    ),
    "chance repeated": Weakening(source=((START, "    import random; random.seed(1)\n    return _finish"),)),
    "session forgotten": Weakening(source=((KEPT_MAIN, KEPT_MAIN.replace("namespace", "runner.fresh_main()")),)),
    "inputs kept": Weakening(source=((FORK, f"{FORK}\n            if child: import builtins; builtins.passed = 1"),)),
    "host environment": Weakening(config=setting(environment={SECRET_NAME: SECRET})),
    "host processes": Weakening(host=setting(pid_mode="host")),
    "host name": Weakening(config=without("hostname")),
    "host ipc": Weakening(host=setting(ipc_mode="host")),
    "input inherited": Weakening(source=(("os.dup2(null, 0)", "pass"),)),
    "source cut": Weakening(source=(('code.decode("utf-8", "surrogatepass")', 'code.partition(b"\\0")[0].decode()'),)),
    "tail dropped": Weakening(source=(("bytes(self.tail), protocol.CHUNK", "b'', protocol.CHUNK"),)),
    "bytes lost": Weakening(source=(("piece = stream.take(data)", "piece = stream.take(data.replace(b'\\0', b''))"),)),
    "streams mixed": Weakening(source=(("os.dup2(stderr, 2)", "os.dup2(stdout, 2)"),)),
    "guest in sight": Weakening(
        source=(("not frame.filename.startswith", "frame.filename.startswith"), ("frames[own[0] :] if own else []", "frames"))
    ),
    "exit code lost": Weakening(source=((EXIT_CODE, '"exit_code": 0'),)),
    "reports without end": Weakening(source=(("data = data[: self.left]\n", "data = data[:]\n"),)),
    "guest importable": Weakening(source=(("del sys.modules[name]", "pass"),)),
    "proxies told": Weakening(config=setting(environment={"HTTPS_PROXY": "http://user:secret@proxy.test"})),
    "python not isolated": Weakening(config=_bare_python),
    "open rules": Weakening(gateway=OpenRules),
    "open addresses": Weakening(gateway=OpenAddresses),
    "network kept": Weakening(source=(("self.network.close()", "self.kept = self.network"),)),
    "proxy announced for good": Weakening(
        source=(("child = os.fork()", "child = os.fork()\n            if child and self.network: tunnels.Announced()(self.network.port)"),)
    ),
    "environment hidden": Weakening(source=((START, f"    os.environ.pop('PATH', None)\n{START}"),)),
    "strict text": Weakening(source=(('errors="backslashreplace"', 'errors="strict"'),)),
}


class WeakProfile(Profile):
    """Also takes back what the guest would verify: else every weakening would end at the handshake."""

    expectations = Expectations(own_network=True, weaker="one protection was taken away, to see its checks fail")

    def __init__(self, weakening: Weakening) -> None:
        self.weakening = weakening

    def host_config(self, limits: Limits) -> dict[str, Any]:
        arguments = super().host_config(limits)
        if self.weakening.host is not None:
            self.weakening.host(arguments)
        return arguments

    def expectations_of(self, mode: ModeSettings, held: Held) -> Expectations:
        return replace(self.expectations, preload=mode.preload or ())

    def refuse_doors(self, held: Held) -> None:
        if not self.weakening.doors:
            super().refuse_doors(held)

    def equipment(self, mode: ModeSettings, held: Held, info: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        arguments = super().equipment(mode, held, info)
        if self.weakening.equipment is not None:
            self.weakening.equipment(arguments)
        return arguments

    def raw_host_config(self) -> dict[str, Any]:
        return {**super().raw_host_config(), **self.weakening.raw}

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
        """Not obeyed: it would bring back a limit that was taken away."""


def altered(message: bytes, replacements: tuple[tuple[str, str], ...]) -> bytes:
    """Raises AssertionError when a text is not in the guest (any more): then the weakening would weaken nothing."""
    modules = json.loads(message[4:])
    for old, new in replacements:
        if not any(old in source for _, source in modules):
            raise AssertionError(f"the guest holds no {old!r}")
        modules = [(name, source.replace(old, new)) for name, source in modules]
    data = json.dumps(modules).encode("ascii")
    return len(data).to_bytes(4, "big") + data
