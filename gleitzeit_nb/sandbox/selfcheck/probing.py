"""How probes see: code that runs inside and leaves a value, with a few words of Python before it."""

from __future__ import annotations

import json
import re
from typing import Any

from gleitzeit_nb.sandbox.jail.bpf import AUDIT_ARCH, syscall_numbers
from gleitzeit_nb.sandbox.selfcheck.check import ABSENT, Execute, ProbeError

SECRET_NAME = "GLEITZEIT_SELFCHECK_SECRET"
SECRET = "correct-horse-battery-staple"

# `syscall` and `raw` return "done" or the name of the error.
_PRELUDE = """
import ctypes, errno, json, os, socket, stat, sys
def attempt(function, *arguments):
    try:
        return ["done", repr(function(*arguments))[:200]]
    except BaseException as exc:
        return ["refused", errno.errorcode.get(getattr(exc, "errno", None) or 0, type(exc).__name__)]
def raw(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = libc.syscall(ctypes.c_long(number), *wide)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def syscall(name, *arguments):
    number = CALLS[os.uname().machine].get(name)
    return %(absent)r if number is None else raw(number, *arguments)
def status():
    return dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
CALLS = json.loads(%(calls)r)
ABSENT = %(absent)r
"""


def with_prelude(code: str) -> str:
    """The code, with what it may use before it: `attempt`, `status`, and `syscall` for every name that it mentions."""
    names = sorted(set(re.findall(r'syscall\("(\w+)"', code)))
    calls = {
        machine: {name: syscall_numbers(machine)[name] for name in names if name in syscall_numbers(machine)} for machine in AUDIT_ARCH
    }
    return _PRELUDE % {"absent": ABSENT, "calls": json.dumps(calls)} + code


async def seen(execute: Execute, code: str, **options: Any) -> Any:
    """What the code leaves in the variable `seen`. Raises ProbeError when its run did not end well."""
    result = await execute(with_prelude(code), outputs=("seen",), **options)
    if not result.ok:
        last = result.traceback.strip().rpartition("\n")[2]
        raise ProbeError(f"its run ended as {result.status}: {result.detail}{f' ({last})' if last else ''}")
    return result.outputs["seen"]
