"""The host's side of one guest: what it refuses, what it makes of a guest that misbehaves or goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import MIB, ExecutionRequest, Limits
from gleitzeit_nb.errors import SandboxProtocolError, TransferError
from gleitzeit_nb.sandbox import connection as connection_module
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.bundle import guest_code, guest_source
from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.judge import Ending, judge, mismatches
from tests.sandbox.subprocess_channel import SubprocessChannel
from tests.support.waiting import until

LIMITS = Limits(timeout_s=20, output_bytes=1000, value_bytes=1000, display_bytes=1000)
READY = protocol.json_frame(protocol.READY, {"dumpable": 0, "packages": []})
END = {"reason": "end", "exit_code": 0, "run_s": 0.5, "clean": True}
EXIT = protocol.json_frame(protocol.EXIT, END)


def request(code: str = "print(1)", **options: object) -> ExecutionRequest:
    return ExecutionRequest("id", code, **options)  # type: ignore[arg-type]


class ScriptedChannel:
    """A guest that says what a test tells it to. `answers`: one entry is sent after each thing that the host writes; b"" is its end."""

    def __init__(self, *answers: bytes, oom: int = 0) -> None:
        self.answers = list(answers)
        self.written: list[bytes] = []
        self.killed = 0
        self.oom = oom
        self.kill_takes_s = 0.0
        self._said: asyncio.Queue[bytes] = asyncio.Queue()

    name = "scripted"
    expectations = Expectations()

    async def read(self) -> bytes:
        return await self._said.get()

    async def write(self, data: bytes) -> None:
        if self.killed:
            raise SandboxProtocolError("the guest has gone")
        self.written.append(data)
        if self.answers:
            self.say(self.answers.pop(0))

    def say(self, data: bytes) -> None:
        self._said.put_nowait(data)

    async def kill(self) -> None:
        self.killed += 1
        await asyncio.sleep(self.kill_takes_s)
        self.say(b"")

    async def oom_kills(self) -> int:
        return self.oom

    async def resize(self, memory_bytes: int, cpus: float) -> None:
        return

    async def memory_bytes(self) -> int | None:
        return None


async def opened(*answers: bytes, expectations: Expectations | None = None) -> tuple[GuestConnection, ScriptedChannel]:
    channel = ScriptedChannel(READY, *answers)
    channel.expectations = expectations or Expectations()
    connection = GuestConnection(channel)
    await connection.open()
    return connection, channel


@pytest_asyncio.fixture
async def real(tmp_path: Path) -> AsyncIterator[GuestConnection]:
    connection = GuestConnection(await SubprocessChannel.start(tmp_path))
    await connection.open()
    yield connection
    await connection.close()


# -- the handshake -------------------------------------------------------------------------------------------------------------


async def test_the_source_goes_first(real: GuestConnection) -> None:
    connection, channel = await opened()
    assert channel.written == [guest_source()]
    assert connection.usable
    await connection.close()


async def test_a_guest_on_this_very_python_gets_it_compiled() -> None:
    connection, channel = await opened(expectations=Expectations(own_python=True))
    assert channel.written == [guest_code()]
    assert connection.usable
    await connection.close()


@pytest.mark.parametrize(
    ("expected", "phrase"),
    [
        (Expectations(pid=1), "pid is"),
        (Expectations(uid=12345), "uid is"),
        (Expectations(no_new_privs=True), "no_new_privs is 0 instead of 1"),
        (Expectations(seccomp=True), "seccomp is 0 instead of 2"),
        (Expectations(read_only_root=True), "read_only_root is False"),
        (Expectations(interfaces=()), "network interfaces are"),
    ],
)
async def test_a_guest_that_is_less_isolated_than_promised_is_refused(tmp_path: Path, expected: Expectations, phrase: str) -> None:
    channel = await SubprocessChannel.start(tmp_path, expected)
    with pytest.raises(SandboxProtocolError, match="not isolated as promised") as caught:
        await GuestConnection(channel).open()
    assert phrase in str(caught.value)
    assert channel.process.returncode is not None


@pytest.mark.parametrize("answer", [b"", b"junk!", EXIT, protocol.frame(protocol.READY, b"[]"), b"A\xff\xff\xff\xff"])
async def test_a_guest_that_does_not_begin_as_it_should_is_refused(answer: bytes) -> None:
    channel = ScriptedChannel(answer)
    with pytest.raises(SandboxProtocolError):
        await GuestConnection(channel).open()
    assert channel.killed == 1


async def test_a_guest_that_never_answers_is_killed() -> None:
    channel = ScriptedChannel()
    with pytest.raises(SandboxProtocolError, match="did not answer within"):
        await GuestConnection(channel).open(timeout_s=0.05)
    assert channel.killed == 1


def test_what_cannot_be_seen_counts_as_broken() -> None:
    assert mismatches(Expectations(interfaces=("lo",)), {"dumpable": 0, "interfaces": None}) != []
    assert mismatches(Expectations(capabilities_bounding=0), {"dumpable": 0, "capabilities_bounding": 0}) != []
    assert mismatches(Expectations(), {}) == ["dumpable is None instead of 0"]
    assert mismatches(Expectations(interfaces=("lo",)), {"dumpable": 0, "interfaces": []}) == []


# -- a guest that misbehaves during a run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        protocol.frame(protocol.STDOUT, b"x" * 1001),
        protocol.frame(protocol.STDERR, b"x" * 600) * 2,
        protocol.frame(protocol.STDOUT_GAP, b"x" * 9),
        READY,
        b"Z\0\0\0\0",
        b"O\xff\xff\xff\xff",
        EXIT + EXIT,
        protocol.json_frame(protocol.EXIT, {}),
        protocol.json_frame(protocol.EXIT, {**END, "exit_code": "0"}),
        protocol.json_frame(protocol.EXIT, {**END, "exit_code": True}),
        protocol.json_frame(protocol.EXIT, {**END, "reason": "because"}),
        protocol.json_frame(protocol.EXIT, {**END, "cpu_s": -0.1}),
        protocol.json_frame(protocol.EXIT, {**END, "cpu_s": 1e300}),
        protocol.json_frame(protocol.EXIT, {**END, "cpu_s": float("nan")}),
        protocol.json_frame(protocol.EXIT, {**END, "peak_bytes": -1}),
        protocol.json_frame(protocol.EXIT, {**END, "peak_bytes": True}),
        protocol.frame(protocol.EXIT, b"nonsense"),
        protocol.frame(protocol.RESULT, b"x" * 60_000) * 30,
    ],
)
async def test_a_broken_protocol_is_an_error_and_the_end_of_the_guest(answer: bytes) -> None:
    connection, channel = await opened(answer)
    if answer == EXIT + EXIT:  # the run itself ended well; what follows it is one frame too many
        assert (await connection.run(request(), LIMITS)).ok
    else:
        with pytest.raises(SandboxProtocolError):
            await connection.run(request(), LIMITS)
    await until(lambda: connection.closed)
    assert not connection.usable
    await until(lambda: channel.killed == 1)  # in the background


async def test_a_guest_that_goes_away_is_lost_and_its_output_is_kept() -> None:
    connection, channel = await opened(protocol.frame(protocol.STDOUT, b"so far"))
    running = asyncio.create_task(connection.run(request(), LIMITS))
    await until(lambda: len(channel.written) == 2)
    channel.say(b"")
    result = await running
    assert (result.status, result.stdout, result.exit_code) == ("lost", "so far", None)
    assert not connection.usable


async def test_a_guest_that_forgets_its_deadline_is_killed_by_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "GRACE_S", 0.1)
    connection, channel = await opened(protocol.frame(protocol.STDOUT, b"so far"))
    result = await connection.run(request(), Limits(timeout_s=0.1))
    assert (result.status, result.stdout) == ("timeout", "so far")
    assert "the guest did not end it" in result.detail
    assert channel.killed == 1


async def test_a_guest_that_does_not_hear_a_cancel_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "CANCEL_S", 0.05)
    connection, channel = await opened(protocol.frame(protocol.STDOUT, b"so far"))
    running = asyncio.create_task(connection.run(request(), LIMITS))
    await until(lambda: len(channel.written) == 2)
    connection.cancel()
    connection.cancel()
    result = await running
    assert (result.status, result.stdout) == ("killed", "so far")
    assert channel.written[2] == protocol.frame(protocol.CANCEL)
    assert channel.killed == 1


async def test_an_unclean_guest_ends_its_run_well_and_takes_no_other() -> None:
    connection, _ = await opened(protocol.json_frame(protocol.EXIT, {**END, "clean": False}))
    assert (await connection.run(request(), LIMITS)).ok
    assert not connection.usable
    with pytest.raises(SandboxProtocolError, match="cannot take a run"):
        await connection.run(request(), LIMITS)
    await connection.close()


async def test_a_guest_that_cannot_fork_is_lost() -> None:
    connection, _ = await opened(protocol.json_frame(protocol.EXIT, {"fault": "no process could be started", "clean": False}))
    result = await connection.run(request(), LIMITS)
    assert (result.status, connection.usable) == ("lost", False)
    assert "no process could be started" in result.detail
    await connection.close()


async def test_whoever_cares_hears_once_that_the_guest_has_gone() -> None:
    heard: list[str] = []
    channel = ScriptedChannel(READY)
    connection = GuestConnection(channel, lambda: heard.append("gone"))
    await connection.open()
    channel.say(b"")
    await until(lambda: connection.closed)
    await connection.close()
    await connection.close()
    assert heard == ["gone"]


# -- cancelling the caller -----------------------------------------------------------------------------------------------------


async def test_cancelling_the_caller_kills_the_guest_without_waiting(tmp_path: Path) -> None:
    channel = ScriptedChannel(READY)
    channel.kill_takes_s = 60.0
    connection = GuestConnection(channel)
    await connection.open()
    running = asyncio.create_task(connection.run(request(), LIMITS))
    await until(lambda: len(channel.written) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    await until(lambda: channel.killed == 1)
    assert not connection.usable


async def test_one_guest_takes_one_run_at_a_time(real: GuestConnection) -> None:
    running = asyncio.create_task(real.run(request("import time; time.sleep(0.3); print(1)"), LIMITS))
    await asyncio.sleep(0)
    with pytest.raises(SandboxProtocolError, match="cannot take a run"):
        await real.run(request(), LIMITS)
    assert (await running).stdout == "1\n"


# -- what is refused before anything is sent --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refused",
    [
        request("x" * (50 * MIB)),
        request(inputs={"x": object()}),
        request(inputs={"x": b"x" * 2000}),
        request(inputs={"not a name": 1}),
        request(outputs=("not a name",)),
        request(outputs=tuple(f"{'name' * 10}{number}" for number in range(30_000))),
    ],
    ids=["code", "type", "size", "input", "output", "many"],
)
async def test_what_cannot_be_sent_leaves_the_guest_untouched(real: GuestConnection, refused: ExecutionRequest) -> None:
    with pytest.raises(TransferError):
        await real.run(refused, LIMITS)
    assert (await real.run(request("print(6 * 7)"), LIMITS)).stdout == "42\n"


# -- judging -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "facts", "status"),
    [
        (Ending("end", 0, 1.0, True), {}, "ok"),
        (Ending("end", 0, 1.0, True), {"oom_kills": 1}, "ok"),
        (Ending("end", 1, 1.0, True), {"fault_type": "ValueError"}, "error"),
        (Ending("end", 1, 1.0, True), {"oom_kills": 1}, "error"),
        (Ending("end", -9, 1.0, True), {}, "error"),
        (Ending("end", -9, 1.0, True), {"oom_kills": 1}, "oom"),
        (Ending("end", 1, 1.0, True), {"fault_type": "MemoryError"}, "oom"),
        (Ending("end", 0, 1.0, True), {"fault_type": "MemoryError"}, "ok"),
        (Ending("timeout", -9, 1.0, True), {"oom_kills": 1}, "timeout"),
        (Ending("cancel", -9, 1.0, True), {}, "killed"),
        (Ending("end", 0, 1.0, True), {"cancelled": True}, "killed"),
        (None, {}, "lost"),
        (None, {"oom_kills": 1}, "oom"),
        (None, {"late": True}, "timeout"),
        (None, {"cancelled": True, "late": True}, "killed"),
        (Ending("end", None, 0.0, False, "no process"), {}, "lost"),
        (Ending("end", None, 0.0, True), {}, "error"),
        (Ending("end", -64, 0.0, True), {}, "error"),
    ],
)
def test_each_ending_has_one_status_and_a_reason(ending: Ending | None, facts: dict[str, object], status: str) -> None:
    judged, detail = judge(ending, Limits(), **facts)  # type: ignore[arg-type]
    assert judged == status
    assert bool(detail) == (status != "ok")
    assert "\n" not in detail


async def test_an_oom_of_an_earlier_run_is_not_blamed_on_the_next(tmp_path: Path) -> None:
    killed = protocol.json_frame(protocol.EXIT, {**END, "exit_code": -9})
    connection, channel = await opened(EXIT, killed)
    channel.oom = 1
    assert (await connection.run(request(), LIMITS)).status == "ok"
    assert (await connection.run(request(), LIMITS)).status == "error"
    await connection.close()
