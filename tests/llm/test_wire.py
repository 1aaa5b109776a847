"""Every way in which a server fails has its own cause, on both of httpx's transports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.core.faults import Blame, Cause
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.limits import Limit, Limits
from gleitzeit_nb.llm.ollama import LineSplitter, OllamaTransport
from tests.support.fake_ollama import BROKEN, BUSY, FakeOllama, Fault, Kind, status
from tests.support.waiting import until

CHAT = {"model": "llama3.2", "messages": [{"role": "user", "content": "one two three"}], "stream": True}


@pytest.fixture(params=["aiohttp", "httpx"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as server:
        server.transport = OllamaTransport(server.settings(), prefer_aiohttp=request.param == "aiohttp")  # type: ignore[attr-defined]
        yield server
        await server.transport.aclose()  # type: ignore[attr-defined]


async def read(server: Any, *, path: str = "/api/chat", body: dict[str, Any] | None = None, **limits: float) -> list[Any]:
    limits = {"connect_s": 2.0, "first_s": 5.0, "between_s": 5.0, **limits}
    return [line async for lines in server.transport.stream(path, body or CHAT, **limits) for line in lines]


async def fault_of(server: Any, **limits: float) -> InstanceFault:
    with pytest.raises(InstanceFault) as caught:
        await read(server, **limits)
    return caught.value


async def test_lines_come_decoded_and_end_with_done(server: Any) -> None:
    lines = await read(server)
    assert "".join(line["message"]["content"] for line in lines) == "one two three "
    assert [line["done"] for line in lines] == [False, False, False, True]


async def test_a_connection_is_used_again(server: Any) -> None:
    for _ in range(3):
        await read(server)
    assert server.connections == 1


async def test_a_refused_connection(server: Any) -> None:
    await server.die()
    fault = await fault_of(server)
    assert fault.cause is Cause.REFUSED
    assert fault.traits.fatal
    assert str(fault) == "refused the connection"


@pytest.mark.parametrize("prefer_aiohttp", [True, False], ids=["aiohttp", "httpx"])
async def test_an_unknown_name(prefer_aiohttp: bool) -> None:
    transport = OllamaTransport(InstanceSettings("x", "http://nobody.invalid:11434"), prefer_aiohttp=prefer_aiohttp)
    with pytest.raises(InstanceFault) as caught:
        await transport.get("/api/version", timeout_s=5.0)
    await transport.aclose()
    assert caught.value.cause is Cause.UNKNOWN_HOST
    assert str(caught.value) == "has a name that is not known"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(Kind.DISCONNECT), Cause.DISCONNECTED),
        (Fault(Kind.CUT), Cause.DISCONNECTED),
        (Fault(Kind.CUT, after=2), Cause.TRUNCATED),
        (Fault(Kind.CLOSE), Cause.DISCONNECTED),
        (Fault(Kind.CLOSE, after=2), Cause.TRUNCATED),
        (Fault(Kind.SHORT), Cause.DISCONNECTED),
        (Fault(Kind.SHORT, after=2), Cause.TRUNCATED),
        (Fault(Kind.ERROR_LINE), Cause.ERROR_LINE),
        (Fault(Kind.ERROR_LINE, after=2), Cause.ERROR_LINE),
        (Fault(Kind.BROKEN_LINE, after=1), Cause.BAD_BODY),
        (Fault(Kind.HTML), Cause.BAD_BODY),
        (Fault(Kind.EMPTY), Cause.BAD_BODY),
        (BUSY, Cause.BUSY),
        (BROKEN, Cause.SERVER_ERROR),
        (status(429, "too many"), Cause.BUSY),
        (status(503, None), Cause.SERVER_ERROR),
        (status(502, None), Cause.SERVER_ERROR),
        (status(408, "timeout"), Cause.FIRST_BYTE_TIMEOUT),
        (status(499, "request canceled"), Cause.DISCONNECTED),
        (status(501, "no embeddings"), Cause.BAD_REQUEST),
        (status(500, 'option "num_ctx" must be of type integer'), Cause.BAD_REQUEST),
        (status(500, 'invalid format: "x"; expected "json" or a valid JSON Schema object'), Cause.BAD_REQUEST),
        (status(400, "invalid input type"), Cause.BAD_REQUEST),
        (status(404, "model 'x' not found"), Cause.MODEL_MISSING),
        (status(404, None), Cause.BAD_BODY),
        (status(401, "unauthorized"), Cause.UNAUTHORISED),
        (status(403, None), Cause.UNAUTHORISED),
        (status(302, None, Location="http://elsewhere.invalid/"), Cause.BAD_BODY),
    ],
    ids=lambda value: value.value if isinstance(value, Cause) else f"{value.kind.value} {value.status} after {value.after}",
)
async def test_each_failure_has_its_cause(server: Any, fault: Fault, cause: Cause) -> None:
    server.fault = fault
    assert (await fault_of(server)).cause is cause
    server.fault = None
    assert len(await read(server)) == 4


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(Kind.HANG_BEFORE_HEADERS), Cause.FIRST_BYTE_TIMEOUT),
        (Fault(Kind.HANG_BEFORE_TOKEN), Cause.FIRST_BYTE_TIMEOUT),
        (Fault(Kind.STALL, after=1), Cause.STALLED),
    ],
    ids=lambda value: value.value if isinstance(value, Cause) else value.kind.value,
)
async def test_silence_has_a_limit_per_phase(server: Any, fault: Fault, cause: Cause) -> None:
    server.fault = fault
    first_s, between_s = (0.2, 30.0) if cause is Cause.FIRST_BYTE_TIMEOUT else (30.0, 0.2)
    assert (await fault_of(server, first_s=first_s, between_s=between_s)).cause is cause


@pytest.mark.parametrize("prefer_aiohttp", [True, False], ids=["aiohttp", "httpx"])
async def test_a_connection_that_nobody_accepts(prefer_aiohttp: bool) -> None:
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # its backlog is full: further attempts hear nothing
            attempt = waiting.enter_context(socket.socket())
            attempt.setblocking(False)
            attempt.connect_ex(deaf.getsockname())
        transport = OllamaTransport(InstanceSettings("x", f"http://127.0.0.1:{deaf.getsockname()[1]}"), prefer_aiohttp=prefer_aiohttp)
        with pytest.raises(InstanceFault) as caught:
            [line async for lines in transport.stream("/api/chat", CHAT, connect_s=0.3, first_s=30.0, between_s=5.0) for line in lines]
        await transport.aclose()
    assert caught.value.cause is Cause.CONNECT_TIMEOUT
    assert (caught.value.traits.away, caught.value.traits.fatal) == (True, False)


async def test_a_clean_end_without_done_is_left_to_the_reader(server: Any) -> None:
    server.fault = Fault(Kind.END_EARLY, after=2)
    assert [line["done"] for line in await read(server)] == [False, False]


async def test_a_runner_that_fails_at_embedding_is_not_the_callers_fault(server: Any) -> None:
    server.fault = status(400, "do embedding request: connection reset")
    with pytest.raises(InstanceFault) as caught:
        await read(server, path="/api/embed", body={"model": "llama3.2", "input": ["a"]})
    assert caught.value.cause is Cause.SERVER_ERROR


async def test_closing_the_iterator_closes_the_connection(server: Any) -> None:
    server.fault = Fault(Kind.STALL, after=1)
    stream = server.transport.stream("/api/chat", CHAT, connect_s=2.0, first_s=5.0, between_s=60.0)
    await anext(stream)
    await stream.aclose()
    await until(lambda: server.abandoned == 1)


async def test_a_cancel_closes_the_connection(server: Any) -> None:
    server.fault = Fault(Kind.HANG_BEFORE_HEADERS)
    task = asyncio.ensure_future(read(server, first_s=60.0))
    await until(lambda: server.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: server.abandoned == 1)


async def test_a_probe_has_its_limit_too(server: Any) -> None:
    server.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
    with pytest.raises(InstanceFault) as caught:
        await server.transport.get("/api/version", timeout_s=0.2)
    assert caught.value.cause is Cause.FIRST_BYTE_TIMEOUT


async def test_retry_after_is_carried(server: Any) -> None:
    server.fault = status(429, "too many", Retry_After="3")
    assert (await fault_of(server)).retry_after_s == 3.0


async def test_a_key_goes_out_as_bearer_and_is_in_no_message() -> None:
    async with FakeOllama(api_key="s3cret-key") as server:
        good = OllamaTransport(server.settings())
        assert (await good.get("/api/version", timeout_s=5.0))["version"]
        await good.aclose()
        server.fault = status(400, "bad header: Bearer s3cret-key")
        spoken = OllamaTransport(server.settings())
        with pytest.raises(InstanceFault) as caught:
            [line async for lines in spoken.stream("/api/chat", CHAT, connect_s=2.0, first_s=5.0, between_s=5.0) for line in lines]
        await spoken.aclose()
    assert "s3cret-key" not in str(caught.value)
    assert "***" in str(caught.value)
    assert "s3cret-key" not in repr(spoken)


async def test_user_and_password_go_out_as_basic() -> None:
    async with FakeOllama() as server:
        transport = OllamaTransport(server.settings(basic_auth=Secret("ann:pass word")))
        await transport.get("/api/version", timeout_s=5.0)
        await transport.aclose()
        assert server.requests[0].headers["authorization"] == "Basic YW5uOnBhc3Mgd29yZA=="


async def test_the_environments_proxy_is_not_asked(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    transport = OllamaTransport(server.settings())
    assert await transport.get("/api/version", timeout_s=5.0)
    await transport.aclose()


async def test_limits_one_after_the_other_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, limits = asyncio.get_running_loop(), Limits()
    with contextlib.closing(limits), monkeypatch.context() as patched:
        timers: list[float] = []
        call_at = loop.call_at
        patched.setattr(loop, "call_at", lambda when, *args: (timers.append(when), call_at(when, *args))[1])
        for _ in range(20):
            with limits.of(10):
                pass
        assert len(timers) == 1


async def test_a_timer_of_the_last_limit_is_neither_too_early_nor_too_late_for_the_next() -> None:
    with contextlib.closing(Limits()) as limits:
        with limits.of(0.02):
            pass
        with limits.of(10):
            await asyncio.sleep(0.1)  # the timer of the first rings in here
        for limit_s in (0.05, 0.02):
            with pytest.raises(TimeoutError), limits.of(limit_s):
                await asyncio.sleep(10)
        with limits.of(10):
            pass
        with pytest.raises(TimeoutError), limits.of(0.02):
            await asyncio.sleep(10)
        with limits.of(None):
            await asyncio.sleep(0)


def test_lines_are_put_together_from_pieces() -> None:
    splitter = LineSplitter()
    whole = b'{"a": 1}\n\n  \n{"b": 2}\n{"c"'
    lines = [line for index in range(len(whole)) for line in splitter.feed(whole[index : index + 1])]
    assert [json.loads(line) for line in lines] == [{"a": 1}, {"b": 2}]
    assert splitter.rest == b'{"c"'


async def test_a_limit_raises_only_for_itself() -> None:
    with pytest.raises(TimeoutError):
        with Limit(0.01):
            await asyncio.sleep(10)
    with Limit(10):
        await asyncio.sleep(0)

    async def cancelled_from_outside() -> None:
        with Limit(10):
            await asyncio.sleep(10)

    task = asyncio.ensure_future(cancelled_from_outside())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_only_faults_of_the_instance_feed_its_breaker() -> None:
    from gleitzeit_nb.core.faults import TRAITS

    blamed = {cause for cause, traits in TRAITS.items() if traits.blame is Blame.INSTANCE}
    assert blamed.isdisjoint({Cause.BUSY, Cause.MODEL_MISSING, Cause.BAD_REQUEST, Cause.UNAUTHORISED, Cause.UNFINISHED})
    assert set(TRAITS) == set(Cause)


async def test_an_address_that_is_none_is_a_fault_of_the_instance() -> None:
    transport = OllamaTransport(InstanceSettings("x", "http://no such host"))
    with pytest.raises(InstanceFault) as caught:
        await transport.get("/api/version", timeout_s=5.0)
    await transport.aclose()
    assert caught.value.cause is Cause.UNKNOWN_HOST


async def test_a_body_that_is_no_json_is_the_callers_mistake(server: Any) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        await read(server, body={**CHAT, "options": {"stop": {1, 2}}})
    assert server.requests == []


async def test_after_closing_nothing_is_sent(server: Any) -> None:
    await server.transport.aclose()
    assert (await fault_of(server)).cause is Cause.DISCONNECTED


async def test_an_error_of_our_own_is_not_blamed_on_the_instance(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, line: bytes, *, whole: bool = True) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(OllamaTransport, "_decoded", broken)
    with pytest.raises(LookupError):
        await read(server)
    await until(lambda: server.in_flight == 0)
