"""What a restricted guest sees and may touch: its folders, its landlock rules, and what root must open up for a stranger."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gleitzeit_nb.core.execution import Limits
from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.bundle import WRITABLE_DIRS
from gleitzeit_nb.sandbox.jail.bubblewrap import ETC, NIX, Bubblewrap, Folder
from gleitzeit_nb.sandbox.jail.interpreter import Interpreter
from gleitzeit_nb.sandbox.jail.landlock import (
    IOCTL_DEV,
    OWN,
    READ,
    READ_AND_RUN,
    READ_DIR,
    READ_FILE,
    WRITE_FILE,
    Grant,
    Ruleset,
    make_ruleset,
)

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", NIX)
# Where, in a mount namespace of its own, root puts the guest's folders for bwrap to take: something that is there and in nobody's way.
STAGES = ("/mnt", "/srv", "/media", "/opt", "/tmp")
SHARED_MEMORY = "/dev/shm"

Tmpfs = tuple[str, str]  # mount point, options


def folders_in_jail(limits: Limits) -> tuple[Folder, ...]:
    """What bwrap itself can make: bounded in bytes; in inodes only as root, see `staged_folders`."""
    return tuple(Folder(path, _folder_bytes(path, limits)) for path in WRITABLE_DIRS)


def staged_folders(limits: Limits, interpreter: Interpreter) -> tuple[Folder, ...]:
    """The same as root, bounded in inodes as well, which bwrap's own tmpfs is not: `stage_mounts` are to be made for them."""
    stage = _stage(interpreter)
    return tuple(Folder(path, _folder_bytes(path, limits), f"{stage}/{number}") for number, path in enumerate(WRITABLE_DIRS))


def stage_mounts(folders: Sequence[Folder], limits: Limits, uid: int) -> list[Tmpfs]:
    sources = [(folder.source, folder.size_bytes) for folder in folders if folder.source]
    stage = (os.path.dirname(sources[0][0]), "size=64k,mode=0755")
    return [stage, *((source, tmpfs_options(size_bytes, limits.workspace_inodes, uid)) for source, size_bytes in sources)]


def tmpfs_options(size_bytes: int, inodes: int, uid: int) -> str:
    return f"size={size_bytes},nr_inodes={inodes + 1},mode=0755,uid={uid},gid={uid}"  # the directory itself takes one


def _folder_bytes(path: str, limits: Limits) -> int:
    return limits.shm_bytes if path == SHARED_MEMORY else limits.workspace_bytes


def _stage(interpreter: Interpreter) -> str:
    for stage in STAGES:
        if os.path.isdir(stage) and not any(mount.source.startswith(stage + "/") for mount in interpreter.mounts):
            return stage
    raise SandboxUnavailableError(f"none of {', '.join(STAGES)} is free to mount a restricted guest's folders on")


def must_be_reachable(interpreter: Interpreter, bubblewrap: Bubblewrap | None) -> list[str]:
    """What a user without any rights has to come to; root opens the way in a mount namespace of its own."""
    paths = [mount.source for mount in interpreter.mounts]
    if bubblewrap is not None and bubblewrap.bundled:
        paths += [bubblewrap.path, *bubblewrap.libraries]
    return sorted(set(paths), key=len)  # a directory before what lies in it


def refuse_unreachable(paths: Sequence[str]) -> None:
    """For a user without any rights, where root may not open the way. SandboxUnavailableError names the directory that is closed."""
    for path in paths:
        for above in reversed(Path(path).parents):
            if not above.stat().st_mode & stat.S_IXOTH:
                raise SandboxUnavailableError(
                    f"This Python lies in {path}, and {above} is closed to the user that a restricted guest runs as; to show it the way,"
                    " root needs a mount namespace, which is refused here too.\n"
                    f"Move the project and its environment out of {above}, open it (chmod o+x {above}), or use docker-sandbox."
                )


def ruleset_in_jail(abi: int, interpreter: Interpreter) -> Ruleset | None:
    """Behind the namespaces: what bwrap shows may be read, the folders are the guest's own, and /proc is that of its own processes."""
    if not abi:
        return None
    grants = [*_readable([mount.path for mount in interpreter.mounts]), Grant("/dev", READ)]
    grants += [Grant("/proc", READ | WRITE_FILE)]  # oom_score_adj is written there; what is not its own bwrap has made read-only
    grants += [Grant("/dev/pts", READ | WRITE_FILE | IOCTL_DEV)]  # terminals of its own, which nobody else has open
    grants += [Grant("/", READ_DIR), *(Grant(path, OWN) for path in WRITABLE_DIRS)]
    return make_ruleset(abi, grants, tcp=True)  # the jail's network is its own, with nobody else in it


def ruleset_without_namespaces(abi: int, interpreter: Interpreter, directory: str) -> Ruleset:
    """All that stands between the guest and the machine's files: /proc is the host's, so it gets its own entry alone."""
    grants = [*_readable([mount.source for mount in interpreter.mounts]), Grant("/proc/self", READ), Grant(directory, OWN)]
    return make_ruleset(abi, grants, tcp=False)


def _readable(python: Sequence[str]) -> list[Grant]:
    grants = [Grant(path, READ_AND_RUN) for path in (*SYSTEM, *python)]
    grants += [Grant(path, READ) for path in ETC]
    grants += [Grant(path, READ_FILE | WRITE_FILE) for path in DEVICES]
    return grants


def make_work_directory(uid: int, root: bool) -> str:
    """For the form without namespaces: 0700, the guest's own, and on a path that a user without any rights can walk."""
    directory = os.path.realpath(tempfile.mkdtemp(prefix="gleitzeit-", dir="/tmp" if root else None))
    if root:
        os.chown(directory, uid, uid)
    return directory
