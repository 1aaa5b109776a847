"""A server's own words, without what it was sent: servers, and proxies before them, like to repeat a header in an error."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

MASK = "***"
WITHHELD = "(its own words are left out: they repeat a key)"
_TELLING_CHARS = 6  # what is shorter is masked where it stands, and not looked for in disguise: it would be found everywhere
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_DEPTH = 3  # a code within a code within a code
_MOST_CHARS = 4096  # far more than is ever shown
_MOST_READINGS = 2000  # a text that can be read in more ways is withheld


class Scrubber:
    """Knows the secrets of one instance. `clean` masks them where they stand as they are, and withholds a text that disguises one:
    split by spaces or signs, encoded for URLs, HTML or JSON, in base64 or hex, or reversed.
    """

    __slots__ = ("_cores", "_plain")

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {part for secret in secrets for part in (secret, secret.strip()) if part}
        self._plain = sorted(known, key=len, reverse=True)  # the longest first, so that no part of one is left over
        cores = {_core(secret) for secret in known}
        self._cores = tuple(core for core in cores if len(core) >= _TELLING_CHARS)

    def __repr__(self) -> str:
        return f"<Scrubber of {len(self._plain)}>"

    def clean(self, text: str) -> str:
        if not self._plain:
            return text
        text = text[:_MOST_CHARS]
        for secret in self._plain:
            text = text.replace(secret, MASK)
        return WITHHELD if self._disguised(text) else self._without_a_beginning(text)

    def _disguised(self, text: str) -> bool:
        seen: set[str] = set()
        layer = {text}
        for _ in range(_DEPTH):
            if any(self._found(each) for each in layer):
                return True
            seen |= layer
            layer = {other for each in layer for other in _decoded(each)} - seen
            if len(layer) > _MOST_READINGS:
                return True
        return any(self._found(each) for each in layer)

    def _without_a_beginning(self, text: str) -> str:
        """Where a text was cut, it may end with the first part of a secret."""
        for secret in self._plain:
            for size in range(min(len(secret), len(text)) - 1, _TELLING_CHARS - 1, -1):
                if text.endswith(secret[:size]):
                    return text[:-size] + MASK
        return text

    def _found(self, text: str) -> bool:
        core = _core(text)
        return any(secret in core or secret in core[::-1] for secret in self._cores)


def _core(text: str) -> str:
    """Letters and digits alone, so that a break or a sign in between hides nothing."""
    return "".join(filter(str.isalnum, text)).casefold()


def _decoded(text: str) -> Iterable[str]:
    """What `text` may stand for, one step further."""
    yield unquote_plus(text)
    yield html.unescape(text)
    yield re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1] or match[2], 16)), text)
    joined = re.sub(r"\s+", "", text)
    for part in dict.fromkeys((*_BASE64.findall(text), *_BASE64.findall(joined))):
        yield from _from_base64(part)
        yield from _from_hex(part)


def _from_base64(part: str) -> Iterable[str]:
    """From each of the four places where a group may begin: the secret may stand in the middle of what was encoded."""
    bare = part.rstrip("=").replace("-", "+").replace("_", "/")
    for start in range(4):
        cut = bare[start:]
        cut = cut[: len(cut) - (len(cut) % 4 == 1)]
        try:
            yield base64.b64decode(cut + "=" * (-len(cut) % 4), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            continue


def _from_hex(part: str) -> Iterable[str]:
    try:
        yield bytes.fromhex(part).decode("utf-8", "replace")
    except ValueError:
        return
