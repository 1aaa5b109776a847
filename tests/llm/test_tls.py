"""TLS to real HTTPS servers: who is trusted, what is shown to whom, and what a failed handshake says, on both transports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb import OllamaPoolManager
from gleitzeit_nb.config import ConfigWarning, instance_settings
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.errors import AllInstancesFailedError, ConfigError
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.ollama import OllamaTransport
from gleitzeit_nb.llm.tls import tls_context
from tests.support.certificates import Authority, Pair, server_context
from tests.support.fake_ollama import FakeOllama

HERE = "IP:127.0.0.1"


@pytest.fixture(params=["aiohttp", "httpx"])
def on_aiohttp(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "aiohttp")


@pytest.fixture(scope="session")
def good(authority: Authority) -> Pair:
    return authority.issue("good", HERE, "DNS:localhost")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Authority:
    return Authority(tmp_path_factory.mktemp("strangers"), "stranger")


def settings(server: FakeOllama, tls: Mapping[str, Any] | None = None, **more: Any) -> InstanceSettings:
    return instance_settings({"id": "a", "url": server.url, **({"tls": tls} if tls else {}), **more})


async def version(instance: InstanceSettings, on_aiohttp: bool) -> Any:
    transport = OllamaTransport(instance, prefer_aiohttp=on_aiohttp)
    async with contextlib.aclosing(transport):  # type: ignore[type-var]
        return (await transport.get("/api/version", timeout_s=5.0))["version"]


async def refusal(instance: InstanceSettings, on_aiohttp: bool) -> str:
    with pytest.raises(InstanceFault) as caught:
        await version(instance, on_aiohttp)
    assert caught.value.cause is Cause.TLS_FAILED
    return caught.value.detail


async def test_a_server_that_our_own_authority_vouches_for_is_trusted(authority: Authority, good: Pair, on_aiohttp: bool) -> None:
    async with FakeOllama(tls=server_context(good)) as server:
        assert await version(settings(server, {"ca_file": str(authority.pair.cert)}), on_aiohttp)


async def test_nobody_is_trusted_who_is_not_vouched_for(good: Pair, stranger: Authority, on_aiohttp: bool) -> None:
    async with FakeOllama(tls=server_context(good)) as server:
        for tls in (None, {"ca_file": str(stranger.pair.cert)}):
            assert (await refusal(settings(server, tls), on_aiohttp)).startswith("certificate verify failed: unable to get local issuer")
        assert server.requests == []


async def test_a_server_may_be_known_by_its_own_certificate(good: Pair, on_aiohttp: bool) -> None:
    async with FakeOllama(tls=server_context(good)) as server:
        assert await version(settings(server, {"ca_file": str(good.cert)}), on_aiohttp)


async def test_another_servers_certificate_is_not_taken(authority: Authority, on_aiohttp: bool) -> None:
    other = authority.issue("other", "DNS:other.example")
    async with FakeOllama(tls=server_context(other)) as server:
        said = await refusal(settings(server, {"ca_file": str(authority.pair.cert)}), on_aiohttp)
        assert said == "certificate verify failed: IP address mismatch, certificate is not valid for '127.0.0.1'"


async def test_a_certificate_out_of_date_is_not_taken(authority: Authority, on_aiohttp: bool) -> None:
    old = authority.issue("old", HERE, days=(-2, -1))
    async with FakeOllama(tls=server_context(old)) as server:
        said = await refusal(settings(server, {"ca_file": str(authority.pair.cert)}), on_aiohttp)
        assert said == "certificate verify failed: certificate has expired"


async def test_without_verifying_anybody_is_taken_and_that_warns(good: Pair, on_aiohttp: bool) -> None:
    async with FakeOllama(tls=server_context(good)) as server:
        with pytest.warns(ConfigWarning, match=r"tls\.verify of instance 'a' is false"):
            unverified = settings(server, {"verify": False})
        assert await version(unverified, on_aiohttp)


async def test_what_speaks_no_tls_is_told_so(on_aiohttp: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        plain = instance_settings({"id": "a", "url": f"https://127.0.0.1:{port}"})
        assert "does not speak TLS" in await refusal(plain, on_aiohttp)


async def test_a_client_shows_its_certificate_to_a_server_that_wants_one(authority: Authority, good: Pair, on_aiohttp: bool) -> None:
    client = authority.issue("client")
    tls = {"ca_file": str(authority.pair.cert), "client_cert": str(client.cert), "client_key": str(client.key)}
    async with FakeOllama(tls=server_context(good, clients_from=authority)) as server:
        assert await version(settings(server, tls), on_aiohttp)
        with pytest.raises(InstanceFault):
            await version(settings(server, {"ca_file": tls["ca_file"]}), on_aiohttp)
        assert len(server.requests) == 1


@contextlib.contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[str]:
    """Turns clients away as most servers do, with an alert: asyncio's own closes the connection without one. Its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    secure = context.wrap_socket(listener.accept()[0], server_side=True, do_handshake_on_connect=False)
                    with secure, contextlib.suppress(OSError):
                        secure.settimeout(5)
                        with contextlib.suppress(ssl.SSLError):
                            secure.do_handshake()
                        socket.socket.shutdown(secure, socket.SHUT_WR)
                        while socket.socket.recv(secure, 4096):  # unread, it would turn the close into a reset
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_a_server_that_turns_a_client_away_is_quoted(authority: Authority, stranger: Authority, good: Pair, on_aiohttp: bool) -> None:
    client = stranger.issue("client")
    tls = {"ca_file": str(authority.pair.cert)}
    wrong = {**tls, "client_cert": str(client.cert), "client_key": str(client.key)}
    with strict_server(server_context(good, clients_from=authority)) as url:
        said = await refusal(instance_settings({"id": "a", "url": url, "tls": tls}), on_aiohttp)
        assert said == "the server answered with the alert 'certificate required' (it wants a client certificate: tls.client_cert)"
        said = await refusal(instance_settings({"id": "a", "url": url, "tls": wrong}), on_aiohttp)
        assert said == "the server answered with the alert 'unknown ca'"


async def test_a_key_is_not_sent_before_the_server_is_known(good: Pair, on_aiohttp: bool) -> None:
    async with FakeOllama(tls=server_context(good)) as server:
        with pytest.warns(ConfigWarning):
            instance = settings(server, api_key="hunter2")
        await refusal(instance, on_aiohttp)
        assert server.requests == []


async def test_that_nobody_checks_a_certificate_is_shown_wherever_the_instance_is(good: Pair) -> None:
    async with FakeOllama(tls=server_context(good)) as server:
        instances = [{"id": "a", "url": server.url, "tls": {"verify": False}}]
        with pytest.warns(ConfigWarning):
            manager = OllamaPoolManager(instances)
        async with manager:
            assert (await manager.chat("llama3.2", "one")).text
            assert [view.reason for view in manager.instance_views()] == ["its certificate is not verified"]
            assert (await manager.get_pool_status())["instances"]["a"]["reason"] == "its certificate is not verified"


def test_equal_settings_share_one_context(authority: Authority, tmp_path: Path) -> None:
    def context(ca_file: Path) -> ssl.SSLContext:
        return tls_context(instance_settings({"id": "a", "url": "https://a", "tls": {"ca_file": str(ca_file)}}).tls)

    assert tls_context(instance_settings({"id": "a", "url": "https://a"}).tls) is tls_context(
        instance_settings({"id": "b", "url": "https://b"}).tls
    )
    copy = tmp_path / "ca.pem"
    copy.write_bytes(authority.pair.cert.read_bytes())
    first = context(copy)
    assert context(copy) is first
    assert context(authority.pair.cert) is not first
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert context(copy) is not first


def test_session_keys_are_not_logged_for_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    tls_context.__globals__["_context"].cache_clear()
    context = tls_context(InstanceSettings("a", "https://a").tls)
    assert context.keylog_filename is None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_file_that_is_gone_since_is_told_by_name(authority: Authority, tmp_path: Path) -> None:
    copy = tmp_path / "ca.pem"
    copy.write_bytes(authority.pair.cert.read_bytes())
    instance = instance_settings({"id": "a", "url": "https://a", "tls": {"ca_file": str(copy)}})
    copy.unlink()
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be used any more"):
        OllamaTransport(instance)


@pytest.fixture
async def pool(authority: Authority, good: Pair) -> AsyncIterator[OllamaPoolManager]:
    """One server that nobody vouches for, one that our authority does."""
    async with FakeOllama("bad", tls=server_context(good)) as bad, FakeOllama("fine", tls=server_context(good)) as fine:
        tls = {"ca_file": str(authority.pair.cert)}
        instances = [{"id": "bad", "url": bad.url, "models": ["llama3.2"]}, {"id": "fine", "url": fine.url, "tls": tls}]
        async with OllamaPoolManager(instances) as manager:
            yield manager


async def test_a_pool_goes_on_with_those_that_it_can_trust_and_says_why_of_the_other(pool: OllamaPoolManager) -> None:
    assert (await pool.chat("llama3.2", "one two")).instance == "fine"
    assert "certificate verify failed" in {view.id: view.reason for view in pool.instance_views()}["bad"]
    await pool.remove_instance("fine")
    with pytest.raises(AllInstancesFailedError, match="certificate verify failed"):
        await pool.chat("llama3.2", "one two", deadline=5)
