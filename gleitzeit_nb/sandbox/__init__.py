"""Untrusted Python, run where it can do no harm. See docs/design/sandbox.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gleitzeit_nb.sandbox.executor import DockerExecutor
    from gleitzeit_nb.sandbox.sandbox import Sandbox

__all__ = ["DockerExecutor", "Sandbox"]

_MODULES = {"DockerExecutor": "executor", "Sandbox": "sandbox"}


def __getattr__(name: str) -> Any:
    """Loaded when first used: importing the package costs nothing, and Docker's SDK waits until a container is made."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
