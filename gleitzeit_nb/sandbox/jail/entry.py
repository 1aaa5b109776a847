"""The steps outside the jail that a started process must do itself, between `fork` and the program: cgroup, mounts, user, supervision.

It stands in the command (``python3 -I -S -c``) with `libc`, is run as root or not, and never sees untrusted input. It either becomes
the program, or (`supervise`) stays as its parent: outside the program's landlock domain, so that nothing inside can signal it, and as the
subreaper of everything inside, so that nothing inside can leave it.

It runs before every guest, so what costs milliseconds to import (typing, signal) is imported where it is needed.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys

from gleitzeit_nb.sandbox import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

NEW_MOUNT_NAMESPACE = 0x00020000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 0x1000, 0x4000, 0x80000
SET_PDEATHSIG, SET_SUBREAPER = 1, 36
DETACH = 2


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    libc.call("mount", *words[:3], flags, words[3])


def enter_cgroup(entrances: list[str]) -> None:
    """Into each that the host has not taken this process into already: a move can take the kernel milliseconds, a look does not."""
    own = str(os.getpid())
    for path in entrances:
        with open(path, encoding="ascii") as file:
            if own in file.read().split():
                continue
        with open(path, "w", encoding="ascii") as file:
            file.write("0")


def private_mounts(reveal: list[str], tmpfs: list[tuple[str, str]]) -> None:
    """A mount namespace of our own, in which `reveal` can be reached by everybody and `tmpfs` (mount point, options) are mounted.

    Slave rather than private: nothing of ours gets out, and a disk that is unmounted outside does not stay busy in here.
    """
    libc.call("unshare", NEW_MOUNT_NAMESPACE)
    mount("none", "/", None, MS_REC | MS_SLAVE)
    sources = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in reveal}
    for path, source in sources.items():
        clear_the_way(path, source)
        os.close(source)
    for target, options in tmpfs:
        os.makedirs(target, exist_ok=True)
        mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options)


def clear_the_way(path: str, source: int) -> None:
    """Where a directory above `path` keeps strangers out (a home of mode 0700), put an empty one over it that leads to `path` alone."""
    parts = path.split("/")[1:-1]
    for depth in range(1, len(parts) + 1):
        above = "/" + "/".join(parts[:depth])
        try:
            closed = not os.stat(above).st_mode & stat.S_IXOTH
        except FileNotFoundError:  # covered by an earlier path's empty directory
            break
        if closed:
            mount("tmpfs", above, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=1k,mode=0755")
    if os.path.lexists(path):
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    if stat.S_ISDIR(os.fstat(source).st_mode):
        os.mkdir(path, 0o755)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    mount(f"/proc/self/fd/{source}", path, None, MS_BIND | MS_REC)


def become(config: dict[str, Any]) -> NoReturn:
    """Enter the group, drop the user, run the program."""
    enter_cgroup(config["cgroup"])
    if config["user"] is not None:
        uid, gid = config["user"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if config["directory"]:
        os.chdir(config["directory"])
    os.execv(config["file"] or config["program"][0], config["program"])


def children(pid: int) -> list[int]:
    """Every child of every thread of `pid`; [] once it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def descendants() -> set[int]:
    """Everything below this process; what is orphaned there comes to this process, so that nobody is missed."""
    found: set[int] = set()
    waiting = children(os.getpid())
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children(pid)
    return found


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # gone, or a setuid program that local mode may have started
        return


def end_everything() -> None:
    """Stop all, then kill all: a stopped process keeps its place in the process limit, so that a fork bomb cannot outrun this."""
    import signal

    stopped: set[int] = set()
    for _ in range(1000):
        fresh = descendants() - stopped
        if not fresh:
            break
        for pid in fresh:
            send(pid, signal.SIGSTOP)
        stopped |= fresh
    while True:
        for pid in descendants():
            send(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def supervise(config: dict[str, Any]) -> NoReturn:
    """Start the program; at its end, or at SIGTERM (the host died, or says so), leave nothing behind."""
    import signal

    awaited = {signal.SIGTERM, signal.SIGCHLD}
    libc.call("prctl", SET_SUBREAPER, 1, None, None, None)
    libc.call("prctl", SET_PDEATHSIG, signal.SIGTERM, None, None, None)
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    program = os.fork()
    if program == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        become(config)
    silence = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):  # the guest alone holds the host's pipes, so that each side sees the other end
        os.dup2(silence, number)
    running = os.getppid() == config["parent"]  # else it died before it could be followed
    while running and signal.sigwait(awaited) != signal.SIGTERM:
        running = reap(program)
    end_everything()
    if config["directory"]:
        remove(config["directory"])
    os._exit(0)


def reap(program: int) -> bool:
    """Take in every ended child; is the program still running?"""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == program:
            return False
        if pid == 0:
            return True


def remove(directory: str) -> None:
    """The work directory and whatever is in it, directories of mode 000 as well. Nothing runs any more that could put a link in the way."""
    import shutil

    if os.path.ismount(directory):  # a tmpfs of its own
        libc.call("umount2", os.fsencode(directory), DETACH)
    for above, folders, _ in os.walk(directory):
        for name in folders:
            path = os.path.join(above, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(directory, ignore_errors=True)


def take(count: int) -> bytes:
    """So many bytes from the host, and none of what follows them: that is for the program."""
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece:
            os._exit(0)  # the host has changed its mind
        data += piece
    return data


def main() -> NoReturn:
    """The host starts this before it knows everything, and says the rest while Python loads."""
    config = marshal.loads(take(int.from_bytes(take(4), "big")))
    try:
        if config["mounts"] is not None:
            private_mounts(*config["mounts"])
        if config["supervise"]:
            supervise(config)
        become(config)
    except OSError as error:
        sys.stderr.write(f"jail: {error}\n")
        sys.stderr.flush()
        os._exit(1)
