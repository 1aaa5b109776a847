"""What a front end may tell the kernel: each message checked against exactly what it may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from gleitzeit_nb.errors import UsageError

ID_CHARS = 1000  # of an id, as this kernel itself shows it
REQUEST = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

FIELDS: Mapping[str, tuple[str, ...]] = {
    "hello": (),
    "drain": ("instance",),
    "resume": ("instance",),
    "warm": ("instance", "model"),
    "unload": ("instance", "model"),
    "cancel": ("run",),
    "stop_container": ("container",),
    "reset_session": ("session",),
    "restart_pool": (),
    "reload": (),
    "diagnostics": (),
}
"""Besides `type` and perhaps `request`, which the answers repeat."""

COMMANDS = tuple(name for name in FIELDS if name != "hello")


class Command(NamedTuple):
    """`target`: the id of what is meant, "" where nothing is named. `model`: for warm and unload."""

    type: str
    target: str = ""
    model: str = ""
    request: str = ""


def read_command(data: object) -> Command:
    """A message as a command. Raises UsageError for everything that is not exactly one."""
    if not isinstance(data, Mapping):
        raise UsageError("A message is a record with a type.")
    kind = data.get("type")
    fields = FIELDS.get(kind) if isinstance(kind, str) else None
    if not isinstance(kind, str) or fields is None:
        raise UsageError(f"A message is one of: {', '.join(FIELDS)}.")
    if set(data) - {"request"} != {"type", *fields}:
        raise UsageError(f"{kind} names {' and '.join(fields) or 'nothing'}, and nothing more.")
    words = [data[name] for name in fields]
    if not all(isinstance(word, str) and 0 < len(word) <= ID_CHARS for word in words):
        raise UsageError(f"{kind} names {' and '.join(fields)} as texts of 1 to {ID_CHARS} characters.")
    if "request" in data and request_of(data) == "":
        raise UsageError("request is a text of 1 to 64 letters, digits, - and _.")
    target, model = [*words, "", ""][:2]
    return Command(kind, target, model, request_of(data))


def request_of(data: object) -> str:
    """How a message wants its answers to be known, also one that is no command; "" if it does not say, or not well."""
    request = data.get("request") if isinstance(data, Mapping) else None
    return request if isinstance(request, str) and REQUEST.match(request) else ""


def kind_of(data: object) -> str:
    """Which command a message was meant to be; "" when it is none."""
    kind = data.get("type") if isinstance(data, Mapping) else None
    return kind if isinstance(kind, str) and kind in FIELDS else ""
