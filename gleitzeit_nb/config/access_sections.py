"""The keys that say how a server is approached: the same for the whole pool and for one instance."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from gleitzeit_nb.config.section import UNSET, Section, keyed, or_empty
from gleitzeit_nb.core.access import Secret

MOST_HEADERS = 32
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # a token: RFC 9110, section 5.6.2

# What the transport writes itself, or what belongs to one connection (RFC 9110, section 7.6.1): another value would break
# the framing of requests, or reach a server that nobody named.
OUR_HEADERS = frozenset(
    "accept accept-encoding connection content-encoding content-length content-type expect host http2-settings keep-alive te "
    "trailer transfer-encoding upgrade".split()
)


def _credential(value: object) -> str | Secret | None:
    if value is not None and not isinstance(value, (str, Secret)):
        raise ValueError("should be env:NAME or keyring:NAME, in quotes if it looks like a number")
    return value


def _headers(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > MOST_HEADERS:
        raise ValueError(f"should hold at most {MOST_HEADERS} headers")
    seen: set[str] = set()
    for name in value:
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("should hold names of HTTP headers: letters, digits and dashes, no spaces, colons or line breaks")
        if lower in OUR_HEADERS or lower.startswith("proxy-"):
            raise ValueError(f"should not hold {name!r}: that header belongs to the connection and is set here")
        if lower in seen:
            raise ValueError(f"should hold each header once, and holds {name!r} twice")
        seen.add(lower)
    return value


Credential = Annotated[Any, PlainValidator(_credential)]
FilePath = Annotated[str, Field(min_length=1, max_length=4096)]


class TlsSection(Section):
    ca_file: FilePath | None = UNSET
    client_cert: FilePath | None = UNSET
    client_key: FilePath | None = UNSET
    client_key_password: Credential = UNSET
    verify: bool = UNSET


class AccessFields(Section):
    api_key: Credential = keyed("api_key", "bearer")
    basic_auth: Credential = UNSET
    headers: Annotated[dict[str, Credential], BeforeValidator(or_empty), AfterValidator(_headers)] = UNSET
    tls: Annotated[TlsSection, BeforeValidator(or_empty)] = UNSET
    proxy: Credential = UNSET
