"""Addresses that a harmless text may link to."""

from __future__ import annotations

import re
from urllib.parse import quote

MAX_LENGTH = 2000
BARE_URL = re.compile(r"(?i)(?<![\w/.@:-])(?:https?://|www\.)[^\s<>\"'`\\^{|}$\[\]]+")

_SCHEME = re.compile(r"(?i)(https?|mailto):")
_HOST = re.compile(r"//[A-Za-z0-9.-]+(?::\d{1,5})?(?=[/?#]|\Z)")
_KEPT = "/?#&=+,:.-_%@"  # everything else is percent-encoded: brackets, quotes, dollars and whatever else could end the link
_MOST_PUNCTUATION = 16
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def harmless_url(url: str) -> str | None:
    """`url` in characters that mean nothing to any reader of Markdown or HTML; None unless it is plain http, https or mailto.

    An address with user information is refused: it exists to make one host look like another.
    """
    url = url.strip()
    scheme = _SCHEME.match(url)
    if scheme is None or len(url) > MAX_LENGTH:
        return None
    rest = url[scheme.end() :]
    if scheme[1].lower() != "mailto":
        host = _HOST.match(rest)
        if host is None:
            return None
    elif not rest or rest.startswith("/"):
        return None
    encoded = quote(_BROKEN_PERCENT.sub("%25", rest), safe=_KEPT, errors="replace").replace("~", "%7E")
    return f"{scheme[1].lower()}:{encoded}"


def without_trailing_punctuation(text: str) -> str:
    """`text` without what ends a sentence or closes a bracket that it did not open."""
    for _ in range(_MOST_PUNCTUATION):
        if not text or not (text[-1] in ".,;:!?*_~'\"" or (text[-1] == ")" and text.count(")") > text.count("("))):
            break
        text = text[:-1]
    return text
