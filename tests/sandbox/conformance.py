"""What the sandbox promises, as checks that can be run on any mode.

Each check says in its docstring what is promised, names the modes that promise it, and the one weakening (see `weakenings`) that must
turn it red. A check gets `execute(code, **options)`, which runs code in the mode, and raises AssertionError when the promise is broken.
Every bomb is bounded, so that even an unprotected machine survives it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gleitzeit_nb.core.execution import DOCKER_MODE, RESTRICTED_MODE, ExecutionResult
from gleitzeit_nb.sandbox import protocol

ENFORCED = (DOCKER_MODE, RESTRICTED_MODE)
DOCKER_ONLY = (DOCKER_MODE,)

MIB = 1 << 20
SIOCGIFADDR = 0x8915
SECRET = "correct-horse-battery-staple"


class Execute(Protocol):
    async def __call__(self, code: str, **options: Any) -> ExecutionResult: ...


@dataclass(frozen=True)
class Check:
    name: str
    promise: str
    modes: tuple[str, ...]
    weakening: str
    probe: Callable[[Execute], Awaitable[None]]


CHECKS: list[Check] = []


def check(weakening: str, modes: tuple[str, ...] = ENFORCED) -> Callable[[Callable[[Execute], Awaitable[None]]], None]:
    def register(probe: Callable[[Execute], Awaitable[None]]) -> None:
        CHECKS.append(Check(probe.__name__, (probe.__doc__ or "").strip(), modes, weakening, probe))

    return register


PRELUDE = """
import ctypes, errno, json, os, socket, stat, sys
def attempt(function, *arguments):
    try:
        return ["done", repr(function(*arguments))[:200]]
    except BaseException as exc:
        return ["refused", errno.errorcode.get(getattr(exc, "errno", None) or 0, type(exc).__name__)]
def syscall(*arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(*arguments)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def status():
    return dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
"""


async def seen(execute: Execute, code: str, **options: Any) -> Any:
    """What the code leaves in the variable `seen`."""
    result = await execute(PRELUDE + code, outputs=("seen",), **options)
    assert result.ok, f"{result.status}: {result.detail}\n{result.traceback}{result.stderr}"
    return result.outputs["seen"]


# -- network ------------------------------------------------------------------------------------------------------------------

INTERFACES = """
try:
    seen = sorted(name for name in os.listdir("/sys/class/net") if int(open(f"/sys/class/net/{name}/flags").read(), 16) & 1)
except OSError:
    down = {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
    seen = sorted({line.partition(":")[0].strip() for line in open("/proc/net/dev") if ":" in line} - down)
"""


@check("host network")
async def only_loopback_is_up(execute: Execute) -> None:
    """No network interface but loopback."""
    assert await seen(execute, INTERFACES) == ["lo"]


def host_address() -> str:
    """An address of this machine on a network, else one that is reserved for documentation."""
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue
        address = socket.inet_ntoa(answer[20:24])
        if not address.startswith("127."):
            return address
    return "192.0.2.1"


@check("host network")
async def no_packet_finds_a_route(execute: Execute) -> None:
    """A connection to another machine, or to the host, is refused by the kernel at once, for want of a route."""
    code = f"s = socket.socket(); s.settimeout(2); seen = attempt(s.connect, ({host_address()!r}, 9))"
    assert await seen(execute, code) == ["refused", "ENETUNREACH"]


@check("host network")
async def the_hosts_loopback_is_out_of_reach(execute: Execute) -> None:
    """Servers on the host's own loopback address cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"s = socket.socket(); s.settimeout(2); seen = attempt(s.connect, ('127.0.0.1', {port}))[0]"
        assert await seen(execute, code) == "refused"


@check("no seccomp")
async def no_sockets_but_local_and_ip(execute: Execute) -> None:
    """No netlink, packet or vsock sockets, which reach the kernel or the hypervisor."""
    code = "seen = [attempt(socket.socket, family, socket.SOCK_RAW)[0] for family in (16, 17, 40)]"
    assert await seen(execute, code) == ["refused"] * 3


# -- files --------------------------------------------------------------------------------------------------------------------


@check("writable root")
async def the_root_is_read_only(execute: Execute) -> None:
    """The root file system is mounted read-only."""
    assert await seen(execute, "seen = bool(os.statvfs('/').f_flag & os.ST_RDONLY)") is True


WRITABLE = """
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
"""


@check("writable root")
async def nothing_else_is_writable(execute: Execute) -> None:
    """Only /work, /tmp and /dev/shm can be written to."""
    assert await seen(execute, WRITABLE) == []


@check("host files")
async def the_hosts_files_are_not_there(execute: Execute) -> None:
    """A file that anybody on the host may read does not exist inside."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = os.path.join(folder, "secret")
        os.close(os.open(path, os.O_CREAT, 0o644))
        os.chmod(folder, 0o755)
        assert await seen(execute, f"seen = attempt(open, {path!r})") == ["refused", "ENOENT"]


@check("no queue limit")
async def no_message_queue_can_be_made(execute: Execute) -> None:
    """No POSIX message queue, which would outlive the run."""
    assert await seen(execute, "seen = attempt(open, '/dev/mqueue/left', 'w')[0]") == "refused"


@check("root with capabilities")
async def no_device_can_be_made(execute: Execute) -> None:
    """No device file, which would be the host's hardware."""
    code = "seen = attempt(os.mknod, '/work/disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))[0]"
    assert await seen(execute, code) == "refused"


# -- privileges ---------------------------------------------------------------------------------------------------------------


@check("root with capabilities")
async def the_user_is_not_root(execute: Execute) -> None:
    """Code runs as an ordinary user."""
    assert await seen(execute, "seen = min(os.getresuid() + os.getresgid())") > 0


@check("capabilities kept")
async def there_are_no_capabilities(execute: Execute) -> None:
    """No capability is held, and none can be gained: the bounding set is empty."""
    code = "seen = [int(status()[name], 16) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')]"
    assert await seen(execute, code) == [0] * 5


@check("new privileges")
async def setuid_programs_gain_nothing(execute: Execute) -> None:
    """no_new_privs is set."""
    assert await seen(execute, "seen = status()['NoNewPrivs']") == "1"


@check("no seccomp")
async def system_calls_are_filtered(execute: Execute) -> None:
    """A seccomp filter is in force."""
    assert await seen(execute, "seen = status()['Seccomp']") == "2"


@check("no seccomp")
async def no_namespace_can_be_made(execute: Execute) -> None:
    """unshare of a user namespace, the usual first step of an escape, is refused."""
    assert await seen(execute, "seen = syscall(272, 0x10000000)") == "EPERM"


@check("administrator")
async def no_file_system_can_be_mounted(execute: Execute) -> None:
    """mount is refused before its arguments are looked at."""
    assert await seen(execute, "seen = syscall(165, 0, 0, 0, 0, 0)") == "EPERM"


@check("administrator")
async def no_kernel_module_can_be_loaded(execute: Execute) -> None:
    """init_module is refused before its arguments are looked at."""
    assert await seen(execute, "seen = syscall(175, 0, 0, 0)") == "EPERM"


@check("no seccomp")
async def no_process_can_be_traced(execute: Execute) -> None:
    """ptrace is refused."""
    assert await seen(execute, "seen = syscall(101, 0, 0, 0, 0)") == "EPERM"


@check("no seccomp")
async def io_uring_is_not_there(execute: Execute) -> None:
    """io_uring, which goes around the filter, answers as if the kernel had none."""
    assert await seen(execute, "seen = syscall(425, 1, 0)") == "ENOSYS"


@check("no seccomp")
async def the_kernels_keyring_is_closed(execute: Execute) -> None:
    """Keys, which would outlive the run, cannot be kept in the kernel."""
    assert await seen(execute, "seen = syscall(250, 0, -3, 1)") == "EPERM"


@check("no seccomp")
async def no_shared_memory_segment_can_be_made(execute: Execute) -> None:
    """System V shared memory, which would outlive the run, is refused."""
    assert await seen(execute, "seen = syscall(29, 0, 4096, 0o1600)") == "EPERM"


# -- the guest ----------------------------------------------------------------------------------------------------------------


@check("dumpable guest")
async def the_guest_cannot_be_read(execute: Execute) -> None:
    """Memory and descriptors of process 1 are closed to the code, although it is the same user."""
    code = "seen = [attempt(os.listdir, '/proc/1/fd')[0], attempt(open, '/proc/1/mem', 'rb')[0], attempt(open, '/proc/1/environ', 'rb')[0]]"
    assert await seen(execute, code) == ["refused"] * 3


FORGED_EXIT = protocol.json_frame(protocol.EXIT, {"reason": "end", "exit_code": 0, "run_s": 0.0, "clean": True})
FORGE = f"""
forged = {FORGED_EXIT!r}
for path in [f"/proc/1/fd/{{number}}" for number in range(16)] + [f"/proc/self/fd/{{number}}" for number in range(3, 64)]:
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(forged)
    except OSError:
        pass
for number in range(3, 64):
    try:
        os.write(number, forged)
    except OSError:
        pass
sys.exit(7)
"""


@check("dumpable guest")
async def the_end_of_a_run_cannot_be_forged(execute: Execute) -> None:
    """Whatever the code writes to whatever descriptor it finds: the guest alone says how it ended."""
    result = await execute(PRELUDE + FORGE)
    assert (result.status, result.exit_code) == ("error", 7)


@check("inherited descriptors")
async def no_descriptor_is_inherited(execute: Execute) -> None:
    """Beside its three streams the code has one descriptor, for its own report."""
    code = (
        "names = os.listdir('/proc/self/fd'); seen = [name for name in names if int(name) > 3 and os.path.exists('/proc/self/fd/' + name)]"
    )
    assert await seen(execute, code) == []


@check("guest obeys signals")
async def signals_do_not_reach_the_guest(execute: Execute) -> None:
    """No signal that the code can send ends the guest or makes it speak."""
    before = await execute("1")
    result = await execute("import os\nfor number in (2, 15, 10, 12, 19, 9): os.kill(1, number)\nprint('sent')")
    assert (result.status, result.stdout) == ("ok", "sent\n")
    assert (await execute("1")).container == before.container


@check("unwatched guest")
async def a_guest_that_was_changed_is_given_up(execute: Execute) -> None:
    """Limits that the code puts on the guest do not reach the next run."""
    await execute("import resource\nresource.prlimit(1, resource.RLIMIT_FSIZE, (7, 7))")
    assert await seen(execute, "import resource; seen = resource.getrlimit(resource.RLIMIT_FSIZE)[0]") > MIB


# -- resources ----------------------------------------------------------------------------------------------------------------


@check("no memory limit")
async def a_memory_bomb_ends_as_oom(execute: Execute) -> None:
    """Code that takes more memory than its limit is killed, and the status says so."""
    result = await execute("data = bytearray(400 << 20)\nfor page in range(0, len(data), 4096): data[page] = 1", memory_limit="128m")
    assert (result.status, result.exit_code) == ("oom", -9)


@check("no memory limit")
async def processes_share_one_memory_limit(execute: Execute) -> None:
    """The limit holds for all processes together: four times 60 MiB do not fit into 128."""
    code = """
import os, time
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        data = bytearray(b"x") * (60 << 20)
        time.sleep(1)
        os._exit(0)
    children.append(pid)
seen = [os.waitpid(pid, 0)[1] for pid in children]
"""
    assert 9 in await seen(execute, code, memory_limit="128m")


@check("no process limit")
async def a_fork_bomb_hits_its_limit(execute: Execute) -> None:
    """The number of processes is limited."""
    code = """
import os, time
seen = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        seen += 1
except OSError:
    pass
"""
    assert 8 <= await seen(execute, code) < 64


FILL = """
seen = {}
for folder in ("/work", "/tmp", "/dev/shm"):
    written = 0
    try:
        for number in range(8):
            with open(f"{folder}/{number}", "wb", buffering=0) as file:
                for _ in range(16):
                    written += file.write(bytes(1 << 20))
    except OSError:
        pass
    for number in range(8):
        attempt(os.unlink, f"{folder}/{number}")
    seen[folder] = written
"""


@check("no disk limit")
async def a_disk_bomb_hits_its_limit(execute: Execute) -> None:
    """No writable place takes more than 64 MiB."""
    sizes = await seen(execute, FILL)
    assert all(8 * MIB < size <= 64 * MIB for size in sizes.values()), sizes


LITTER = """
seen = {}
for folder in ("/work", "/tmp", "/dev/shm"):
    made = 0
    try:
        for made in range(20_000):
            os.close(os.open(f"{folder}/{made}", os.O_CREAT))
    except OSError:
        pass
    for number in range(made):
        os.unlink(f"{folder}/{number}")
    seen[folder] = made
"""


@check("no inode limit")
async def an_inode_bomb_hits_its_limit(execute: Execute) -> None:
    """No writable place takes more than 8192 files: each is memory of the kernel."""
    counts = await seen(execute, LITTER)
    assert all(100 < count <= 8192 for count in counts.values()), counts


@check("no resource limits")
async def a_file_has_a_largest_size(execute: Execute) -> None:
    """RLIMIT_FSIZE is set to at most 128 MiB, and core dumps are off."""
    code = "import resource; seen = [resource.getrlimit(resource.RLIMIT_FSIZE)[1], resource.getrlimit(resource.RLIMIT_CORE)[1]]"
    size, core = await seen(execute, code)
    assert 0 < size <= 128 * MIB
    assert core == 0


@check("no resource limits")
async def open_files_are_limited(execute: Execute) -> None:
    """At most 1024 open files."""
    code = """
held = []
try:
    while len(held) < 3000:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
seen = len(held)
for fd in held: os.close(fd)
"""
    assert 100 < await seen(execute, code) <= 1024


@check("no output limit")
async def an_output_flood_is_cut(execute: Execute) -> None:
    """Of 64 MiB of output the head and the tail are kept, a megabyte together; the rest is counted."""
    code = "import os\nos.write(1, b'HEAD')\nfor _ in range(64): os.write(1, b'x' * (1 << 20))\nos.write(1, b'TAIL');"
    result = await execute(code)
    assert result.ok
    assert result.stdout.startswith("HEADxxx")
    assert result.stdout.endswith("xxxTAIL")
    assert len(result.stdout) < MIB + 100
    assert result.truncated == {"stdout": 63 * MIB + 8}


@check("no deadline")
async def the_guest_keeps_the_deadline(execute: Execute) -> None:
    """A run that is too long is killed by the guest itself, and what it had printed is kept."""
    result = await execute(
        "print('begun')\nimport signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)", timeout=0.5
    )
    assert (result.status, result.stdout, result.exit_code) == ("timeout", "begun\n", -9)


# -- between runs -------------------------------------------------------------------------------------------------------------

PROCESSES = "seen = sorted(int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid())"


@check("nothing killed")
async def no_process_outlives_its_run(execute: Execute) -> None:
    """A grandchild in a session of its own is gone before the next run."""
    await execute("import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)")
    assert await seen(execute, PROCESSES) == [1]


LEAVE = """
import os, socket
for place in ("/work", "/tmp", "/dev/shm"):
    os.makedirs(place + "/a/b/c")
    open(place + "/a/b/left", "w").write("left")
    os.symlink("/usr", place + "/a/b/link")
    socket.socket(socket.AF_UNIX).bind(place + "/socket")
    os.chmod(place + "/a/b", 0)
    os.chmod(place + "/a", 0o500)
here = "/work"
for _ in range(300):
    os.mkdir("deep" * 50)
    os.chdir("deep" * 50)
os.chmod("/work", 0)
"""
LEFT = "seen = {place: [os.listdir(place), oct(os.stat(place).st_mode)] for place in ('/work', '/tmp', '/dev/shm')}"


@check("nothing wiped")
async def no_file_outlives_its_run(execute: Execute) -> None:
    """Files, links, pipes, forbidden and very deep directories are gone, and the directories are as they were."""
    before = await seen(execute, LEFT)
    assert all(found == [] for found, _ in before.values())
    assert (await execute(LEAVE)).ok
    assert await seen(execute, LEFT) == before


@check("nothing wiped")
async def no_shared_memory_outlives_its_run(execute: Execute) -> None:
    """Shared memory that a run did not unlink is gone."""
    await execute("open('/dev/shm/psm_left', 'wb').write(b'left')")
    assert await seen(execute, "seen = attempt(open, '/dev/shm/psm_left')") == ["refused", "ENOENT"]


@check("state kept")
async def no_variable_outlives_its_run(execute: Execute) -> None:
    """Variables, modules and working directory of a run are unknown to the next."""
    await execute("import builtins, os, sys\nbuiltins.left = sys.left = 1\nleft = 1\nos.chdir('/')")
    code = "import builtins; seen = ['left' in globals(), hasattr(builtins, 'left'), hasattr(sys, 'left'), os.getcwd()]"
    assert await seen(execute, code) == [False, False, False, "/work"]


# -- environment --------------------------------------------------------------------------------------------------------------


@check("host environment")
async def the_hosts_environment_is_not_there(execute: Execute) -> None:
    """No variable of the host's process is seen inside, by any name."""
    code = f"seen = {SECRET!r} in repr(dict(os.environ)) or {SECRET.encode()!r} in open('/proc/self/environ', 'rb').read()"
    assert await seen(execute, code) is False


@check("host processes")
async def other_processes_are_not_seen(execute: Execute) -> None:
    """The code sees its guest and itself."""
    assert await seen(execute, PROCESSES) == [1]


@check("host name")
async def the_hosts_name_is_not_told(execute: Execute) -> None:
    """The machine is called "sandbox"."""
    assert await seen(execute, "seen = socket.gethostname()") == "sandbox"


@check("host ipc")
async def ipc_is_its_own(execute: Execute) -> None:
    """Shared memory and semaphores of the host are in another namespace."""
    assert await seen(execute, "seen = os.readlink('/proc/self/ns/ipc')") != os.readlink("/proc/self/ns/ipc")


# -- code and streams ---------------------------------------------------------------------------------------------------------


@check("input inherited")
async def there_is_nothing_to_read(execute: Execute) -> None:
    """input() is an EOFError, and the frames meant for the guest cannot be stolen."""
    result = await execute("input()", timeout=5)
    assert result.status == "error"
    assert result.traceback.endswith("EOFError: EOF when reading a line\n")


@check("source cut")
async def code_with_a_nul_byte_is_refused_whole(execute: Execute) -> None:
    """Not one line of code that holds a NUL byte is run: it is not cut there."""
    result = await execute("print('ran')\n\0print('rest')")
    assert (result.status, result.stdout) == ("error", "")


@check("strict text")
async def any_bytes_can_be_printed(execute: Execute) -> None:
    """Output that is not UTF-8 is shown with replacements, never an error."""
    result = await execute("import sys\nprint('\\ud800')\nsys.stdout.flush()\nsys.stdout.buffer.write(b'caf\\xe9\\n');")
    assert (result.status, result.stdout) == ("ok", "\\ud800\ncaf�\n")


async def works(execute: Execute) -> bool:
    """After whatever was done to it."""
    result = await asyncio.wait_for(execute("print(6 * 7)"), 60)
    return (result.status, result.stdout) == ("ok", "42\n")
