"""No new namespace of any kind, by any of the calls that make one."""

from __future__ import annotations

from gleitzeit_nb.sandbox.selfcheck.check import HELD, Area

AREA = Area("namespaces")

# The kernel makes a user namespace for everybody and the others for administrators.
FLAGS = {
    "user": (0x10000000, "no seccomp"),
    "mount": (0x00020000, "administrator"),
    "process": (0x20000000, "administrator"),
    "network": (0x40000000, "administrator"),
    "ipc": (0x08000000, "administrator"),
    "host_name": (0x04000000, "administrator"),
    "cgroup": (0x02000000, "administrator"),
    "time": (0x00000080, "administrator"),
}
CLONE_THREAD = 0x00010000

for kind, (flag, weakening) in FLAGS.items():
    words = kind.replace("_", " ")
    AREA.snippet(
        f"no_{kind}_namespace_by_unshare",
        f"unshare of the {words} namespace is refused.",
        tried=f"unshare({flag:#x})",
        code=f'seen = syscall("unshare", {flag:#x})',
        expected="EPERM",
        weakening=weakening,
        proves="no-namespaces",
        forms=HELD,
    )
    if kind == "time":
        continue  # clone has no flag for it
    AREA.snippet(
        f"no_{kind}_namespace_by_clone",
        f"clone with the flag of a new {words} namespace is refused before the kernel looks at its other flags.",
        tried=f"clone({flag | CLONE_THREAD:#x}), which nobody can be granted",
        code=f'seen = syscall("clone", {flag | CLONE_THREAD:#x}, 0, 0, 0, 0)',
        expected="EPERM",
        weakening="any clone",
        proves="no-namespaces",
        forms=HELD,
    )

AREA.snippet(
    "clone3_is_not_there",
    "clone3, whose flags a filter cannot see, answers as if the kernel had none; threads and processes are made by clone.",
    tried="clone3(0, 0), then start a thread",
    code="""
import threading
ran = []
thread = threading.Thread(target=ran.append, args=(1,))
thread.start()
thread.join()
seen = [syscall("clone3", 0, 0), ran]
""",
    expected=["ENOSYS", [1]],
    weakening="no seccomp",
    proves="no-namespaces",
    forms=HELD,
)

AREA.snippet(
    "namespaces_of_the_guest_cannot_be_entered",
    "The handle of a namespace leads nowhere.",
    tried="setns to the own mount namespace",
    code="""
try:
    handle = os.open("/proc/self/ns/user", os.O_RDONLY)
    seen = syscall("setns", handle, 0x20000)
except OSError:
    seen = "EPERM"
""",
    expected="EPERM",
    weakening="administrator",
    proves="no-namespaces",
    forms=HELD,
)
