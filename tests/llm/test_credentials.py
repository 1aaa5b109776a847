"""A key reaches the one server that it belongs to, and no other: not by failover, not by a redirect, not through the environment."""

from __future__ import annotations

import base64
import contextlib
import traceback
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb import OllamaPoolManager
from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.llm.discovery import discover
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.ollama import OllamaTransport
from tests.support.certificates import Authority, server_context
from tests.support.fake_ollama import FakeOllama, Fault, Kind, status
from tests.support.fake_proxy import FakeProxy

CHAT = {"model": "llama3.2", "messages": [{"role": "user", "content": "one two"}], "stream": True}
ENV = {"KEY": "key-of-a", "PAIR": "ann:key-of-b", "VALUE": "key-of-c", "PROXY_PAIR": "ann:key-of-proxy"}


@pytest.fixture(params=["aiohttp", "httpx"])
def on_aiohttp(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "aiohttp")


def made(server: FakeOllama, **keys: Any) -> InstanceSettings:
    return instance_settings({"id": server.id, "url": server.url, "max_concurrent": 4, **keys}, environ=ENV)


async def ask(instance: InstanceSettings, on_aiohttp: bool) -> list[Any]:
    transport = OllamaTransport(instance, prefer_aiohttp=on_aiohttp)
    async with contextlib.aclosing(transport):  # type: ignore[type-var]
        return [line async for lines in transport.stream("/api/chat", CHAT, connect_s=2.0, first_s=5.0, between_s=5.0) for line in lines]


async def fault_of(instance: InstanceSettings, on_aiohttp: bool) -> InstanceFault:
    with pytest.raises(InstanceFault) as caught:
        await ask(instance, on_aiohttp)
    return caught.value


def sent(server: FakeOllama) -> str:
    return "\n".join(f"{name}: {value}" for request in server.requests for name, value in request.headers.items())


# -- to its server ----------------------------------------------------------------------------------------------------------------


async def test_each_kind_goes_out_as_it_should(on_aiohttp: bool) -> None:
    async with FakeOllama() as server:
        await ask(made(server, api_key="env:KEY", headers={"X-Team": "env:VALUE", "user-agent": "env:VALUE"}), on_aiohttp)
        await ask(made(server, basic_auth="env:PAIR"), on_aiohttp)
        await ask(made(server, headers={"Authorization": "env:VALUE"}), on_aiohttp)
        first, second, third = (request.headers for request in server.asked)
    assert (first["authorization"], first["x-team"], first["user-agent"]) == ("Bearer key-of-a", "key-of-c", "key-of-c")
    assert second["authorization"] == f"Basic {base64.b64encode(b'ann:key-of-b').decode()}"
    assert third["authorization"] == "key-of-c"


@pytest.mark.parametrize(
    "fault",
    [Fault(Kind.DISCONNECT), Fault(Kind.HTML), Fault(Kind.CUT), status(500, "x"), status(401, "x"), status(503, "busy")],
    ids=["disconnect", "HTML", "cut", "500", "401", "503"],
)
async def test_failover_takes_no_key_along(fault: Fault) -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, FakeOllama("c") as c:
        a.fault = b.fault = fault
        instances = [
            {"id": "a", "url": a.url, "api_key": "env:KEY"},
            {"id": "b", "url": b.url, "basic_auth": "env:PAIR"},
            {"id": "c", "url": c.url, "headers": {"X-Key": "env:VALUE"}},
        ]
        settings = [instance_settings(each, environ=ENV) for each in instances]
        async with OllamaPoolManager([]) as pool:
            for each in settings:
                await pool.add_instance(each)
            for wanted in ("a", "b", "c"):
                assert (await pool.chat("llama3.2", "one two", instance_preference=wanted)).instance == "c"
        assert a.asked
        assert b.asked
        pair = base64.b64encode(b"ann:key-of-b").decode()
        for server, own in ((a, "key-of-a"), (b, pair), (c, "key-of-c")):
            assert own in sent(server)
            assert not any(other in sent(server) for other in {"key-of-a", "key-of-b", pair, "key-of-c"} - {own})


async def test_a_fault_carries_no_headers_in_the_locals_of_its_frames(on_aiohttp: bool) -> None:
    async with FakeOllama() as server:
        instance = made(server, api_key="env:KEY", headers={"X-Key": "env:VALUE"})
        for fault in (Fault(Kind.DISCONNECT), Fault(Kind.CUT), Fault(Kind.CUT, after=1), None):
            server.fault = fault
            if fault is None:
                await server.die()
            whole = traceback.TracebackException.from_exception(await fault_of(instance, on_aiohttp), capture_locals=True)
            text = "".join(whole.format())
            assert "direct cause" in text
            assert not any(key in text for key in ("key-of-a", "key-of-c"))


# -- not by a redirect --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_error_and_is_not_followed(code: int, on_aiohttp: bool) -> None:
    async with FakeOllama() as server, FakeOllama("other") as other:
        for place in (other.url, f"{server.url}/elsewhere"):
            server.fault = status(code, None, everywhere=True, Location=f"{place}/api/chat")
            fault = await fault_of(made(server, api_key="env:KEY", headers={"X-Key": "env:VALUE"}), on_aiohttp)
            assert fault.cause is Cause.BAD_BODY
            assert fault.detail == f"HTTP {code}, a redirect, which is never followed"
        assert other.connections == 0
        assert {request.path for request in server.requests} == {"/api/chat"}


# -- not to those whom nobody named -------------------------------------------------------------------------------------------------


async def test_a_server_that_is_found_or_added_gets_none_of_the_pools_keys() -> None:
    async with FakeOllama() as server, FakeProxy() as proxy:
        from gleitzeit_nb.config import load

        with pytest.warns(UserWarning, match="no instances are listed"):
            settings = load({"api_key": "env:KEY", "headers": {"X-Key": "env:VALUE"}, "proxy": proxy.url}, environ=ENV).pool
        assert [each.id for each in await discover([server.url], settings.access)]
        async with OllamaPoolManager(settings=settings) as pool:
            await pool.add_instance({"id": "late", "url": server.url})
            await pool.chat("llama3.2", "one")
        assert not any(key in sent(server) for key in ("key-of", "authorization"))
        assert proxy.heads == []  # there is none on the way to this machine


# -- the way: a proxy of our own option, and nothing of the environment ----------------------------------------------------------------


async def test_a_proxy_is_taken_when_an_instance_names_it(on_aiohttp: bool) -> None:
    async with FakeOllama() as server, FakeProxy() as proxy:
        assert await ask(made(server, proxy=proxy.url, api_key="env:KEY"), on_aiohttp)
        assert proxy.heads[0].startswith(f"POST {server.url}/api/chat HTTP/1.1")
        assert server.asked[0].headers["authorization"] == "Bearer key-of-a"


async def test_a_proxys_password_goes_to_the_proxy_alone(on_aiohttp: bool) -> None:
    async with FakeOllama() as server, FakeProxy(ENV["PROXY_PAIR"]) as proxy:
        named = instance_settings(
            {"id": "a", "url": server.url, "proxy": "env:PROXY"}, environ={"PROXY": proxy.url.replace("//", f"//{ENV['PROXY_PAIR']}@")}
        )
        assert await ask(named, on_aiohttp)
        assert "proxy-authorization" in proxy.heads[0].lower()
        assert "key-of-proxy" not in sent(server)
        refused = await fault_of(made(server, proxy=proxy.url), on_aiohttp)
        assert (refused.cause, refused.detail) == (Cause.UNAUTHORISED, "HTTP 407, the proxy on the way wants other credentials")


async def test_through_a_tunnel_the_proxy_sees_no_key(authority: Authority, on_aiohttp: bool) -> None:
    context = server_context(authority.issue("tunnelled", "IP:127.0.0.1"))
    async with FakeOllama(tls=context) as server, FakeProxy(ENV["PROXY_PAIR"]) as proxy:
        tls = {"ca_file": str(authority.pair.cert)}
        way = proxy.url.replace("//", f"//{ENV['PROXY_PAIR']}@")
        instance = instance_settings(
            {"id": "a", "url": server.url, "tls": tls, "proxy": "env:WAY", "api_key": "env:KEY"}, environ={**ENV, "WAY": way}
        )
        assert await ask(instance, on_aiohttp)
        assert proxy.heads[0].startswith("CONNECT 127.0.0.1:")
        assert "key-of-a" not in "".join(proxy.heads)
        assert "proxy-authorization" not in sent(server)
        refused = await fault_of(made(server, tls=tls, proxy=proxy.url), on_aiohttp)
        assert (refused.cause, refused.detail) == (Cause.UNAUTHORISED, "HTTP 407, the proxy on the way wants other credentials")


async def test_a_proxy_that_is_not_there_is_told_as_such(authority: Authority, on_aiohttp: bool) -> None:
    async with FakeOllama() as server:
        fault = await fault_of(made(server, proxy="http://127.0.0.1:9"), on_aiohttp)
        assert fault.cause is Cause.REFUSED


async def test_nothing_of_the_environment_changes_the_way_or_adds_a_key(
    on_aiohttp: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with FakeOllama() as server, FakeProxy() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login ann password key-of-netrc\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("OLLAMA_API_KEY", "key-of-ollama")
        assert await ask(made(server), on_aiohttp)
        assert proxy.heads == []
        assert "authorization" not in server.requests[0].headers
