"""What one run leaves is not there for the next."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import EVERY, Area, Execute
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
