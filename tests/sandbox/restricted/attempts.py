"""What hostile code begins with: attempts whose outcome is "done" or the name of an errno."""

from __future__ import annotations

ATTEMPT = """
import ctypes, errno, json, os, resource, signal, socket, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
arm = os.uname().machine == "aarch64"
def attempt(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    except ValueError as error:
        return str(error)
    return "done"
def call(name, *arguments):
    ctypes.set_errno(0)
    result = getattr(libc, name)(*arguments)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def show(outcome):
    print(json.dumps(outcome))
"""
