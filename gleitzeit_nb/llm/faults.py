"""What an instance did wrong, as one exception; and the one place where foreign errors and HTTP statuses become it."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from gleitzeit_nb.core.abilities import refused_in
from gleitzeit_nb.core.faults import TRAITS, Cause, Traits
from gleitzeit_nb.llm.foreign import proxy_refusal, tls_failure

SHOWN_CHARS = 300  # of an instance's own words; they are untrusted
CHAIN = 8  # exceptions looked at, from the one that was raised down to its origin

# Names of exception classes, so that neither httpx nor aiohttp is imported for the table. httpx-aiohttp 0.2 raises ConnectTimeout for
# a refusal, an unknown name and a disconnect before the headers alike; which it was shows in the cause, so aiohttp's names come first.
FOREIGN: Mapping[str, Cause] = {
    "ClientConnectorDNSError": Cause.UNKNOWN_HOST,
    "ConnectionTimeoutError": Cause.CONNECT_TIMEOUT,
    "SocketTimeoutError": Cause.STALLED,
    "ClientConnectorError": Cause.REFUSED,
    "ServerDisconnectedError": Cause.TRUNCATED,
    "ClientPayloadError": Cause.TRUNCATED,
    "ClientOSError": Cause.TRUNCATED,
    "ClientConnectionError": Cause.TRUNCATED,
    "InvalidURL": Cause.REFUSED,
    "ClientResponseError": Cause.BAD_BODY,
    "ClientError": Cause.BAD_BODY,
    "ConnectTimeout": Cause.CONNECT_TIMEOUT,
    "PoolTimeout": Cause.CONNECT_TIMEOUT,
    "ConnectError": Cause.REFUSED,
    "TimeoutException": Cause.STALLED,
    "DecodingError": Cause.BAD_BODY,
    "UnsupportedProtocol": Cause.REFUSED,
    "LocalProtocolError": Cause.REFUSED,
    "TransportError": Cause.TRUNCATED,
    "TimeoutError": Cause.STALLED,
    "ConnectionRefusedError": Cause.REFUSED,
    "OSError": Cause.TRUNCATED,
}

# What these raise and the table does not know is still theirs, and no mistake of ours.
FOREIGN_PACKAGES = frozenset({"aiohttp", "anyio", "h11", "httpcore", "httpx", "ssl", "zlib"})

# Before the first byte of an answer the same events have other names.
BEFORE_ANSWER: Mapping[Cause, Cause] = {Cause.STALLED: Cause.FIRST_BYTE_TIMEOUT, Cause.TRUNCATED: Cause.DISCONNECTED}

STATUSES: Mapping[int, Cause] = {
    401: Cause.UNAUTHORISED,
    403: Cause.UNAUTHORISED,
    407: Cause.UNAUTHORISED,
    408: Cause.FIRST_BYTE_TIMEOUT,
    429: Cause.BUSY,
    499: Cause.DISCONNECTED,
    501: Cause.BAD_REQUEST,  # not implemented: nor would it be elsewhere
}

_STATUS_WORDS = dict.fromkeys((301, 302, 303, 307, 308), ", a redirect, which is never followed") | {
    407: ", the proxy on the way wants other credentials"
}

# Ollama answers these with a 500 although the request is what is wrong (server/routes.go, option parsing and format checks).
_CALLERS_FAULT = re.compile(r'^(option "[^"]*" must be of type|invalid format:)')
# And this with a 400 although the runner is what failed (EmbedHandler).
_RUNNERS_FAULT = "do embedding request:"


class InstanceFault(Exception):  # noqa: N818 - a fault of the instance; what callers see are the errors of `errors.py`
    """One try failed. `detail` says what was seen, without any secret; `retry_after_s` is what the instance asked for."""

    def __init__(self, cause: Cause, detail: str = "", *, status: int | None = None, retry_after_s: float | None = None) -> None:
        traits = TRAITS[cause]
        super().__init__(f"{traits.text}: {detail}" if detail else traits.text)
        self.cause = cause
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def traits(self) -> Traits:
        return TRAITS[self.cause]


def fault_of_exception(exc: BaseException, *, answering: bool, proxied: bool = False) -> InstanceFault | None:
    """Map what httpx, aiohttp or the system raised; None: it is none of theirs. `answering`: the answer had begun."""
    failure = tls_failure(exc)
    if failure is not None:
        return InstanceFault(Cause.TLS_FAILED, failure)
    status = proxy_refusal(exc) if proxied else None
    if status is not None:
        return _fault_of_proxy(status)
    cause = cause_of_exception(exc, answering=answering)
    if cause is None:
        return None
    # Through a proxy it is the proxy that is connected to: the server's own name and port are the proxy's business.
    return InstanceFault(cause, "it is the proxy on the way" if proxied and TRAITS[cause].away else _what_was_seen(exc))


def _fault_of_proxy(status: int) -> InstanceFault:
    """It refused to open a tunnel."""
    if status == 407:
        return InstanceFault(Cause.UNAUTHORISED, f"HTTP {status}{_STATUS_WORDS[status]}", status=status)
    return InstanceFault(Cause.REFUSED, f"the proxy on the way answered HTTP {status}", status=status)


def cause_of_exception(exc: BaseException, *, answering: bool) -> Cause | None:
    """By the names of the exception's classes, those of what caused it first. None: an exception of other origin."""
    if any(type(each).__name__ == "gaierror" for each in _chain(exc)):  # default httpx wraps it twice
        return Cause.UNKNOWN_HOST
    for each in (exc.__cause__, exc):
        for cls in type(each).__mro__:
            cause = FOREIGN.get(cls.__name__)
            if cause is not None:
                return cause if answering else BEFORE_ANSWER.get(cause, cause)
    return Cause.BAD_BODY if type(exc).__module__.partition(".")[0] in FOREIGN_PACKAGES else None


def fault_of_status(status: int, error: str | None, *, path: str, retry_after: str | None = None) -> InstanceFault:
    """Map an answer that is not a 200. `error`: Ollama's own words (`error_text`); without, it comes from something before it."""
    detail = f"HTTP {status}" + (f", {error}" if error else _STATUS_WORDS.get(status, ""))
    return InstanceFault(_cause_of_status(status, error, path), detail, status=status, retry_after_s=_seconds(retry_after))


def _cause_of_status(status: int, error: str | None, path: str) -> Cause:
    if status in (400, 501) and error and refused_in(error):
        return Cause.INCAPABLE
    if status in STATUSES:
        return STATUSES[status]
    if status < 400:
        return Cause.BAD_BODY
    if status == 404:
        return Cause.BAD_BODY if error is None else Cause.MODEL_MISSING
    if status == 503:
        return Cause.SERVER_ERROR if error is None else Cause.BUSY
    if status >= 500:
        return Cause.BAD_REQUEST if error and _CALLERS_FAULT.match(error) else Cause.SERVER_ERROR
    if path == "/api/embed" and error and _RUNNERS_FAULT in error:
        return Cause.SERVER_ERROR
    return Cause.BAD_REQUEST


def error_text(body: bytes, clean: Callable[[str], str]) -> str | None:
    """The text of `{"error": …}`, cleaned and then shortened; None: the body is something else."""
    try:
        decoded: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = decoded.get("error") if isinstance(decoded, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return shortened(clean(error)) if isinstance(error, str) else None


def shortened(text: str, most: int = SHOWN_CHARS) -> str:
    """Untrusted text on one printable line of bounded length."""
    line = "".join(char if char.isprintable() else " " for char in text[: 4 * most])
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _what_was_seen(exc: BaseException) -> str:
    """The system's own words for an errno, else a word of ours: texts of foreign errors may hold addresses and more."""
    for seen in _chain(exc):
        names = {cls.__name__ for cls in type(seen).__mro__}
        if "ClientConnectorDNSError" in names or type(seen).__name__ == "gaierror":
            return ""  # the cause says it already
        if isinstance(seen, OSError) and isinstance(seen.errno, int) and seen.errno > 0:
            return "" if seen.errno == errno.ECONNREFUSED else os.strerror(seen.errno).lower()  # the cause says that one already
    return ""


def _chain(exc: BaseException) -> list[BaseException]:
    """The exception and what it came from, as far as that matters."""
    found = [exc]
    while len(found) < CHAIN and (source := found[-1].__cause__ or found[-1].__context__) is not None:
        found.append(source)
    return found


def _seconds(retry_after: str | None) -> float | None:
    """Of a Retry-After header: a number of seconds, or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None or len(retry_after) > 40:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, at.timestamp() - time.time())
