"""Nothing of the host to read, nothing to write but three places."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import Area, Execute
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("files")

AREA.snippet(
    "the_root_is_read_only",
    "The root file system is mounted read-only.",
    tried="statvfs of /",
    code="seen = bool(os.statvfs('/').f_flag & os.ST_RDONLY)",
    expected=True,
    weakening="writable root",
    proves="three-places",
)

AREA.snippet(
    "nothing_else_is_writable",
    "Only /work, /tmp and /dev/shm can be written to.",
    tried="make a file in every directory, and open every file for writing",
    code="""
seen = []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if not os.path.join(folder, name).startswith(("/proc", "/sys"))]
    if folder.startswith(("/work", "/tmp", "/dev/shm")):
        continue
    if attempt(open, folder + "/new", "w")[0] == "done":
        seen.append(folder)
    for path in [os.path.join(folder, name) for name in files]:
        if stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.W_OK):
            seen.append(path)
""",
    expected=[],
    weakening="writable root",
    proves="three-places",
)


@AREA.check("host files", proves="no-host-files", tried="open a world-readable file of the host", expected=["refused", "ENOENT"])
async def the_hosts_files_are_not_there(execute: Execute) -> Any:
    """A file that anybody on the host may read does not exist inside."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = os.path.join(folder, "secret")
        os.close(os.open(path, os.O_CREAT, 0o644))
        os.chmod(folder, 0o755)
        return await seen(execute, f"seen = attempt(open, {path!r})")


AREA.snippet(
    "no_message_queue_can_be_made",
    "No POSIX message queue, which would outlive the run.",
    tried="make a queue in /dev/mqueue",
    code="seen = attempt(open, '/dev/mqueue/left', 'w')[0]",
    expected="refused",
    weakening="no queue limit",
    proves="three-places",
)

AREA.snippet(
    "no_device_can_be_made",
    "No device file, which would be the host's hardware.",
    tried="mknod of a block device in /work",
    code="seen = attempt(os.mknod, '/work/disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))[0]",
    expected="refused",
    weakening="root with capabilities",
    proves="no-devices",
)
