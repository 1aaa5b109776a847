"""The border to Docker: its errors become ours with a remedy, its streams are taken apart, its containers' owners are known."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import APIError, DockerException
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.errors import ImageMissingError, SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.sandbox import images
from gleitzeit_nb.sandbox.cgroup import group_of
from gleitzeit_nb.sandbox.daemon import DaemonFacts, DaemonRefusalError, DockerDaemon
from gleitzeit_nb.sandbox.images.apt import Source, find_source
from gleitzeit_nb.sandbox.ownership import Owner, verdict
from gleitzeit_nb.sandbox.profile import seccomp_profile
from gleitzeit_nb.sandbox.stream import AttachedSocket, Demultiplexer
from tests.support.waiting import until


class FakeApi:
    base_url = "http+docker://fake"

    def __init__(self, *tags: str) -> None:
        self.tags = tags
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def images(self, name: str) -> list[dict[str, Any]]:
        found = [tag for tag in self.tags if tag.partition(":")[0] == name]
        return [{"Created": -position, "RepoTags": [tag]} for position, tag in enumerate(found)]


def wrapped(cause: BaseException) -> Exception:
    """As docker-py and requests hand on a socket's error."""
    error = DockerException("Error while fetching server API version")
    error.__cause__ = requests.ConnectionError("Connection aborted.", cause)
    return error


def api_error(status: int, explanation: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError("error", response, explanation)


# -- errors ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (wrapped(FileNotFoundError(2, "No such file")), r"No Docker daemon answers.*systemctl start docker"),
        (wrapped(ConnectionRefusedError(111, "refused")), "No Docker daemon answers"),
        (wrapped(PermissionError(13, "denied")), r"may not talk to the Docker daemon.*usermod -aG docker"),
        (requests.ConnectionError("Remote end closed connection"), r"went away and could not count \(Remote end closed connection\)"),
        (requests.ReadTimeout("slow"), "went away"),
        (BrokenPipeError(32, "Broken pipe"), "went away"),
    ],
)
async def test_an_absent_daemon_is_a_state_with_a_remedy(raised: Exception, says: str) -> None:
    def connect() -> Any:
        raise raised

    daemon = DockerDaemon(connect)
    with pytest.raises(SandboxUnavailableError, match=says):
        await daemon.call("count", lambda api: 1)
    daemon.close()


async def test_a_refusal_keeps_its_status_and_reason() -> None:
    daemon = DockerDaemon(FakeApi)  # type: ignore[arg-type]

    def refuse(api: Any) -> None:
        raise api_error(409, "removal is in progress")

    with pytest.raises(DaemonRefusalError, match="could not remove it: removal is in progress") as caught:
        await daemon.call("remove it", refuse)
    assert caught.value.status == 409
    daemon.close()


async def test_a_bug_stays_what_it_is() -> None:
    daemon = DockerDaemon(FakeApi)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        await daemon.call("divide", lambda api: 1 / 0)
    daemon.close()


async def test_a_daemon_that_does_not_answer_is_left_after_its_time_and_met_anew() -> None:
    made: list[FakeApi] = []

    def connect() -> Any:
        made.append(FakeApi())
        return made[-1]

    daemon = DockerDaemon(connect)
    with pytest.raises(SandboxUnavailableError, match=r"did not answer within 0.05 s; it could not sleep"):
        await daemon.call("sleep", lambda api: time.sleep(0.3), timeout_s=0.05)
    assert await daemon.call("count", lambda api: 2) == 2
    assert len(made) == 2
    assert made[0].closed == 1
    daemon.close()


def test_what_a_daemon_lacks_is_named() -> None:
    good = DaemonFacts("", "", "Docker", "", "", "", True, False, True, "2", "systemd", True, (), "", 1, 1)
    assert good.lacks == ()
    bad = replace(good, rootless=False, seccomp=False, swap_limit=False)
    assert [each.partition(":")[0] for each in bad.lacks] == ["seccomp", "user namespaces", "swap accounting"]


# -- images ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        (["gleitzeit/sandbox:abc", "gleitzeit/sandbox:latest", "python:3.11-slim"], "gleitzeit/sandbox:latest"),
        (["gleitzeit/sandbox:new", "gleitzeit/sandbox:old"], "gleitzeit/sandbox:new"),
        (["python:3.11-slim", "python:3.12-slim", "python:3.13", "python:2-slim"], "python:3.12-slim"),
    ],
)
def test_the_image_that_was_built_comes_first_then_a_slim_python(tags: list[str], chosen: str) -> None:
    assert images.resolve(FakeApi(*tags)) == chosen  # type: ignore[arg-type]


def test_without_an_image_the_command_that_makes_one_is_named() -> None:
    with pytest.raises(ImageMissingError, match="gleitzeit-nb images build"):
        images.resolve(FakeApi("ubuntu:latest"))  # type: ignore[arg-type]


DEB822 = "Types: deb\n# a comment\nURIs: http://mirror.example/debian/\nSuites: bookworm bookworm-updates\nComponents: main\n"
ONE_LINE = (
    "# deb http://old/ bookworm main\ndeb-src http://src/ bookworm main\ndeb [arch=amd64] http://mirror.example/debian bookworm main\n"
)


@pytest.mark.parametrize(
    ("release", "files", "source"),
    [
        (
            "ID=debian\nVERSION_CODENAME=bookworm",
            {"sources.list.d/debian.sources": DEB822},
            Source("bookworm", "http://mirror.example/debian"),
        ),
        ("ID=debian\nVERSION_CODENAME=bookworm", {"sources.list": ONE_LINE}, Source("bookworm", "http://mirror.example/debian")),
        ('ID=ubuntu\nVERSION_CODENAME="jammy"', {}, Source("jammy", "")),
        ("ID=debian\nVERSION_CODENAME=trixie", {"sources.list": ONE_LINE}, Source("trixie", "")),
        ("ID=fedora\nVERSION_CODENAME=x", {}, None),
        ("", {}, None),
    ],
)
def test_the_image_is_made_of_this_machines_release(tmp_path: Path, release: str, files: dict[str, str], source: Source | None) -> None:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(release)
    for name, text in files.items():
        (tmp_path / "apt" / name).write_text(text)
    assert find_source(tmp_path) == source


# -- streams --------------------------------------------------------------------------------------------------------------------


def multiplexed(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50))), st.integers(1, 20))
def test_streams_are_taken_apart_from_any_pieces(parts: list[tuple[int, bytes]], size: int) -> None:
    whole = b"".join(multiplexed(*part) for part in parts)
    streams = Demultiplexer()
    pieces = [streams.feed(whole[start : start + size]) for start in range(0, len(whole), size)]
    assert b"".join(out for out, _ in pieces) == b"".join(data for stream, data in parts if stream == 1)
    assert b"".join(err for _, err in pieces) == b"".join(data for stream, data in parts if stream == 2)


@pytest.mark.parametrize("header", [b"\0\0\0\0\0\0\0\1", b"\3\0\0\0\0\0\0\1", b"\1\1\0\0\0\0\0\1", b"HTTP/1.1"])
def test_what_docker_does_not_send_is_refused(header: bytes) -> None:
    with pytest.raises(SandboxProtocolError):
        Demultiplexer().feed(header)


async def test_a_socket_reads_and_writes_more_than_it_holds() -> None:
    ours, theirs = socket.socketpair()
    near, far = AttachedSocket(ours), AttachedSocket(theirs)
    data = os.urandom(3 << 20)
    writing = asyncio.create_task(near.write(data))
    got = bytearray()
    while len(got) < len(data):
        got += await far.read()
    await writing
    assert bytes(got) == data
    near.close()
    assert await far.read() == b""
    far.close()


async def test_closing_a_socket_wakes_who_waits_on_it() -> None:
    ours, theirs = socket.socketpair()
    near = AttachedSocket(ours)
    reading = asyncio.create_task(near.read())
    writing = asyncio.create_task(near.write(bytes(8 << 20)))
    await until(lambda: len(near._waiting) == 2)
    near.close()
    near.close()
    assert await reading == b""
    with pytest.raises(SandboxProtocolError):
        await writing
    theirs.close()


def test_a_transport_without_a_socket_is_refused_with_a_way_out() -> None:
    with pytest.raises(SandboxUnavailableError, match="DOCKER_HOST"):
        AttachedSocket.take_over(object())


# -- owners ---------------------------------------------------------------------------------------------------------------------

HERE = Owner("id", 100, 5000, "boot", 42)


def starts(known: dict[int, int]) -> Callable[[int], int]:
    return lambda pid: known.get(pid, -1)


@pytest.mark.parametrize(
    ("owner", "running", "said"),
    [
        (HERE, {100: 5000}, "in use"),
        (HERE, {}, "orphan"),
        (HERE, {100: 7777}, "orphan"),  # the pid was given again
        (replace(HERE, boot="other"), {}, "unknown"),  # maybe another machine on the same daemon
        (replace(HERE, namespace=43), {}, "unknown"),  # the pid means another process there
    ],
)
def test_only_what_is_provably_dead_is_an_orphan(owner: Owner, running: dict[int, int], said: str) -> None:
    assert verdict(owner.labels("1"), HERE, starts(running)) == said


@pytest.mark.parametrize("labels", [{}, {"gleitzeit.owner": "x"}, {**HERE.labels("1"), "gleitzeit.pid": "many"}])
def test_labels_that_prove_nothing_keep_their_container(labels: dict[str, str]) -> None:
    assert verdict(labels, HERE, starts({})) == "unknown"


def test_where_nothing_can_be_known_nobody_is_dead() -> None:
    nowhere = replace(HERE, boot="")
    assert verdict(nowhere.labels("1"), nowhere, starts({})) == "unknown"


def test_this_process_is_alive() -> None:
    owner = Owner.current()
    assert owner.pid == os.getpid()
    assert verdict(owner.labels("1"), owner) == "in use"


# -- control groups -------------------------------------------------------------------------------------------------------------

ID = "c0ffee" * 10


@pytest.mark.parametrize(
    ("cgroup", "mount", "place", "files"),
    [
        (f"5:memory:/docker/{ID}", "cgroup cgroup rw,memory", f"docker/{ID}", {"memory.oom_control": "under_oom 0\noom_kill 3\n"}),
        (
            f"5:memory:/system.slice/docker-{ID}.scope",
            "cgroup cgroup rw,memory",
            f"system.slice/docker-{ID}.scope",
            {"memory.oom_control": "oom_kill 3\n"},
        ),
        (
            f"0::/system.slice/docker-{ID}.scope",
            "cgroup2 cgroup2 rw",
            f"system.slice/docker-{ID}.scope",
            {"memory.events": "oom 9\noom_kill 3\n"},
        ),
    ],
    ids=["v1", "v1-systemd", "v2-systemd"],
)
def test_oom_kills_are_counted_in_either_version_and_driver(
    tmp_path: Path, cgroup: str, mount: str, place: str, files: dict[str, str]
) -> None:
    top, proc = tmp_path / "cgroup", tmp_path / "proc"
    (top / place).mkdir(parents=True)
    for name, text in files.items():
        (top / place / name).write_text(text)
    for folder in ("77", "self"):
        (proc / folder).mkdir(parents=True)
    (proc / "77/cgroup").write_text(cgroup + "\n")
    (proc / "self/mountinfo").write_text(f"30 20 0:25 / {top} rw shared:9 - {mount}\n")
    group = group_of(77, ID, proc)
    assert group is not None
    assert group.oom_kills() == 3
    assert group_of(77, "another" * 8, proc) is None
    assert group_of(78, ID, proc) is None


# -- the filter -----------------------------------------------------------------------------------------------------------------


def test_the_filter_refuses_what_it_does_not_name() -> None:
    import json

    profile = json.loads(seccomp_profile())
    named = {name for entry in profile["syscalls"] if entry["action"] == "SCMP_ACT_ALLOW" for name in entry["names"]}
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert named.isdisjoint({"ptrace", "bpf", "mount", "unshare", "setns", "mknod", "keyctl", "perf_event_open", "init_module", "clone3"})
    assert {"read", "write", "execve", "clone", "socket"} <= named
