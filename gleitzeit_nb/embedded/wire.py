"""Ollama's JSON on the wire: reading request fields with Go's error texts, and the small values of every answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NoReturn

Chunk = dict[str, Any]

_KINDS: dict[type, str] = {str: "string", bool: "bool", int: "int", float: "float64", list: "slice", dict: "map"}


class RefusalError(Exception):
    """A request that is answered with HTTP status `status` and `{"error": text}`. It never leaves the server process."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object of a request body. Raises RefusalError(400) with texts near those of Go's decoder."""
    if not body.strip():
        raise RefusalError(400, "missing request body")
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusalError(400, f"invalid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusalError(400, f"json: cannot unmarshal {_json_kind(value)} into Go value of type api.Request")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _json_kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "null" if value is None else "object"


class Fields:
    """Typed reading of one request object; `null` counts as absent, as in Go."""

    def __init__(self, body: Mapping[str, Any], struct: str) -> None:
        self._body = body
        self._struct = struct

    def _get(self, name: str, kind: type) -> Any:
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise RefusalError(
                400, f"json: cannot unmarshal {_json_kind(value)} into Go struct field {self._struct}.{name} of type {_KINDS[kind]}"
            )
        return value

    def text(self, name: str) -> str:
        return str(self._get(name, str) or "")

    def flag(self, name: str, default: bool) -> bool:
        value = self._get(name, bool)
        return default if value is None else bool(value)

    def integer(self, name: str) -> int:
        return int(self._get(name, int) or 0)

    def items(self, name: str) -> list[Any]:
        return list(self._get(name, list) or ())

    def objects(self, name: str) -> list[dict[str, Any]]:
        values = self.items(name)
        for value in values:
            if not isinstance(value, dict):
                raise RefusalError(
                    400, f"json: cannot unmarshal {_json_kind(value)} into Go struct field {self._struct}.{name} of type map"
                )
        return values

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self._get(name, dict) or {})

    def raw(self, name: str) -> Any:
        return self._body.get(name)

    def model(self) -> str:
        """`model`, or its old name `name`."""
        return self.text("model") or self.text("name")


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, from seconds since the epoch. Years past 9999, which Ollama uses for "never", end there."""
    try:
        moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    except (OverflowError, ValueError, OSError):
        moment = datetime.max.replace(tzinfo=timezone.utc)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def now() -> str:
    """`created_at` of a chunk that is made now."""
    return timestamp(time.time())


def nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def without_zeros(values: Mapping[str, Any]) -> dict[str, Any]:
    """Go's `omitempty` for counts and durations."""
    return {name: value for name, value in values.items() if value}


def line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
