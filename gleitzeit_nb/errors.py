"""Every error that this package raises on purpose.

    GleitzeitError
    ├── ConfigError                  a setting that cannot be used: what, where, and the nearest valid one
    ├── MissingDependencyError       an optional package is absent; names the pip line
    ├── UsageError                   a magic's line or cell that cannot be used: what to write instead
    ├── RunFailedError               a %%sandbox cell whose run did not end ok; carries the result
    ├── NoCodeError                  the answer whose code should be run holds none
    ├── NotJSONError                 an answer that was read as JSON is none; a ValueError too
    ├── JobCancelledError            the result of a background job that was cancelled
    ├── EngineClosedError            the engine, pool or sandbox was used before it started or after it stopped
    ├── AlreadyOpenError             a client that is open was opened again
    ├── WrongLoopError               an object of one event loop was used from another
    ├── PoolError
    │   ├── NoInstanceError          nobody can answer: a table of every instance and why it was passed over
    │   │   └── ModelNotFoundError   … because no instance has the model; names the near ones
    │   ├── QueueFullError           the pool's bounded queue is full
    │   ├── DeadlineExceededError    the request's one deadline ran out, in the queue or in a try
    │   ├── AllInstancesFailedError  everybody who could answer was tried: a table of the tries
    │   │   └── RetryBudgetError     … or might have been, had not too many tries of the whole pool failed
    │   ├── RequestRejectedError     an instance refused the request itself (4xx): asking another is pointless
    │   ├── ReplayMissError          the recording that answers in place of all instances has no answer to this
    │   ├── SchemaMismatchError      the answer does not fit the schema it was asked for, also after one repair; carries the text
    │   ├── AnswersFailedError       of several answers that were asked for at once, some failed: a table of those
    │   ├── StreamInterruptedError   the answer was cut after its first token; carries the partial text
    │   │   (public name: StreamInterrupted)
    │   ├── RequestCancelledError    somebody ended the request from outside its cell; carries the partial text
    │   └── UpkeepError              a model could not be loaded, fetched, unloaded or deleted everywhere: a table of those that failed
    ├── EmbeddedError
    │   ├── WeightsError             weights are missing, unknown, corrupt or have the wrong checksum
    │   ├── PortInUseError           the address is taken
    │   └── ChildStartError          a model's server process did not come up: CPU, memory or file
    └── SandboxError
        ├── SandboxUnavailableError  the mode that was asked for cannot be had here; what to start or install
        ├── ModeDisabledError        the mode exists and is switched off by configuration
        ├── SandboxBusyError         too many runs wait for a worker, or this one waited for too long
        ├── ImageMissingError        the container image is not on the daemon; nothing is pulled implicitly
        ├── SandboxProtocolError     the guest broke the protocol, or is not isolated as promised
        └── TransferError            a value cannot cross the border as data

User code that fails is a *result* (`ExecutionResult.status`); a sandbox that fails is one of these errors.
A message says what happened, what was tried, and what to do next. Foreign errors are mapped once, at the border, with ``from``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class GleitzeitError(Exception):
    """Base of all errors of this package."""


class ConfigError(GleitzeitError):
    """A setting that cannot be used. The message names the file and line where there is one."""


class MissingDependencyError(GleitzeitError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f'{purpose} needs the package {package!r}, which is not installed.\nInstall it with: pip install "gleitzeit-nb[{extra}]"'
        )
        self.package = package
        self.extra = extra


class UsageError(GleitzeitError):
    """A magic's line or cell that cannot be used."""


class RunFailedError(GleitzeitError):
    """Makes a `%%sandbox` cell fail when its run did not end ok. `result` is the ExecutionResult."""

    def __init__(self, message: str, *, result: Any) -> None:
        super().__init__(message)
        self.result = result


class NoCodeError(GleitzeitError):
    """The answer whose code should be run holds none that can be run."""


class NotJSONError(GleitzeitError, ValueError):
    """The answer is not JSON. The message shows where."""


class JobCancelledError(GleitzeitError):
    """The result of a job was asked for that had been cancelled."""


class EngineClosedError(GleitzeitError):
    """Used before start or after stop."""


class AlreadyOpenError(GleitzeitError):
    """Opened again while it is open."""


class WrongLoopError(GleitzeitError):
    """An object that lives on one event loop was used from another."""


class PoolError(GleitzeitError):
    """Base of the errors of the pool."""


class NoInstanceError(PoolError):
    """No instance can take the request. `rejections` holds (instance id, reason) for every instance."""

    def __init__(self, message: str, rejections: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message + table(rejections))
        self.rejections = tuple(rejections)


class ModelNotFoundError(NoInstanceError):
    """No instance has the model."""


class QueueFullError(PoolError):
    """The pool's queue holds as many requests as it may."""


class DeadlineExceededError(PoolError):
    """The request's deadline (s, over queue and all tries) ran out. `attempts` holds (instance id, what happened)."""

    def __init__(self, message: str, attempts: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message + table(attempts))
        self.attempts = tuple(attempts)


class AllInstancesFailedError(PoolError):
    """Every instance that could answer was tried. `attempts` holds (instance id, what happened) in order."""

    def __init__(self, message: str, attempts: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message + table(attempts))
        self.attempts = tuple(attempts)


class RetryBudgetError(AllInstancesFailedError):
    """A try failed, and so many of the pool's had failed before that no more are repeated for now."""


class RequestRejectedError(PoolError):
    """An instance refused the request itself with HTTP status `status`; no other instance would take it."""

    def __init__(self, message: str, *, instance: str, status: int) -> None:
        super().__init__(message)
        self.instance = instance
        self.status = status


class ReplayMissError(PoolError):
    """The recording that GLEITZEIT_REPLAY names does not hold the answer; says where it was asked, and how to record anew."""


class SchemaMismatchError(PoolError):
    """The answer does not fit its schema, also when asked again. `text` is the last one."""

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class AnswersFailedError(PoolError):
    """Some of the answers that a cell asked for at once did not come. `failures` holds (number of the answer, why not)."""

    def __init__(self, message: str, failures: Sequence[tuple[str, str]]) -> None:
        super().__init__(message + table(failures))
        self.failures = tuple(failures)


class StreamInterruptedError(PoolError):
    """The answer broke off after its first token. `partial` is the text so far; nothing was asked again."""

    def __init__(self, message: str, *, partial: str, instance: str) -> None:
        super().__init__(message)
        self.partial = partial
        self.instance = instance


StreamInterrupted = StreamInterruptedError


class RequestCancelledError(PoolError):
    """Somebody cancelled the request from elsewhere, such as the side panel. `partial` is the text so far; "" before the first token."""

    def __init__(self, message: str, *, partial: str = "", instance: str = "") -> None:
        super().__init__(message)
        self.partial = partial
        self.instance = instance


class UpkeepError(PoolError):
    """A command for several instances did not succeed on all of them. `failures` holds (instance id, why not)."""

    def __init__(self, message: str, failures: Sequence[tuple[str, str]]) -> None:
        super().__init__(message + table(failures))
        self.failures = tuple(failures)


class EmbeddedError(GleitzeitError):
    """Base of the errors of the embedded instance."""


class WeightsError(EmbeddedError):
    """Model weights are missing, unknown, corrupt, or have the wrong checksum."""


class PortInUseError(EmbeddedError):
    """The address that the embedded instance should listen on is taken."""


class ChildStartError(EmbeddedError):
    """A model's server process ended before it could serve."""


class SandboxError(GleitzeitError):
    """Base of the errors of the sandbox."""


class SandboxUnavailableError(SandboxError):
    """The mode that was asked for cannot be had on this machine. Nothing weaker is taken instead."""


class ModeDisabledError(SandboxError):
    """The mode is switched off by configuration."""


class SandboxBusyError(SandboxError):
    """Nothing was run: the queue for workers is full, or nobody's turn came within the time that a run may wait."""


class ImageMissingError(SandboxError):
    """The image is not on the Docker daemon."""


class SandboxProtocolError(SandboxError):
    """The guest sent what the protocol does not allow, or did not find the isolation that it was promised."""


class TransferError(SandboxError):
    """A value cannot be carried into or out of the sandbox as data."""


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two aligned columns below a message, or nothing: the one form in which errors list instances."""
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"\n  {name:<{width}}  {reason}" for name, reason in rows)
