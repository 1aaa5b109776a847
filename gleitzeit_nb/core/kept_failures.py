"""Errors of requests as plain JSON, and the same errors again: what a recording keeps of a request that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import (
    AllInstancesFailedError,
    DeadlineExceededError,
    ModelNotFoundError,
    NoInstanceError,
    PoolError,
    QueueFullError,
    RequestRejectedError,
    RetryBudgetError,
    StreamInterruptedError,
    table,
)

Rows = tuple[tuple[str, str], ...]

_WITH_TABLE = (NoInstanceError, ModelNotFoundError, DeadlineExceededError, AllInstancesFailedError, RetryBudgetError)
_KINDS: Mapping[str, type[PoolError]] = {
    kind.__name__: kind for kind in (*_WITH_TABLE, RequestRejectedError, StreamInterruptedError, QueueFullError, PoolError)
}


@dataclass(frozen=True)
class KeptFailure:
    """`kind`: the error's class. `rows`: its table, which is no part of `message`. The others: of the errors that carry them."""

    kind: str
    message: str
    rows: Rows = ()
    partial: str = ""
    instance: str = ""
    status: int = 0

    @classmethod
    def of(cls, error: PoolError) -> KeptFailure:
        kind = next(each for each in type(error).__mro__ if each.__name__ in _KINDS).__name__
        message, rows = str(error), _rows_of(error)
        if isinstance(error, StreamInterruptedError):
            return cls(kind, message, partial=error.partial, instance=error.instance)
        if isinstance(error, RequestRejectedError):
            return cls(kind, message, instance=error.instance, status=error.status)
        return cls(kind, message.removesuffix(table(rows)), rows)

    def plain(self) -> dict[str, Any]:
        """Without what is empty."""
        return {name: value for name, value in vars(self).items() if value or name == "message"}

    @classmethod
    def read(cls, plain: object) -> KeptFailure:
        """Raises ValueError for what `plain` cannot have written."""
        if not isinstance(plain, Mapping):
            raise ValueError("no error in it")
        texts = {name: plain.get(name, "") for name in ("kind", "message", "partial", "instance")}
        rows, status = plain.get("rows", []), plain.get("status", 0)
        if not all(isinstance(each, str) for each in texts.values()) or type(status) is not int or not _is_table(rows):
            raise ValueError("an error of the wrong form")
        if texts["kind"] not in _KINDS:
            raise ValueError(f"an error of the kind {one_line(texts['kind'], 40)!r}, which is not known here")
        return cls(**texts, rows=tuple((name, reason) for name, reason in rows), status=status)

    def error(self) -> PoolError:
        """The same error, to be raised again."""
        kind = _KINDS[self.kind]
        if issubclass(kind, StreamInterruptedError):
            return kind(self.message, partial=self.partial, instance=self.instance)
        if issubclass(kind, RequestRejectedError):
            return kind(self.message, instance=self.instance, status=self.status)
        return kind(self.message, self.rows) if issubclass(kind, _WITH_TABLE) else kind(self.message)


def _rows_of(error: PoolError) -> Rows:
    if isinstance(error, NoInstanceError):
        return error.rejections
    return error.attempts if isinstance(error, DeadlineExceededError | AllInstancesFailedError) else ()


def _is_table(rows: object) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, list) and len(row) == 2 and all(isinstance(each, str) for each in row) for row in rows
    )
