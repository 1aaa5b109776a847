"""No way out, and none to the machine below."""

from __future__ import annotations

import fcntl
import secrets
import socket
import struct
from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import HELD, Area, Execute
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
    "no_address_on_a_network",
    "No interface has an address but loopback's.",
    tried="list the routing trie's addresses",
    code="""
rows = [line.split() for line in open("/proc/net/fib_trie")]
seen = sorted({rows[at - 1][-1] for at, row in enumerate(rows) if row[:2] == ["/32", "host"] and row[-1] == "LOCAL"} - {"127.0.0.1"})
""",
    expected=[],
    weakening="host network",
    proves="no-network",
)

AREA.snippet(
    "no_route_leads_out",
    "The routing table is empty.",
    tried="read /proc/net/route",
    code="seen = open('/proc/net/route').read().splitlines()[1:]",
    expected=[],
    weakening="host network",
    proves="no-network",
)

# A datagram socket connects without sending anything: the kernel only looks for a route.
DESTINATIONS = {
    "the_metadata_service": ("169.254.169.254", "the address at which clouds hand out credentials"),
    "a_public_address": ("203.0.113.1", "an address on the internet"),
    "a_private_address": ("10.1.2.3", "an address of a local network"),
    "dockers_gateway": ("172.17.0.1", "the address at which Docker's bridge reaches the host"),
}
for name, (address, what) in DESTINATIONS.items():
    AREA.snippet(
        f"{name}_is_unreachable",
        f"There is no route to {what}.",
        tried=f"connect a datagram socket to {address}",
        code=f"seen = attempt(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect, ({address!r}, 80))",
        expected=["refused", "ENETUNREACH"],
        weakening="host network",
        proves="no-network",
    )

AREA.snippet(
    "no_broadcast_is_heard",
    "Nothing can be sent to everybody on a network.",
    tried="send a datagram to 255.255.255.255",
    code="""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
seen = attempt(s.sendto, b"", ("255.255.255.255", 9))
""",
    expected=["refused", "ENETUNREACH"],
    weakening="host network",
    proves="no-network",
)

AREA.snippet(
    "the_hosts_name_servers_are_not_told",
    "No name server of the host, and no search domain of its network, is told.",
    tried="read /etc/resolv.conf",
    code="""
try:
    lines = [line.split() for line in open("/etc/resolv.conf") if line.strip() and not line.startswith("#")]
except OSError:
    lines = []
seen = [" ".join(words) for words in lines if words[0] in ("nameserver", "search", "domain") and words[1:] not in (["127.0.0.1"], ["."])]
""",
    expected=[],
    weakening="name servers",
    proves="no-network",
)


@AREA.check("host network", proves="no-network", tried="look for a listening port of the host in /proc/net/tcp", expected=False)
async def the_hosts_connections_are_not_listed(execute: Execute) -> Any:
    """Which ports and connections the host has cannot be seen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return await seen(execute, f"seen = '0100007F:{server.getsockname()[1]:04X} 00000000:0000 0A' in open('/proc/net/tcp').read()")


@AREA.check(
    "host network", proves="no-network", tried="connect to a nameless (abstract) socket of the host", expected=["refused", "ECONNREFUSED"]
)
async def abstract_sockets_of_the_host_are_out_of_reach(execute: Execute) -> Any:
    """Local sockets without a file, which belong to the network namespace, are the host's own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind("\0gleitzeit-selfcheck-" + secrets.token_hex(8))
        server.listen()
        return await seen(execute, f"seen = attempt(socket.socket(socket.AF_UNIX).connect, {server.getsockname()!r})")


# The filter answers EPERM whatever the kernel has; without it most answer that they are not there.
FAMILIES = {
    "netlink": (16, "it configures the kernel's network", "no seccomp"),
    "packet": (17, "it reads and forges what passes the network", "administrator"),
    "vsock": (40, "it reaches the hypervisor", "no seccomp"),
    "kernel_crypto": (38, "AF_ALG reaches the kernel's cryptography", "no seccomp"),
    "bluetooth": (31, "it reaches the radio", "no seccomp"),
    "can": (29, "it reaches vehicles and machines", "no seccomp"),
    "tipc": (30, "it was often broken", "no seccomp"),
    "rds": (21, "it was often broken", "no seccomp"),
    "ipsec_key": (15, "it configures the kernel's encryption", "no seccomp"),
    "xdp": (44, "it takes packets past the kernel", "administrator"),
}
for family, (number, because, weakening) in FAMILIES.items():
    AREA.snippet(
        f"no_{family}_socket",
        f"Sockets of the family {family.replace('_', ' ')} are refused: {because}.",
        tried=f"socket({number}, raw, 0)",
        code=f'seen = syscall("socket", {number}, 3, 0)',
        expected="EPERM",
        weakening=weakening,
        proves="system-calls",
        forms=HELD,
    )

AREA.snippet(
    "no_socket_of_any_other_family",
    "Of all 46 families of sockets only local ones, IPv4 and IPv6 can be made.",
    tried="socket() of every family",
    code='seen = [number for number in range(3, 46) if number != 10 and syscall("socket", number, 2, 0) != "EPERM"]',
    expected=[],
    weakening="any socket",
    proves="system-calls",
    forms=HELD,
)

AREA.snippet(
    "no_raw_socket",
    "Packets cannot be made by hand.",
    tried="socket(AF_INET, SOCK_RAW, ICMP)",
    code="seen = attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)",
    expected=["refused", "EPERM"],
    weakening="administrator",
    proves="no-privileges",
    forms=HELD,
)

AREA.snippet(
    "no_packet_socket_in_disguise",
    "The obsolete way to a packet socket, by a type of IPv4, is closed too.",
    tried="socket(AF_INET, SOCK_PACKET, 0)",
    code='seen = syscall("socket", 2, 10, 0)',
    expected="EPERM",
    weakening="administrator",
    proves="no-privileges",
    forms=HELD,
)
