"""Values that are secret wherever they stand: those of the environment that are called so, and those that the configuration holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from gleitzeit_nb.config.environment import process_environment
from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.core.redaction import is_secret_name


def known_secrets(*settings: object) -> frozenset[str]:
    """Of this process, and of these settings. Of a pair such as user:password each half counts too."""
    values = {value for name, value in process_environment().items() if is_secret_name(name)}
    for each in settings:
        for secret in _secrets_in(each):
            value = secret.reveal()
            values |= {value, *value.split(":")}
    return frozenset(filter(None, values))


def _secrets_in(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from _secrets_in(getattr(value, each.name))
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _secrets_in(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _secrets_in(part)
