"""Which addresses code in a sandbox is never connected to, whatever name stood for them: everything that is not the public internet.

Sources: the IANA registries of special-purpose addresses, and the clouds' documentation of their metadata services. The tables are
our own because `ipaddress.is_global` differs between versions of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), what)
    for text, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "a provider's internal one"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a relay's"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("3fff::/20", "for documentation"),
    )
)
GLOBAL_UNICAST = IPv6Network("2000::/3")
METADATA: frozenset[Address] = frozenset(
    ip_address(text)
    for text in (
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    )
)
# Forms of IPv6 that carry an IPv4 address, and where in the number it stands (bits from the right).
EMBEDDING: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped (RFC 4291)
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 2765)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64, local use (RFC 8215)
    (IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
)
COMPATIBLE = IPv6Network("::/96")


def parse_range(text: str) -> Network:
    """A range such as 10.1.0.0/16, or one address. Raises ValueError."""
    if "%" in text:
        raise ValueError(f"{text[:80]!r} should be a range of addresses without a scope")
    try:
        return ip_network(text.strip())
    except ValueError as exc:
        raise ValueError(f"{text[:80]!r} should be an address or a range such as 10.1.0.0/16 ({exc})") from None


def why_not(address: Address, private: Sequence[Network]) -> str:
    """What `address` is that code is not connected to it; "" when it may be. `private`: ranges that the user's own configuration allows.

    A metadata service is allowed by its exact address only, and an IPv6 form of an IPv4 address only where both are allowed.
    """
    named = [each for each in private if each.version == address.version and address in each]
    inner = embedded(address)
    if address in METADATA or inner in METADATA:
        return "" if any(each.num_addresses == 1 for each in named) and inner is None else "a cloud's metadata service"
    if inner is not None:
        return "" if named and not why_not(inner, private) else f"another form of {inner}"
    if named:
        return ""
    for network, what in SPECIAL:
        if network.version == address.version and address in network:
            return what
    return "" if address.version == 4 or address in GLOBAL_UNICAST else "not public"


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries."""
    if isinstance(address, IPv4Address):
        return None
    for network, shift in EMBEDDING:
        if address in network:
            return IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    if address in COMPATIBLE and int(address) > 0xFFFF:  # ::1 and its neighbours are themselves
        return IPv4Address(int(address))
    return None
