"""What the code can learn about where it runs."""

from __future__ import annotations

import os
from typing import Any

from gleitzeit_nb.sandbox.selfcheck.between_runs import PROCESSES
from gleitzeit_nb.sandbox.selfcheck.check import ENFORCED, EVERY, Area, Check, Execute, Subject, Where
from gleitzeit_nb.sandbox.selfcheck.probing import SECRET, seen

AREA = Area("environment")


def _proxies(subject: Subject) -> str:
    if subject.mode.network != "none":
        return "its restricted network is a proxy"
    return "its configuration names some" if any("proxy" in name.lower() for name in subject.mode.environment) else ""


AREA.snippet(
    "the_hosts_environment_is_not_there",
    "No variable of the host's process is seen inside, by any name.",
    tried="look for a value that was planted in the host's environment",
    code=f"seen = {SECRET!r} in repr(dict(os.environ)) or {SECRET.encode()!r} in open('/proc/self/environ', 'rb').read()",
    expected=False,
    weakening="host environment",
    proves="no-host-environment",
    forms=EVERY,
)

AREA.snippet(
    "other_processes_are_not_seen",
    "The code sees its guest and itself.",
    tried="list the numbers in /proc",
    code=PROCESSES,
    expected=[1],
    weakening="host processes",
    proves="no-host-processes",
    alone=True,
)

AREA.snippet(
    "the_hosts_name_is_not_told",
    'The machine is called "sandbox".',
    tried="gethostname()",
    code="seen = socket.gethostname()",
    expected="sandbox",
    weakening="host name",
    proves="no-host-environment",
)


@AREA.check(
    "host ipc",
    proves="no-host-processes",
    tried="compare the IPC namespace with the host's",
    expected=Where("another namespace", lambda seen, _: seen[0] != seen[1]),
)
async def ipc_is_its_own(execute: Execute) -> Any:
    """Shared memory and semaphores of the host are in another namespace."""
    return [await seen(execute, "seen = os.readlink('/proc/self/ns/ipc')"), os.readlink("/proc/self/ns/ipc")]


AREA.snippet(
    "no_proxy_is_told",
    "The host's proxies, whose addresses may hold passwords, are not told.",
    tried="look for variables that end in _proxy",
    code="seen = sorted(name for name in os.environ if name.lower().endswith('_proxy'))",
    expected=[],
    weakening="proxies told",
    proves="no-host-environment",
    forms=EVERY,
    withheld=_proxies,
)

AREA.snippet(
    "home_is_the_work_directory",
    "HOME is the sandbox's own work directory, not the host user's.",
    tried="compare HOME with the directory that the code starts in",
    code="seen = os.path.realpath(os.environ.get('HOME', '')) == os.getcwd()",
    expected=True,
    weakening="host environment",
    proves="no-host-environment",
    forms=ENFORCED,
    withheld=lambda subject: "its configuration sets HOME" if "HOME" in subject.mode.environment else "",
)

AREA.snippet(
    "python_is_isolated",
    "Python obeys no variable and no user's own packages: it runs isolated.",
    tried="sys.flags.isolated",
    code="seen = sys.flags.isolated",
    expected=1,
    weakening="python not isolated",
    proves="no-host-environment",
    forms=EVERY,
)

AREA.snippet(
    "nothing_hides_behind_the_environment",
    "The environment that the process started with holds no more than what the code is shown.",
    tried="compare /proc/self/environ with os.environ",
    code="""
first = {entry.partition(b"=")[0].decode() for entry in open("/proc/self/environ", "rb").read().split(b"\\0") if entry}
seen = sorted(first - set(os.environ))
""",
    expected=[],
    weakening="environment hidden",
    proves="no-host-environment",
    forms=EVERY,
)

NAMESPACES = {
    "pid": ("processes", "host processes", "no-host-processes"),
    "net": ("networks", "host network", "no-network"),
    "uts": ("host names", "host uts", "no-host-environment"),
}


def _apart(kind: str, words: str, weakening: str, proves: str) -> None:
    async def probe(execute: Execute) -> Any:
        return [await seen(execute, f"seen = os.readlink('/proc/self/ns/{kind}')"), os.readlink(f"/proc/self/ns/{kind}")]

    AREA.add(
        Check(
            f"the_namespace_of_{words.replace(' ', '_')}_is_its_own",
            AREA.name,
            f"Code sees other {words} than the host does.",
            f"compare the {kind} namespace with the host's",
            Where("another namespace", lambda seen, _: seen[0] != seen[1]),
            weakening,
            proves,
            ENFORCED,
            probe,
            source=f"compare {kind}",
        )
    )


for kind, (words, weakening, proves) in NAMESPACES.items():
    _apart(kind, words, weakening, proves)
