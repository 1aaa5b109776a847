"""A small real model behind Ollama's HTTP API, for machines without Ollama. Nothing heavy is imported before a name is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gleitzeit_nb.embedded.launch import EmbeddedInstance
    from gleitzeit_nb.embedded.server import ServerSettings, is_ready, serve
    from gleitzeit_nb.embedded.weights import DEFAULT_MODEL, KNOWN_MODELS, fetch, locate

_HOMES = {
    "DEFAULT_MODEL": "weights",
    "EmbeddedInstance": "launch",
    "KNOWN_MODELS": "weights",
    "ServerSettings": "server",
    "fetch": "weights",
    "is_ready": "server",
    "locate": "weights",
    "serve": "server",
}

__all__ = ["DEFAULT_MODEL", "KNOWN_MODELS", "EmbeddedInstance", "ServerSettings", "fetch", "is_ready", "locate", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
