"""What a proxy is asked, and what a server answers: HTTP/1.1 heads, read strictly and written anew. Sans-I/O.

Source: RFC 9110 and RFC 9112. One request per connection: what can be read in two ways is refused, so that no second request hides in
the first, and nothing that was meant for this hop goes further.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gleitzeit_nb.core.allowlist import bracketed, normal_host, split_authority

MOST_REQUEST = 16 << 10
MOST_RESPONSE = 64 << 10
END = b"\r\n\r\n"

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[!-~]+")
_VERSION = re.compile(rb"HTTP/1\.[01]")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n\0]*)?")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_BAD_VALUE = re.compile(rb"[\r\n\0]")
_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
)

Field = tuple[bytes, bytes]


class BadHeadError(ValueError):
    """What was sent is no request that a proxy takes; the text says why."""


@dataclass(frozen=True)
class Asked:
    """A tunnel (`head` empty), or one plain request with its head for the server and the size of its body."""

    host: str
    port: int
    head: bytes = b""
    body_bytes: int = 0

    @property
    def tunnel(self) -> bool:
        return not self.head


def parse_request(data: bytes) -> Asked:
    """`data`: a head with the empty line at its end. Raises BadHeadError."""
    start, fields = _split(data)
    words = start.split(b" ")
    if len(words) != 3 or not (_TOKEN.fullmatch(words[0]) and _TARGET.fullmatch(words[1]) and _VERSION.fullmatch(words[2])):
        raise BadHeadError("the first line is no request of HTTP/1.1")
    method, target = words[0], words[1].decode("ascii")
    if method == b"CONNECT":
        if _values(fields, b"transfer-encoding") or (_values(fields, b"content-length") or [b"0"]) != [b"0"]:
            raise BadHeadError("CONNECT has no body")
        host, port = _authority(target)
        if port is None:
            raise BadHeadError("CONNECT takes a host and a port")
        return Asked(host, port)
    if not target.lower().startswith("http://"):
        kind = (
            "https goes through CONNECT"
            if target.lower().startswith("https:")
            else "this is a proxy: it takes http://host/path, or CONNECT"
        )
        raise BadHeadError(kind)
    return _plain(method, target[len("http://") :], fields)


def _plain(method: bytes, rest: str, fields: list[Field]) -> Asked:
    cut = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    host, port = _authority(rest[:cut])
    port = 80 if port is None else port
    path = rest[cut:].partition("#")[0]
    path = path if path.startswith("/") else "/" + path
    named = _values(fields, b"host")
    if len(named) != 1 or _host_field(named[0]) != (host, port):
        raise BadHeadError("the Host header must be there once and name the same host as the address")
    lengths = _values(fields, b"content-length")
    if _values(fields, b"transfer-encoding"):
        raise BadHeadError("a plain request through this proxy needs a Content-Length in place of Transfer-Encoding")
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise BadHeadError("the Content-Length must be one number")
    authority = bracketed(host) if port == 80 else f"{bracketed(host)}:{port}"
    kept = [(b"Host", authority.encode("ascii"))] + [field for field in _end_to_end(fields) if field[0].lower() != b"host"]
    head = _written(b"%b %b HTTP/1.1" % (method, path.encode("ascii")), [*kept, (b"Connection", b"close")])
    return Asked(host, port, head, int(lengths[0]) if lengths else 0)


def response_head(data: bytes) -> tuple[int, bytes]:
    """(status, the head as the code gets it: this connection serves one request). Raises BadHeadError."""
    start, fields = _split(data)
    found = _STATUS.fullmatch(start)
    if found is None:
        raise BadHeadError("the server did not answer with HTTP/1.1")
    status = int(found.group(1))
    if status == 101:
        raise BadHeadError("the server changed the protocol, which nobody asked for")
    framing = [field for field in fields if field[0].lower() == b"transfer-encoding"]
    closing = [] if status < 200 else [(b"Connection", b"close")]
    return status, _written(start, [*_end_to_end(fields), *framing, *closing])


def answer(status: int, reason: str, text: str) -> bytes:
    """An answer of the proxy's own. The reason stands in the first line too: it is what most programs show."""
    body = text.encode("utf-8")
    line = f"HTTP/1.1 {status} {reason}".encode("ascii", "replace")
    fields = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", str(len(body)).encode("ascii")),
        (b"Proxy-Connection", b"close"),
        (b"Connection", b"close"),
    ]
    return _written(line, fields) + body


def _split(data: bytes) -> tuple[bytes, list[Field]]:
    start, *lines = data[: -len(END)].split(b"\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
            raise BadHeadError("a header line is malformed")  # folded lines and names with a space before the colon too
        fields.append((name, value.strip(b" \t")))
    if _BAD_VALUE.search(start):
        raise BadHeadError("the first line is malformed")
    return start, fields


def _written(start: bytes, fields: list[Field]) -> bytes:
    return b"\r\n".join([start, *(b"%b: %b" % field for field in fields), b"", b""])


def _values(fields: list[Field], name: bytes) -> list[bytes]:
    return [value for each, value in fields if each.lower() == name]


def _end_to_end(fields: list[Field]) -> list[Field]:
    """Without what belongs to one hop, and what its Connection header says belongs to it."""
    hop = set(_HOP)
    for value in _values(fields, b"connection"):
        hop |= {each.strip(b" \t").lower() for each in value.split(b",")} - {b"host", b"content-length"}
    return [field for field in fields if field[0].lower() not in hop]


def _host_field(value: bytes) -> tuple[str, int] | None:
    try:
        host, port = _authority(value.decode("ascii"))
    except (UnicodeDecodeError, BadHeadError):
        return None
    return host, 80 if port is None else port


def _authority(text: str) -> tuple[str, int | None]:
    if "@" in text:
        raise BadHeadError("an address with a user in it is not taken")
    if text.count(":") > 1 and not text.startswith("["):
        raise BadHeadError("an IPv6 address stands in brackets")
    try:
        host, port = split_authority(text)
        return normal_host(host), port
    except ValueError as exc:
        raise BadHeadError(f"the host cannot be read: {exc}") from None
