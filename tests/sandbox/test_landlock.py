"""Rulesets as data; that the kernel obeys them is seen in test_restricted.py and, alone, at the end of this file."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gleitzeit_nb.sandbox.jail import landlock
from gleitzeit_nb.sandbox.jail.commands import program
from gleitzeit_nb.sandbox.jail.landlock import (
    EXECUTE,
    FILE_RIGHTS,
    IOCTL_DEV,
    MAKE_CHAR,
    OWN,
    READ,
    READ_AND_RUN,
    REFER,
    TRUNCATE,
    Grant,
    abi_version,
    filesystem_rights,
    make_ruleset,
    missing_promises,
)


def test_each_abi_handles_the_rights_that_it_brought() -> None:
    assert [filesystem_rights(abi) for abi in range(9)] == [0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, *[0xFFFF] * 4]
    assert filesystem_rights(2) & REFER
    assert not filesystem_rights(1) & REFER
    assert filesystem_rights(3) & TRUNCATE
    assert filesystem_rights(5) & IOCTL_DEV


def test_the_attribute_is_as_long_as_the_abi_knows_it() -> None:
    assert [len(make_ruleset(abi, (), tcp=False).attribute) for abi in (1, 3, 4, 5, 6, 7)] == [8, 8, 16, 16, 24, 24]
    assert struct.unpack("<QQQ", make_ruleset(7, (), tcp=False).attribute) == (0xFFFF, 3, 3)
    assert struct.unpack("<QQQ", make_ruleset(7, (), tcp=True).attribute) == (0xFFFF, 0, 3)


def test_grants_are_narrowed_to_what_the_abi_knows() -> None:
    assert make_ruleset(1, [Grant("/work", OWN)], tcp=True).rules == (("/work", OWN & 0x1FFF),)


def test_one_s_own_directory_has_no_right_to_make_devices() -> None:
    assert not OWN & (MAKE_CHAR | IOCTL_DEV)
    assert OWN & READ_AND_RUN == READ_AND_RUN
    assert FILE_RIGHTS & READ_AND_RUN & ~READ == EXECUTE


def test_what_an_old_abi_loses_is_said() -> None:
    assert missing_promises(6) == ()
    assert any("signals" in text for text in missing_promises(5))
    assert len(missing_promises(0)) == len(landlock.LOST_BELOW)


needs_landlock = pytest.mark.skipif(abi_version() < 1, reason="this kernel has no landlock, or it is not among its security modules")

PROBE = """
import os, socket, sys
attribute, rules, file_rights, directory = eval(sys.argv[1])
module.prctl(38, 1)
module.landlock(attribute, rules, file_rights)
def tried(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"
print(tried(lambda: open(directory + "/mine", "w").close()))
print(tried(lambda: open(directory + "/../theirs", "w").close()))
print(tried(lambda: os.listdir("/etc")))
print(tried(lambda: open("/etc/hostname").read()))
print(tried(lambda: os.kill(os.getppid(), 0)))
print(tried(lambda: socket.create_connection(("127.0.0.1", 9), 2)))
"""


@needs_landlock
def test_the_kernel_holds_a_process_to_its_ruleset(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    ruleset = make_ruleset(abi_version(), [Grant(str(mine), OWN), Grant("/etc/hostname", READ), Grant("/not/there", READ)], tcp=False)
    arguments = repr((ruleset.attribute, ruleset.rules, FILE_RIGHTS, str(mine)))
    ended = subprocess.run(
        [sys.executable, "-c", program("preamble") + PROBE, arguments], capture_output=True, text=True, timeout=60, check=True
    )
    inside, outside, listing, reading, signal, network = ended.stdout.split()
    assert (inside, outside, listing, reading) == ("done", "PermissionError", "PermissionError", "done")
    if abi_version() >= 4:
        assert network == "PermissionError"
    if abi_version() >= 6:
        assert signal == "PermissionError"


@needs_landlock
def test_the_abi_is_the_kernel_s_answer() -> None:
    assert abi_version() == ctypes.CDLL(None).syscall(444, None, 0, 1)
