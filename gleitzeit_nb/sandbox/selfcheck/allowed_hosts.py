"""A restricted network: what is allowed, nothing beside it, and no longer than its run.

No check reaches a server of somebody else: they try servers of their own on this machine, and names that do not exist (RFC 2606).
"""

from __future__ import annotations

import socket
from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import Area, Execute, Subject
from gleitzeit_nb.sandbox.selfcheck.network import host_address
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("allowed hosts")

REFUSED = 403
NOBODY, SOMEBODY = "nobody came", "somebody came"


def opened(subject: Subject) -> str:
    return "its configuration opens addresses of its own" if subject.mode.allow_private else ""


# What the proxy answers when it is asked for a tunnel.
ASK = """
s = socket.create_connection(("127.0.0.1", int(os.environ["HTTP_PROXY"].rpartition(":")[2])), 30)
s.sendall(b"CONNECT {place} HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n")
seen = int(s.recv(64).split(b" ")[1])
"""


async def answer_for(execute: Execute, place: str, *allow: str) -> Any:
    return await seen(execute, ASK.format(place=place), allow=allow)


async def visits(execute: Execute, place: str, *allow: str, address: str = "127.0.0.1") -> Any:
    """The answer for `place`, and whether it reached a server of ours; `{port}` stands for the server's port."""
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        status = await answer_for(execute, place.format(port=port), *(each.format(port=port) for each in allow))
        server.setblocking(False)
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return [status, NOBODY]
        return [status, SOMEBODY]


@AREA.check(
    "open rules",
    proves="allowed-hosts",
    tried="a tunnel to a server on this machine, with another host allowed",
    expected=[REFUSED, NOBODY],
)
async def a_host_that_is_not_allowed_is_refused(execute: Execute) -> Any:
    """With one host allowed, a server that is none of it is not connected to."""
    return await visits(execute, "127.0.0.1:{port}", "service.invalid")


@AREA.check("open rules", proves="allowed-hosts", tried="a tunnel to port 25 of an allowed host", expected=REFUSED)
async def another_port_of_an_allowed_host_is_refused(execute: Execute) -> Any:
    """A rule without a port means 443 and 80."""
    return await answer_for(execute, "service.invalid:25", "service.invalid")


@AREA.check("open rules", proves="allowed-hosts", tried="a tunnel to the name under a wildcard itself", expected=REFUSED)
async def a_wildcard_does_not_mean_its_own_base(execute: Execute) -> Any:
    """`*.service.invalid` allows the names below it, and nothing else."""
    return await answer_for(execute, "service.invalid:443", "*.service.invalid")


@AREA.check("open rules", proves="allowed-hosts", tried="a tunnel to a name that only ends like an allowed one", expected=REFUSED)
async def a_name_that_ends_alike_is_another(execute: Execute) -> Any:
    """A name is compared as a whole."""
    return await answer_for(execute, "notservice.invalid:443", "service.invalid", "*.service.invalid")


@AREA.check(
    "open addresses",
    proves="public-addresses",
    tried="a tunnel to 127.0.0.1 where it is allowed",
    expected=[REFUSED, NOBODY],
    withheld=opened,
)
async def the_hosts_loopback_is_not_reached_through_the_proxy(execute: Execute) -> Any:
    """A cell that allows 127.0.0.1 still does not reach the host's own servers: only the configuration could open them."""
    return await visits(execute, "127.0.0.1:{port}", "127.0.0.1:{port}")


@AREA.check(
    "open addresses",
    proves="public-addresses",
    tried="a tunnel to localhost where it is allowed",
    expected=[REFUSED, NOBODY],
    withheld=opened,
)
async def a_name_for_an_inner_address_is_refused(execute: Execute) -> Any:
    """What a name resolves to is what counts."""
    return await visits(execute, "localhost:{port}", "localhost:{port}")


@AREA.check(
    "open addresses",
    proves="public-addresses",
    tried="a tunnel to ::ffff:127.0.0.1 where it is allowed",
    expected=[REFUSED, NOBODY],
    withheld=opened,
)
async def another_form_of_an_address_is_refused(execute: Execute) -> Any:
    """An IPv6 form of an inner IPv4 address is that address."""
    return await visits(execute, "[::ffff:127.0.0.1]:{port}", "[::ffff:127.0.0.1]:{port}")


@AREA.check(
    "open addresses",
    proves="public-addresses",
    tried="a tunnel to this machine's address on its network",
    expected=[REFUSED, NOBODY],
    withheld=opened,
)
async def the_hosts_own_address_is_refused(execute: Execute) -> Any:
    """The address that this machine has on its network is refused, were it public or not."""
    return await visits(execute, host_address() + ":{port}", host_address() + ":{port}", address="")


@AREA.check(
    "open addresses", proves="public-addresses", tried="a tunnel to 169.254.169.254 where it is allowed", expected=REFUSED, withheld=opened
)
async def no_metadata_service_is_reached(execute: Execute) -> Any:
    """A cloud's metadata service, which hands out keys, is refused."""
    return await answer_for(execute, "169.254.169.254:80", "169.254.169.254")


LEAVE = "import os\nport = int(os.environ['HTTP_PROXY'].rpartition(':')[2])"


@AREA.check("network kept", proves="network-ends", tried="connect to the proxy of the run before", expected="refused")
async def the_proxy_ends_with_its_run(execute: Execute) -> Any:
    """The listener of a run that had a network is gone in the next one."""
    port = (await execute(LEAVE, outputs=("port",), allow=["service.invalid"])).outputs["port"]
    return await seen(execute, f"s = socket.socket(); s.settimeout(2); seen = attempt(s.connect, ('127.0.0.1', {port}))[0]")


HOLD = """
import os, socket
if os.fork() == 0:
    os.setsid()
    s = socket.create_connection(("127.0.0.1", int(os.environ["HTTP_PROXY"].rpartition(":")[2])))
    s.sendall(b"CONNECT service.invalid:443 HTTP/1.1")
    open("/work/held", "w").close()
    os.read(os.pipe()[0], 1)
import time
while not os.path.exists("/work/held"):
    time.sleep(0.01)
"""
OPEN_SOCKETS = """
states = {"01": "established", "08": "half closed", "0A": "listening"}
rows = [line.split() for name in ("tcp", "tcp6") if os.path.exists(f"/proc/net/{name}") for line in open(f"/proc/net/{name}")]
seen = sorted({states[row[3]] for row in rows if row[3] in states})
"""


@AREA.check(
    "network kept", proves="network-ends", tried="leave a process with a half-sent request, and look at the next run's sockets", expected=[]
)
async def no_connection_outlives_its_run(execute: Execute) -> Any:
    """No socket of the run before is open in the next one."""
    await execute(HOLD, allow=["service.invalid"])
    return await seen(execute, OPEN_SOCKETS)


@AREA.check(
    "proxy announced for good", proves="network-ends", tried="read the variables that name a proxy, after a run that had one", expected=[]
)
async def the_next_run_is_told_of_no_proxy(execute: Execute) -> Any:
    """A run without a network knows nothing of the one before it."""
    await execute("1", allow=["service.invalid"])
    return await seen(execute, "seen = sorted(name for name in os.environ if 'proxy' in name.lower())")
