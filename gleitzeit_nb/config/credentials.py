"""Keys of instances: named, not written. `env:NAME` and `keyring:NAME` are read when the configuration is; a literal works and warns."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping

from gleitzeit_nb.core.instances import Secret
from gleitzeit_nb.errors import ConfigError, MissingDependencyError

logger = logging.getLogger("gleitzeit_nb")

KEYRING_SERVICE = "gleitzeit"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


class ConfigWarning(UserWarning):
    """A setting that works and should be written otherwise."""


def read_key(value: str | Secret, *, name: str, environ: Mapping[str, str]) -> Secret:
    """The key that `value` names. `name` is what messages call the setting, such as "api_key of instance gpu"."""
    if isinstance(value, Secret):
        return value
    source, colon, entry = value.partition(":")
    if colon and source == "env":
        return _from_environment(entry.strip(), name, environ)
    if colon and source == "keyring":
        return _from_keyring(entry.strip(), name)
    if not value.strip():
        raise ConfigError(f"{name} is empty. Write env:NAME or keyring:NAME, or leave the key out")
    warn_literal(name)
    return _checked(value, name)


def warn_literal(name: str) -> None:
    """Say that a secret stands in clear text: as a warning, which Python shows once, and to the log for those who read it."""
    text = f"{name} is written out in the configuration. Name it instead: env:NAME (a variable) or keyring:NAME (the system's keyring)"
    logger.info(text)
    warnings.warn(text, ConfigWarning, stacklevel=2)


def _checked(value: str, name: str) -> Secret:
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"{name} holds a line break or a character that cannot stand in an HTTP header")
    return Secret(value)


def _from_environment(variable: str, name: str, environ: Mapping[str, str]) -> Secret:
    value = environ.get(variable, "").strip()
    if not value:
        # A key pasted behind "env:" by mistake must not be shown: only what looks like a variable's name is.
        which = repr(variable) if _VARIABLE.fullmatch(variable) else "that it names"
        raise ConfigError(f"{name}: the environment variable {which} is not set. Set it before the kernel starts")
    return _checked(value, name)


def _from_keyring(entry: str, name: str) -> Secret:
    if not entry:
        raise ConfigError(f"{name} names no entry of the system's keyring: write keyring:NAME")
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as exc:
        raise MissingDependencyError("keyring", "keyring", f"{name} (keyring:{entry})") from exc
    try:
        value = keyring.get_password(KEYRING_SERVICE, entry)
    except KeyringError as exc:
        raise ConfigError(f"{name}: the system's keyring could not be read ({type(exc).__name__}). Unlock it, or use env:NAME") from exc
    if not value:
        raise ConfigError(f"{name} names the keyring entry {entry!r}, which is empty. Set it with: keyring set {KEYRING_SERVICE} {entry}")
    return _checked(value, name)
