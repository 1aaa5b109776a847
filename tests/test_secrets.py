"""The audit of secrets: one of every kind is planted, everything is done that goes right or wrong, and all that the product says is
searched for them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from gleitzeit_nb.config import Config, load
from gleitzeit_nb.doctor import installed
from gleitzeit_nb.engine import Engine
from gleitzeit_nb.errors import GleitzeitError
from gleitzeit_nb.rendering.diagnostics import diagnostics_text
from gleitzeit_nb.rendering.text import findings_text, status_text
from tests.support.certificates import Authority, encrypted, server_context
from tests.support.fake_ollama import FakeOllama, Fault, Kind, status
from tests.support.fake_proxy import FakeProxy

CANARIES = {
    "API_KEY": "canary-Api7Key0001",
    "PAIR": "ann:canary-Basic7Pair02",
    "HEADER": "canary-Header7Value03",
    "COOKIE": "session=canary-Cookie7Value04",
    "PASSWORD": "canary-Key7Password05",
    "PROXY_PAIR": "canary-Proxy7User06:canary-Proxy7Password07",
    "LITERAL": "canary-Literal7Key08",
    "URL_PAIR": "canary-Url7User09:canary-Url7Password10",
    "TLS_KEY": "canary-Tls7Server11",
}
# Of pairs, each half and the whole as it is sent; of the cookie, what follows its name.
PLANTED = {half for canary in CANARIES.values() for half in canary.replace("=", ":").split(":") if half.startswith("canary")}
PLANTED |= {base64.b64encode(canary.encode()).decode() for canary in CANARIES.values()}

ECHOES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "split": lambda text: " ".join(text[at : at + 5] for at in range(0, len(text), 5)),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "URL-encoded": lambda text: quote(text, safe="").replace("a", "%61"),
}


def echoing(server: FakeOllama, disguise: Callable[[str], str]) -> str:
    """All headers that the server was last sent, as an unhelpful proxy shows them."""
    return "bad headers: " + " ".join(disguise(f"{name}: {value}") for name, value in server.requests[-1].headers.items())


def found_in(text: str) -> set[str]:
    """The planted that stand there: as they are, broken up by signs and lines, encoded for URLs, or in base64."""
    readings = [text, unquote(text), *_from_base64(text)]
    bare = [_bare(each) for each in readings]
    return {each for each in PLANTED if any(each in reading for reading in readings) or any(_bare(each) in reading for reading in bare)}


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _from_base64(text: str) -> Iterator[str]:
    for part in re.findall(r"[A-Za-z0-9+/]{12,}", text):
        whole = part[: len(part) - (len(part) % 4 == 1)]
        yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("latin-1")


def test_the_search_finds_what_is_there() -> None:
    for disguise in ECHOES.values():
        assert found_in(disguise(f"authorization: Bearer {CANARIES['API_KEY']}"))
    assert not found_in("nothing here")


@dataclass(repr=False)
class Said:
    """Everything that was said, by where."""

    parts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, what: object) -> None:
        self.parts += [(where, str(what)), (f"repr of {where}", repr(what))]

    def leaks(self) -> dict[str, set[str]]:
        return {where: found for where, text in self.parts if (found := found_in(text))}


@dataclass
class Planted:
    servers: dict[str, FakeOllama]
    config: Config
    said: Said


class Ear(logging.Handler):
    """Everything that anybody logs, at any level, with its trace."""

    def __init__(self, said: Said) -> None:
        super().__init__(logging.NOTSET)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.parts.append(("log", logging.Formatter("%(name)s %(message)s").format(record)))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    said = Said()
    ear = Ear(said)
    caplog.set_level(logging.DEBUG)
    logging.getLogger().addHandler(ear)
    yield said
    logging.getLogger().removeHandler(ear)
    assert any(where == "log" for where, _ in said.parts)
    assert said.leaks() == {}


@pytest.fixture
async def planted(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> AsyncIterator[Planted]:
    """One instance for every kind of credential, in the user's own file."""
    client = encrypted(authority.issue("audited-client"), CANARIES["PASSWORD"])
    context = server_context(authority.issue("audited", "IP:127.0.0.1"), clients_from=authority)
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FakeProxy(CANARIES["PROXY_PAIR"]))
        names = ("key", "basic", "headers", "proxied", "literal", "url")
        servers = {name: await stack.enter_async_context(FakeOllama(name)) for name in names}
        servers["mtls"] = await stack.enter_async_context(FakeOllama("mtls", tls=context))
        environment = {**CANARIES, "PROXY": proxy.url.replace("//", f"//{CANARIES['PROXY_PAIR']}@")}
        tls = {"ca_file": str(authority.pair.cert), "client_cert": str(client.cert), "client_key": str(client.key)}
        keys: dict[str, dict[str, Any]] = {
            "key": {"api_key": "env:API_KEY"},
            "basic": {"basic_auth": "env:PAIR"},
            "headers": {"headers": {"X-Key": "env:HEADER", "Cookie": "env:COOKIE"}},
            "proxied": {"proxy": "env:PROXY"},
            "literal": {"api_key": CANARIES["LITERAL"]},
            "url": {"url": servers["url"].url.replace("//", f"//{CANARIES['URL_PAIR']}@")},
            "mtls": {"api_key": "env:TLS_KEY", "tls": {**tls, "client_key_password": "env:PASSWORD"}},
        }
        instances = [{"id": name, "url": servers[name].url, "max_concurrent": 2, **more} for name, more in keys.items()]
        own = tmp_path / ".config" / "gleitzeit"
        own.mkdir(parents=True)
        written = tmp_path / "written"
        written.mkdir()
        keeping = {"receipts": {"file": str(written / "receipts.jsonl"), "prompts": True}, "record": str(written / "record.json")}
        monkeypatch.setenv("GLEITZEIT_CACHE_DIR", str(written / "cache"))
        (own / "config.yaml").write_text(json.dumps({"ollama": {"instances": instances, **keeping}}))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            config = load(environ=environment, home=tmp_path)
        said.add("warnings", [str(each.message) for each in warned])
        assert len(warned) == 2
        yield Planted(servers, config, said)
        files = [path for path in written.rglob("*") if path.is_file()]
        assert files
        said.parts += [(f"file {path.name}", path.read_bytes().decode("latin-1")) for path in files]


async def attempt(engine: Engine, name: str, deadline: float = 10) -> BaseException | None:
    """Its frames are searched as well, so no canary may stand in its locals."""
    try:
        await engine.pool.chat("llama3.2", "one two", instance=name, deadline=deadline)
    except (GleitzeitError, asyncio.CancelledError) as exc:
        return exc
    return None


async def everywhere(engine: Engine, planted: Planted, deadline: float = 10) -> list[BaseException | None]:
    return await asyncio.gather(*(attempt(engine, name, deadline) for name in planted.servers))


def listen(said: Said, error: BaseException | None) -> None:
    """The error in every form: its texts, what it carries, its chain with the locals of all frames."""
    if error is not None:
        said.add("error", error)
        said.add("what an error carries", vars(error))
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        said.add("traceback with locals", "".join(whole.format()))


async def listen_to_all(said: Said, engine: Engine) -> None:
    pool = engine.pool
    said.add("engine", engine)
    said.add("pool", pool)
    said.add("settings", pool.settings)
    said.add("config", engine.config)
    said.add("described config", json.dumps(engine.config.describe()))
    said.add("status", json.dumps(await pool.get_pool_status()))
    said.add("snapshot", json.dumps(engine.snapshot().to_dict()))
    said.add("status text", status_text(engine.snapshot()))
    said.add("explained", pool.explain("llama3.2"))
    said.add("receipts", json.dumps([each.to_dict() for each in pool.receipts()]))
    said.add("events", list(engine.events.log))
    said.add("models", await pool.models())
    said.add("loaded", await pool.ps())
    findings = await engine.doctor()
    said.add("doctor", findings_text(findings))
    said.add("diagnostics", diagnostics_text(installed(), engine.config, findings, engine.snapshot()))


async def test_what_goes_right_shows_no_secret(planted: Planted) -> None:
    async with Engine(planted.config) as engine:
        for name, server in planted.servers.items():
            assert await attempt(engine, name) is None
            assert server.asked
        await listen_to_all(planted.said, engine)
        planted.said.add("replies", [await engine.pool.chat("llama3.2", "one", instance=name, cache=True) for name in planted.servers])


@pytest.mark.parametrize("disguise", ECHOES.values(), ids=ECHOES)
async def test_a_server_that_repeats_what_it_was_sent_shows_no_secret(planted: Planted, disguise: Callable[[str], str]) -> None:
    async with Engine(planted.config) as engine:
        for code in (200, 401, 404, 429, 500):
            for server in planted.servers.values():
                server.faults = [status(code, echoing(server, disguise)) for _ in range(4)]
            for error in await everywhere(engine, planted, deadline=1 if code == 429 else 10):
                listen(planted.said, error)
            for server in planted.servers.values():
                server.faults = []
        await listen_to_all(planted.said, engine)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.DISCONNECT, everywhere=True),
        Fault(Kind.HTML),
        Fault(Kind.EMPTY),
        Fault(Kind.CUT),
        Fault(Kind.CUT, after=1),
        Fault(Kind.ERROR_LINE, after=1),
        Fault(Kind.BROKEN_LINE, after=1),
        status(302, None, Location="http://127.0.0.1:9/"),
    ],
    ids=lambda fault: f"{fault.kind.value} after {fault.after}",
)
async def test_no_other_fault_shows_a_secret(planted: Planted, fault: Fault) -> None:
    async with Engine(planted.config) as engine:
        for server in planted.servers.values():
            server.fault = fault
        for error in await everywhere(engine, planted):
            assert error is not None
            listen(planted.said, error)
        await listen_to_all(planted.said, engine)


async def test_servers_that_are_gone_and_cancelled_requests_show_no_secret(planted: Planted) -> None:
    async with Engine(planted.config) as engine:
        for server in planted.servers.values():
            server.fault = Fault(Kind.HANG_BEFORE_HEADERS)
        running = [asyncio.ensure_future(attempt(engine, name)) for name in planted.servers]
        await asyncio.sleep(0.1)
        for task in running:
            task.cancel()
        for error in await asyncio.gather(*running):
            assert isinstance(error, asyncio.CancelledError)
            listen(planted.said, error)
        for server in planted.servers.values():
            await server.die()
        for error in await everywhere(engine, planted, deadline=3):
            assert error is not None
            listen(planted.said, error)
        await listen_to_all(planted.said, engine)
