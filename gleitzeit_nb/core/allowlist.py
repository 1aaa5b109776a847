"""Which hosts and ports code may reach: rules as people write them, names in one form, and the match. Deny is the default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

USUAL_PORTS = (443, 80)
MAX_NAME = 253  # RFC 1035 2.3.4, without the dot at the end

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # a last label of this kind makes inet_aton read an address
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True)
class Rule:
    """`host` in its normal form; with `below`, every name that ends in it, at any depth, but not itself. `port` None: the usual two."""

    host: str
    port: int | None = None
    below: bool = False

    def __str__(self) -> str:
        name = f"*.{self.host}" if self.below else bracketed(self.host)
        return name if self.port is None else f"{name}:{self.port}"

    def matches(self, host: str, port: int) -> bool:
        """`host` in its normal form."""
        named = host.endswith("." + self.host) if self.below else host == self.host
        return named and (port in USUAL_PORTS if self.port is None else port == self.port)


def parse_rule(text: str) -> Rule:
    """`example.org`, `*.example.org`, `example.org:8443`, `192.0.2.7`, `[2001:db8::7]:443`. Raises ValueError, saying what is wrong."""
    written = text.strip()
    if "://" in written or "/" in written:
        raise ValueError(f"{text[:80]!r} should be a host, such as example.org or example.org:8443; it is no place for a URL or a range")
    try:
        host, port = split_authority(written)
        if not host.startswith("*."):
            return Rule(normal_host(host), port)
        base = normal_host(host[2:])
        if address_of(base) is not None or "." not in base:
            raise ValueError("a wildcard needs at least two names behind it, such as *.example.org")
        return Rule(base, port, below=True)
    except ValueError as exc:
        raise ValueError(f"{text[:80]!r} cannot be allowed: {exc}") from None


def first_match(rules: Iterable[Rule], host: str, port: int) -> Rule | None:
    return next((rule for rule in rules if rule.matches(host, port)), None)


def split_authority(text: str) -> tuple[str, int | None]:
    """(host as written, port); an IPv6 address with a port stands in brackets. Raises ValueError."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError("it is no address in brackets")
        return host, _port(rest[1:]) if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, _port(port) if colon else None


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise ValueError("its port is no number from 1 to 65535")
    return int(text)


def normal_host(text: str) -> str:
    """The one form in which names are compared: lower case, in ASCII, without a dot at the end; an address as its family writes it.

    Raises ValueError for what is no name, and for spellings of an address that only some programs read as one (`127.1`, `0x7f.1`).
    """
    if ":" in text:
        address = address_of(text)
        if address is None:
            raise ValueError("it is no IPv6 address")
        return str(address)
    name = (text if text.isascii() else _to_ascii(text)).lower()
    name = name[:-1] if name.endswith(".") else name
    labels = name.split(".")
    if not name or len(name) > MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("it is no host name")
    if _NUMBER.fullmatch(labels[-1]):
        address = address_of(name)
        if address is None:
            raise ValueError("it is neither a name nor an address of four numbers")
        return str(address)
    return name


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a literal names; None for a name. Interface scopes (`fe80::1%eth0`) are none."""
    try:
        return None if "%" in host else ip_address(host)
    except ValueError:
        return None


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _to_ascii(text: str) -> str:
    import idna

    try:
        return idna.encode(text, uts46=True, std3_rules=False, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as exc:
        raise ValueError(f"it is no host name ({exc})") from None
