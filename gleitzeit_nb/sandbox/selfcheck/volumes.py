"""What a volume shows of this machine, and what it does not. Each check mounts a folder of its own, made for it below /var/tmp."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gleitzeit_nb.core.execution import SandboxSettings
from gleitzeit_nb.core.runtimes import has_own_kernel
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.sandbox.selfcheck.check import DOCKER, Area, Execute, Subject, Where
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("volumes")

ROOT = "/var/tmp"  # which every user may enter, unlike /tmp on some machines
PLACE = "/selfcheck"


def with_volume_root(settings: SandboxSettings) -> SandboxSettings:
    """The settings of a sandbox that is to be checked: volumes may lie where the checks put theirs."""
    return settings if ROOT in settings.volume_roots else replace(settings, volume_roots=(*settings.volume_roots, ROOT))


def mounts_here(subject: Subject) -> str:
    if has_own_kernel(subject.mode.runtime):
        return f"{subject.mode.runtime} is a kernel of its own, where volumes are refused"
    return "" if ROOT in subject.volume_roots else f"volumes may not lie below {ROOT} here"


@contextmanager
def folder() -> Iterator[str]:
    """A folder that anybody may write, with a file that anybody may write, beside a file that is not in it."""
    with tempfile.TemporaryDirectory(prefix="gleitzeit-selfcheck-", dir=ROOT) as top:
        os.chmod(top, 0o755)
        made = os.path.join(top, "volume")
        os.mkdir(made)
        os.chmod(made, 0o777)
        for path in (os.path.join(made, "inside"), os.path.join(top, "outside")):
            os.close(os.open(path, os.O_CREAT, 0o666))
            os.chmod(path, 0o666)
        os.symlink("../outside", os.path.join(made, "up"))
        os.symlink(os.path.join(top, "outside"), os.path.join(made, "across"))
        yield made


WRITING = f"""
seen = [
    attempt(open, "{PLACE}/inside", "w"), attempt(open, "{PLACE}/new", "w"), attempt(os.unlink, "{PLACE}/inside"),
    attempt(os.chmod, "{PLACE}", 0o700), attempt(os.symlink, "/etc", "{PLACE}/planted"), attempt(os.rename, "{PLACE}/up", "{PLACE}/down"),
]
"""


@AREA.check(
    "volumes writable",
    proves="volumes",
    tried="write, make, remove, open up, link and rename in a read-only volume that anybody may write outside",
    expected=[["refused", "EROFS"]] * 6,
    forms=DOCKER,
    withheld=mounts_here,
)
async def a_volume_is_read_only(execute: Execute) -> Any:
    """Nothing in a volume can be changed unless it was asked for as writable."""
    with folder() as made:
        return await seen(execute, WRITING, volumes=[f"{made}:{PLACE}"])


@AREA.check(
    "host files",
    proves="volumes",
    tried="read over links in a volume that lead out of it, up and by an absolute path",
    expected=[["refused", "ENOENT"]] * 2,
    forms=DOCKER,
    withheld=mounts_here,
)
async def a_link_in_a_volume_leads_nowhere(execute: Execute) -> Any:
    """Links in a volume are followed inside the container, where they lead to nothing of the host."""
    with folder() as made:
        code = f"seen = [attempt(open, '{PLACE}/up'), attempt(open, '{PLACE}/across')]"
        return await seen(execute, code, volumes=[f"{made}:{PLACE}"])


@AREA.check(
    "another volume",
    proves="volumes",
    tried="compare device and inode of the mount point with those of the folder that was named",
    expected=True,
    forms=DOCKER,
    withheld=mounts_here,
)
async def a_volume_is_what_was_named(execute: Execute) -> Any:
    """What is mounted is the very folder that was found beneath the allowed root."""
    with folder() as made:
        status = os.stat(made)
        code = f"status = os.stat('{PLACE}'); seen = [status.st_dev, status.st_ino]"
        return await seen(execute, code, volumes=[f"{made}:{PLACE}"]) == [status.st_dev, status.st_ino]


@AREA.check(
    "doors in volumes",
    proves="no-network",
    tried="connect to a socket of the host that lies in a read-only volume",
    expected="refused",
    forms=DOCKER,
    withheld=mounts_here,
)
async def a_socket_in_a_volume_is_no_way_out(execute: Execute) -> Any:
    """A volume with a socket that others may write is not mounted: being read-only would not close it."""
    with folder() as made, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.join(made, "door"))
        os.chmod(os.path.join(made, "door"), 0o777)
        listening.listen()
        try:
            code = f"seen = attempt(socket.socket(socket.AF_UNIX).connect, '{PLACE}/door')[0]"
            return await seen(execute, code, volumes=[f"{made}:{PLACE}"])
        except ConfigError:
            return "refused"


FOREIGN = """
own = {"overlay", "proc", "tmpfs", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "devtmpfs"}
named = {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/dev/console"}
seen = []
for line in open("/proc/self/mountinfo"):
    before, _, after = line.partition(" - ")
    place, kind = before.split()[4], after.split()[0]
    if place != "/" and kind not in own and place not in named:
        seen.append(place)
"""

AREA.snippet(
    "nothing_is_mounted_that_was_not_named",
    "A run that names no volume has none: all its mounts are the container's own.",
    tried="look for mounts of the host's disks in /proc/self/mountinfo",
    code=FOREIGN,
    expected=Where("only those that the mode itself names", lambda seen, _: seen == []),
    weakening="host files",
    proves="volumes",
    forms=DOCKER,
    withheld=lambda subject: "the mode has volumes of its own" if subject.mode.volumes else "",
)
