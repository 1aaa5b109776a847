"""A pool of Ollama servers and a hardened Python sandbox inside the Jupyter notebook.

Importing this package loads nothing and starts nothing: each public name comes from its module when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import alone costs more than the rest of this file
if TYPE_CHECKING:
    from gleitzeit_nb.client import GleitzeitClient, ask, configure
    from gleitzeit_nb.core.execution import ExecutionResult
    from gleitzeit_nb.core.instances import InstanceState
    from gleitzeit_nb.core.requests import Chunk, Reply
    from gleitzeit_nb.core.strategy_names import LoadBalancingStrategy
    from gleitzeit_nb.embedded import EmbeddedInstance
    from gleitzeit_nb.errors import GleitzeitError, StreamInterrupted
    from gleitzeit_nb.llm.mapping import MapItem
    from gleitzeit_nb.llm.pool import OllamaPoolManager
    from gleitzeit_nb.llm.providers import OllamaPoolProvider, OllamaProvider
    from gleitzeit_nb.sandbox import DockerExecutor, Sandbox

    __version__: str

_HOMES = {
    "Chunk": "core.requests",
    "DockerExecutor": "sandbox",
    "EmbeddedInstance": "embedded",
    "ExecutionResult": "core.execution",
    "GleitzeitClient": "client",
    "GleitzeitError": "errors",
    "InstanceState": "core.instances",
    "LoadBalancingStrategy": "core.strategy_names",
    "MapItem": "llm.mapping",
    "OllamaPoolManager": "llm.pool",
    "OllamaPoolProvider": "llm.providers",
    "OllamaProvider": "llm.providers",
    "Reply": "core.requests",
    "Sandbox": "sandbox",
    "StreamInterrupted": "errors",
    "ask": "client",
    "configure": "client",
}

__all__ = [
    "Chunk",
    "DockerExecutor",
    "EmbeddedInstance",
    "ExecutionResult",
    "GleitzeitClient",
    "GleitzeitError",
    "InstanceState",
    "LoadBalancingStrategy",
    "MapItem",
    "OllamaPoolManager",
    "OllamaPoolProvider",
    "OllamaProvider",
    "Reply",
    "Sandbox",
    "StreamInterrupted",
    "__version__",
    "ask",
    "configure",
]


_REPLACED = {
    "CircuitBreaker": "each instance has its breaker inside the pool: give circuit_breaker_config, and read circuit_breaker_state in "
    "`await pool.get_pool_status()`",
    "InstanceMetrics": "they are the entries of `(await pool.get_pool_status())['instances']`",
    "OllamaHealthMonitor": "an OllamaPoolManager looks after its instances by itself; `await pool.health_check(id)` looks at one now",
    "OllamaInstance": "an instance is a dictionary such as {'id': 'a', 'url': 'http://localhost:11434'}; `await pool.add_instance({…})`",
}
"""Names that older code and guides use, and what there is instead."""


def __getattr__(name: str) -> object:
    if name == "__version__":
        found: object = _version()
    elif name in _HOMES:
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name == "errors":  # `gleitzeit_nb.errors` works without an import of its own
        from importlib import import_module

        return import_module(f"{__name__}.errors")
    elif name in _REPLACED:  # no AttributeError: `from … import` would drop its text
        raise ImportError(f"{__name__} has no {name}: {_REPLACED[name]}", name=name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gleitzeit-nb")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: object) -> None:
    """`%load_ext gleitzeit_nb`."""
    from gleitzeit_nb import jupyter

    jupyter.load_ipython_extension(ipython)


def unload_ipython_extension(ipython: object) -> None:
    """`%unload_ext gleitzeit_nb`."""
    from gleitzeit_nb import jupyter

    jupyter.unload_ipython_extension(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where the side panel was built; asked only by `jupyter labextension develop`."""
    return [{"src": "labextension", "dest": "gleitzeit-nb"}]
