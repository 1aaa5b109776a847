"""What one run leaves is not there for the next."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import EVERY, Area, Check, Execute, Where
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("between runs")

PROCESSES = "seen = sorted(int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid())"


@AREA.check("nothing killed", proves="nothing-outlives", tried="leave a grandchild in a session of its own", expected=[1])
async def no_process_outlives_its_run(execute: Execute) -> Any:
    """A grandchild in a session of its own is gone before the next run."""
    await execute("import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)")
    return await seen(execute, PROCESSES)


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


@AREA.check(
    "nothing wiped",
    proves="nothing-outlives",
    tried="leave files, links, sockets, forbidden and very deep directories in each writable place",
    expected=["ok", [], "as before"],
)
async def no_file_outlives_its_run(execute: Execute) -> Any:
    """Files, links, pipes, forbidden and very deep directories are gone, and the directories are as they were."""
    before = await seen(execute, LEFT)
    left = await execute(LEAVE)
    after = await seen(execute, LEFT)
    found = sorted(name for names, _ in after.values() for name in names)
    return [left.status, found, "as before" if after == before else after]


@AREA.check("nothing wiped", proves="nothing-outlives", tried="leave a file in /dev/shm", expected=["refused", "ENOENT"])
async def no_shared_memory_outlives_its_run(execute: Execute) -> Any:
    """Shared memory that a run did not unlink is gone."""
    await execute("open('/dev/shm/psm_left', 'wb').write(b'left')")
    return await seen(execute, "seen = attempt(open, '/dev/shm/psm_left')")


@AREA.check(
    "state kept",
    proves="nothing-outlives",
    tried="set a variable in the code's module, in builtins and in sys, and change the directory",
    expected=[False, False, False, "the work directory"],
    forms=EVERY,
)
async def no_variable_outlives_its_run(execute: Execute) -> Any:
    """Variables, modules and working directory of a run are unknown to the next."""
    first = await seen(execute, "import builtins\nseen = os.getcwd()\nbuiltins.left = sys.left = 1\nleft = 1\nos.chdir('/')")
    code = "import builtins; seen = ['left' in globals(), hasattr(builtins, 'left'), hasattr(sys, 'left'), os.getcwd()]"
    *found, here = await seen(execute, code)
    return [*found, "the work directory" if here == first and here != "/" else here]


STOPPED = """
import os, signal, time
for number in range(6):
    if os.fork() == 0:
        os.setsid()
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(each, signal.SIG_IGN)
        if number % 2: os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)
        os._exit(0)
"""


@AREA.check("nothing killed", proves="nothing-outlives", tried="leave six processes, stopped or deaf to signals", expected=[1])
async def no_stubborn_process_outlives_its_run(execute: Execute) -> Any:
    """Processes that are stopped, or ignore every signal that can be ignored, are gone before the next run."""
    await execute(STOPPED)
    return await seen(execute, PROCESSES)


LISTENING = """
import os, socket, time
server = socket.create_server(("127.0.0.1", 47110))
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
"""


@AREA.check(
    "nothing killed", proves="nothing-outlives", tried="leave a server on the sandbox's own loopback", expected=["refused", "ECONNREFUSED"]
)
async def no_server_outlives_its_run(execute: Execute) -> Any:
    """A port that a run listened on is closed for the next."""
    await execute(LISTENING)
    return await seen(execute, "seen = attempt(socket.create_connection, ('127.0.0.1', 47110), 2)")


HOLDING = """
import os, time
held = os.open("held", os.O_CREAT | os.O_RDWR)
os.write(held, bytes(4 << 20))
os.unlink("held")
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
"""
ROOM = "place = os.statvfs('.'); seen = place.f_blocks - place.f_bfree"


@AREA.check("nothing killed", proves="nothing-outlives", tried="hold 4 MiB in a file without a name", expected="as before")
async def no_space_is_held_after_a_run(execute: Execute) -> Any:
    """The room of files that have no name any more is free again."""
    before = await seen(execute, ROOM)
    await execute(HOLDING)
    after = await seen(execute, ROOM)
    return "as before" if after == before else f"{after - before} blocks fewer"


@AREA.check(
    "nothing wiped",
    proves="nothing-outlives",
    tried="leave files with hidden, broken and very long names",
    expected=[],
)
async def no_strange_name_outlives_its_run(execute: Execute) -> Any:
    """Names that begin with a dot, hold line ends, or are no text at all, hide nothing."""
    await execute("for name in (b'.hidden', b'a\\nb', b'\\xff\\xfe', b'-rf', b'x' * 255, b'...'): open(name, 'w').close()")
    return await seen(execute, "seen = [repr(name) for name in os.listdir(b'.')]")


IPC = """
syscall("shmget", 4711, 4096, 0o1666)
syscall("msgget", 4711, 0o1666)
syscall("semget", 4711, 1, 0o1666)
seen = 0
"""


@AREA.check("no seccomp", proves="nothing-outlives", tried="make objects of System V, then look in the next run", expected=0)
async def no_ipc_object_outlives_its_run(execute: Execute) -> Any:
    """Nothing is kept for the next run in shared memory, queues and semaphores of System V."""
    await seen(execute, IPC)
    return await seen(execute, "seen = sum(len(open('/proc/sysvipc/' + name).readlines()) - 1 for name in ('shm', 'msg', 'sem'))")


LASTING = {
    "environment_variable": (
        "set an environment variable",
        "os.environ['LEFT'] = '1'; seen = 0",
        "seen = 'LEFT' in os.environ",
        False,
    ),
    "umask": ("set the umask to 0", "os.umask(0); seen = 0", "seen = os.umask(0o22)", 0o22),
    "interpreter_setting": (
        "change the recursion limit and the timeout of sockets",
        "sys.setrecursionlimit(77777); socket.setdefaulttimeout(1); seen = 0",
        "seen = [sys.getrecursionlimit() == 77777, socket.getdefaulttimeout()]",
        [False, None],
    ),
    "patched_module": (
        "replace a function of a module",
        "os.left = os.getppid; os.getppid = os.getpid; seen = 0",
        "seen = hasattr(os, 'left')",
        False,
    ),
}


def _lasting(name: str, tried: str, change: str, look: str, expected: Any) -> None:
    words = name.replace("_", " ")

    async def probe(execute: Execute) -> Any:
        await seen(execute, change)
        return await seen(execute, look)

    AREA.add(
        Check(
            f"no_{name}_outlives_its_run",
            AREA.name,
            f"A change of {words} in one run is unknown to the next.",
            f"{tried}, then look in the next run",
            expected,
            "state kept",
            "nothing-outlives",
            EVERY,
            probe,
            source=f"{change}\n{look}",
        )
    )


for name, (tried, change, look, expected) in LASTING.items():
    _lasting(name, tried, change, look, expected)


@AREA.check(
    "chance repeated",
    proves="nothing-outlives",
    tried="compare random numbers of two runs",
    expected=Where("different numbers", lambda seen, _: seen[0] != seen[1]),
    forms=EVERY,
)
async def random_numbers_differ_between_runs(execute: Execute) -> Any:
    """Runs that share a warm guest do not share its random numbers."""
    return [await seen(execute, "import random; seen = random.random()") for _ in range(2)]


@AREA.check(
    "inputs kept", proves="nothing-outlives", tried="pass a value in, then look for it in the next run", expected=[1, False], forms=EVERY
)
async def no_value_outlives_its_run(execute: Execute) -> Any:
    """Values that were passed into one run are not there in the next."""
    result = await execute("seen = passed", inputs={"passed": 1}, outputs=("seen",))
    after = await seen(execute, "import builtins; seen = 'passed' in globals() or hasattr(builtins, 'passed')")
    return [result.outputs.get("seen"), after]
