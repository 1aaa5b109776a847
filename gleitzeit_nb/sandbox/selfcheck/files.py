"""Nothing of the host to read, nothing to write but three places."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import DOCKER, Area, Execute
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

# -- what an administrator could reach through the kernel's own file systems ---------------------------------------------------

AREA.snippet(
    "no_kernel_setting_is_writable",
    "No file below /proc/sys can be opened for writing.",
    tried="open every file below /proc/sys for writing",
    code="""
seen = []
for folder, _, files in os.walk("/proc/sys"):
    seen += [folder + "/" + name for name in files if attempt(os.open, folder + "/" + name, os.O_WRONLY)[0] == "done"]
seen = seen[:5]
""",
    expected=[],
    weakening="unmasked",
    proves="kernel-files",
)

AREA.snippet(
    "the_devices_tree_is_read_only",
    "/sys is mounted read-only, or not there.",
    tried="statvfs of /sys",
    code="seen = bool(os.statvfs('/sys').f_flag & os.ST_RDONLY) or not os.listdir('/sys') if os.path.isdir('/sys') else True",
    expected=True,
    weakening="unmasked",
    proves="kernel-files",
)

AREA.snippet(
    "no_control_group_can_be_made",
    "The code cannot give itself another control group, hence other limits.",
    tried="make a directory in each hierarchy below /sys/fs/cgroup",
    code="""
seen = []
top = "/sys/fs/cgroup"
for folder in [top] + [os.path.join(top, name) for name in (os.listdir(top) if os.path.isdir(top) else []) if not name.count(".")]:
    if os.path.ismount(folder) and attempt(os.mkdir, folder + "/gleitzeit-selfcheck")[0] == "done":
        os.rmdir(folder + "/gleitzeit-selfcheck")
        seen.append(folder)
""",
    expected=[],
    weakening="unmasked",
    proves="kernel-files",
)

AREA.snippet(
    "the_kernels_memory_is_masked",
    "Files of the kernel that tell of the whole machine are empty, closed or not there.",
    tried="read kcore, timer_list, kallsyms, modules, interrupts, cmdline and kmsg of /proc",
    code="""
seen = []
for name in ("kcore", "timer_list", "sched_debug", "latency_stats", "kallsyms", "modules", "interrupts", "cmdline", "kmsg"):
    try:
        handle = os.open("/proc/" + name, os.O_RDONLY | os.O_NONBLOCK)
        if os.read(handle, 16):
            seen.append(name)
    except OSError:
        pass
""",
    expected=[],
    weakening="unmasked",
    proves="kernel-files",
    forms=DOCKER,
)

AREA.snippet(
    "firmware_and_acpi_are_masked",
    "The machine's firmware tables are empty or not there.",
    tried="list /sys/firmware, /proc/acpi and /proc/scsi",
    code="""
seen = []
for folder in ("/sys/firmware", "/proc/acpi", "/proc/scsi"):
    if os.path.isdir(folder) and attempt(os.listdir, folder)[0] == "done" and os.listdir(folder):
        seen.append(folder)
""",
    expected=[],
    weakening="unmasked",
    proves="kernel-files",
)

AREA.snippet(
    "only_harmless_devices_are_there",
    "Of devices there are null, zero, full, the random ones and terminals.",
    tried="list every device file below /dev",
    code="""
known = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
seen = []
for folder, folders, files in os.walk("/dev"):
    for name in files:
        mode = os.lstat(os.path.join(folder, name)).st_mode
        if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and name not in known and folder != "/dev/pts":
            seen.append(name)
seen = sorted(seen)[:5]
""",
    expected=[],
    weakening="disk given",
    proves="no-devices",
    withheld=lambda subject: "it was given a GPU" if getattr(subject.mode, "gpu", False) else "",
)

AREA.snippet(
    "no_disk_is_there",
    "No block device can be found, so no disk can be read past its file system.",
    tried="look for block devices in /dev and in /proc/self/mountinfo's sources",
    code="""
seen = []
for folder, folders, files in os.walk("/dev"):
    seen += [folder + "/" + name for name in files if stat.S_ISBLK(os.lstat(folder + "/" + name).st_mode)]
seen = sorted(seen)[:5]
""",
    expected=[],
    weakening="disk given",
    proves="no-devices",
)

# -- the writable places -------------------------------------------------------------------------------------------------------

for word, bit, because in (("nosuid", 2, "a set-uid file means nothing"), ("nodev", 4, "a device file means nothing")):
    AREA.snippet(
        f"writable_places_are_{word}",
        f"In the writable places {because}.",
        tried="statvfs of /work, /tmp and /dev/shm",
        code=f"seen = [bool(os.statvfs(place).f_flag & {bit}) for place in ('/work', '/tmp', '/dev/shm')]",
        expected=[True] * 3,
        weakening="loose places",
        proves="three-places",
    )

AREA.snippet(
    "nothing_written_can_be_started",
    "Programs that the code writes cannot be started.",
    tried="copy /bin/true to /work and start it",
    code="""
import shutil, subprocess
shutil.copy("/bin/true", "/work/true")
seen = attempt(subprocess.call, ["/work/true"])
os.unlink("/work/true")
""",
    expected=["refused", "EACCES"],
    weakening="loose places",
    proves="three-places",
    forms=DOCKER,
)

AREA.snippet(
    "mounts_are_read_only",
    "No mount is writable but the three places, and the kernel's own of processes, terminals and queues.",
    tried="read /proc/self/mountinfo",
    code="""
seen = []
for line in open("/proc/self/mountinfo"):
    place, options = line.split()[4:6]
    if "rw" in options.split(",") and "/" + place.split("/")[1] not in ("/work", "/tmp", "/proc", "/dev", "/sys"):
        seen.append(place)
""",
    expected=[],
    weakening="writable root",
    proves="three-places",
    withheld=lambda subject: "it has volumes of its own" if getattr(subject.mode, "volumes", ()) else "",
)


@AREA.check("host files", proves="no-host-files", tried="look for socket files everywhere", expected=[])
async def no_socket_of_the_host_is_in_sight(execute: Execute) -> Any:
    """No socket file of the host is there: neither the Docker daemon's nor anybody else's."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, socket.socket(socket.AF_UNIX) as server:
        os.chmod(folder, 0o755)
        server.bind(os.path.join(folder, "socket"))
        return await seen(execute, SOCKETS)


SOCKETS = """
seen = []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/work", "/tmp", "/dev/shm", "/usr")]
    seen += [folder + "/" + name for name in files if stat.S_ISSOCK(os.lstat(folder + "/" + name).st_mode)]
"""
