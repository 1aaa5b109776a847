"""Keys of instances: named, not written. `env:NAME` and `keyring:NAME` are read when the configuration is; a literal works and warns."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from typing import Literal

from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.errors import ConfigError, MissingDependencyError

logger = logging.getLogger("gleitzeit_nb")

KEYRING_SERVICE = "gleitzeit"
MAX_CHARS = 8192  # of one value; servers refuse longer headers
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")

Kind = Literal["header", "user and password", "text"]
"""What a value becomes: the value of an HTTP header, a pair for Basic authentication, or something else that is one line."""


class ConfigWarning(UserWarning):
    """A setting that works and should be written otherwise."""


def read_key(value: str | Secret, *, name: str, environ: Mapping[str, str], kind: Kind = "header") -> Secret:
    """The key that `value` names. `name` is what messages call the setting, such as "api_key of instance gpu"."""
    if isinstance(value, Secret):
        return _checked(value.reveal(), name, kind)
    source, colon, entry = value.partition(":")
    if colon and source == "env":
        return _checked(_from_environment(entry.strip(), name, environ), name, kind)
    if colon and source == "keyring":
        return _checked(_from_keyring(entry.strip(), name), name, kind)
    if not value.strip():
        raise ConfigError(f"{name} is empty. Write env:NAME or keyring:NAME, or leave the key out")
    secret = _checked(value, name, kind)
    warn_literal(name)
    return secret


def warn_literal(name: str) -> None:
    """Say that a secret stands in clear text: as a warning, which Python shows once, and to the log for those who read it."""
    warn(f"{name} is written out in the configuration. Name it instead: env:NAME (a variable) or keyring:NAME (the system's keyring)")


def warn(text: str) -> None:
    logger.info(text)
    warnings.warn(text, ConfigWarning, stacklevel=2)


def _checked(value: str, name: str, kind: Kind) -> Secret:
    value = value.strip() if kind == "header" else value  # spaces around it do not survive the way
    if len(value) > MAX_CHARS:
        raise ConfigError(f"{name} is longer than {MAX_CHARS} characters, which no key is")
    if kind == "header" and not (value.isascii() and value.isprintable()):
        raise ConfigError(f"{name} holds a line break or a character that cannot stand in an HTTP header")
    if not value.isprintable():
        raise ConfigError(f"{name} holds a line break or another character that cannot be printed")
    if kind == "user and password" and ":" not in value:
        raise ConfigError(f"{name} should be user:password, and holds no colon")
    return Secret(value)


def _from_environment(variable: str, name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "").strip()
    if not value:
        # A key pasted behind "env:" by mistake must not be shown: only what looks like a variable's name is.
        which = repr(variable) if _VARIABLE.fullmatch(variable) else "that it names"
        raise ConfigError(f"{name}: the environment variable {which} is not set. Set it before the kernel starts")
    return value


def _from_keyring(entry: str, name: str) -> str:
    if not entry:
        raise ConfigError(f"{name} names no entry of the system's keyring: write keyring:NAME")
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as exc:
        raise MissingDependencyError("keyring", "keyring", f"{name} (keyring:{entry})") from exc
    try:
        value: str | None = keyring.get_password(KEYRING_SERVICE, entry)
    except KeyringError as exc:
        raise ConfigError(f"{name}: the system's keyring could not be read ({type(exc).__name__}). Unlock it, or use env:NAME") from exc
    if not value:
        raise ConfigError(f"{name} names the keyring entry {entry!r}, which is empty. Set it with: keyring set {KEYRING_SERVICE} {entry}")
    return value
