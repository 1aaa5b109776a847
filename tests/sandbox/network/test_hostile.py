"""Code and servers that mean harm: floods, garbage, half-closed and silent connections. The deadline holds, and nothing stays open."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.network import Gateway
from tests.sandbox.network.conftest import Online
from tests.sandbox.network.servers import Names, Server
from tests.sandbox.subprocess_channel import SubprocessChannel
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

# `raw(data)`: what a connection to the proxy that sends `data` gets, to its end.
RAW = """
import os, socket, sys, time
PROXY = ("127.0.0.1", int(os.environ["HTTP_PROXY"].rpartition(":")[2]))
def connect():
    return socket.create_connection(PROXY, 10)
def rest(s):
    data = b""
    while True:
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            return data + b"<reset>"
        if not piece:
            return data
        data += piece
def raw(data):
    s = connect()
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    return rest(s)
"""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def tunnel(server: Server) -> tuple[str, str]:
    """(the rule, code that leaves a tunnel to the server in `s`)."""
    place = f"127.0.0.1:{server.port}"
    return (
        place,
        RAW
        + f"""
def tunnel():
    s = connect()
    s.sendall(b"CONNECT {place} HTTP/1.1\\r\\n\\r\\n")
    assert s.recv(200).startswith(b"HTTP/1.1 200"), "no tunnel"
    return s
s = tunnel()
""",
    )


async def still_works(online: Online) -> None:
    assert (await online("print(6 * 7)")).stdout == "42\n"


# -- what code does to the proxy ---------------------------------------------------------------------------------------------


async def test_garbage_is_answered_with_400_and_nothing_breaks(online: Online) -> None:
    code = (
        RAW
        + """
lines = b"GET / HTTP/1.1", b"CONNECT a:1 HTTP/1.1\\n\\n"
for data in (b"\\0" * 100, b"\\x16\\x03\\x01" + b"a" * 50, os.urandom(3000), b"x" * 20000, *lines):
    print(raw(data + b"\\r\\n\\r\\n")[:12])
print(raw(b""))
"""
    )
    result = await online(code, ["example.org"])
    assert result.stdout.count("b'HTTP/1.1 400'") == 6, result.stdout + result.traceback
    assert result.stdout.endswith("b''\n")
    await still_works(online)


async def test_a_request_that_trickles_is_given_up(online: Online) -> None:
    code = (
        RAW
        + """
s = connect()
try:
    for _ in range(100):
        s.sendall(b"G")
        time.sleep(0.05)
except OSError:
    pass
print(rest(s)[:12])
"""
    )
    result = await online(code, ["example.org"], limits={"idle_timeout_s": 0.3})
    assert result.stdout in ("b'HTTP/1.1 408'\n", "b'<reset>'\n"), result.traceback
    assert result.network[0].reason == "it came too slowly"


async def test_five_thousand_connections_cost_the_code_its_own_time_only(online: Online) -> None:
    """Most wait outside the listener; after the run's last one there is no listener any more."""
    code = (
        RAW
        + """
made = failed = 0
for number in range(5000):
    try:
        s = connect()
        s.sendall(b"GET http://evil.org/ HTTP/1.1\\r\\nHost: evil.org\\r\\n\\r\\n")
        s.recv(12)
        s.close()
        made += 1
    except OSError:
        failed += 1
print(made, failed)
"""
    )
    result = await online(code, ["example.org"], limits={"connections_total": 300, "connections": 8})
    assert result.status == "ok", result.traceback
    made, failed = map(int, result.stdout.split())
    assert made <= 308
    assert made + failed == 5000
    assert sum(record.count for record in result.network) <= 308
    assert len(online.told) <= 200
    await still_works(online)


async def test_a_thousand_open_connections_do_not_hold_up_the_deadline_or_the_output(online: Online) -> None:
    code = (
        RAW
        + """
import resource
held = []
for _ in range(900):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(PROXY)
    held.append(s)
for s in held:
    try:
        s.send(os.urandom(100))
    except OSError:
        pass
print("still here")
while True:
    for s in held:
        try:
            s.send(b"x" * 1000)
        except OSError:
            pass
"""
    )
    began = time.monotonic()
    result = await online(code, ["example.org"], timeout_s=2)
    assert (result.status, result.stdout) == ("timeout", "still here\n")
    assert time.monotonic() - began < 2 + 3  # the guest's own deadline, not the host's three seconds later
    await still_works(online)


async def test_code_that_never_reads_holds_one_window_and_is_let_go_at_its_end(online: Online) -> None:
    poured = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal poured
        while True:
            writer.write(b"y" * 65536)
            await writer.drain()
            poured += 65536

    async with Server(pour) as server:
        rule, code = tunnel(server)
        result = await online(code + "time.sleep(1)\nprint('done')", [rule], timeout_s=30)
        assert (result.status, result.stdout) == ("ok", "done\n"), result.traceback
        assert poured < 64 << 20  # sockets' buffers on the way, and no more
        await until(lambda: server.open == 0)


async def test_a_connection_that_the_code_resets_is_closed_while_the_run_goes_on(online: Online) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"y" * 65536)
            await writer.drain()

    async with Server(pour) as server:
        rule, code = tunnel(server)
        reset = "import struct\ntime.sleep(0.3)\ns.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()\n"
        running = asyncio.create_task(online(code + reset + "time.sleep(60)", [rule]))
        await until(lambda: server.open == 1)
        await until(lambda: server.open == 0)
        assert not running.done()
        online.connection.cancel()
        assert (await running).status == "killed"
    await still_works(online)


async def test_an_upload_flood_ends_at_its_cap(online: Online) -> None:
    got = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        while data := await reader.read(65536):
            got += len(data)

    async with Server(swallow) as server:
        rule, code = tunnel(server)
        code += f"""
sent = 0
try:
    while True:
        sent += s.send(b"z" * 65536)
except OSError as exc:
    print(type(exc).__name__)
print(raw(b"CONNECT {rule} HTTP/1.1\\r\\n\\r\\n")[:60])
"""
        result = await online(code, [rule], limits={"connection_bytes": 500_000, "run_bytes": 500_000})
    assert result.stdout.startswith(("ConnectionResetError\n", "BrokenPipeError\n")), result.stdout + result.traceback
    assert "403" in result.stdout
    assert got == 500_000
    assert [(record.outcome, record.reason) for record in result.network] == [
        ("allowed", ""),
        ("refused", "the connection has moved its 500 kB"),
        ("refused", "the run has moved its 500 kB"),
    ]
    assert result.network[0].bytes_sent == 500_000


async def test_a_download_ends_at_the_cap_of_the_run_over_all_connections(online: Online) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"y" * 65536)
            await writer.drain()

    async with Server(pour) as server:
        rule, code = tunnel(server)
        code += """
total = len(rest(s).replace(b"<reset>", b""))
for _ in range(3):
    try:
        total += len(rest(tunnel()).replace(b"<reset>", b""))
    except AssertionError:
        pass
print(total)
"""
        result = await online(code, [rule], limits={"connection_bytes": 300_000, "run_bytes": 700_000})
    assert int(result.stdout) <= 700_000, result.traceback
    assert sum(record.bytes_received for record in result.network) == 700_000


async def test_a_half_closed_tunnel_still_carries_the_answer(online: Online) -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.read()
        writer.write(b"got %d" % len(body))
        await writer.drain()

    async with Server(answer_at_the_end) as server:
        rule, code = tunnel(server)
        result = await online(code + "s.sendall(b'q' * 200_000); s.shutdown(1); print(rest(s))", [rule])
    assert result.stdout == "b'got 200000'\n", result.traceback


async def test_a_second_request_does_not_follow_the_first(online: Online) -> None:
    async with Server() as server:
        place = f"127.0.0.1:{server.port}"
        request = f"POST http://{place}/a HTTP/1.1\\r\\nHost: {place}\\r\\nContent-Length: 2\\r\\n\\r\\nab"
        hidden = "GET /secret HTTP/1.1\\r\\nHost: other\\r\\n\\r\\n"
        result = await online(RAW + f"print(raw(b'{request}{hidden}'))", [place])
    assert [head.split(" ")[1] for head in server.heads] in (["/a"], [])
    assert "second request" in result.network[-1].reason


async def test_a_redirect_to_an_inner_address_is_a_connection_like_any_other(online: Online) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with Server(redirect) as server:
        code = f"from urllib.request import urlopen\nurlopen('http://127.0.0.1:{server.port}/')"
        result = await online(code, [f"127.0.0.1:{server.port}", "169.254.169.254"])
    assert "403" in result.traceback
    assert result.network[-1].host == "169.254.169.254"
    assert "metadata" in result.network[-1].reason


async def test_mail_ports_are_closed_unless_named(online: Online) -> None:
    code = RAW + "print(raw(b'CONNECT 127.0.0.1:25 HTTP/1.1\\r\\n\\r\\n')[:80])"
    result = await online(code, ["127.0.0.1"])
    assert "403" in result.stdout


async def test_a_name_that_answers_differently_each_time_reaches_what_was_checked(online: Online) -> None:
    async with Server() as server, Server(host="127.0.0.2") as inner:
        gateway = Gateway(Names(rebind_test=[["127.0.0.1"], ["127.0.0.2"]]))
        code = f"from urllib.request import urlopen\nfor _ in range(3): print(urlopen('http://rebind.test:{server.port}/').read())"
        result = await online(code, [f"rebind.test:{server.port}"], private=["127.0.0.1"], gateway=gateway)
    assert result.ok, result.traceback
    assert (server.connections, inner.connections) == (3, 0)


# -- what servers do ---------------------------------------------------------------------------------------------------------


async def test_a_silent_server_is_given_up_after_the_idle_time(online: Online) -> None:
    async with Server(silent) as server:
        rule, code = tunnel(server)
        result = await online(code + "print(rest(s))", [rule], limits={"idle_timeout_s": 0.3})
    assert result.stdout == "b'<reset>'\n", result.traceback
    assert result.network[-1].reason == "nothing moved for 0.3 s"


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000],
    ids=["nothing", "another protocol", "garbage", "an endless head"],
)
async def test_a_server_that_speaks_no_http_is_a_502(online: Online, said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with Server(talk) as server:
        place = f"127.0.0.1:{server.port}"
        code = RAW + f"print(raw(b'GET http://{place}/ HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n')[:12])"
        result = await online(code, [place])
    assert result.stdout == "b'HTTP/1.1 502'\n", result.traceback


async def test_a_connection_that_the_server_breaks_off_breaks_off_for_the_code(online: Online) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with Server(cut) as server:
        rule, code = tunnel(server)
        result = await online(code + "s.sendall(b'x' * 100_000); print(rest(s)[-7:])", [rule])
    assert result.ok or "ConnectionResetError" in result.traceback or "BrokenPipe" in result.traceback


# -- the end of a run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ending", ["time.sleep(60)", "os._exit(0)", "os.kill(os.getpid(), 9)", "if os.fork() == 0:\n    os.setsid(); time.sleep(60)"]
)
async def test_no_connection_outlives_its_run(online: Online, ending: str) -> None:
    async with Server(silent) as server:
        rule, code = tunnel(server)
        result = await online(code + "s.sendall(b'x')\ntime.sleep(0.2)\n" + ending, [rule], timeout_s=1.5)
        assert result.status in ("ok", "timeout", "error")
        assert result.network[0].bytes_sent == 1
        await until(lambda: server.open == 0)
    await still_works(online)


async def test_cancelling_a_run_ends_its_connections(tmp_path: Path) -> None:
    for killed in (False, True):
        work = tmp_path / str(killed)
        work.mkdir()
        connection = GuestConnection(await SubprocessChannel.start(work, Expectations(own_network=True, weaker="a double")))
        await connection.open()
        async with Server(silent) as server:
            rule, code = tunnel(server)
            running = asyncio.create_task(Online(connection)(code + "time.sleep(60)", [rule]))
            await until(lambda server=server: server.open == 1)
            if killed:
                running.cancel()
                await asyncio.wait({running})
            else:
                connection.cancel()
                assert (await running).status == "killed"
            await until(lambda server=server: server.open == 0)
        await connection.close()
