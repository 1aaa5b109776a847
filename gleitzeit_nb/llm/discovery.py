"""Finding Ollama servers that nobody configured."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from gleitzeit_nb.config import suited
from gleitzeit_nb.core.access import AccessSettings
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.ollama import open_transport

PROBE_TIMEOUT_S = 1.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


async def discover(base_urls: Sequence[str], access: AccessSettings | None = None) -> list[InstanceSettings]:
    """Those of the (normalised) URLs at which an Ollama answers within a second, in order, each server once.

    `access`: the pool's. No key of it is used: a server that nobody configured is sent none.
    """
    candidates = [_candidate(url.rstrip("/"), (access or AccessSettings()).without_credentials()) for url in dict.fromkeys(base_urls)]
    answers = await asyncio.gather(*map(_answers, candidates))
    found: dict[str, InstanceSettings] = {}
    for candidate, answered in zip(candidates, answers, strict=True):
        if answered:
            found.setdefault(_id_of(candidate.url), candidate)
    return list(found.values())


def _candidate(url: str, access: AccessSettings) -> InstanceSettings:
    own = suited(access, url)
    return InstanceSettings(id=_id_of(url), url=url, tls=own.tls, proxy=own.proxy)


async def _answers(candidate: InstanceSettings) -> bool:
    transport = open_transport(candidate)
    try:
        version = await transport.get("/api/version", timeout_s=PROBE_TIMEOUT_S)
    except InstanceFault:
        return False
    finally:
        await transport.aclose()
    return isinstance(version.get("version"), str)


def _id_of(url: str) -> str:
    """A name that tells servers apart: `local` for this machine's usual one, else host and port."""
    parts = urlsplit(url)
    host = (parts.hostname or "ollama").strip("[]")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if host in LOOPBACK:
        return "local" if port == 11434 else f"local-{port}"
    name = host.replace(":", "-")
    return name if port in (11434, 443) else f"{name}-{port}"
