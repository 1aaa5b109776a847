"""Is a request one at all? Looked at before a worker is made for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gleitzeit_nb.core.execution import ExecutionRequest
from gleitzeit_nb.core.image_names import image_problem
from gleitzeit_nb.errors import ConfigError, TransferError
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.values import check_names

_FILENAME_CHARS = 400


def refuse_nonsense(request: ExecutionRequest) -> None:
    """Raises TypeError for what is of the wrong kind, ConfigError or TransferError for what cannot be run."""
    _require(request.code, "code", str, "decode bytes first, and pass a function's source")
    _require(request.mode, "mode", (str, type(None)), "name one, such as 'docker-sandbox'")
    _require(request.image, "image", (str, type(None)), "name one, such as 'python:3.12-slim'")
    _require(request.filename, "filename", str, "it is what tracebacks call the code")
    _require(request.label, "label", str, "it is what views call the run")
    _require(request.inputs, "inputs", Mapping, "pass {'name': value}")
    for name in (*request.inputs, *request.outputs):
        _require(name, "a name in inputs or outputs", str, "name a variable")
    check_names(request.inputs, "in")
    check_names(request.outputs, "out")
    if len(request.code) > protocol.MAX_CODE_BYTES:  # characters, each at least a byte; the bytes are counted when it is sent
        raise TransferError(
            f"The code has {len(request.code)} characters, and at most {protocol.MAX_CODE_BYTES} bytes are run at once. "
            "Pass data as inputs instead of source."
        )
    if not request.filename.isprintable() or not 0 < len(request.filename) <= _FILENAME_CHARS:
        raise ConfigError(f"The run's filename must be one line of at most {_FILENAME_CHARS} characters, not {request.filename[:60]!r}.")
    why = image_problem(request.image) if request.image is not None else ""
    if why:
        raise ConfigError(f"{request.image!r:.120} {why}.")


def _require(value: Any, name: str, kind: Any, advice: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {_called(kind)}, not {type(value).__name__}: {advice}")


def _called(kind: Any) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    words = {str: "a text", type(None): "None", Mapping: "a mapping"}
    return " or ".join(words[each] for each in kinds)
