"""Why an instance did not answer, and what follows from each cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Cause(str, Enum):
    """One word for each way in which a try can fail."""

    BUSY = "busy"
    REFUSED = "refused"
    UNKNOWN_HOST = "unknown_host"
    TLS_FAILED = "tls_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    DISCONNECTED = "disconnected"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    STALLED = "stalled"
    TRUNCATED = "truncated"
    UNFINISHED = "unfinished"
    ERROR_LINE = "error_line"
    BAD_BODY = "bad_body"
    MODEL_MISSING = "model_missing"
    BAD_REQUEST = "bad_request"
    INCAPABLE = "incapable"
    UNAUTHORISED = "unauthorised"
    SERVER_ERROR = "server_error"


class Blame(Enum):
    """Which breaker a cause feeds: the instance's, that of the model on the instance, or none."""

    INSTANCE = "instance"
    MODEL = "model"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Traits:
    """`retryable`: another instance may well answer. `answered`: the instance is alive and spoke the protocol.

    `away`: nobody listened, so being reached again is news. `fatal`: one such fault says enough, the breaker opens at once.
    """

    blame: Blame
    retryable: bool
    text: str
    answered: bool = False
    away: bool = False
    fatal: bool = False


TRAITS: Mapping[Cause, Traits] = {
    Cause.BUSY: Traits(Blame.NOBODY, True, "said that it is busy"),
    Cause.REFUSED: Traits(Blame.INSTANCE, True, "refused the connection", away=True, fatal=True),
    Cause.UNKNOWN_HOST: Traits(Blame.INSTANCE, True, "has a name that is not known", away=True, fatal=True),
    Cause.TLS_FAILED: Traits(Blame.INSTANCE, True, "failed the TLS handshake", away=True, fatal=True),
    Cause.CONNECT_TIMEOUT: Traits(Blame.INSTANCE, True, "did not accept the connection in time", away=True),
    Cause.DISCONNECTED: Traits(Blame.INSTANCE, True, "closed the connection before it answered"),
    Cause.FIRST_BYTE_TIMEOUT: Traits(Blame.INSTANCE, True, "sent nothing in time"),
    Cause.STALLED: Traits(Blame.INSTANCE, True, "stopped sending in the middle of the answer"),
    Cause.TRUNCATED: Traits(Blame.INSTANCE, True, "cut the answer off"),
    # As often the model's doing (Ollama ends a stream silently when the model repeats itself) as the server's.
    Cause.UNFINISHED: Traits(Blame.MODEL, True, "ended the answer without saying that it is complete", answered=True),
    Cause.ERROR_LINE: Traits(Blame.MODEL, True, "reported an error", answered=True),
    Cause.BAD_BODY: Traits(Blame.INSTANCE, True, "did not answer as an Ollama server does"),
    Cause.MODEL_MISSING: Traits(Blame.NOBODY, True, "does not have the model", answered=True),
    Cause.BAD_REQUEST: Traits(Blame.NOBODY, False, "refused the request", answered=True),
    Cause.INCAPABLE: Traits(Blame.NOBODY, True, "refused the request", answered=True),  # another instance's model of that name may do it
    Cause.UNAUTHORISED: Traits(Blame.NOBODY, True, "did not accept the credentials", answered=True),
    Cause.SERVER_ERROR: Traits(Blame.MODEL, True, "failed", answered=True),
}
