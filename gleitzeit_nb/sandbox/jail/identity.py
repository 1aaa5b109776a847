"""A user that nobody is: what root drops to before untrusted code runs."""

from __future__ import annotations

import grp
import os
import pwd
import random
from collections.abc import Collection, Iterator
from pathlib import Path

# Above the ranges that distributions, systemd (containers end at 1 879 048 191) and /etc/subuid hand out, below 2^31.
HIGH_RANGE = range(2_000_000_000, 2_000_065_536)
# Inside a user namespace with the usual 65 536 ids: below `nobody`, among systemd's dynamic users, which containers seldom have.
LOW_RANGE = range(61_184, 65_520)
_HEAD_BYTES = 4 << 10  # the user stands in the first dozen lines of a status, before the groups, whose line can be long


def pick_unallocated_id(rng: random.Random, uid_map: Path = Path("/proc/self/uid_map"), tries: int = 64) -> int:
    """An id that is in no passwd or group database and that no process runs as. RuntimeError when none was found."""
    candidates = HIGH_RANGE if _is_mapped(HIGH_RANGE, uid_map.read_text("ascii")) else LOW_RANGE
    running = set(running_uids())
    for _ in range(tries):
        candidate = rng.choice(candidates)
        if is_unallocated(candidate, running):
            return candidate
    raise RuntimeError(f"no free user id found between {candidates.start} and {candidates.stop - 1} in {tries} tries")


def is_unallocated(candidate: int, running: Collection[int]) -> bool:
    if candidate in running:
        return False
    for lookup in (pwd.getpwuid, grp.getgrgid):
        try:
            lookup(candidate)
        except KeyError:
            continue
        return False
    return True


def running_uids(proc: Path = Path("/proc")) -> Iterator[int]:
    """The real uid of every process."""
    for entry in os.scandir(proc):
        if entry.name.isdigit():
            try:
                with open(f"{entry.path}/status", "rb", buffering=0) as file:
                    status = file.read(_HEAD_BYTES)
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(status.split(b"\nUid:", 1)[1].split(None, 1)[0])


def count_tasks(uid: int, proc: Path = Path("/proc")) -> int:
    """How many threads run as `uid`: what RLIMIT_NPROC counts where there is no user namespace."""
    total = 0
    for entry in os.scandir(proc):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, "status").read_text("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(status.split("\nUid:", 1)[1].split(None, 1)[0]) == uid:
                total += int(status.split("\nThreads:", 1)[1].split(None, 1)[0])
    return total


def _is_mapped(wanted: range, uid_map: str) -> bool:
    """Does one line (inside, outside, count) of the map hold the whole range?"""
    for line in uid_map.splitlines():
        first, _, count = map(int, line.split())
        if first <= wanted.start and wanted.stop <= first + count:
            return True
    return False
