"""Errors of httpx, aiohttp and ssl, looked into: what a failed TLS handshake or a proxy says, and what must be forgotten of them.

Both transports wrap the same error, each in its own way.
"""

from __future__ import annotations

import re
import ssl

_MOST_ERRORS = 16
_ALERT = "ALERT_"


def tls_failure(exc: BaseException) -> str | None:
    """In a few words, such as "certificate verify failed: certificate has expired"; None: it was no failure of TLS."""
    for each in origins(exc):
        verified = getattr(each, "verify_message", None)  # aiohttp's own subclasses of the error have none; the one inside has
        if isinstance(each, ssl.SSLCertVerificationError) and verified:
            return f"certificate verify failed: {str(verified).rstrip('.')}"
        reason = getattr(each, "reason", None)
        if isinstance(each, ssl.SSLError) and not isinstance(each, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) and reason:
            return _in_words(str(reason))
    return None


def proxy_refusal(exc: BaseException) -> int | None:
    """The status with which a proxy refused to open a tunnel; None: none did. aiohttp has it as a number, httpx at the text's start."""
    for each in origins(exc):
        name = type(each).__name__
        if name == "ClientHttpProxyError":
            return int(getattr(each, "status", 0))
        found = re.match(r"\d{3}\b", str(each)) if name == "ProxyError" else None
        if found is not None:
            return int(found[0])
    return None


def origins(exc: BaseException) -> list[BaseException]:
    """The error and what led to it: its causes, and the errors that aiohttp's errors carry."""
    found: list[BaseException] = []
    waiting: list[object] = [exc]
    while waiting and len(found) < _MOST_ERRORS:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and not any(each is other for other in found):
            found.append(each)
            waiting += [getattr(each, "certificate_error", None), getattr(each, "os_error", None), each.__cause__, each.__context__]
    return found


def forget_frames(exc: BaseException) -> None:
    """Leave the foreign error in the chain, without its frames: their locals hold the headers, which some tools print."""
    for each in origins(exc):
        each.__traceback__ = None


def _in_words(reason: str) -> str:
    """OpenSSL's reason: an alert, such as TLSV13_ALERT_CERTIFICATE_REQUIRED, is the server's word, all else is ours."""
    if _ALERT in reason:
        alert = reason.partition(_ALERT)[2].lower().replace("_", " ")
        wants = " (it wants a client certificate: tls.client_cert)" if alert in ("certificate required", "handshake failure") else ""
        return f"the server answered with the alert {alert!r}{wants}"
    if reason == "WRONG_VERSION_NUMBER":
        return "what answers there does not speak TLS (is http:// meant?)"
    return reason.lower().replace("_", " ")
