"""Who may ask: Host and Origin as Ollama checks them on loopback (against DNS rebinding), and the optional bearer token."""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL_ENDINGS = (".localhost", ".local", ".internal")
_ORIGIN_HOSTS = frozenset({"localhost", "127.0.0.1", "0.0.0.0"})  # a name in a header, not an address to bind
_ORIGIN_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
_CORS = (
    (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, User-Agent, Accept, X-Requested-With"),
    (b"access-control-max-age", b"43200"),
)


class Guard:
    """ASGI middleware. `loopback`: the listener is on a loopback address, so that the Host header is checked."""

    def __init__(self, app: ASGIApp, *, loopback: bool, token: str | None) -> None:
        self._app = app
        self._loopback = loopback
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if (self._loopback and not host_allowed(host)) or (origin is not None and not origin_allowed(origin, host)):
            await _reply(send, 403)
        elif origin is not None and scope["method"] == "OPTIONS":
            await _reply(send, 204, headers=[(b"access-control-allow-origin", origin.encode("latin-1")), *_CORS])
        elif self._token is not None and not _open_to_all(scope) and not self._authorised(headers):
            await _reply(send, 401, {"error": "unauthorized"})
        else:
            await self._app(scope, receive, _with_origin(send, origin) if origin is not None else send)

    def _authorised(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), (self._token or "").encode())


def host_allowed(header: str) -> bool:
    """Whether a Host header can come from somebody who means this machine."""
    name = _hostname(header)
    if name in ("", "localhost", socket.gethostname().lower()) or name.endswith(_LOCAL_ENDINGS):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def origin_allowed(origin: str, host: str) -> bool:
    """Local pages, desktop applications, and pages of this server itself."""
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme in _ORIGIN_SCHEMES:
        return True
    if parts.scheme not in ("http", "https"):
        return False
    return name in _ORIGIN_HOSTS or parts.netloc == host


def _hostname(header: str) -> str:
    try:
        return (urlsplit(f"//{header.strip()}").hostname or "").rstrip(".").lower()
    except ValueError:
        return header.lower()


def _open_to_all(scope: Scope) -> bool:
    return scope["path"] == "/" and scope["method"] in ("GET", "HEAD")


def _with_origin(send: Send, origin: str) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            allowed = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
            message = {**message, "headers": [*message.get("headers", ()), *allowed]}
        await send(message)

    return wrapped


async def _reply(send: Send, status: int, body: dict[str, str] | None = None, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    data = json.dumps(body).encode() if body else b""
    fields = [(b"content-length", str(len(data)).encode()), *(headers or ())]
    if data:
        fields.append((b"content-type", b"application/json; charset=utf-8"))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": data})
