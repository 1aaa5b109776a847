"""What one instance is asked with: its headers, and a transport of its own, so that nothing of one (keys, connections) reaches another.

The environment is not asked: no proxy, no netrc.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.llm.scrubbing import Scrubber
from gleitzeit_nb.llm.tls import no_tls, tls_context

if TYPE_CHECKING:
    import ssl

    import httpx

KEEPALIVE_S = 60.0
SPARE_CONNECTIONS = 4  # beside the slots: probes and listings


def scrubber_of(settings: InstanceSettings) -> Scrubber:
    """For texts that come back: all that the instance, or a proxy on the way, is sent and may not be repeated."""
    found = [settings.api_key.reveal()] if settings.api_key is not None else []
    for pair in (settings.basic_auth, settings.proxy.basic_auth if settings.proxy is not None else None):
        if pair is not None:
            whole = pair.reveal()
            found += [whole, whole.partition(":")[2], _encoded(pair)]
    for _, value in settings.headers:
        whole = value.reveal()
        found += [whole, whole.rpartition(" ")[2]]  # "Bearer …" and the like: the scheme is no secret
    return Scrubber(found)


def headers_of(settings: InstanceSettings) -> dict[str, str]:
    headers = {"Accept": "application/x-ndjson, application/json", "Accept-Encoding": "identity", "Content-Type": "application/json"}
    headers |= {name: value.reveal() for name, value in settings.headers}
    if settings.api_key is not None:
        headers["Authorization"] = f"Bearer {settings.api_key.reveal()}"
    elif settings.basic_auth is not None:
        headers["Authorization"] = f"Basic {_encoded(settings.basic_auth)}"
    return headers if settings.url.startswith("https:") else headers | _proxy_authorization(settings)


def _encoded(pair: Secret) -> str:
    return base64.b64encode(pair.reveal().encode()).decode()


def transport_of(settings: InstanceSettings, *, prefer_aiohttp: bool) -> httpx.AsyncBaseTransport:
    import httpx

    context = tls_context(settings.tls) if settings.url.startswith("https:") else no_tls()
    connections = (settings.max_concurrent or 16) + SPARE_CONNECTIONS
    proxy = _proxy(settings)
    if prefer_aiohttp:
        try:
            return _aiohttp_transport(context, connections, proxy)
        except ImportError:
            pass  # the default transport does the same, only slower
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE_S)
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits, proxy=proxy)


def _proxy(settings: InstanceSettings) -> httpx.Proxy | None:
    """With its password only for a tunnel: a plain request carries it itself, as `headers_of` says."""
    import httpx

    class QuietProxy(httpx.Proxy):
        def __repr__(self) -> str:
            return f"Proxy({str(self.url)!r})"  # httpx shows the headers

    if settings.proxy is None:
        return None
    tunnelled = settings.url.startswith("https:") and settings.proxy.basic_auth is not None
    return QuietProxy(settings.proxy.url, headers=_proxy_authorization(settings) if tunnelled else None)


def _proxy_authorization(settings: InstanceSettings) -> dict[str, str]:
    pair = settings.proxy.basic_auth if settings.proxy is not None else None
    return {"Proxy-Authorization": f"Basic {_encoded(pair)}"} if pair is not None else {}


def _aiohttp_transport(context: ssl.SSLContext, connections: int, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE_S, ssl=context)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    return AiohttpTransport(verify=context, trust_env=False, client=session, proxy=proxy)
