"""No way out, and none to the machine below."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import Area, Execute
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("network")
SIOCGIFADDR = 0x8915

AREA.snippet(
    "only_loopback_is_up",
    "No network interface but loopback is up.",
    tried="list the interfaces that are up",
    code="""
try:
    seen = sorted(name for name in os.listdir("/sys/class/net") if int(open(f"/sys/class/net/{name}/flags").read(), 16) & 1)
except OSError:
    down = {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
    seen = sorted({line.partition(":")[0].strip() for line in open("/proc/net/dev") if ":" in line} - down)
""",
    expected=["lo"],
    weakening="host network",
    proves="no-network",
)


def host_address() -> str:
    """An address of this machine on a network, else one that is reserved for documentation."""
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue
        address = socket.inet_ntoa(answer[20:24])
        if not address.startswith("127."):
            return address
    return "192.0.2.1"


@AREA.check(
    "host network",
    proves="no-network",
    tried="connect to an address of the host on its network",
    expected=["refused", "ENETUNREACH"],
)
async def no_packet_finds_a_route(execute: Execute) -> Any:
    """A connection to another machine, or to the host, is refused by the kernel at once, for want of a route."""
    return await seen(execute, f"s = socket.socket(); s.settimeout(2); seen = attempt(s.connect, ({host_address()!r}, 9))")


@AREA.check("host network", proves="no-network", tried="connect to a server on the host's 127.0.0.1", expected="refused")
async def the_hosts_loopback_is_out_of_reach(execute: Execute) -> Any:
    """Servers on the host's own loopback address cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        return await seen(execute, f"s = socket.socket(); s.settimeout(2); seen = attempt(s.connect, ('127.0.0.1', {port}))[0]")


AREA.snippet(
    "no_sockets_but_local_and_ip",
    "No netlink, packet or vsock sockets, which reach the kernel or the hypervisor.",
    tried="socket() of the families netlink, packet and vsock",
    code="seen = [attempt(socket.socket, family, socket.SOCK_RAW)[0] for family in (16, 17, 40)]",
    expected=["refused"] * 3,
    weakening="no seccomp",
    proves="no-network",
)
