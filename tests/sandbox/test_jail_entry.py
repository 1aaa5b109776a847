"""The program outside a jail waits for its message, takes exactly that, and leaves the rest to what it becomes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gleitzeit_nb.sandbox.jail.commands import Jail, jail_command, jail_message


def entered(said: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(jail_command(), input=said, capture_output=True, timeout=60, env={}, check=False)


def test_the_program_finds_what_follows_the_message() -> None:
    ended = entered(jail_message(Jail(["/bin/cat"])) + b"for the guest")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"for the guest", b"")


def test_without_a_whole_message_nothing_is_started() -> None:
    message = jail_message(Jail(["/bin/echo", "started"]))
    for said in (b"", message[:2], message[:-1]):
        ended = entered(said)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_it_enters_each_group_that_it_is_not_in(tmp_path: Path) -> None:
    (tmp_path / "entrance").write_text("4711\n")
    assert entered(jail_message(Jail(["/bin/true"], cgroup=[str(tmp_path / "entrance")]))).returncode == 0
    assert (tmp_path / "entrance").read_text() == "0"  # the kernel takes it for whoever writes it


def test_a_group_that_cannot_be_entered_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    ended = entered(jail_message(Jail(["/bin/echo", "started"], cgroup=[str(tmp_path / "not" / "there")])))
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"jail: " in ended.stderr
