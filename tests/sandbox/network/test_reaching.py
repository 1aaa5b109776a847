"""Code that may reach some hosts: how programs get there, what they are told when they may not, and what is written down."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from gleitzeit_nb.core.execution import ExecutionRequest, Limits
from gleitzeit_nb.core.network import NetworkRecord, summary
from gleitzeit_nb.sandbox.network import Gateway
from tests.sandbox.network.conftest import Online
from tests.sandbox.network.servers import Names, Server
from tests.support.certificates import Authority, server_context

pytestmark = pytest.mark.asyncio(loop_scope="module")

CURL = "import subprocess; print(subprocess.run(['curl', '-sS', url], capture_output=True, text=True).stdout)"
FETCH = "from urllib.request import urlopen\n"


def at_test(port: int, *addresses: str) -> tuple[Gateway, str]:
    """A gateway that knows `site.test`, and the rule for it."""
    return Gateway(Names(site_test=[addresses or ("127.0.0.1",)])), f"site.test:{port}"


async def test_plain_http_reaches_an_allowed_host_as_one_request(online: Online) -> None:
    async with Server() as server:
        gateway, rule = at_test(server.port)
        code = FETCH + f"print(urlopen('http://SITE.test:{server.port}/a/b?c=d').read().decode())"
        result = await online(code, [rule], gateway=gateway)
    assert (result.status, result.stdout) == ("ok", "/a/b?c=d 0\n"), result.traceback
    head = server.heads[0].lower()
    assert head.startswith("get /a/b?c=d http/1.1\r\n")
    assert f"host: site.test:{server.port}\r\n" in head
    assert "connection: close" in head
    assert "proxy" not in head


async def test_a_body_goes_up_and_comes_down_whole(online: Online) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(1_000_000)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        await writer.drain()

    async with Server(echo) as server:
        gateway, rule = at_test(server.port)
        code = FETCH + f"import os; data = os.urandom(1_000_000); print(urlopen('http://site.test:{server.port}/', data).read() == data)"
        result = await online(code, [rule], gateway=gateway)
    assert result.stdout == "True\n", result.traceback
    [record] = result.network
    assert (record.outcome, record.count) == ("allowed", 1)
    assert record.bytes_sent > 1_000_000 < record.bytes_received


async def test_https_goes_through_a_tunnel_and_is_not_opened(online: Online, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    context = server_context(authority.issue("site", "DNS:site.test"))
    async with Server(tls=context) as server:
        gateway, rule = at_test(server.port)
        code = (
            FETCH
            + f"""
import ssl
context = ssl.create_default_context(cafile={str(authority.pair.cert)!r})
print(urlopen("https://site.test:{server.port}/tls", context=context).read().decode())
"""
        )
        result = await online(code, [rule], gateway=gateway)
    assert result.stdout == "/tls 0\n", result.traceback
    assert result.network[0].place == f"site.test:{server.port}"


@pytest.mark.parametrize(
    "program",
    [
        "import requests; print(requests.get(url).text)",
        "import requests\nwith requests.Session() as s: print([s.get(url).text for _ in range(3)][-1])",
        "import httpx; print(httpx.get(url).text)",
        "import httpx\nasync with httpx.AsyncClient() as client: print((await client.get(url)).text)",
        "import urllib3; print(urllib3.proxy_from_url(__import__('os').environ['HTTP_PROXY']).request('GET', url).data.decode())",
        *([CURL] if shutil.which("curl") else []),
    ],
)
async def test_usual_programs_find_their_way(online: Online, program: str) -> None:
    async with Server() as server:
        gateway, rule = at_test(server.port)
        paths = f"import sys; sys.path += {sys.path!r}\nurl = 'http://site.test:{server.port}/x'\n"
        result = await online(paths + program, [rule], gateway=gateway)
    assert result.stdout == "/x 0\n", result.traceback + result.stderr


async def test_pip_downloads_through_the_tunnel(online: Online) -> None:
    async def index(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>")
        await writer.drain()

    async with Server(index) as server:
        gateway, rule = at_test(server.port)
        address = f"http://site.test:{server.port}/simple"
        options = ["--no-cache-dir", "--retries", "0", "--trusted-host", "site.test", "-i", address]
        command = [sys.executable, "-m", "pip", "download", *options, "nothing-here"]
        code = f"import subprocess; print(subprocess.run({command!r}, capture_output=True).stderr.decode())"
        result = await online(code, [rule], gateway=gateway)
    assert server.connections >= 1, result.stdout
    assert "No matching distribution" in result.stdout


async def test_a_refusal_names_the_place_the_reason_and_the_way_to_allow_it(online: Online) -> None:
    code = (
        FETCH
        + """
import urllib.error
try:
    urlopen("http://evil.org:25/")
except urllib.error.HTTPError as exc:
    print(exc.code, exc.reason)
    print(exc.read().decode())
try:
    urlopen("https://evil.org/")
except OSError as exc:
    print(exc)
"""
    )
    names = Names()
    result = await online(code, ["example.org"], gateway=Gateway(names))
    first, second, third, *_, last = result.stdout.strip().split("\n")
    assert first == "403 The sandbox may not reach evil.org:25: no rule allows it"
    assert second == "The sandbox may not reach evil.org:25: no rule allows it."
    assert third == "Allowed: example.org. To allow it: %%sandbox --allow evil.org:25"
    assert last == "<urlopen error Tunnel connection failed: 403 The sandbox may not reach evil.org:443: no rule allows it>"
    assert names.asked == []  # a name that is not allowed is not even looked up
    assert summary(result.network) == "evil.org:25 refused; evil.org:443 refused"


async def test_every_decision_is_told_and_an_allowed_one_twice(online: Online) -> None:
    async with Server() as server:
        gateway, rule = at_test(server.port)
        code = (
            FETCH
            + f"""
urlopen("http://site.test:{server.port}/").read()
for _ in range(3):
    try: urlopen("http://evil.org/")
    except OSError: pass
"""
        )
        result = await online(code, [rule], gateway=gateway)
    told = sorted((record.host, record.outcome, ended) for record, ended in online.told)
    assert told == [*[("evil.org", "refused", False)] * 3, ("site.test", "allowed", False), ("site.test", "allowed", True)]
    [end] = [record for record, ended in online.told if ended]
    assert end.bytes_received == result.network[0].bytes_received > 0
    assert result.network[1] == NetworkRecord("evil.org", 80, "refused", "no rule allows it", 3)


async def test_a_server_that_is_not_there_is_a_502_with_the_reason(online: Online) -> None:
    async with Server() as server:
        port = server.port
    gateway, rule = at_test(port)
    code = FETCH + f"urlopen('http://site.test:{port}/')"
    result = await online(code, [rule, "nowhere.test"], gateway=gateway)
    assert "HTTP Error 502: The sandbox could not reach site.test" in result.traceback
    assert "refused" in result.network[0].reason.lower()
    result = await online(FETCH + "urlopen('http://nowhere.test/')", ["nowhere.test"], gateway=gateway)
    assert result.network[0].reason.startswith("its name is not known")


async def test_an_ipv6_literal_is_reached_where_it_is_listed(online: Online) -> None:
    try:
        server = await Server(host="::1").__aenter__()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    try:
        code = FETCH + f"print(urlopen('http://[::1]:{server.port}/six').read().decode())"
        assert (await online(code, [f"[::1]:{server.port}"])).stdout == "/six 0\n"
        refused = await online(code, ["example.org"])
        assert refused.network[0].outcome == "refused"
    finally:
        await server.__aexit__(None, None, None)


async def test_host_names_of_any_script_are_one_name(online: Online) -> None:
    async with Server() as server:
        gateway = Gateway(Names(**{"xn--bcher-kva_test": [["127.0.0.1"]]}))
        paths = f"import sys; sys.path += {sys.path!r}\n"
        code = paths + f"import requests; print(requests.get('http://Bücher.test:{server.port}/ü').text)"
        result = await online(code, [f"BÜCHER.test.:{server.port}"], gateway=gateway)
    assert result.stdout == "/%C3%BC 0\n", result.traceback


async def test_without_rules_everything_is_refused(online: Online) -> None:
    result = await online(FETCH + "urlopen('http://example.org/')")
    assert "no rule allows it" in result.traceback


async def test_the_next_run_has_no_proxy_and_no_listener(online: Online) -> None:
    first = await online("import os; print(os.environ['HTTPS_PROXY'], repr(os.environ['NO_PROXY']))", ["example.org"])
    proxy, none = first.stdout.split()
    assert none == "''"
    port = int(proxy.rpartition(":")[2])
    code = f"""
import os, socket
print([name for name in os.environ if "proxy" in name.lower()], socket.socket().connect_ex(("127.0.0.1", {port})) != 0)
"""
    second = await online.connection.run(ExecutionRequest("id", code), Limits())
    assert second.stdout == "[] True\n"
    assert second.network == ()
