"""A restricted network in the modes that have one, and its refusal where there is none to restrict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE, RESTRICTED_MODE, ExecutionRequest, ExecutionResult
from gleitzeit_nb.errors import ConfigError, SandboxError
from gleitzeit_nb.events import NetworkDecision, RunEnded
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.jail.confinement import Facts
from gleitzeit_nb.sandbox.network import Gateway, policy_for
from gleitzeit_nb.sandbox.restricted import RestrictedLauncher
from tests.sandbox.network.servers import Names, Server
from tests.sandbox.subprocess_channel import SubprocessLauncher
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES = (DOCKER_MODE, RESTRICTED_MODE)


class Held:
    """One mode of a sandbox whose configuration opens 127.0.0.1, and knows `site.test` as that."""

    def __init__(self, sandbox: Sandbox, mode: str) -> None:
        self.sandbox = sandbox
        self.mode = mode


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held(request: pytest.FixtureRequest) -> AsyncIterator[Held]:
    mode: str = request.param
    if mode == DOCKER_MODE:
        request.getfixturevalue("docker_image")
    settings = {"modes": {mode: {"allow_private": ["127.0.0.1"]}}, "container_pool": {"max_containers": 2}}
    async with Sandbox(settings, gateway=Gateway(Names(site_test=[["127.0.0.1"]]))) as sandbox:
        try:
            await sandbox.check(mode)
        except SandboxError as exc:
            pytest.skip(f"no {mode} here: {exc}")
        yield Held(sandbox, mode)


both = pytest.mark.parametrize("held", MODES, indirect=True)

FETCH = "from urllib.request import urlopen\n"


@both
async def test_an_allowed_host_is_reached_and_another_is_not(held: Held) -> None:
    async with Server() as server:
        code = (
            FETCH
            + f"""
print(urlopen("http://site.test:{server.port}/in").read())
for url in ("http://evil.org/", "http://127.0.0.2:{server.port}/"):
    try:
        urlopen(url)
    except OSError as exc:
        print(exc.code)
"""
        )
        result = await held.sandbox.execute(code, held.mode, allow=[f"site.test:{server.port}", f"127.0.0.2:{server.port}"])
    assert result.stdout == "b'/in 0'\n403\n403\n", result.traceback
    assert [(each.host, each.outcome) for each in result.network] == [
        ("site.test", "allowed"),
        ("evil.org", "refused"),
        ("127.0.0.2", "refused"),
    ]
    told = [event for event in held.sandbox.events.log if isinstance(event, NetworkDecision)]
    assert {(event.mode, event.host) for event in told} >= {(held.mode, "site.test"), (held.mode, "evil.org")}
    ended = [event for event in held.sandbox.events.log if isinstance(event, RunEnded)][-1]
    assert (ended.network_refused, ended.network_bytes > 0) == (2, True)


@both
async def test_a_warm_worker_serves_runs_with_and_without_a_network(held: Held) -> None:
    look = "import os; print(sorted(name for name in os.environ if 'proxy' in name.lower()))"
    results = [await held.sandbox.execute(look, held.mode, allow=allow) for allow in ((), ("example.org",), ())]
    assert len({result.container for result in results}) == 1
    assert [result.stdout.count("proxy") for result in results] == [0, 4, 0]


@both
async def test_a_run_that_is_stopped_leaves_no_connection(held: Held) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    code = """
import os, socket, time
s = socket.create_connection(("127.0.0.1", int(os.environ["http_proxy"].rpartition(":")[2])))
s.sendall(b"CONNECT site.test:%d HTTP/1.1\\r\\n\\r\\n")
s.recv(100)
time.sleep(60)
"""
    async with Server(hold) as server:
        result = await held.sandbox.execute(code % server.port, held.mode, allow=[f"site.test:{server.port}"], timeout=1)
        assert result.status == "timeout"
        await until(lambda: server.open == 0)
        running = asyncio.create_task(held.sandbox.execute(code % server.port, held.mode, allow=[f"site.test:{server.port}"]))
        await until(lambda: server.open == 1)
        running.cancel()
        await asyncio.wait({running})
        await until(lambda: server.open == 0)
    assert (await held.sandbox.execute("print(1)", held.mode)).stdout == "1\n"


@both
async def test_bytes_flow_both_ways_while_the_deadline_and_output_are_kept(held: Held) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    code = """
import os, socket, threading
s = socket.create_connection(("127.0.0.1", int(os.environ["http_proxy"].rpartition(":")[2])))
s.sendall(b"CONNECT site.test:%d HTTP/1.1\\r\\n\\r\\n")
assert s.recv(100).startswith(b"HTTP/1.1 200")
data = os.urandom(1 << 20) * 4
threading.Thread(target=lambda: (s.sendall(data), s.shutdown(1))).start()
got = bytearray()
while piece := s.recv(65536):
    got += piece
print(got == data)
"""
    async with Server(echo) as server:
        result = await held.sandbox.execute(code % server.port, held.mode, allow=[f"site.test:{server.port}"])
    assert result.stdout == "True\n", result.traceback
    assert result.network[0].bytes_sent == result.network[0].bytes_received == 4 << 20


SESSION = """
import os, socket
from urllib.request import urlopen
def places():
    return sorted({value for name, value in os.environ.items() if name.lower().endswith("_proxy") and value})
def tunnel(port):
    s = socket.create_connection(("127.0.0.1", int(os.environ["http_proxy"].rpartition(":")[2])))
    s.sendall(b"CONNECT site.test:%d HTTP/1.1\\r\\n\\r\\n" % port)
    s.recv(100)
    return s
"""


@both
async def test_a_cell_of_a_session_has_the_network_that_it_allows_and_no_other_cell_has(held: Held) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def cell(code: str, *allow: str, timeout: float = 30) -> ExecutionResult:
        return await held.sandbox.execute(code, held.mode, session="online", allow=allow, timeout=timeout)

    try:
        async with Server() as server, Server(hold) as holding:
            site, other = f"site.test:{server.port}", f"site.test:{holding.port}"
            assert (await cell(SESSION + "print(places())")).stdout == "[]\n"
            first = await cell(f"kept = tunnel({holding.port}); print(urlopen('http://{site}/1').read(), *places())", site, other)
            assert first.ok, first.traceback
            await until(lambda: holding.open == 0)  # the connection ended with its cell
            alone = await cell(
                "print(places(), kept.recv(10))\ntry: urlopen('http://evil.org/', timeout=2)\nexcept OSError: print('no way')"
            )
            assert alone.stdout.endswith("no way\n"), alone
            assert alone.network == ()
            again = await cell(f"print(urlopen('http://{site}/1').read(), *places())", site)
            assert again.stdout == first.stdout, again.traceback  # at the same port: what knew the proxy still does
            assert [record.outcome for record in again.network] == ["allowed"]
            cut = asyncio.create_task(cell(f"kept = tunnel({holding.port})\nimport time; time.sleep(60)", other, timeout=60))
            await until(lambda: holding.open == 1)
            cut.cancel()  # an interrupt: the session goes on
            await asyncio.wait({cut})
            await until(lambda: holding.open == 0)
            assert (await cell("print(len(places()))")).stdout == "0\n"
    finally:
        await held.sandbox.reset_session("online")


async def test_a_modes_own_hosts_count_in_every_run_and_a_run_adds_to_them() -> None:
    sandbox = Sandbox({"modes": {DOCKER_MODE: {"network": "restricted", "allow": ["a.org"]}, RESTRICTED_MODE: {"allow": ["b.org"]}}})
    online, offline = sandbox.settings.modes[DOCKER_MODE], sandbox.settings.modes[RESTRICTED_MODE]

    def rules(mode: object, **options: object) -> list[str] | None:
        policy = policy_for(mode, ExecutionRequest("id", "1", **options))  # type: ignore[arg-type]
        return None if policy is None else [str(rule) for rule in policy.rules]

    assert rules(online) == ["a.org"]
    assert rules(online, allow=("x.org", "A.org.")) == ["a.org", "x.org"]
    assert rules(online, network="none") is None
    assert rules(offline) is None
    assert rules(offline, allow=("x.org",)) == ["x.org"]
    assert rules(offline, network="restricted") == []


async def test_without_a_network_of_its_own_a_mode_says_so_and_its_worker_stays(launcher: SubprocessLauncher) -> None:
    async with Sandbox(launchers={"docker": launcher}) as sandbox:
        with pytest.raises(ConfigError, match="no loopback of its own") as caught:
            await sandbox.execute("1", DOCKER_MODE, allow=["example.org"])
        assert len(str(caught.value).splitlines()) <= 6
        assert (await sandbox.execute("print(2)", DOCKER_MODE)).stdout == "2\n"
        assert len(launcher.channels) == 1


async def test_the_weaker_form_refuses_a_network() -> None:
    async def survey() -> Facts:
        return replace(await RestrictedLauncher().survey(), bubblewrap=None, bubblewrap_problem="a test hides it")

    launcher = RestrictedLauncher(survey=survey)
    async with Sandbox({"modes": {RESTRICTED_MODE: {"allow_weaker": True}}}, launchers={"restricted": launcher}) as sandbox:
        try:
            await sandbox.check(RESTRICTED_MODE)
        except SandboxError as exc:
            pytest.skip(f"no weaker form here: {exc}")
        with pytest.raises(ConfigError, match="no loopback of its own"):
            await sandbox.execute("1", RESTRICTED_MODE, allow=["example.org"])


async def test_local_mode_refuses_a_network_that_nothing_would_hold() -> None:
    async with Sandbox({"modes": {"local": {"enabled": True}}}) as sandbox:
        with pytest.raises(ConfigError, match="isolates nothing"):
            await sandbox.execute("1", "local", allow=["example.org"])
