"""Landlock rulesets, computed outside as plain data; `preamble.py` hands them to the kernel inside.

Rights, scopes and the ABI that brought them are those of Linux's `Documentation/userspace-api/landlock.rst`. What the running kernel does
not know is left out of a ruleset, and `missing_promises` says what that loses.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from dataclasses import dataclass

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_FLAG = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in range(6, 16))

READ = READ_FILE | READ_DIR
READ_AND_RUN = READ | EXECUTE
EVERYTHING = (1 << 16) - 1
OWN = EVERYTHING & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV)  # a directory of one's own: all but device files
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # a rule on a file may hold no others: EINVAL

_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_FILESYSTEM_BY_ABI = ((5, 0xFFFF), (3, 0x7FFF), (2, 0x3FFF), (1, 0x1FFF))

LOST_BELOW = (
    (3, "files can be cut short"),
    (4, "TCP not judged by landlock"),
    (5, "ioctl on devices not judged by landlock"),
    (6, "signals and abstract sockets not judged by landlock"),
)


@dataclass(frozen=True)
class Grant:
    """`rights` beneath `path`; for a file they are narrowed to those that files have. A path that is not there grants nothing."""

    path: str
    rights: int


@dataclass(frozen=True)
class Ruleset:
    """What the preamble needs: the kernel's attribute struct, and rules as (path, rights), both already fit for the ABI."""

    attribute: bytes
    rules: tuple[tuple[str, int], ...]


def abi_version() -> int:
    """The landlock ABI of the running kernel; 0 where it has none or it is switched off."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def filesystem_rights(abi: int) -> int:
    return next((mask for least, mask in _FILESYSTEM_BY_ABI if abi >= least), 0)


def make_ruleset(abi: int, grants: Iterable[Grant], *, tcp: bool) -> Ruleset:
    """Everything is refused but `grants`. `tcp` False refuses to bind and connect TCP as well, where the ABI can."""
    rights = filesystem_rights(abi)
    network = 0 if tcp else _BIND_AND_CONNECT_TCP
    if abi >= 6:
        attribute = struct.pack("<QQQ", rights, network, _ABSTRACT_SOCKETS_AND_SIGNALS)
    elif abi >= 4:
        attribute = struct.pack("<QQ", rights, network)
    else:
        attribute = struct.pack("<Q", rights)
    return Ruleset(attribute, tuple((grant.path, grant.rights & rights) for grant in grants))


def missing_promises(abi: int) -> tuple[str, ...]:
    """What this ABI cannot hold, one phrase each; empty from ABI 6 on."""
    return tuple(text for least, text in LOST_BELOW if abi < least)
