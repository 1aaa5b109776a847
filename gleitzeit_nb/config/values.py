"""Texts of the configuration into numbers and addresses. Each function raises ConfigError with what it expects, and shows no secret."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.errors import ConfigError

OLLAMA_PORT = 11434
DEFAULT_OLLAMA_URL = f"http://127.0.0.1:{OLLAMA_PORT}"

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)")
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")

SIZE_EXPECTED = "a size such as 512m, 2g or a number of bytes"
DURATION_EXPECTED = "a number of seconds, or a text such as 30s, 1m30s or 500ms"


def parse_size(value: object) -> int:
    """Bytes from 512m, 1.5g, 64MiB or a plain number. Units are binary, as Docker's are."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 32 else None
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size <= 0:
        raise ConfigError(f"{shown(value)} is not {SIZE_EXPECTED}")
    return size


def parse_duration(value: object) -> float:
    """Seconds, more than 0, from a number or a text such as 90, 30s, 1m30s, 500ms or 2h."""
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        raise ConfigError(f"{shown(value)} is not {DURATION_EXPECTED}, more than 0")
    return seconds


def _seconds(value: object) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return None
    if not isinstance(value, str) or len(value) > 32:
        return None
    text = value.strip().lower()
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text)
    parts = _DURATION_PART.findall(text)
    if not parts or _DURATION_PART.sub("", text).strip():
        return None
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


@dataclass(frozen=True)
class Address:
    """A normalised base URL without trailing slash, and the user info ("user:password") that stood in the text."""

    url: str
    user_info: Secret | None = field(default=None)


def normalise_url(text: str) -> str:
    """The base URL that `text` means, by Ollama's own rules for OLLAMA_HOST; user info is left out."""
    return parse_address(text).url


def parse_address(text: str) -> Address:
    """Ollama's rules: no scheme means http and port 11434, `http://` port 80, `https://` 443; an unspecified address is loopback."""
    stripped = text.strip().strip("\"'")
    if re.match(r"https?:(?!//|\d)", stripped, re.IGNORECASE):
        raise ConfigError(f"{safe_url(text)!r} is not an address: two slashes follow the scheme, as in http://gpu-server:11434")
    if not stripped or any(char.isspace() or not char.isprintable() for char in stripped):
        raise ConfigError(f"{safe_url(text)!r} is not an address: expected one such as http://gpu-server:11434")
    has_scheme = "://" in stripped
    parts = _split(stripped if has_scheme else f"http://{_bracketed(stripped)}", text)
    host, port = _host_and_port(parts, text)
    scheme = parts.scheme
    if not has_scheme and port is None:
        scheme, port = ("https", None) if host == "ollama.com" else ("http", OLLAMA_PORT)
    if port == {"http": 80, "https": 443}[scheme]:
        port = None
    netloc = host if port is None else f"{host}:{port}"
    return Address(f"{scheme}://{netloc}{_path(parts, text)}", _user_info(parts))


def _bracketed(text: str) -> str:
    """A bare IPv6 address gets its brackets."""
    try:
        return f"[{ipaddress.IPv6Address(text)}]"
    except ValueError:
        return text


def _split(url: str, text: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        # The cause may repeat a part of a password that holds a slash: it is not passed on.
        raise ConfigError(
            f"{safe_url(text)!r} is not an address: its port must be a number up to 65535, and IPv6 stands in [brackets]"
        ) from None
    if not parts.netloc:
        raise ConfigError(f"{safe_url(text)!r} is not an address: it names no host")
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{safe_url(text)!r} is not an address that can be asked: it must begin with http:// or https://")
    return parts


def _host_and_port(parts: SplitResult, text: str) -> tuple[str, int | None]:
    host = parts.hostname or ""
    if parts.port == 0:
        raise ConfigError(f"{safe_url(text)!r} is not an address: port 0 cannot be asked")
    if ":" in host:
        address = ipaddress.ip_address(host.partition("%")[0])
        return ("[::1]" if address.is_unspecified else f"[{host}]"), parts.port
    if host in ("", "0.0.0.0"):  # where a server listens; a client asks loopback
        return "127.0.0.1", parts.port
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if not _is_host(host):
        raise ConfigError(f"{safe_url(text)!r} is not an address: its host name holds what no host name may")
    return host, parts.port


def _is_host(host: str) -> bool:
    """A name (RFC 1123, and underscores, which people use) or an IPv4 address. What ends in a number is one, or nothing."""
    labels = host.removesuffix(".").split(".")
    if not _HOST.fullmatch(host) or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if not re.fullmatch(r"\d+|0[xX][0-9a-fA-F]*", labels[-1]):
        return True
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _path(parts: SplitResult, text: str) -> str:
    if parts.query or parts.fragment:
        raise ConfigError(f"{safe_url(text)!r} is not a base address: leave out what follows '?' or '#'")
    path = parts.path.rstrip("/")
    if any(part in (".", "..") for part in unquote(path).split("/")):
        raise ConfigError(f"{safe_url(text)!r} is not a base address: its path goes up or stays ('..', '.')")
    if path.endswith(("/api", "/v1")):
        raise ConfigError(f"{safe_url(text)!r} is not a base address: leave out {path[path.rindex('/') :]!r}, which is added to each call")
    return path


def _user_info(parts: SplitResult) -> Secret | None:
    if parts.username is None and parts.password is None:
        return None
    return Secret(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}")


def safe_url(text: str) -> str:
    """`text` for a message: whatever stands before an '@' is masked, and it is cut at 120 characters."""
    head, at, tail = text.strip().rpartition("@")
    if at:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", head)
        text = f"{scheme[0] if scheme else ''}***@{tail}"
    return text if len(text) <= 120 else text[:117] + "…"


def shown(value: object) -> str:
    """A short repr for messages; collections by their kind only."""
    if isinstance(value, str):
        return repr(safe_url(value))
    if value is None or isinstance(value, (bool, int, float)):
        text = repr(value) if not isinstance(value, int) or value.bit_length() < 200 else "a huge number"
        return "nothing" if value is None else text
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"
