"""What starts a guest: the command line, and the source that is the first message to its stdin."""

from __future__ import annotations

import functools
import json
import marshal
from collections.abc import Sequence
from importlib import resources
from types import CodeType

PACKAGE = "gleitzeit_nb.sandbox"
# In the order of their imports; the last one's main() is called.
MODULES = tuple(
    (
        "libc protocol codec wiping witness tabulating showing runner allowances metering "
        "collecting carrying preloading tunnels feeding resident guest"
    ).split()
)

USER_ID = 65534  # of code in a container; its group, too
WORK_DIR = "/work"
PACKAGES_DIR = "/opt/gleitzeit/packages"  # in an image, what its requirements brought
WRITABLE_DIRS = (WORK_DIR, "/tmp", "/dev/shm")

# Reads exactly as many bytes as it was promised, so that the first frame behind them stays in the pipe. A list in JSON is source, anything
# else is what `guest_code()` makes.
BOOTSTRAP = """\
import os, sys
def take(count):
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
message = take(int.from_bytes(take(4), "big"))
if message[:1] == b"[":
    import json as form
else:
    import marshal as form
for name, code in form.loads(message):
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = []
    exec(compile(code, "<" + name + ">", "exec") if isinstance(code, str) else code, module.__dict__)
"""


def guest_command(
    python: str = "python3",
    *,
    work: str = WORK_DIR,
    wiped: Sequence[str] = WRITABLE_DIRS,
    preload: Sequence[str] = (),
    mounts: Sequence[str] = (),
    packages: Sequence[str] = (),
) -> list[str]:
    """The command that becomes a guest once `guest_source()` is written to its stdin.

    `work` is where code runs. `wiped` are emptied after every run, whatever they hold: name only directories that are the
    sandbox's own. Both must exist and be writable for the guest's user. `preload`: modules that every run finds imported.
    `mounts`: mount points that it reports on. `packages`: directories of modules for the code, though not for the guest itself.
    """
    settings = {"work": work, "wiped": list(wiped), "preload": list(preload), "mounts": list(mounts), "packages": list(packages)}
    return [python, "-I", "-X", "utf8", "-c", f"{BOOTSTRAP}module.main({settings!a})\n"]


@functools.lru_cache(maxsize=1)
def guest_source() -> bytes:
    """The guest's modules as one message: a 4-byte big-endian length, then JSON."""
    data = json.dumps(_modules()).encode("ascii")
    return len(data).to_bytes(4, "big") + data


@functools.lru_cache(maxsize=1)
def guest_code() -> bytes:
    """The same for a guest on this process's own Python: compiled here once, which is a fifth of such a guest's start."""
    data = marshal.dumps(tuple((name, compile_module(source, name)) for name, source in _modules()))
    return len(data).to_bytes(4, "big") + data


def compile_module(source: str, name: str) -> CodeType:
    return compile(source, f"<{name}>", "exec", dont_inherit=True, optimize=0)


def _modules() -> list[tuple[str, str]]:
    package = resources.files(PACKAGE)
    modules = [("gleitzeit_nb", ""), (PACKAGE, "")]
    return modules + [(f"{PACKAGE}.{name}", package.joinpath(f"{name}.py").read_text("utf-8")) for name in MODULES]
